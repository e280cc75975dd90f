"""``tiny``: a stand-in foundation model, a small Llama-style decoder built once on this machine in about two minutes.

It finds what is asked for among the words before the question, by any of its names, and knows how the findings of the
stand-ins are related; nothing else of medicine. It exists so that demo and tests have a frozen language model to inject
into; figures obtained with it say nothing about medical foundation models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
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
from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.quiet import quiet
from fedmeki_bench.foundation.tiny_config import RECIPE_VERSION, TEXT_VERSION, TinyConfig
from fedmeki_bench.foundation.tiny_text import Passage, Question, passages, words

Progress = Callable[[int, int, float], None]
"""Called after each step with steps done, steps in all, and the loss of the answers."""

_PAD, _BOS, _EOS = 0, 1, 2
_UNASKED = -100
_LONGEST = 24


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

    Runs on one thread, whatever the caller's setting, because the number of threads changes the order of sums. The
    loss is taken on answers alone.
    """
    with _one_thread(), torch.enable_grad():
        text = passages(config.seed, related=config.related, together=config.batch)
        sample = islice(passages(config.seed + 1, related=config.related), 2000)
        tokenizer = train_tokenizer(config, [_written(passage, config.closing) for passage in sample])
        model = _untrained(config, len(tokenizer))
        _bring_together(model, tokenizer, config)
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, betas=(0.9, 0.98), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config.steps))
        loss = math.nan
        for step, (ids, targets) in enumerate(islice(_batches(config, text, tokenizer), config.steps)):
            hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
            answered = targets[:, 1:] != _UNASKED
            each = nn.functional.cross_entropy(model.lm_head(hidden[answered]), targets[:, 1:][answered])
            each.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            loss = float(each.detach())
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
        said = language.generate(None, None, [q.prompt for q in part], _LONGEST)
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


def _written(passage: Passage, closing: str) -> str:
    return passage.report + "".join(f"\n{q.prompt}{closing} {q.answer}" for q in passage.questions)


@torch.no_grad()
def _bring_together(model: Any, tokenizer: Any, config: TinyConfig) -> None:
    """Let the names of one thing start as neighbours in the embedding, as they are in a model trained on much text.

    Without it the relations are learned too, but not in two minutes (docs/foundation.md has both).
    """
    if config.apart is None:
        return
    table = model.get_input_embeddings().weight
    for names in words(config.related).things.values():
        first, *others = ([*tokenizer(f" {n}", add_special_tokens=False)["input_ids"]][-1] for n in names)
        for other in others:
            if other != first:
                table[other] = table[first] + config.apart * table[other]


def _batches(config: TinyConfig, text: Iterator[Passage], tokenizer: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and targets, (batch, length) each; targets are the ids where an answer and its EOS stand.

    A row is BOS, a report, and questions with their answers. A report ends in a line break or in nothing, as a row of
    soft tokens does; a prompt is read by itself, as after soft tokens.
    """
    stream = seeds.generator(config.seed, "tiny", "batches")

    @cache
    def ids_of(piece: str) -> tuple[int, ...]:
        return tuple(tokenizer(piece, add_special_tokens=False)["input_ids"])

    while True:
        rows = []
        for passage in islice(text, config.batch):
            ids = [_BOS, *(i for word in passage.report.split() for i in ids_of(f" {word}"))]
            ids += ids_of("\n") if stream.random() < 0.5 else ()
            targets = [_UNASKED] * len(ids)
            for question in passage.questions:
                prompt, answer = ids_of(question.prompt + config.closing), (*ids_of(f" {question.answer}"), _EOS)
                ids += [*prompt, *answer]
                targets += [*[_UNASKED] * len(prompt), *answer]
            rows.append((ids, targets))
        longest = max(len(ids) for ids, _ in rows)
        yield (
            torch.tensor([[*ids, *[_PAD] * (longest - len(ids))] for ids, _ in rows]),
            torch.tensor([[*targets, *[_UNASKED] * (longest - len(targets))] for _, targets in rows]),
        )


def _rate(step: int, steps: int) -> float:
    """Linear warm-up over 50 steps, then a cosine down to 5 %."""
    return min(1.0, (step + 1) / 50) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1))))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
