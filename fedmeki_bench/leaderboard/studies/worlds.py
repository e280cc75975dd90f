"""The numbers of a board in every world, a point of it under one seed: from its page, or from a published CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.algorithms import Algorithm, table
from fedmeki_bench.bounded import regular_text
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.evaluation.rescoring import metric as metric_called
from fedmeki_bench.plain import plain_text
from fedmeki_bench.statistics.perturbation import Score, World
from fedmeki_bench.statistics.seeds import over_seeds

if TYPE_CHECKING:
    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.evaluation.metric_spec import MetricSpec
    from fedmeki_bench.leaderboard.collect import Collected
    from fedmeki_bench.leaderboard.grid import Facts

SEED, PARTITION = "seed", "partition"
_LARGEST = 200_000_000
_NEEDED = ("algorithm", "task", "partition", "seed", "metric", "value")
_AXIS = "axis "
_EARLIER = {"dealing": PARTITION}
"""Columns under the names that they had in tables of version 0.1."""


@dataclass(frozen=True, slots=True)
class Number:
    """A row's main metric on a task in one world, with its interval over patients and the run behind it.

    ``value`` is None where there is none, and then ``reason`` says why.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    key: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Worlds:
    """A board's numbers in every world.

    Attributes:
        name: of the board or the file.
        worlds: in the order of the board; those of the base first.
        base: how many of them, from the first on, belong to the base (or, without axes, to the first partition).
        rows: name -> title, in order.
        algorithms: the rows themselves, for how their names are written.
        bounds: rows that are no competitors.
        pooled, floor: the row trained on pooled data and the one that learns nothing; empty without.
        tasks: name -> title; those that every competitor answers come into means.
        metrics: task -> its main metric.
        numbers: (row, task) -> a number for each world.
        synthetic: whether any of it comes from generated data.
        unread: tasks that are left out because their metric is not installed here.
    """

    name: str
    worlds: tuple[World, ...]
    base: int
    rows: Mapping[str, str]
    algorithms: tuple[Algorithm, ...]
    bounds: frozenset[str]
    pooled: str
    floor: str
    tasks: Mapping[str, str]
    metrics: Mapping[str, MetricSpec]
    numbers: Mapping[tuple[str, str], tuple[Number, ...]]
    synthetic: bool
    unread: tuple[str, ...] = ()

    @property
    def competitors(self) -> list[str]:
        """The rows that are ranked."""
        return [row for row in self.rows if row not in self.bounds]

    @cached_property
    def ranked_tasks(self) -> list[str]:
        """The tasks that every competitor has a number for in some world; all tasks if there is none."""
        found = [
            task
            for task in self.tasks
            if all(any(n.value is not None for n in self.numbers.get((row, task), ())) for row in self.competitors)
        ]
        return found or list(self.tasks)

    def score(self, row: str, task: str, world: int) -> Score:
        """The main metric with its sign turned so that higher is better."""
        found = self.numbers.get((row, task))
        if found is None or found[world].value is None:
            return None
        sign = 1.0 if self.metrics[task].direction == "higher" else -1.0
        return sign * float(found[world].value or 0.0)

    @cached_property
    def compared(self) -> list[str]:
        """The competitors that have a number somewhere on the ranked tasks."""
        return [
            row
            for row in self.competitors
            if any(n.value is not None for task in self.ranked_tasks for n in self.numbers.get((row, task), ()))
        ]

    @property
    def screened(self) -> int:
        """In how many (task, world) both the pooled row and the floor have a number, so that signal can be judged."""
        return sum(
            pooled.value is not None and floor.value is not None
            for task in self.tasks
            for pooled, floor in zip(
                self.numbers.get((self.pooled, task), ()), self.numbers.get((self.floor, task), ()), strict=False
            )
        )

    @cached_property
    def silent(self) -> dict[tuple[str, int], str]:
        """(task, world) without signal -> why: pooled training is not certainly better there than learning nothing.

        The first screen of PCS inference: what predicts nothing can't tell models apart (Yu and Kumbier 2020).
        """
        if not self.pooled or not self.floor:
            return {}
        found = {}
        for task in self.tasks:
            higher = self.metrics[task].direction == "higher"
            for world in range(len(self.worlds)):
                pooled = self.numbers.get((self.pooled, task), (Number(None),) * len(self.worlds))[world]
                floor = self.numbers.get((self.floor, task), (Number(None),) * len(self.worlds))[world]
                if pooled.value is None or floor.value is None:
                    continue
                end = pooled.low if higher else pooled.high
                end = pooled.value if end is None else end
                if not (end > floor.value if higher else end < floor.value):
                    shown = f"{pooled.value:.3f}"
                    if pooled.low is not None and pooled.high is not None:
                        shown += f" [{pooled.low:.3f}, {pooled.high:.3f}]"
                    found[task, world] = f"{self.rows[self.pooled]} {shown}, {self.rows[self.floor]} {floor.value:.3f}"
        return found

    def loud(self, world: int) -> list[str]:
        """The ranked tasks that carry signal in a world."""
        return [task for task in self.ranked_tasks if (task, world) not in self.silent]

    def at_base(self, row: str, task: str) -> Number:
        """A row's mean over the seeds of the base, with the interval over patients and seeds where it has one."""
        found = [n for n in self.numbers.get((row, task), ())[: self.base] if n.value is not None]
        if not found:
            return Number(None)
        mean = math.fsum(n.value for n in found if n.value is not None) / len(found)
        known = [
            (n.value, n.low, n.high) for n in found if n.value is not None and n.low is not None and n.high is not None
        ]
        if len(known) < len(found):
            return Number(mean)
        low, high = over_seeds(known, self.metrics[task].range)
        return Number(mean, low, high)


def worlds_of_board(board: Board, collected: Collected, facts: Facts) -> Worlds:
    """The worlds of a board, from the outcomes of every point."""
    points = {point.label: point for point in board.points}
    outcomes = [o for o in collected.outcomes if o.cell.partition in points and o.cell.algorithm.view]
    places = [(o.cell.partition, o.cell.seed) for o in outcomes]
    index: dict[tuple[str, int], World] = {}
    several = {label: len(point.seeds) > 1 for label, point in points.items()}
    named = len({(p.partition, p.options, p.faults) for p in points.values()}) > 1 and not board.axes
    for label, seed in places:
        point = points[label]
        place = dict(point.place) if board.axes else ({PARTITION: label} if named else {})
        if several[label]:
            place[SEED] = f"seed {seed}"
        said = ", ".join(part for part in (label, f"seed {seed}" if several[label] else "") if part)
        index[label, seed] = World(said or f"seed {seed}", place, point.moved)
    order = list(index)
    base = [place for place in order if place[0] == next(iter(points))]
    order = [*base, *(place for place in order if place not in base)]
    at = {place: i for i, place in enumerate(order)}
    algorithms = {o.cell.algorithm.name: o.cell.algorithm for o in outcomes}
    numbers: dict[tuple[str, str], list[Number]] = {}
    tasks = list(dict.fromkeys(o.cell.task for o in outcomes))
    mains = {task: next(iter(collected.metrics.get(task, ())), "") for task in tasks}
    for o in outcomes:
        found = numbers.setdefault((o.cell.algorithm.name, o.cell.task), [Number(None, reason="not run")] * len(order))
        metric = o.evaluation.metrics.get(mains[o.cell.task]) if o.status == "ok" and o.evaluation else None
        key = o.record.key if o.record else ""
        found[at[o.cell.partition, o.cell.seed]] = (
            Number(None, key=key, reason=f"{o.status.replace('_', ' ')}: {o.reason}") if metric is None
            else Number(metric.value, metric.low, metric.high, key, metric.note if metric.value is None else "")
        )  # fmt: skip
    known = {task: name for task, name in mains.items() if name in facts.metrics}
    return _worlds(
        board.called, [index[place] for place in order], len(base), algorithms,
        {task: facts.task_title(task) for task in known}, {t: facts.metrics[m] for t, m in known.items()},
        numbers, synthetic=bool(collected.synthetic_tasks),
    )  # fmt: skip


def worlds_of_csv(path: Path) -> Worlds:
    """The worlds of a published ``leaderboard.csv``, which needs neither its board nor its records.

    Rows that this installation knows are taken for what they are, all others for competitors.

    Raises:
        InputError: no such file, not such a table, or a value that is no number.
    """
    try:
        text = regular_text(path, _LARGEST, "table")
    except OSError:
        raise InputError(f"{path}: there is no such file") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    reader.fieldnames = [_EARLIER.get(name, name) for name in reader.fieldnames or ()]
    lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if lacking:
        raise InputError(f"{path}: no column {lacking[0]!r}: give a leaderboard.csv that `leaderboard` has written")
    entries = [_entry(path, line, row) for line, row in enumerate(reader, start=2)]
    if not entries:
        raise InputError(f"{path}: holds no row")
    axes = [name.removeprefix(_AXIS) for name in reader.fieldnames or () if name.startswith(_AXIS)]
    first = {axis: entries[0][_AXIS + axis] for axis in axes}
    seeds: dict[str, set[str]] = {}
    for entry in entries:
        seeds.setdefault(entry["partition"], set()).add(entry["seed"])
    index: dict[tuple[str, str], World] = {}
    for entry in entries:
        label, seed = entry["partition"], entry["seed"]
        place = {a: entry[_AXIS + a] for a in axes} if axes else ({PARTITION: label} if len(seeds) > 1 else {})
        if len(seeds[label]) > 1:
            place[SEED] = f"seed {seed}"
        said = ", ".join(part for part in (label, f"seed {seed}" if len(seeds[label]) > 1 else "") if part)
        index[label, seed] = World(said or f"seed {seed}", place, tuple(a for a in axes if place[a] != first[a]))
    base = [place for place in index if place[0] == entries[0]["partition"]]
    order = [*base, *(place for place in index if place not in base)]
    at = {place: i for i, place in enumerate(order)}
    mains: dict[str, str] = {}
    for entry in entries:
        if entry["metric"]:
            mains.setdefault(entry["task"], entry["metric"])
    numbers: dict[tuple[str, str], list[Number]] = {}
    for entry in entries:
        found = numbers.setdefault((entry["algorithm"], entry["task"]), [Number(None, reason="not run")] * len(order))
        where = at[entry["partition"], entry["seed"]]
        if not entry["metric"]:
            found[where] = Number(None, key=entry.get("key", ""), reason=entry.get("reason", ""))
        elif entry["metric"] == mains[entry["task"]]:
            found[where] = Number(entry["value"], entry["low"], entry["high"], entry.get("key", ""))
    if not mains:
        raise InputError(f"{path}: no row has a number")
    installed = set(registry.names("metrics"))
    known = {task: metric for task, metric in mains.items() if metric in installed}
    if not known:
        raise InputError(f"{path}: the metric {next(iter(mains.values()))!r} is unknown here")
    rows = table()
    algorithms = {name: rows.get(name, Algorithm(name, name, "m", base=name)) for name, _ in numbers}
    return _worlds(
        str(path), [index[place] for place in order], len(base), algorithms, {task: task for task in known},
        {task: metric_called(metric) for task, metric in known.items()}, numbers,
        synthetic=any(entry.get("synthetic") == "true" for entry in entries),
        unread=[f"{task} ({metric})" for task, metric in mains.items() if task not in known],
    )  # fmt: skip


def _entry(path: Path, line: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """A line with its numbers as numbers and its texts fit to be shown."""
    found: dict[str, Any] = {str(k): plain_text(str(v or "")) for k, v in row.items() if k is not None}
    for name in ("value", "low", "high"):
        text = found.get(name, "")
        try:
            number = float(text) if text else None
        except ValueError:
            raise InputError(f"{path}:{line}: {name} is {text[:40]!r}, which is no number") from None
        found[name] = number if number is None or math.isfinite(number) else None
    return found


def _worlds(
    name: str, worlds: Sequence[World], base: int, algorithms: Mapping[str, Algorithm], tasks: Mapping[str, str],
    metrics: Mapping[str, MetricSpec], numbers: Mapping[tuple[str, str], Iterable[Number]], *, synthetic: bool,
    unread: Sequence[str] = (),
) -> Worlds:  # fmt: skip
    shown = {name: row for name, row in algorithms.items() if name != "constant_answer"}
    pooled = next((n for n, row in shown.items() if row.pooled and not row.control), "")
    floor = next((n for n, row in shown.items() if row.view == CONSTANT or row.rule == "majority"), "")
    kept = {place: tuple(found) for place, found in numbers.items() if place[0] in shown and place[1] in tasks}
    bounds = frozenset(name for name, row in shown.items() if row.bound)
    return Worlds(
        name, tuple(worlds), base, {name: row.title for name, row in shown.items()}, tuple(shown.values()), bounds,
        pooled, floor, dict(tasks), dict(metrics), kept, synthetic, tuple(unread),
    )  # fmt: skip
