"""What injection did to the foundation model beside the scores: which experts carry a task, and what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from fedmeki_bench.models.injected import TEXT_ONLY, Injected, description
from fedmeki_bench.results.record import FoundationFacts

if TYPE_CHECKING:
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.models.foundation.tiny_text import Question
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
            alpha = injected.alpha(description(task), task.meta.modalities) if injected.applies(task) else None
            if alpha is not None:
                routing[name] = [round(float(a), 6) for a in alpha]
    return FoundationFacts(
        name=injected.language.name,
        adapter=asdict(injected.adapter),
        parameters=sum(p.numel() for p in injected.trainable()),
        loss=list(federation.server.memory.get("injection_loss", [])),
        routing=routing,
        forgetting=forgetting(injected),
    )


def forgetting(injected: Injected) -> dict[str, float]:
    """Share of plain-text questions answered exactly right by F as it was, and with the adapters in.

    Without adapters F is the same model before and after, so the two shares are equal by construction. Adapters are
    gated as for a text-only task.
    """
    from fedmeki_bench.models.foundation.tiny_text import plain_text_questions

    asked = plain_text_questions(_QUESTIONS, seed=_SEED)
    with injected.silenced():
        before = _right(injected, asked)
    after = before
    if injected.adapters is not None:
        with injected.merged(TEXT_ONLY, ("text",)):
            after = _right(injected, asked)
    return {"before": before, "after": after, "n": float(len(asked))}


def _right(injected: Injected, asked: Sequence[Question]) -> float:
    """Share of exact answers of F under whatever is merged into it now."""
    said: list[str] = []
    for start in range(0, len(asked), _BATCH):
        prompts = [question.prompt for question in asked[start : start + _BATCH]]
        said += injected.language.generate(None, None, prompts, _NEW_TOKENS)
    right = [s.strip().lower() == q.answer.strip().lower() for s, q in zip(said, asked, strict=True)]
    return sum(right) / len(right)
