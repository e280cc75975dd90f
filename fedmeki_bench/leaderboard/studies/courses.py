"""The trainings of a board whose tasks follow one another: their scores after every phase, on the same patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.axes import values_of
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.leaderboard.collect import Outcome
from fedmeki_bench.leaderboard.panels import Panel, panel
from fedmeki_bench.records.record import Evaluation, Record
from fedmeki_bench.statistics.continual import (
    ACCURACY,
    Estimate,
    differences,
    estimates,
    measured,
    placed,
    weights_of,
)
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
    def seeds(self) -> list[int]:
        """Seeds under which all of its tasks are finished."""
        return sorted(seed for seed, held in self.runs.items() if set(self.order) <= set(held))

    @property
    def rounds(self) -> list[int]:
        """How many rounds its trainings have; several numbers only where they differ."""
        return sorted({len(record.history) for record in self.records})

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
    """What was measured of a course.

    Attributes:
        course: whose tasks follow one another.
        found: measure -> its estimate.
        why: why nothing was measured; empty where something was.
        lacking: measure -> why this one alone is missing.
    """

    course: Course
    found: Mapping[str, Estimate]
    why: str = ""
    lacking: Mapping[str, str] = field(default_factory=dict)


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


def common_seeds(courses: Iterable[Course]) -> list[int]:
    """The seeds that everything is measured on: those of the training in phases that has finished most of them.

    A training that lacks one of them is left out, so that one that is half done does not take seeds from the others.
    """
    return max((course.seeds for course in courses if course.phased), key=len, default=[])


def of_seeds(courses: Iterable[Course], seeds: Sequence[int]) -> list[Course]:
    """The courses that finished all of these seeds, with these alone."""
    found = []
    for course in courses:
        if set(seeds) <= set(course.seeds):
            found.append(replace(course, runs={seed: course.runs[seed] for seed in seeds}))
    return found


def measure(courses: Sequence[Course], facts: Facts, mains: Mapping[str, str], read: Reader | None) -> list[Measured]:
    """Every measure of every course whose tasks follow one another, on the patients and :func:`common_seeds` of all.

    Args:
        courses: of one set of tasks.
        facts: metrics by name.
        mains: task -> its main metric.
        read: gives predictions; without it nothing is measured.
    """
    phased = [course for course in courses if course.phased]
    if not phased or read is None:
        return [Measured(course, {}, "the predictions are not at hand") for course in phased]
    tasks = sorted(phased[0].order)
    known = dict.fromkeys(mains[task] for task in tasks if task in mains)
    if len(known) > 1:
        titles = " and ".join(facts.metrics[name].title if name in facts.metrics else name for name in known)
        why = f"the tasks have different main metrics, {titles}, and a mean over these says nothing"
        return [Measured(course, {}, why) for course in phased]
    seeds = common_seeds(phased)
    if not seeds:
        return [Measured(course, {}, "no seed is finished") for course in phased]
    every, courses = courses, of_seeds(courses, seeds)
    panels = [p for task in tasks if (p := _panel(task, courses, facts, mains, seeds, read)) is not None]
    if len(panels) < len(tasks):
        return [Measured(course, {}, "a task has no number that could be compared") for course in phased]
    states = [row for row in panels[0].rows if all(row in p.rows for p in panels)]
    tables = [_only(p, states) for p in panels]
    sign = 1.0 if facts.metrics[mains[tasks[0]]].direction == "higher" else -1.0
    names: list[tuple[Course, str]] = []
    weights: list[Floats] = []
    absent: dict[str, str] = {}
    lacking: dict[str, dict[str, str]] = {}
    for course in (c for c in courses if c.phased):
        rows = [_state(course, phase) for phase in range(len(course.order) + 1)]
        missing = next((row for row in rows if row not in states), None)
        if missing is not None:
            absent[_state(course, 0)] = _why_absent(missing, panels)
            continue
        found = _weights(course, rows, states, tables, tasks, sign, seeds)
        for what, reference in ((GAP_JOINT, JOINT), (GAP_SPECIALISED, SPECIALISED)):
            beside = reference_of(course, every, reference)
            if beside is None:
                continue
            why = _unfair(course, beside, seeds)
            if not why and _state(beside, 0) not in states:
                why = f"{beside.name} can't be compared ({_why_absent(_state(beside, 0), panels)})"
            if why:
                lacking.setdefault(_state(course, 0), {})[what] = why
                continue
            gap = found[ACCURACY].copy()
            gap[:, states.index(_state(beside, 0))] -= sign / len(tasks)
            found[what] = gap
        names += [(course, what) for what in found]
        weights += found.values()
    values: dict[str, dict[str, Estimate]] = {}
    if weights:
        data = measured(tables, [p.patients for p in panels], weights)
        for (course, what), one in zip(names, estimates(data), strict=True):
            own = one if sign > 0 or what != ACCURACY else Estimate(-one.value, -one.high, -one.low)
            values.setdefault(_state(course, 0), {})[what] = own
        for course, one in _avoided(names, data):
            values[_state(course, 0)][AVOIDED] = one
    found_of = {_state(c, 0): c for c in courses}
    return [
        Measured(found_of.get(key, c), values.get(key, {}), _unfinished(c, seeds) or absent.get(key, ""),
                 lacking.get(key, {}))
        for c in phased for key in (_state(c, 0),)
    ]  # fmt: skip


def _unfinished(course: Course, seeds: Sequence[int]) -> str:
    """Which of these seeds a course lacks, as a reason; empty if none."""
    lacking = sorted(set(seeds) - set(course.seeds))
    return f"{in_seeds(lacking)} {'is' if len(lacking) == 1 else 'are'} not finished" if lacking else ""


def in_seeds(seeds: Sequence[int]) -> str:
    """Seeds in words: ``seed 0``, ``seeds 0, 1 and 2``."""
    *most, last = map(str, seeds)
    return f"seeds {', '.join(most)} and {last}" if most else f"seed {last}"


def _unfair(course: Course, beside: Course, seeds: Sequence[int]) -> str:
    """Why a course can't be compared with another at the end, in a clause; empty where it can."""
    unfinished = _unfinished(beside, seeds)
    if unfinished:
        return f"of {beside.name}, {unfinished}"
    (beside,) = of_seeds([beside], seeds)
    if beside.rounds == course.rounds:
        return ""
    own, theirs = (" or ".join(map(str, one.rounds)) for one in (course, beside))
    return f"{beside.name} was trained for {theirs} rounds, this one for {own}"


def _why_absent(row: str, panels: Sequence[Panel]) -> str:
    return next((p.absent[row] for p in panels if row in p.absent), "a phase has no score")


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
    sign: float, seeds: Sequence[int],
) -> dict[str, Floats]:  # fmt: skip
    """Measure -> the weight of every task, state and seed."""
    import numpy as np

    index = [states.index(row) for row in rows]
    place = [tasks.index(task) for task in course.order]
    each = []
    for s in range(len(seeds)):
        r = np.array([[sign * tables[j].values[state, s] for j in place] for state in index])
        each.append(placed(weights_of(r), index, len(states)))
    found = {}
    for name in each[0]:
        stacked = np.stack([one[name] for one in each], axis=2)
        found[name] = np.empty_like(stacked)
        for at, j in enumerate(place):
            found[name][j] = sign * stacked[at]
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
