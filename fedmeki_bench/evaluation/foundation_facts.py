"""What injection did to the foundation model beside the scores: which experts carry a task, and what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from fedmeki_bench.foundation.injected import TEXT_ONLY, Injected, described
from fedmeki_bench.foundation.own_answers import own_answers
from fedmeki_bench.records.record import FoundationFacts, GateFacts

if TYPE_CHECKING:
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.foundation.tiny_text import Question
    from fedmeki_bench.task import Task

_QUESTIONS = 200
_BATCH = 100
_NEW_TOKENS = 12
_SEED = 1  # the same questions for every run, so that before and after, and run and run, can be compared


def foundation_facts(federation: Federation, tasks: Mapping[str, Task]) -> FoundationFacts | None:
    """Routing per task, forgetting on plain text, losses; None for stages without a foundation model."""
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        return None
    injected.eval()
    routing = {}
    with torch.no_grad():
        for name, task in tasks.items():
            alpha = injected.alpha(described(task)) if injected.applies(task) else None
            if alpha is not None:
                routing[name] = [round(float(a), 6) for a in alpha]
    return FoundationFacts(
        name=injected.language.name,
        adapter=asdict(injected.adapter),
        parameters=sum(p.numel() for p in injected.trainable()),
        loss=list(federation.at_server.memory.get("injection_loss", [])),
        routing=routing,
        gate=gate_facts(routing),
        forgetting=forgetting(injected),
    )


def gate_facts(routing: Mapping[str, Sequence[float]]) -> GateFacts | None:
    """How far the gate tells these tasks apart; None for fewer than two tasks or one expert."""
    if len(routing) < 2 or len(next(iter(routing.values()))) < 2:
        return None
    alphas = torch.tensor(list(routing.values()), dtype=torch.float64)
    distances = torch.nn.functional.pdist(alphas, p=1)
    load = alphas.mean(dim=0)
    return GateFacts(
        distance=round(float(distances.mean()), 6),
        largest_distance=round(float(distances.max()), 6),
        overlap=round(1 - float(distances.mean()) / 2, 6),
        load=[round(float(weight), 6) for weight in load],
        experts=round(float(torch.special.entr(load).sum().exp()), 4),
    )


def forgetting(injected: Injected) -> dict[str, float]:
    """Share of plain-text questions answered exactly right by F as it was, and with the adapters in.

    Without adapters F is the same model before and after, so the two shares are equal by construction. Adapters are
    gated as for a text-only task.
    """
    from fedmeki_bench.foundation.tiny_text import plain_text_questions

    asked = plain_text_questions(_QUESTIONS, seed=_SEED)
    own = own_answers(injected, [question.prompt for question in asked], (), _NEW_TOKENS, batch=_BATCH)
    before = _share(own.text, asked)
    after = before
    if injected.adapters is not None:
        with injected.merged(TEXT_ONLY):
            after = _right(injected, asked)
    return {"before": before, "after": after, "n": float(len(asked))}


def _right(injected: Injected, asked: Sequence[Question]) -> float:
    """Share of exact answers of F under whatever is merged into it now."""
    said: list[str] = []
    for start in range(0, len(asked), _BATCH):
        prompts = [question.prompt for question in asked[start : start + _BATCH]]
        said += injected.language.generate(None, None, prompts, _NEW_TOKENS)
    return _share(said, asked)


def _share(said: Sequence[str], asked: Sequence[Question]) -> float:
    right = [s.strip().lower() == q.answer.strip().lower() for s, q in zip(said, asked, strict=True)]
    return sum(right) / len(right)
