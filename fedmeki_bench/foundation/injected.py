"""The foundation model with what is injected into it: projectors, and adapters with their gate if there are any.

For a sample of task t: the encoders' tokens e go through their modality's projector g, the prompt p follows, and the
frozen model F answers: h = [g(e); p] (FedKIM, arXiv 2408.10276). A prompt that says where a modality's tokens belong
has them there (``places.py``). Without adapters this is FedPlug, with one LoRA FedPlug_L, with gated experts M3OE.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fedmeki_bench.data.holdings import there
from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.foundation.adapters import Adapters
from fedmeki_bench.foundation.choices import AdapterChoice, FoundationModel
from fedmeki_bench.foundation.gate import Gate, OracleGate, UniformGate, load_balance, mutual_information
from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.places import Laid, Place, laid, places_of
from fedmeki_bench.foundation.projector import Projector
from fedmeki_bench.foundation.sequence import Asked, Piece
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Encoder
from fedmeki_bench.task import TEXT, Task

if TYPE_CHECKING:
    from fedmeki_bench.federation.server import ServerContext


@dataclass(frozen=True, slots=True)
class Described:
    """What a gate may know of a task: its description T_t, its modalities, and for an oracle its context."""

    text: str
    modalities: tuple[str, ...]
    context: str = ""


TEXT_ONLY = Described("Answering a question about a short text.", (TEXT,))
"""The description under which plain-text questions are asked."""


class Injected(nn.Module):
    """F with projectors and adapters; F itself is frozen and no part of this module's parameters.

    Args:
        language: F.
        model: the client model whose encoders feed F; one projector per encoder.
        adapter: what is trained inside F.
        seed: initial weights.
        scale_soft: whether soft tokens start at the size of F's embeddings.
        direct: modalities whose encoder already writes into F's space, as the published code has it for signals and
            clinical series: no projector of the server's own follows.
        contexts: the contexts of the tasks trained on, for an oracle gate.
        latents: that many soft tokens per array, by a resampler in its projector; 0: as many as its encoder gives.
        known: further modalities, which a prompt can't place and whose marks are therefore mistakes.

    Raises:
        InputError: an encoder of ``direct`` is not as wide as F.
    """

    def __init__(
        self, language: Language, model: ClientModel, adapter: AdapterChoice, *, seed: int, scale_soft: bool = True,
        direct: Sequence[str] = (), contexts: Sequence[str] = (), latents: int = 0, known: Collection[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        object.__setattr__(self, "language", language)  # not a submodule: its weights are nobody's to train or save
        rms = language.embedding_rms if scale_soft else None
        self.known = frozenset(known).union(model.encoders)
        self.projectors = nn.ModuleDict()
        self.descriptions = {TEXT: "plain text"}  # M_t of each modality that the gate reads
        for modality, encoder in model.encoders.items():
            assert isinstance(encoder, Encoder)
            self.descriptions[modality] = encoder.description or modality
            if modality in direct:
                if encoder.width != language.hidden_size:
                    raise InputError(
                        f"stage.direct names {modality}, but its encoder is {encoder.width} wide and the foundation "
                        f"model {language.hidden_size}: set the encoder's width to that, or leave {modality} out"
                    )
                self.projectors[modality] = nn.Identity()
                continue
            self.projectors[modality] = Projector(
                encoder.width, language.hidden_size, seed=seed, name=modality, rms=rms, latents=latents
            )
        self.adapter = adapter
        self.adapters: Adapters | None = None
        self.gate: Gate | UniformGate | OracleGate | None = None
        if adapter.kind != "none":
            experts = adapter.experts if adapter.kind == "m3oe" else 1
            self.adapters = Adapters(
                language, rank=adapter.rank, alpha=adapter.alpha, dropout=adapter.dropout, experts=experts, seed=seed,
                init=adapter.init, absorbs=adapter.absorbs,
            )  # fmt: skip
            if experts > 1:
                self.gate = _gate(language, adapter, seed, contexts)
        self.to(language.device)

    language: Language

    def trainable(self) -> list[nn.Parameter]:
        """Parameters of projectors, adapters and gate."""
        return [p for p in self.parameters() if p.requires_grad]

    def alpha(self, of: Described) -> Tensor | None:
        """The gate's vector (P,) for a task; None without a gate."""
        if self.gate is None:
            return None
        if isinstance(self.gate, OracleGate):
            return self.gate.of(of.context, self.language.device)
        modalities = "; ".join(self.descriptions.get(m, m) for m in of.modalities)
        return self.gate(self.language.embed_text(modalities), self.language.embed_text(of.text))

    def routing_loss(self, tasks: Iterable[Task]) -> Tensor | None:
        """What the gate is trained for beside the answers, from the tasks' descriptions alone; None without any.

        ``balance`` times the load-balancing loss, less ``routing`` times the mutual information of task and expert.
        """
        if not isinstance(self.gate, Gate) or not (self.adapter.routing or self.adapter.balance):
            return None
        found = [self.alpha(described(task)) for task in tasks]
        alphas = torch.stack([alpha for alpha in found if alpha is not None])
        return self.adapter.balance * load_balance(alphas) - self.adapter.routing * mutual_information(alphas)

    def applies(self, task: Task) -> bool:
        """Whether every modality of the task was trained here."""
        return all(m in self.projectors for m in task.meta.arrays)

    def soft(
        self, model: ClientModel, modalities: Sequence[str], inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Soft tokens (batch, S, H) of all modalities one after another, and which of them are real (batch, S)."""
        return _together(self._pieces(model, modalities, inputs).values())

    def ask(
        self, model: ClientModel, task: Task, inputs: Mapping[str, Tensor], prompts: Sequence[str]
    ) -> tuple[Tensor, Tensor, list[Asked]]:
        """What F reads of a batch of the task: the arguments ``soft``, ``soft_mask`` and ``prompts`` of its methods.

        Args:
            model: whose encoders read the arrays.
            task: what is asked.
            inputs: what ``model.to_inputs`` gave of the batch.
            prompts: one text per row, with marks where soft tokens belong; what a row does not place comes first in it.

        Raises:
            InputError: a mark that the task can't fill.
        """
        pieces = self._pieces(model, task.meta.arrays, inputs)
        rows = [laid(prompt, pieces, self.known, task.meta.name) for prompt in prompts]
        first = [
            Piece(
                piece.embeddings, piece.mask & torch.tensor([[place not in row] for row in rows]).to(piece.mask.device)
            )
            for place, piece in pieces.items()
        ]
        asked = [
            _filled(row, {p: pieces[p].embeddings[i][pieces[p].mask[i]] for p in row if isinstance(p, Place)})
            for i, row in enumerate(rows)
        ]
        return *_together(first), asked

    def in_words(self, task: Task, prompts: Sequence[str], many: Mapping[str, int]) -> list[Asked]:
        """Prompts without their soft tokens: nothing stands at a mark, and the texts around it stay as they are.

        Args:
            task: what is asked.
            prompts: one text per row.
            many: modality -> how many arrays of it a sample may have.

        Raises:
            InputError: a mark that the task can't fill.
        """
        nothing = dict.fromkeys(places_of(task.meta.arrays, many), torch.zeros(0, self.language.hidden_size))
        return [_filled(laid(prompt, nothing, self.known, task.meta.name), nothing) for prompt in prompts]

    def _pieces(
        self, model: ClientModel, modalities: Sequence[str], inputs: Mapping[str, Tensor]
    ) -> dict[Place, Piece]:
        """Soft tokens of each array that a sample can have, in the order of the modalities."""
        pieces = {}
        for modality in modalities:
            x, present = inputs[modality], inputs.get(there(modality))
            if present is None:
                pieces[Place(modality)] = self._piece(model, modality, x)
                continue
            hidden = self.language.hidden_size
            found = self._piece(model, modality, x) if len(x) else Piece(x.new_zeros(0, 0, hidden), x.new_zeros(0, 0))
            shape = (*present.shape, found.mask.shape[1])
            tokens = found.embeddings.new_zeros(*shape, hidden).index_put((present,), found.embeddings)
            real = torch.zeros(shape, dtype=torch.bool, device=x.device).index_put((present,), found.mask.bool())
            pieces |= {Place(modality, k + 1): Piece(tokens[:, k], real[:, k]) for k in range(shape[1])}
        return pieces

    def _piece(self, model: ClientModel, modality: str, x: Tensor) -> Piece:
        """Soft tokens of arrays (arrays, *shape)."""
        encoder, projector = model.encoders[modality], self.projectors[modality]
        assert isinstance(encoder, Encoder)
        tokens, real = encoder(x), encoder.mask(x)
        if real is None:
            real = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if isinstance(projector, Projector):  # else the encoder writes into F's space itself
            return Piece(projector(tokens, real), projector.mask(real))
        return Piece(tokens, real)

    def losses(
        self,
        model: ClientModel,
        task: Task,
        inputs: Mapping[str, Tensor],
        prompts: Sequence[str],
        answers: Sequence[str],
    ) -> tuple[Tensor, Tensor]:
        """Summed next-token loss of each answer (batch,) and its tokens (batch,); gradients reach the encoders."""
        soft, real, asked = self.ask(model, task, inputs, prompts)
        with self.gated(task):
            return self.language.answer_losses(soft, real, asked, answers)

    def gated(self, task: Task) -> AbstractContextManager[Any]:
        """The adapters under the task's gate, as they are trained."""
        alpha = self.alpha(described(task))
        return nullcontext() if self.adapters is None or alpha is None else self.adapters.gated(alpha)

    def merged(self, of: Described) -> AbstractContextManager[Any]:
        """The adapters folded into F's weights under a task's gate, for evaluation; F gets its own bits back."""
        if self.adapters is None:
            return nullcontext()
        with torch.no_grad():
            alpha = self.alpha(of)
        return self.adapters.merged(alpha)

    def silenced(self) -> AbstractContextManager[Any]:
        """F as it was before anything was injected: its own weights, adapters switched off."""
        return nullcontext() if self.adapters is None else self.adapters.silent()

    def detach(self) -> None:
        """Take the adapters off F, which other runs in this process may use."""
        if self.adapters is not None:
            self.adapters.detach()


def injected(ctx: ServerContext, chosen: FoundationModel, adapter: AdapterChoice) -> Injected:
    """The foundation model with what has been injected so far; loaded once per process and choice, then resident.

    Raises:
        InputError: the foundation model can't be read, or does not fit the choice.
    """

    def load() -> Injected:
        from fedmeki_bench.foundation.build import build

        language = build(
            chosen.foundation, device=ctx.model.device, gradient_checkpointing=chosen.gradient_checkpointing,
            trust_remote_code=chosen.trust_remote_code, prompt_format=chosen.prompt_format,
        )  # fmt: skip
        known_modalities(chosen.direct, "direct", ctx)
        found = Injected(
            language, ctx.model, adapter, seed=ctx.seed, scale_soft=chosen.scale_soft, direct=chosen.direct,
            contexts=[described(task).context for task in ctx.tasks.values()], latents=chosen.latents,
            known=ctx.settings.encoders,
        )  # fmt: skip
        if "injected" in ctx.memory:
            found.load_state_dict(ctx.memory["injected"])
        return found

    wanted = chosen.model_dump(include=set(FoundationModel.model_fields))
    return ctx.resident(("injected", *(wanted[name] for name in sorted(wanted)), adapter), load)


def known_modalities(named: Iterable[str], option: str, ctx: ServerContext) -> None:
    """Refuse a misspelt modality in an option of the stage; one that this training lacks is no mistake.

    Raises:
        InputError: the profile has no encoder for it.
    """
    known = sorted({*ctx.settings.encoders, *ctx.model.encoders})
    for modality in named:
        if modality not in known:
            raise InputError(f"stage.{option} names {modality!r}, which is no modality; {nearest(modality, known)}")


def described(task: Task) -> Described:
    """What the gate reads of a task."""
    meta = task.meta
    return Described(f"{meta.title}. {meta.clinical.what}", meta.modalities, meta.context or meta.name)


def _filled(row: Laid, soft: Mapping[Place, Tensor]) -> Asked:
    """A prompt with soft tokens at its marks; one without marks is a text."""
    if len(row) == 1 and isinstance(row[0], str):
        return row[0]
    return [soft[part] if isinstance(part, Place) else part for part in row]


def _together(pieces: Iterable[Piece]) -> tuple[Tensor, Tensor]:
    """Soft tokens of several pieces one after another, and which of them are there."""
    known = list(pieces)
    return torch.cat([piece.embeddings for piece in known], dim=1), torch.cat([piece.mask for piece in known], dim=1)


def _gate(
    language: Language, adapter: AdapterChoice, seed: int, contexts: Sequence[str]
) -> Gate | UniformGate | OracleGate:
    if adapter.gate == "uniform":
        return UniformGate(adapter.experts)
    if adapter.gate == "oracle":
        return OracleGate(adapter.experts, contexts)
    return Gate(
        language.hidden_size, adapter.experts, seed=seed, use_task=adapter.use_task, use_modality=adapter.use_modality,
        centre=language.embedding_mean if adapter.normalise else None, top_k=adapter.top_k,
    )  # fmt: skip
