"""Little federations over the generated cohorts, and how two of them are compared bit for bit."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmeki_bench import registry
from fedmeki_bench.conformance import loading, toys
from fedmeki_bench.conformance.paired_toys import EITHER, paired_cohort
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.data.cohort import Cohort, CohortPart, TestSplitSealed
from fedmeki_bench.evaluation.view import Answers
from fedmeki_bench.evaluation.view import view as view_of
from fedmeki_bench.federation.client import Client, ClientContext
from fedmeki_bench.federation.curriculum import Curriculum
from fedmeki_bench.federation.engine import Sequential
from fedmeki_bench.federation.exchange import Send, Work, one_by_one
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.models.flat import FlatTensors
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.profiles import EncoderChoice, Profile
from fedmeki_bench.task import Task

IMAGE, SIGNAL, CLINICAL = ("left",), ("fast",), ("high",)
SINGLE = {"image": IMAGE, "signal": SIGNAL, "clinical": CLINICAL}
PAIRED = EITHER.meta.name
MULTI = ("left", "above", "fast", "high")
"""Two tasks share the picture encoder, which has batch norm; so has the signal encoder, and the clinical dropout."""

_SIZES = ((16, 11, 8), (40, 30, 20))
_ENCODERS = {
    "image": EncoderChoice(name="small_image", params={"width": 8}),
    "signal": EncoderChoice(name="small_signal", params={"width": 8}),
    "clinical": EncoderChoice(name="clinical", params={"width": 8, "hidden": 8, "heads": 2}),
}


@cache
def _smallest() -> tuple[tempfile.TemporaryDirectory[str], str]:
    from fedmeki_bench.foundation.tiny import tiny_folder
    from fedmeki_bench.foundation.tiny_config import TinyConfig

    smallest = TinyConfig(hidden=16, layers=1, heads=2, intermediate=32, vocabulary=300, steps=1, batch=2)
    folder = tempfile.TemporaryDirectory(prefix="fedmeki-bench-check-")
    return folder, str(tiny_folder(smallest, cache=Path(folder.name)))


def smallest_foundation() -> str:
    """A language model of the smallest size, hardly trained, in a folder that goes with the process."""
    return _smallest()[1]


def _stage_of(rule: Rule) -> Stage:
    """The stage that a rule is about, with the smallest language model; none for most."""
    if not rule.needs_stage:
        return Stage()
    cls = registry.load("stages", rule.needs_stage)
    given = {"foundation": smallest_foundation()} if "foundation" in cls.Params.model_fields else {}
    found: Stage = cls(cls.Params(**given))
    return found


def profile(**settings: Any) -> Profile:
    """The suite's budget."""
    chosen = {"rounds": 2, "local_epochs": 1, "batch_size": 8, "lr": 0.01, "image_size": toys.SIDE, "threads": 1}
    return Profile(name="conformance", encoders=_ENCODERS, **(chosen | settings))


def build(
    rule: Rule, tasks: Sequence[str], *, clients: int = 3, stage: Stage | None = None, folder: Path | None = None,
    seed: int = 0, altered: tuple[str, ...] = (), uneven: bool = False, large: bool = False, phases: bool = False,
    **settings: Any,
) -> Federation:  # fmt: skip
    """A federation that has not run yet.

    Args:
        rule, stage: the algorithm; no stage by default.
        tasks: which of the generated tasks: of :data:`toys.TASKS`, of :data:`toys.KINDS`, or the paired one.
        altered: splits whose content is another one than usual.
        uneven: the second client has no data, the third only the first task.
        large: clients hold more samples.
        phases: the tasks follow one another, a round each, in their order.
        settings: fields of the profile.
    """
    every = toys.TASKS | toys.KINDS | {EITHER.meta.name: EITHER}
    found = toys.kind_cohorts() if set(tasks) & set(toys.KINDS) else toys.cohorts(altered)
    cohorts = {task: paired_cohort() if task == EITHER.meta.name else found[task] for task in tasks}
    chosen = profile(**settings | ({"rounds": len(tasks)} if phases else {}))
    stage = stage or _stage_of(rule)
    model = stage.client_model(
        {task: every[task] for task in tasks},
        inputs=inputs_of(cohorts.values(), chosen),
        encoders={modality: (choice.name, choice.params) for modality, choice in chosen.encoders.items()},
        hidden={},
        seed=seed,
        labels={task: cohort.learnt for task, cohort in cohorts.items() if cohort.learnt is not None},
        optional={task: cohort.optional for task, cohort in cohorts.items()},
    )
    private = [
        Client(number, {task: _share(cohorts[task], number, large) for task in tasks}) for number in range(clients)
    ]
    if uneven:
        private[1].data = {}
        private[2].data = {tasks[0]: private[2].data[tasks[0]]}
    public = {task: cohort.part("public") for task, cohort in cohorts.items()}
    return Federation(
        model, rule, stage, private, public, chosen, seed=seed, folder=folder,
        tasks={task: every[task] for task in tasks},
        curriculum=Curriculum(tuple(tasks), (1,) * len(tasks)) if phases else None,
    )  # fmt: skip


def _share(cohort: Cohort, client: int, large: bool) -> CohortPart:
    """A client's own samples: an uneven number, none of them another client's."""
    part = cohort.part("client")
    sizes = _SIZES[large]
    start = sum(sizes[k % len(sizes)] for k in range(client))
    return part.take(np.arange(start, min(start + sizes[client % len(sizes)], len(part))))


def views(federation: Federation) -> list[str]:
    """The views that score what a rule leaves; a stage whose clients train something else has others in their place."""
    return [federation.stage.instead.get(view, view) for view in federation.rule.views]


def scores(federation: Federation, name: str, task: Task, part: CohortPart) -> np.ndarray:
    """What a view says of samples, of a view in words by the likelihood of its answers."""
    found = view_of(name).predict(federation, task, part)
    if isinstance(found, Answers):
        found = found.scores
    assert isinstance(found, np.ndarray)
    return found


def finish(federation: Federation) -> Federation:
    """Run all rounds that are left."""
    for _ in federation.run():
        pass
    return federation


class Watching:
    """Runs clients as usual, backwards if so wished, and shows each exchange to a watcher."""

    def __init__(
        self,
        *,
        before: Callable[[ClientContext, Payload], None] | None = None,
        after: Callable[[ClientContext, Payload, Update], None] | None = None,
        backwards: bool = False,
    ) -> None:
        self._before, self._after, self._backwards = before, after, backwards

    def __call__(
        self, rule: Rule, contexts: Iterable[ClientContext], send: Send, work: Work = "client_update"
    ) -> Iterator[Update]:
        """See :func:`one_by_one`; updates come back in client order whatever the order of work."""
        if self._backwards:
            done = [u for ctx in reversed(list(contexts)) for u in self._one(rule, ctx, send, work)]
            yield from sorted(done, key=lambda update: update.client)
            return
        for ctx in contexts:
            yield from self._one(rule, ctx, send, work)

    def _one(self, rule: Rule, ctx: ClientContext, send: Send, work: Work) -> Iterator[Update]:
        received: list[Payload] = []

        def shown(ctx: ClientContext) -> Payload:
            received.append(send(ctx))
            if self._before:
                self._before(ctx, received[-1])
            return received[-1]

        for update in one_by_one(rule, [ctx], shown, work):
            if self._after:
                self._after(ctx, received[-1], update)
            yield update


def watched(federation: Federation, **how: Any) -> Federation:
    """The same federation, its clients executed by :class:`Watching`."""
    assert isinstance(federation.engine, Sequential)
    federation.engine.execute = Watching(**how)
    return federation


def plain_bits(subject: Subject) -> dict[str, Any]:
    """What a rule makes of all generated tasks in two rounds; several clauses compare with it."""
    return subject.once("plain", lambda: bits(finish(build(loading.make(subject), MULTI))))


def bits(federation: Federation) -> dict[str, Any]:
    """Everything a federation holds, copied: global model, memories, losses and bytes of its rounds."""
    held: dict[str, Any] = {
        "the global model": federation.server.model,
        "the server's memory": federation.server.memory,
        "the stage's memory": federation.at_server.memory,
    }
    held |= {f"the memory of client {client.number}": client.memory for client in federation.clients}
    held |= {f"what stays at client {client.number}": client.local for client in federation.clients}
    held |= {f"the personal copies of client {client.number}": client.personal for client in federation.clients}
    held["the losses"] = [r.loss for r in federation.history]
    held["the bytes sent"] = [(r.bytes_up, r.bytes_down) for r in federation.history]
    return {name: copied(value) for name, value in held.items()}


def copied(value: Any) -> Any:
    """An independent copy of a memory."""
    if isinstance(value, FlatTensors):
        return value.clone()
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value


def difference(one: Any, other: Any, where: str = "") -> str | None:
    """Where two memories differ first, in words; None if they hold the same bits."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(k for k in other if k not in one)]:
            place = f"{where} under {key!r}" if where else str(key)
            if key not in one or key not in other:
                return f"{place} (missing in one of them)"
            if (found := difference(one[key], other[key], place)) is not None:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        found_each = (difference(a, b, where) for a, b in zip(one, other, strict=True))
        return next((found for found in found_each if found is not None), None)
    if isinstance(one, FlatTensors) and isinstance(other, FlatTensors):
        return None if list(one) == list(other) and _equal(one.flat, other.flat) else where
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return None if _equal(one, other) else where
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return None if np.array_equal(one, other, equal_nan=one.dtype.kind == "f") else where
    same = type(one) is type(other) and (one == other or (one != one and other != other))
    return None if same else where


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan() if one.is_floating_point() else one == other)).all())


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a memory."""
    if isinstance(value, FlatTensors):
        yield value.flat
    elif isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def place(tensor: torch.Tensor) -> int:
    """Where the memory of a tensor begins; two with the same place share it."""
    return tensor.untyped_storage().data_ptr()


@contextlib.contextmanager
def doors_watched(*splits: str) -> Iterator[list[str]]:
    """Inside, asking any cohort for one of ``splits``, by whatever method, is refused and noted."""
    asked: list[str] = []
    plain, private, make = Cohort.part, Cohort._part, CohortPart.__init__

    def refuse(cohort: Cohort, split: str) -> None:
        if split in splits:
            asked.append(f"the {split} split of {cohort.name!r}")
            raise TestSplitSealed(f"the {split} split of {cohort.name!r} is closed here")

    def part(self: Cohort, split: str) -> CohortPart:
        refuse(self, split)
        return plain(self, split)

    def _part(self: Cohort, split: str) -> CohortPart:
        refuse(self, split)
        return private(self, split)

    def init(
        self: CohortPart, cohort: Cohort, split: str, rows: np.ndarray, hidden: frozenset[str] = frozenset()
    ) -> None:
        held = set(np.asarray(cohort._table()["split"])[np.asarray(rows, dtype=np.intp)]) if len(rows) else set()
        for name in {split, *held}:
            refuse(cohort, str(name))
        make(self, cohort, split, rows, hidden)

    patches = {"part": part, "_part": _part}
    try:
        for name, function in patches.items():
            setattr(Cohort, name, function)
        CohortPart.__init__ = init  # type: ignore[method-assign]
        yield asked
    finally:
        Cohort.part, Cohort._part, CohortPart.__init__ = plain, private, make  # type: ignore[method-assign]
