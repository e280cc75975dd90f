"""Which model is scored: each view turns a trained federation and samples into probabilities or answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.models.injected import description

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import CohortPart
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.task import Task

_BATCH = 256
_ANSWER_BATCH = 64
_NEW_TOKENS = {"yes or no": 6, "free text": 32}
"""Tokens an answer may have: yes and no need few in any tokenizer, the longest gold answers about thirty."""

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


def aggregated(federation: Federation, task: str, part: CohortPart) -> np.ndarray:
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


def foundation(federation: Federation, task: Task, part: CohortPart) -> Answers | None:
    """The injected foundation model, answering in text; None where a modality of the task was never trained.

    Greedy decoding; adapters are folded into the weights under the task's gate and taken out again afterwards.
    """
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        raise RunFailed(f"stage {type(federation.stage).__name__} leaves no foundation model to be asked")
    if not injected.applies(task):
        return None
    model, language = federation.model, injected.language
    model.load(federation.server.model)
    model.eval()
    injected.eval()
    binary = task.meta.kind == "classification"
    questions = part.questions
    text: list[str] = []
    found: list[np.ndarray] = []
    with torch.no_grad(), injected.merged(description(task), task.meta.modalities):
        for start in range(0, len(part), _ANSWER_BATCH):
            index = np.arange(start, min(start + _ANSWER_BATCH, len(part)))
            soft, there = injected.soft(model, task.meta.modalities, model.to_inputs(part.batch(index)))
            prompts = [task.prompt(str(questions[i])) for i in index]
            text += language.generate(soft, there, prompts, _NEW_TOKENS["yes or no" if binary else "free text"])
            if binary:
                likelihood = language.score(soft, there, prompts, ["no", "yes"]).double()
                found.append(torch.softmax(likelihood, dim=1)[:, 1].cpu().numpy())
    return Answers(text, [task.parse(t) for t in text], np.concatenate(found) if found else None)


def foundation_alone(federation: Federation, task: Task, part: CohortPart) -> Answers:
    """The same questions in words only, put to the foundation model as it was before injection.

    It sees none of the data, so equal questions get equal answers and are put once. This is where injection starts.
    """
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        raise RunFailed(f"stage {type(federation.stage).__name__} leaves no foundation model to be asked")
    language = injected.language
    injected.eval()
    binary = task.meta.kind == "classification"
    asked = [str(q) for q in part.questions]
    place = {question: i for i, question in enumerate(dict.fromkeys(asked))}
    prompts = [task.prompt(question) for question in place]
    text: list[str] = []
    found: list[np.ndarray] = []
    with torch.no_grad(), injected.silenced():
        for start in range(0, len(prompts), _ANSWER_BATCH):
            batch = prompts[start : start + _ANSWER_BATCH]
            text += language.generate(None, None, batch, _NEW_TOKENS["yes or no" if binary else "free text"])
            if binary:
                likelihood = language.score(None, None, batch, ["no", "yes"]).double()
                found.append(torch.softmax(likelihood, dim=1)[:, 1].cpu().numpy())
    which = [place[question] for question in asked]
    text = [text[i] for i in which]
    probability = np.concatenate(found)[which] if found else None
    return Answers(text, [task.parse(t) for t in text], probability)


VIEWS: dict[str, View] = {"aggregated": aggregated, "personal": personal, "constant": constant}
