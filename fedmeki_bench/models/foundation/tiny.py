"""``tiny``: a stand-in foundation model, a small Llama-style decoder built once on this machine in about half a minute.

It knows the wording of questions and how to look an answer up in the text before it, nothing about medicine. It
exists so that the demo and the tests have a frozen language model to inject into; figures obtained with it say
nothing about medical foundation models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedmeki_bench import seeds
from fedmeki_bench.cache import CACHE_VARIABLE, cache_folder
from fedmeki_bench.digests import file_digest, known_digest
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.files import replacing
from fedmeki_bench.models.foundation.language import Language
from fedmeki_bench.models.foundation.quiet import quiet
from fedmeki_bench.models.foundation.tiny_config import RECIPE_VERSION, TEXT_VERSION, TinyConfig
from fedmeki_bench.models.foundation.tiny_text import Question, training_questions

Progress = Callable[[int, int, float], None]
"""Called after each step with steps done, steps in all, and the loss of the answers."""

_PAD, _BOS, _EOS = 0, 1, 2
_PROMPT_WEIGHT = 0.1
_BUCKET = 8
_FILLER_SHARE, _FILLER_LONGEST = 0.1, 32


def tiny_folder(
    config: TinyConfig | None = None, *, cache: Path | None = None, progress: Progress | None = None
) -> Path:
    """The folder of the built model, an ordinary one saved by transformers; builds it if it is not there.

    A second process waits for the first. The folder appears complete or not at all.
    """
    from filelock import FileLock

    config = config or TinyConfig()
    root = cache or cache_folder()
    folder = root / f"tiny-{config.key}"
    if _whole(folder):
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"tiny-{config.key}.lock"):
            if not _whole(folder):
                _build(config, folder, progress)
    except OSError as error:
        raise RunFailed(
            f"cannot build the stand-in model in {root}: {error.strerror or error}; "
            f"set {CACHE_VARIABLE} to a folder that can be written to"
        ) from error
    return folder


def _build(config: TinyConfig, folder: Path, progress: Progress | None) -> None:
    with replacing(folder) as partial:
        partial.mkdir()
        model, tokenizer, loss = pretrain(config, progress)
        with quiet():
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        files = {file.name: file_digest(file) for file in sorted(partial.iterdir())}
        card = {"config": asdict(config), "text": TEXT_VERSION, "recipe": RECIPE_VERSION, "loss": loss, "files": files}
        (partial / "tiny.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _whole(folder: Path) -> bool:
    """Whether the built model is there and its files are as they were written; a damaged one is built again."""
    try:
        card = json.loads((folder / "tiny.json").read_text(encoding="utf-8"))
        return all(known_digest(folder / name) == digest for name, digest in card.get("files", {}).items())
    except (OSError, ValueError, AttributeError):
        return False


def pretrain(config: TinyConfig, progress: Progress | None = None) -> tuple[Any, Any, float]:
    """Train the model from scratch: (model, tokenizer, last loss of the answers). The same bits on the same machine.

    Runs on one thread, whatever the caller's setting, because the number of threads changes the order of sums.
    """
    with _one_thread(), torch.enable_grad():
        text = training_questions(config.seed, config.extra_prompts)
        tokenizer = train_tokenizer(config, [f"{q.prompt} {q.answer}" for q in islice(text, 4000)])
        model = _untrained(config, len(tokenizer))
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, betas=(0.9, 0.98), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config.steps))
        loss = math.nan
        for step, (ids, weights) in enumerate(islice(_batches(config, text, tokenizer), config.steps)):
            logits = model(input_ids=ids).logits[:, :-1]
            each = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            weights = weights[:, 1:].flatten()
            ((each * weights).sum() / weights.sum()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            loss = each.detach()[weights == 1].mean().item()
            if progress is not None:
                progress(step + 1, config.steps, loss)
    return model.eval(), tokenizer, loss


def train_tokenizer(config: TinyConfig, texts: Sequence[str]) -> Any:
    """A byte-level BPE tokenizer that reads any text and puts BOS before it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>"]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", _BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=special[_PAD],
        bos_token=special[_BOS],
        eos_token=special[_EOS],
        model_max_length=config.positions,
        clean_up_tokenization_spaces=False,
    )


def accuracy(language: Language, questions: Sequence[Question], *, batch: int = 16) -> float:
    """Share of questions whose greedy answer is the right one word for word.

    Before an injection and after it, the difference is what the model forgot.
    """
    right = 0
    for start in range(0, len(questions), batch):
        part = questions[start : start + batch]
        said = language.generate(None, None, [q.prompt for q in part], 8)
        right += sum(text == q.answer for text, q in zip(said, part, strict=True))
    return right / max(len(questions), 1)


def _untrained(config: TinyConfig, vocabulary: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        vocab_size=vocabulary, hidden_size=config.hidden, intermediate_size=config.intermediate,
        num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=config.heads,
        max_position_embeddings=config.positions, tie_word_embeddings=True, initializer_range=0.05,
        pad_token_id=_PAD, bos_token_id=_BOS, eos_token_id=_EOS,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(config.seed, "tiny", "init"))
        return LlamaForCausalLM(shape).float().train()


def _batches(config: TinyConfig, text: Iterator[Question], tokenizer: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and loss weights, (batch, length) each; questions of like length together, to waste little padding.

    A tenth of the batches carry up to 32 random tokens after BOS: the model learns that a prompt may follow
    something it cannot read, as soft tokens are at first.
    """
    stream = seeds.generator(config.seed, "tiny", "batches")

    def ids_of(piece: str) -> list[int]:
        return tokenizer(piece, add_special_tokens=False)["input_ids"]

    while True:
        questions = sorted(
            ((ids_of(q.prompt), ids_of(f" {q.answer}")) for q in islice(text, _BUCKET * config.batch)),
            key=lambda pair: len(pair[0]) + len(pair[1]),
        )
        for i in stream.permutation(_BUCKET):
            length = int(stream.integers(1, _FILLER_LONGEST + 1)) if stream.random() < _FILLER_SHARE else 0
            fillers = stream.integers(_EOS + 1, len(tokenizer), (config.batch, length)).tolist()
            part = questions[i * config.batch : (i + 1) * config.batch]
            yield _padded([_row(filler, *pair) for filler, pair in zip(fillers, part, strict=True)])


def _row(filler: list[int], prompt: list[int], answer: list[int]) -> tuple[list[int], list[float]]:
    """Ids and weights of one question: 1 on the answer and EOS, 0.1 on the prompt, 0 on BOS and filler."""
    ids = [_BOS, *filler, *prompt, *answer, _EOS]
    weights = [0.0] * (1 + len(filler)) + [_PROMPT_WEIGHT] * len(prompt) + [1.0] * (len(answer) + 1)
    return ids, weights


def _padded(rows: Sequence[tuple[list[int], list[float]]]) -> tuple[Tensor, Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([[*row, *[_PAD] * (longest - len(row))] for row, _ in rows])
    return ids, torch.tensor([[*weights, *[0.0] * (longest - len(weights))] for _, weights in rows])


def _rate(step: int, steps: int) -> float:
    """Linear warm-up over 30 steps, then a cosine down to 5 %."""
    return min(1.0, (step + 1) / 30) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1))))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
