"""Clauses for rules about what is remembered, and where."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from fedmeki_bench.conformance.clause import NotApplicable, Violation
from fedmeki_bench.conformance.loading import make
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.conformance.worlds import MULTI, bits, build, difference, finish, plain_bits
from fedmeki_bench.federation import checkpoint
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.models.flat import FlatTensors


def shared_state(subject: Subject) -> None:
    """Clause ``shared-state``."""

    def second() -> Federation:
        return build(make(subject), MULTI, clients=2, seed=1)

    alone = [plain_bits(subject), bits(finish(second()))]
    together = (build(make(subject), MULTI), second())
    turns = [federation.run() for federation in together]
    for _ in range(max(federation.rounds for federation in together)):
        for turn in turns:
            next(turn, None)
    for lonely, federation in zip(alone, together, strict=True):
        if place := difference(lonely, bits(federation)):
            raise Violation(
                f"{place} is another one when a second federation runs in turn; something is kept on the class or in "
                "the module, where federations share it."
            )


def memory(subject: Subject) -> None:
    """Clause ``memory``."""
    rule = make(subject)
    federation = finish(build(rule, MULTI, uneven=True, phases=rule.phased))
    held = {"server": federation.server.memory, "clients": [client.memory for client in federation.clients]}
    for where, value in _odd(held, "memory"):
        raise Violation(
            f"{where} is of type {type(value).__name__}; tensors, numbers, texts, lists and dicts can be saved."
        )
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), held)
        back = checkpoint.load(Path(folder), federation.server.model.layout)
    if place := difference(_listed(held), back):
        raise Violation(f"{place} is another one after a checkpoint was written and read.")


def _odd(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and not isinstance(value, FlatTensors):
        for key, item in value.items():
            if not isinstance(key, str | int | float):
                yield f"the key {key!r} in {place}", key
            yield from _odd(item, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _odd(item, f"{place}[{number}]")
    elif not (value is None or type(value) in (bool, int, float, str) or isinstance(value, FlatTensors | torch.Tensor)):
        yield place, value


def _listed(value: Any) -> Any:
    """The same memory with tuples as lists, which is how they come back."""
    if isinstance(value, dict) and not isinstance(value, FlatTensors):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def resumes(subject: Subject) -> None:
    """Clause ``resumes``; between the kill and the resumption another federation leaves its traces in the process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def fresh(where: str) -> Federation:
            rule = make(subject)
            return build(
                rule, MULTI, uneven=True, clients=4, rounds=3, folder=folder / where, phases=rule.phased
            )  # fmt: skip

        whole, cut = fresh("whole"), fresh("cut")
        if whole.rounds == 1:
            raise NotApplicable("the rule needs one round, after which there is nothing to resume")
        finish(whole)
        rounds = cut.run()
        next(rounds)
        finish(build(make(subject), MULTI, clients=4, seed=3, rounds=1))
        again = fresh("cut")
        if again.resume() != 1:
            raise Violation("the checkpoint of the first round is not found again.")
        try:
            finish(again)
        except Exception as error:
            raise Violation(
                f"the resumed run failed ({type(error).__name__}: {error}); what a rule remembers belongs in "
                "ctx.memory or server.memory, which are saved, not on self."
            ) from error
        if place := difference(bits(whole), bits(again)):
            raise Violation(
                f"{place} differs from the uninterrupted run; what a rule remembers belongs in ctx.memory or "
                "server.memory, which are saved, not on self, the class or the module."
            )
