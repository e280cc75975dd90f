"""Which model is scored: each view turns a trained federation and samples into probabilities or answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.foundation.injected import described

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.federation.server import Server, ServerContext
    from fedmeki_bench.federation.stage import Stage
    from fedmeki_bench.foundation.injected import Injected
    from fedmeki_bench.foundation.language import Language
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.profiles import Profile
    from fedmeki_bench.task import Task

_BATCH = 256
_ANSWER_BATCH = 64
_NEW_TOKENS = {"yes or no": 6, "free text": 32}
"""Tokens an answer may have: yes and no need few in any tokenizer, the longest gold answers about thirty."""


class Served(Protocol):
    """What a view asks: a federation, or a kept model that was opened again."""

    model: ClientModel
    server: Server
    stage: Stage
    at_server: ServerContext
    settings: Profile


View = Callable[["Federation", str, "CohortPart"], np.ndarray]


def probabilities(model: ClientModel, task: str, part: CohortPart, *, precision: str = "float32") -> np.ndarray:
    """Probability of the positive class for each sample, (n,), in evaluation mode; float64."""
    model.eval()
    autocast = torch.autocast(model.device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    found = []
    with torch.no_grad(), autocast:
        for start in range(0, len(part), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(part)))
            logits = model(task, model.to_inputs(part.batch(index))).logits
            found.append(torch.sigmoid(logits.double()).cpu().numpy())
    return np.concatenate(found) if found else np.empty(0)


def aggregated(federation: Served, task: str, part: CohortPart) -> np.ndarray:
    """The global model: encoders and the task's decoder as they stand on the server."""
    federation.model.load(federation.server.model)
    return probabilities(federation.model, task, part, precision=federation.settings.precision)


def personal(federation: Federation, task: str, part: CohortPart) -> np.ndarray:
    """Every client's own model on the same samples: (clients, n); clients without the task are left out."""
    rows = []
    for client in federation.clients:
        ctx = federation.context(client.number, federation.server.round)
        if task not in ctx.data:
            continue
        federation.load_personal(ctx)
        rows.append(probabilities(federation.model, task, part, precision=federation.settings.precision))
    if not rows:
        raise RunFailed(f"no client holds data for the task {task!r}")
    return np.stack(rows)


def constant(federation: Federation, task: str, part: CohortPart) -> np.ndarray:
    """The share of positives that the clients reported, whatever the sample."""
    prevalence = federation.server.memory.get("prevalence", {})
    if task not in prevalence:
        raise RunFailed(f"rule {type(federation.rule).__name__} left no prevalence for the task {task!r}")
    return np.full(len(part), float(prevalence[task]))


@dataclass(frozen=True, slots=True)
class Answers:
    """What the foundation model says about n samples.

    Attributes:
        text: n greedy answers as generated.
        parsed: n readings of them by the task's own strict parser; None where it reads nothing.
        probability: (n,) probability of yes against no by the likelihood of the two answers; None for free text.
    """

    text: list[str]
    parsed: list[int | str | None]
    probability: np.ndarray | None


def foundation(federation: Served, task: Task, part: CohortPart) -> Answers | None:
    """The injected foundation model, answering in text; None where a modality of the task was never trained.

    Greedy decoding; adapters are folded into the weights under the task's gate and taken out again afterwards.
    """
    injected = _injected(federation)
    if not injected.applies(task):
        return None
    model = federation.model
    model.load(federation.server.model)
    model.eval()
    injected.eval()
    said = _Said(injected.language, task)
    questions = part.questions
    with torch.no_grad(), injected.merged(described(task)):
        for start in range(0, len(part), _ANSWER_BATCH):
            index = np.arange(start, min(start + _ANSWER_BATCH, len(part)))
            soft, there = injected.soft(model, task.meta.modalities, model.to_inputs(part.batch(index)))
            said.add([task.prompt(str(questions[i])) for i in index], soft, there)
    return said.answers(np.arange(len(part)))


def foundation_blind(federation: Served, task: Task, part: CohortPart) -> Answers | None:
    """The injected foundation model without the soft tokens: a control that says what the wording alone gives away."""
    injected = _injected(federation)
    return _in_words(injected, task, part, injected.merged(described(task))) if injected.applies(task) else None


def foundation_alone(federation: Served, task: Task, part: CohortPart) -> Answers:
    """The same questions in words only, put to the foundation model as it was before injection: where it starts."""
    injected = _injected(federation)
    return _in_words(injected, task, part, injected.silenced())


def _in_words(injected: Injected, task: Task, part: CohortPart, state: AbstractContextManager[Any]) -> Answers:
    """Answers to questions in words alone; equal ones get equal answers and are put once."""
    injected.eval()
    asked = [str(q) for q in part.questions]
    place = {question: i for i, question in enumerate(dict.fromkeys(asked))}
    prompts = [task.prompt(question) for question in place]
    said = _Said(injected.language, task)
    with torch.no_grad(), state:
        for start in range(0, len(prompts), _ANSWER_BATCH):
            said.add(prompts[start : start + _ANSWER_BATCH], None, None)
    return said.answers(np.array([place[question] for question in asked], dtype=np.int64))


class _Said:
    """What a language model in its present state says to the prompts of a task, batch by batch."""

    def __init__(self, language: Language, task: Task) -> None:
        self._language, self._task = language, task
        self._binary = task.meta.kind == "classification"
        self._text: list[str] = []
        self._probability: list[np.ndarray] = []

    def add(self, prompts: Sequence[str], soft: torch.Tensor | None, there: torch.Tensor | None) -> None:
        """Put a batch of prompts after their soft tokens."""
        longest = _NEW_TOKENS["yes or no" if self._binary else "free text"]
        if not self._binary:
            self._text += self._language.generate(soft, there, prompts, longest)
            return
        text, likelihood = self._language.answer(soft, there, prompts, ["no", "yes"], longest)
        self._text += text
        self._probability.append(torch.softmax(likelihood.double(), dim=1)[:, 1].cpu().numpy())

    def answers(self, which: np.ndarray) -> Answers:
        """The answers to these of the prompts, in this order."""
        text = [self._text[i] for i in which]
        probability = np.concatenate(self._probability)[which] if self._probability else None
        return Answers(text, [self._task.parse(t) for t in text], probability)


def _injected(federation: Served) -> Injected:
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        raise RunFailed(f"stage {type(federation.stage).__name__} leaves no foundation model to be asked")
    return injected


VIEWS: dict[str, View] = {"aggregated": aggregated, "personal": personal, "constant": constant}
