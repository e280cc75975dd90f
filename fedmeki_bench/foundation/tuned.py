"""What a client holds that tunes the foundation model itself: encoders, projectors and adapters around the frozen F.

The other way to bring private knowledge into F: not the server injects, by public data, but each client trains what is
injected, by its own questions and answers, and sends it (FedIT, Zhang et al., ICASSP 2024). F itself is frozen, held
by every client and never sent. The units of exchange are ``encoder.<modality>``, ``projector.<modality>``,
``adapter.A`` and ``adapter.B``, on the same flat buffer as any client model; so every rule applies to them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.foundation.build import build
from fedmeki_bench.foundation.choices import AdapterChoice, FoundationModel
from fedmeki_bench.foundation.injected import Injected, described
from fedmeki_bench.models.batch import Batch
from fedmeki_bench.models.client_model import ClientModel, Outputs

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.task import Task

_PROMPTS, _ANSWERS = "prompts", "answers"


class Tensors(nn.Module):
    """Parameters or buffers of other modules under one roof, as a unit of exchange."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)


class TunedModel(ClientModel):
    """Encoders, projectors and adapters, trained by F's next-token loss on the answers of a client's questions.

    Its units' tensors are those of :attr:`injected`: what is loaded into the flat buffer is what F answers with.

    Args:
        asked: task name -> the task, whose prompts are put to F.
        chosen: which foundation model, and how it is asked.
        adapter: what is trained inside F: nothing (``none``, projectors alone) or one LoRA.
        seed: initial weights.
        how: everything else that :class:`ClientModel` takes.

    Raises:
        InputError: the foundation model can't be read, or does not fit the choice.
    """

    def __init__(
        self, asked: Mapping[str, Task], chosen: FoundationModel, adapter: AdapterChoice, *, seed: int, **how: Any
    ) -> None:
        self._asked, self._chosen, self._adapter, self._seed = dict(asked), chosen, adapter, seed
        self._known = how["encoders"]
        super().__init__({name: task.meta.modalities for name, task in asked.items()}, seed=seed, **how)

    injected: Injected

    def make_units(self) -> dict[str, nn.Module]:
        """Encoders and what is injected; there are no decoders, F answers."""
        self.decoders = nn.ModuleDict()
        language = build(
            self._chosen.foundation, device=next(self.parameters()).device, prompt_format=self._chosen.prompt_format,
            gradient_checkpointing=self._chosen.gradient_checkpointing,
            trust_remote_code=self._chosen.trust_remote_code,
        )  # fmt: skip
        self.injected = Injected(
            language, self, self._adapter, seed=self._seed, scale_soft=self._chosen.scale_soft,
            direct=self._chosen.direct, contexts=[described(task).context for task in self._asked.values()],
            latents=self._chosen.latents, known=self._known,
        )  # fmt: skip
        self.projectors = self.injected.projectors
        self.adapters = nn.ModuleDict()
        if self.injected.adapters is not None:
            low = self.injected.adapters.low_rank
            for which in ("A", "B", *(["W"] if self._adapter.absorbs else [])):
                self.adapters[which] = Tensors({name: getattr(one, which) for name, one in low.items()})
        units: dict[str, nn.Module] = {f"encoder.{m}": e for m, e in self.encoders.items()}
        units |= {f"projector.{m}": p for m, p in self.projectors.items() if any(True for _ in p.parameters())}
        return units | {f"adapter.{which}": tensors for which, tensors in self.adapters.items()}

    @property
    def held_beside(self) -> int:
        """The foundation model's own weights."""
        return sum(p.numel() * p.element_size() for p in self.injected.language.model.parameters())

    def units(self, task: str, lacking: Collection[str] = ()) -> tuple[str, ...]:
        """See :class:`ClientModel`: encoder and projector of each modality, and the adapters, which all tasks share."""
        read = [m for m in self.tasks[task] if m not in lacking]
        wanted = {f"{kind}.{m}" for kind in ("encoder", "projector") for m in read} | {"adapter.A", "adapter.B"}
        return tuple(unit for unit in self._units if unit in wanted and unit not in self.frozen)

    def batch(self, task: str, part: CohortPart, index: np.ndarray, labels: Tensor) -> Batch:
        """See :class:`ClientModel`; with the samples' prompts and answers."""
        plain = super().batch(task, part, index, labels)
        questions, answers = part.questions, part.answers
        texts = {
            _PROMPTS: [self._asked[task].ask(str(questions[i])) for i in index],
            _ANSWERS: [str(answers[i]) for i in index],
        }
        return Batch(task, {**plain.inputs, **texts}, plain.labels, plain.index)

    def forward(self, task: str, inputs: Mapping[str, Any]) -> Outputs:
        """The summed next-token loss of each answer and its tokens; features are the mean soft token of each sample."""
        injected, asked = self.injected, self._asked[task]
        soft, real, prompts = injected.ask(self, asked, inputs, inputs[_PROMPTS])
        with injected.gated(asked):
            losses, tokens = injected.language.answer_losses(soft, real, prompts, inputs[_ANSWERS])
        there = real.unsqueeze(-1).to(soft.dtype)
        return Outputs(losses, (soft * there).sum(dim=1) / there.sum(dim=1).clamp(min=1), tokens)

    def columns(self, task: str) -> dict[str, slice]:
        """See :class:`ClientModel`.

        Raises:
            RunFailed: always, for the features of this model are of all modalities together.
        """
        raise RunFailed("clients that tune the foundation model have no features of each modality by itself")

    def imitation(self, outputs: Outputs, wanted: Tensor, task: str) -> Tensor:
        """See :class:`ClientModel`.

        Raises:
            RunFailed: always, for this model gives answers and no logits.
        """
        raise RunFailed("clients that tune the foundation model answer in words and have no logits to be distilled")

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The mean over all answer tokens of the batch, a scalar."""
        assert outputs.tokens is not None
        return outputs.logits.sum() / outputs.tokens.sum()
