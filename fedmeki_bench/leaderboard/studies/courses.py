"""The trainings of a board whose tasks follow one another: their scores after every phase, on the same patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.axes import values_of
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.leaderboard.collect import Outcome
from fedmeki_bench.leaderboard.panels import Panel, panel
from fedmeki_bench.records.record import Evaluation, Record
from fedmeki_bench.statistics.continual import Estimate, differences, estimates, measured, placed, weights_of
from fedmeki_bench.statistics.crossed import Crossed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.leaderboard.grid import Facts
    from fedmeki_bench.leaderboard.reading import Reader

    Floats = NDArray[np.floating[Any]]

JOINT, SPECIALISED = "joint", "specialised"
_OPTIONS = ("regime", "order", "rounds_per_task", "rehearsal", "rehearse_at")
GAP_JOINT, GAP_SPECIALISED, AVOIDED = "gap to joint", "gap to specialised", "avoided"


@dataclass(frozen=True)
class Course:
    """One way of training a row of the board, under all its seeds.

    Attributes:
        algorithm: the row.
        order: the tasks in the order of their phases; of training all at once, or each alone, as the board has them.
        regime: in words: ``joint``, ``specialised``, ``sequential``, ``rehearsing 10 % at the clients``.
        rest: values of the board's other axes, in words.
        rehearsal: share of the patients that is trained on again.
        rehearsing: who trains on whom again, in a clause; empty without.
        runs: seed -> task -> the outcome at the end.
    """

    algorithm: Algorithm
    order: tuple[str, ...]
    regime: str
    rest: str
    rehearsal: float
    rehearsing: str
    runs: Mapping[int, Mapping[str, Outcome]]

    @property
    def phased(self) -> bool:
        """Whether its tasks follow one another."""
        return self.regime not in (JOINT, SPECIALISED)

    @property
    def name(self) -> str:
        """Row, other choices and regime, as a table names it."""
        return ", ".join(filter(None, (self.algorithm.title, self.rest, self.regime)))

    @property
    def records(self) -> list[Record]:
        """Its records, by seed."""
        return [o.record for held in self.runs.values() for o in held.values() if o.record is not None]

    def at(self, phase: int, task: str, seed: int) -> Outcome | None:
        """The outcome on `test` when so many phases were over; None where nothing is known of it."""
        last = self.runs.get(seed, {}).get(task)
        if last is None or last.record is None or phase == len(self.order) or not self.phased:
            return last
        found = evaluation_of(last.record, self.algorithm.view, task, phase)
        return None if found is None else replace(last, evaluation=found)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a course: measure -> its estimate; and why nothing was, if so."""

    course: Course
    found: Mapping[str, Estimate]
    why: str = ""


def evaluation_of(record: Record, view: str, task: str, phase: int, split: str = "test") -> Evaluation | None:
    """A view's scores on a task when so many phases were over."""
    return next((e for e in record.phases if (e.view, e.task, e.phase, e.split) == (view, task, phase, split)), None)


def courses_of(board: Board, outcomes: Iterable[Outcome]) -> list[Course]:
    """The courses of a board in its order, each once: those trained at once stand at several points of an axis."""
    own = {*_OPTIONS, *(f"curriculum.{name}" for name in _OPTIONS)}
    axes = values_of(board.axes) if board.axes else {}
    curricular = {
        axis for axis, values in axes.items() if any(key in own for value in values for key, _ in value.options)
    }
    points = {point.label: point for point in board.points}
    tasks: dict[tuple[Any, ...], dict[int, dict[str, Outcome]]] = {}
    facts: dict[tuple[Any, ...], tuple[Algorithm, Mapping[str, Any]]] = {}
    for o in outcomes:
        if o.status != "ok" or o.record is None or o.cell.algorithm.control or o.cell.algorithm.view == CONSTANT:
            continue
        point = points.get(o.cell.partition)
        place = () if point is None else tuple(v for axis, v in point.place if axis not in curricular)
        partition = "" if point is None or board.axes or len(points) == 1 else point.label
        rest = ", ".join(filter(None, (*place, partition)))
        how = _curriculum(o.record)
        if how is None:
            continue
        order = tuple(how.get("order") or board.tasks)
        key = (o.cell.algorithm.name, rest, _called(how, o.record, board.tasks), order)
        facts.setdefault(key, (o.cell.algorithm, how))
        tasks.setdefault(key, {}).setdefault(o.cell.seed, {})[o.cell.task] = o
    return [
        Course(algorithm, key[3], key[2], key[1], float(how.get("rehearsal", 0)), _rehearsing(how), tasks[key])
        for key, (algorithm, how) in facts.items()
    ]


_WHERE = {
    "clients": ("at the clients", "each hospital trained again on {} of its earlier patients"),
    "server": ("at the server", "the server trained again on {} of its earlier public samples"),
    "both": ("at clients and server", "each hospital and the server trained again on {} of what they had before"),
}


def _curriculum(record: Record) -> Mapping[str, Any] | None:
    """The regime that a record names, empty for training at once; None for one that no run would write."""
    how = record.params.get("curriculum", {})
    if how.get("regime") != "sequential":
        return {}
    order, share = how.get("order"), how.get("rehearsal", 0)
    known = isinstance(order, list) and sorted(map(str, order)) == sorted(record.tasks)
    sound = isinstance(share, int | float) and 0 <= share <= 1 and how.get("rehearse_at", "clients") in _WHERE
    return how if known and sound else None


def _called(how: Mapping[str, Any], record: Record, tasks: Sequence[str]) -> str:
    if how.get("regime") != "sequential":
        return JOINT if len(record.tasks) > 1 or len(tasks) == 1 else SPECIALISED
    where = _WHERE[how.get("rehearse_at", "clients")][0]
    return f"rehearsing {_share(how)} {where}" if how.get("rehearsal") else "sequential"


def _rehearsing(how: Mapping[str, Any]) -> str:
    return _WHERE[how.get("rehearse_at", "clients")][1].format(_share(how)) if how.get("rehearsal") else ""


def _share(how: Mapping[str, Any]) -> str:
    return f"{100 * float(how['rehearsal']):g} %"


def measure(courses: Sequence[Course], facts: Facts, mains: Mapping[str, str], read: Reader | None) -> list[Measured]:
    """Every measure of every course whose tasks follow one another, on the patients and seeds that all share.

    Args:
        courses: of one set of tasks.
        facts: metrics by name.
        mains: task -> its main metric.
        read: gives predictions; without it nothing is measured.
    """
    import numpy as np

    phased = [course for course in courses if course.phased]
    if not phased or read is None:
        return [Measured(course, {}, "the predictions are not at hand") for course in phased]
    tasks = sorted(phased[0].order)
    seeds = sorted(set.intersection(*(set(course.runs) for course in phased)))
    if not seeds:
        return [Measured(course, {}, "the courses share no finished seed") for course in phased]
    panels = [p for task in tasks if (p := _panel(task, courses, facts, mains, seeds, read)) is not None]
    if len(panels) < len(tasks):
        return [Measured(course, {}, "a task has no number that could be compared") for course in phased]
    states = [row for row in panels[0].rows if all(row in p.rows for p in panels)]
    tables = [_only(p, states) for p in panels]
    signs = [1.0 if facts.metrics[mains[task]].direction == "higher" else -1.0 for task in tasks]
    names: list[tuple[Course, str]] = []
    weights: list[Floats] = []
    absent: dict[int, str] = {}
    for course in phased:
        rows = [_state(course, phase) for phase in range(len(course.order) + 1)]
        lacking = next((row for row in rows if row not in states), None)
        if lacking is not None:
            why = (p.absent[lacking] for p in panels if lacking in p.absent)
            absent[id(course)] = next(why, "a phase has no score")
            continue
        found = _weights(course, rows, states, tables, tasks, signs, seeds)
        for what, reference in ((GAP_JOINT, JOINT), (GAP_SPECIALISED, SPECIALISED)):
            beside = reference_of(course, courses, reference)
            if beside is not None and _state(beside, 0) in states:
                gap = found["accuracy"].copy()
                gap[:, states.index(_state(beside, 0))] -= (np.array(signs) / len(tasks))[:, None]
                found[what] = gap
        names += [(course, what) for what in found]
        weights += found.values()
    if not weights:
        return [Measured(course, {}, absent[id(course)]) for course in phased]
    data = measured(tables, [p.patients for p in panels], weights)
    values: dict[int, dict[str, Estimate]] = {}
    for (course, what), one in zip(names, estimates(data), strict=True):
        values.setdefault(id(course), {})[what] = one
    for course, one in _avoided(names, data):
        values[id(course)][AVOIDED] = one
    return [Measured(c, values.get(id(c), {}), absent.get(id(c), "")) for c in phased]


def reference_of(course: Course, courses: Sequence[Course], regime: str) -> Course | None:
    """What a course is compared with: the same row, or for tasks alone the same rule, or else the first of its view."""
    alike = [c for c in courses if c.regime == regime and c.rest == course.rest]
    own = course.algorithm
    if regime == JOINT:
        return next((c for c in alike if c.algorithm.name == own.name), None)
    fair = [c for c in alike if c.algorithm.view == own.view and not c.algorithm.bound]
    same = [c for c in fair if (c.algorithm.rule, c.algorithm.stage) == (own.rule, own.stage)]
    return next(iter([*same, *fair]), None)


def _weights(
    course: Course, rows: Sequence[str], states: Sequence[str], tables: Sequence[Crossed], tasks: Sequence[str],
    signs: Sequence[float], seeds: Sequence[int],
) -> dict[str, Floats]:  # fmt: skip
    """Measure -> the weight of every task, state and seed."""
    import numpy as np

    index = [states.index(row) for row in rows]
    place = [tasks.index(task) for task in course.order]
    each = []
    for s in range(len(seeds)):
        r = np.array([[signs[j] * tables[j].values[state, s] for j in place] for state in index])
        each.append(placed(weights_of(r), index, len(states)))
    found = {}
    for name in each[0]:
        stacked = np.stack([one[name] for one in each], axis=2)
        found[name] = np.empty_like(stacked)
        for at, j in enumerate(place):
            found[name][j] = signs[j] * stacked[at]
    return found


def _avoided(names: Sequence[tuple[Course, str]], data: Crossed) -> list[tuple[Course, Estimate]]:
    """Of courses that rehearse: how much less they forget than the same row without, as a paired difference."""
    rows = [i for i, (_, what) in enumerate(names) if what == "forgetting"]
    distinct: dict[bytes, int] = {}
    at = {i: distinct.setdefault(data.values[i].tobytes() + data.influences[i].tobytes(), len(distinct)) for i in rows}
    kept = [next(i for i in rows if at[i] == place) for place in range(len(distinct))]
    pool = Crossed(data.values[kept], data.influences[kept], data.strata, data.floor[kept])
    pairs, of = [], []
    for i in rows:
        course = names[i][0]
        plain = next(
            (j for j in rows if (c := names[j][0]).regime == "sequential" and (c.algorithm.name, c.order, c.rest)
             == (course.algorithm.name, course.order, course.rest)),
            None,
        )  # fmt: skip
        if course.rehearsal and plain is not None and at[i] != at[plain]:
            pairs.append((at[plain], at[i]))
            of.append(course)
    return list(zip(of, differences(pool, pairs), strict=True))


def _state(course: Course, phase: int) -> str:
    """The name of a state of models among all that were scored."""
    when = f"after {phase}" if course.phased else "end"
    return f"{course.name}, {' > '.join(course.order)}, {when}"


def _panel(
    task: str, courses: Sequence[Course], facts: Facts, mains: Mapping[str, str], seeds: Sequence[int], read: Reader
) -> Panel | None:
    outcomes: dict[str, list[Outcome]] = {}
    for course in courses:
        for phase in range(len(course.order) + 1) if course.phased else (0,):
            found = [course.at(phase, task, seed) for seed in seeds]
            outcomes[_state(course, phase)] = [one for one in found if one is not None]
    spec = facts.metrics.get(mains.get(task, ""))
    return None if spec is None else panel(task, spec, outcomes, seeds, read)


def _only(one: Panel, states: Sequence[str]) -> Crossed:
    """A panel's rows in the common order."""
    index = [one.rows.index(row) for row in states]
    return Crossed(one.data.values[index], one.data.influences[index], one.data.strata, one.data.floor[index])
