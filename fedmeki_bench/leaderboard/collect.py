"""From cells and records to one outcome per cell, and from those to tidy rows.

A cell without a usable number is an outcome too, with its reason. Only the ``test`` evaluation of the
finished run counts; nothing here looks at the rounds before.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.boards.axes import Preparation
from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.records.record import Evaluation, Record
from fedmeki_bench.records.store import BadRecord

if TYPE_CHECKING:
    from fedmeki_bench.task import TaskMeta

Status = Literal["ok", "missing", "failed", "interrupted", "not_applicable", "bad"]

Check = Callable[[Record, Evaluation], tuple[Status, str]]
"""What became of a number when it was compared with its predictions: ``ok`` or ``bad``, and what to say of it."""

_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the records say about one cell; ``other`` lists in what it differs from the rest of its task."""

    cell: Cell
    status: Status
    reason: str = ""
    record: Record | None = None
    evaluation: Evaluation | None = None
    other: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One cell and one metric, flat; a cell without numbers is one row with an empty metric.

    ``bytes_up`` and ``bytes_down`` are sums over the ``rounds`` of the run; ``value`` is None where
    undefined, and then ``reason`` says why.
    """

    algorithm: str
    task: str
    partition: str
    seed: int
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    groups: int | None
    status: Status
    reason: str
    key: str
    bytes_up: int
    bytes_down: int
    rounds: int
    seconds: float
    synthetic: bool
    cohort: str
    split_mode: str
    environment: str
    other: str


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything a board's tables depend on.

    Attributes:
        outcomes: one per cell, in the order of the cells.
        unreadable: records that could not be read, whether or not they belong to this board.
        remarks: what a reader must know of the records: other data set aside, scores of an older version, predictions
            that are gone.
        metrics: metric names per task, the main one first.
    """

    outcomes: tuple[Outcome, ...]
    unreadable: tuple[BadRecord, ...] = ()
    metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def records(self) -> list[Record]:
        """The distinct records behind the outcomes, by key."""
        found = {o.record.key: o.record for o in self.outcomes if o.record is not None}
        return [found[key] for key in sorted(found)]

    @property
    def synthetic_tasks(self) -> set[str]:
        """Tasks of which at least one number depends on generated data."""
        return {o.cell.task for o in self.outcomes if o.record and any(c.synthetic for c in o.record.cohorts)}

    @property
    def published_tasks(self) -> set[str]:
        """Tasks of which at least one number depends on a published split, where patients may cross."""
        return {o.cell.task for o in self.outcomes if o.record and _cohort(o, "split", "patient") == "published"}

    def digest(self) -> str:
        """SHA-256 over what tables and pictures are built from: keys, scores, histories and routing of the records."""
        content = [
            [
                r.key,
                r.status,
                [e.model_dump(exclude={"predictions"}) for e in r.evaluations],
                [one.model_dump() for one in r.history],
                r.foundation.model_dump() if r.foundation else None,
                *([e.model_dump(exclude={"predictions"}) for e in more] for more in (r.phases, r.beside) if more),
            ]
            for r in self.records
        ]
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def collect(
    cells: Sequence[Cell],
    records: Iterable[Record | BadRecord],
    *,
    tasks: Mapping[str, TaskMeta] | None = None,
    check: Check | None = None,
    outdated: Callable[[Record], Iterable[str]] | None = None,
) -> Collected:
    """Match cells with records by setting, and evaluations by view, task and the split ``test``.

    Records of one setting differ in their data (two preparations of a task). A board shows one preparation of each
    task: the one that most of its cells have, of equals the one that was run last; the others are named in a remark.
    Where axes of a board say how data are prepared, this holds for each of their preparations, and records of another
    one count for nothing.
    Cells that nevertheless use other data or versions than most of their task are marked in ``Outcome.other``.

    Args:
        tasks: says which metrics a task declares and which is the main one; without it, the records do.
        check: compares a number with the predictions behind it.
        outdated: in what the scoring of a record differs from what is installed.
    """
    by_setting: dict[str, list[Record]] = defaultdict(list)
    unreadable: list[BadRecord] = []
    for item in records:
        if isinstance(item, BadRecord):
            unreadable.append(item)
        else:
            by_setting[item.setting].append(item)
    chosen, remarks = _of_each_preparation(cells, by_setting)
    bad = {b.setting: b for b in unreadable if b.setting}
    outcomes = [_outcome(cell, chosen, bad) for cell in cells]
    if check is not None:
        outcomes = [_checked(outcome, check) for outcome in outcomes]
    outcomes = _mark_others(outcomes)
    collected = Collected(tuple(outcomes), tuple(unreadable), _metric_names(outcomes, tasks or {}))
    if outdated is not None:
        remarks += _outdated(collected.records, outdated)
    remarks += sorted({o.reason for o in outcomes if o.status == "ok" and o.reason})
    return replace(collected, remarks=tuple(remarks))


def _of_each_preparation(
    cells: Sequence[Cell], by_setting: Mapping[str, Sequence[Record]]
) -> tuple[dict[tuple[Preparation, str], Record], list[str]]:
    """Preparation and setting -> the record that counts; and remarks on others."""
    chosen: dict[tuple[Preparation, str], Record] = {}
    remarks: list[str] = []
    for wanted in dict.fromkeys(cell.preparation for cell in cells):
        fitting = {
            setting: kept
            for setting, records in by_setting.items()
            if (kept := [r for r in records if all(c.prepared_with(wanted) for c in r.cohorts)])
        }
        found, said = one_preparation([cell for cell in cells if cell.preparation == wanted], fitting)
        chosen |= {(wanted, setting): record for setting, record in found.items()}
        remarks += said
    return chosen, remarks


def one_preparation(
    cells: Sequence[Cell], by_setting: Mapping[str, Sequence[Record]]
) -> tuple[dict[str, Record], list[str]]:
    """Setting -> the record that counts, and remarks on those that do not because they use other data."""
    wanted = Counter(cell.setting for cell in cells)
    counts: dict[str, dict[str, tuple[int, datetime]]] = defaultdict(dict)
    for setting, records in by_setting.items():
        for record in records:
            for cohort in record.cohorts:
                n, last = counts[cohort.task].get(cohort.card, (0, _NEVER))
                weight = wanted[setting] if record.status == "ok" else 0
                counts[cohort.task][cohort.card] = (n + weight, max(last, _finished(record)[0]))
    usual = {task: max((facts, card) for card, facts in cards.items())[1] for task, cards in counts.items()}

    def agreement(record: Record) -> tuple[int, bool, tuple[datetime, str]]:
        return sum(usual[c.task] == c.card for c in record.cohorts), record.status == "ok", _finished(record)

    chosen = {setting: max(records, key=agreement) for setting, records in by_setting.items()}
    aside = [r for s, records in by_setting.items() if wanted[s] for r in records if r is not chosen[s]]
    if not aside:
        return chosen, []
    others = sorted({f"{c.task} {c.card[:8]}" for r in aside for c in r.cohorts if usual[c.task] != c.card})
    shown = sorted({f"{c.task} {usual[c.task][:8]}" for r in aside for c in r.cohorts})
    return chosen, [
        f"{len(aside)} further records hold the same runs on other preparations of the data ({', '.join(others)}); "
        f"shown is what most cells use, of equals what was run last ({', '.join(shown)})"
    ]


def _checked(outcome: Outcome, check: Check) -> Outcome:
    if outcome.status != "ok" or outcome.record is None or outcome.evaluation is None:
        return outcome
    status, reason = check(outcome.record, outcome.evaluation)
    return replace(outcome, status=status, reason=reason) if reason else outcome


def _outdated(records: Iterable[Record], outdated: Callable[[Record], Iterable[str]]) -> list[str]:
    found = Counter(change for record in records for change in outdated(record))
    return [f"{change} ({n} records): `fedmeki-bench rescore RESULTS` brings them up to date"
            for change, n in sorted(found.items())]  # fmt: skip


def tidy(collected: Collected) -> list[Row]:
    """One row per cell and metric, sorted by nothing but the order of cells and of the task's metrics."""
    rows = []
    for outcome in collected.outcomes:
        if outcome.status != "ok" or outcome.evaluation is None:
            rows.append(_row(outcome, "", None, None, None, outcome.reason))
            continue
        for name, metric in outcome.evaluation.metrics.items():
            rows.append(_row(outcome, name, metric.value, metric.low, metric.high, metric.note))
    return rows


def traffic(record: Record) -> tuple[int, int, int]:
    """Bytes up, bytes down and rounds of a run, from its history, or from its cost if it has no rounds."""
    if not record.history:
        return record.cost.bytes_up, record.cost.bytes_down, 0
    return (
        sum(r.bytes_up for r in record.history),
        sum(r.bytes_down for r in record.history),
        len(record.history),
    )


def environment_digest(environment: Mapping[str, Any]) -> str:
    """Twelve hex digits that tell whether two records come from the same software and hardware."""
    text = json.dumps(environment, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _finished(record: Record) -> tuple[datetime, str]:
    return (record.finished or record.started or _NEVER, record.key)


def _outcome(cell: Cell, latest: Mapping[tuple[Preparation, str], Record], bad: Mapping[str, BadRecord]) -> Outcome:
    if cell.not_applicable:
        return Outcome(cell, "not_applicable", cell.not_applicable)
    record = latest.get((cell.preparation, cell.setting))
    if record is None:
        broken = bad.get(cell.setting)
        if broken:
            return Outcome(cell, "bad", f"{broken.name}: {broken.reason}")
        return Outcome(cell, "missing", "not run yet")
    if record.status != "ok":
        rounds = f" after {len(record.history)} rounds" if record.history else ""
        reason = f"{record.error.type}: {record.error.message}" if record.error else f"stopped{rounds}"
        return Outcome(cell, record.status, reason, record)
    view = cell.algorithm.view
    wanted = [e for e in record.evaluations if (e.view, e.task, e.split) == (view, cell.task, "test")]
    if not wanted:
        return Outcome(cell, "missing", f"record {record.key} has no evaluation of view {view!r}", record)
    evaluation = wanted[-1]
    if not evaluation.metrics:
        return Outcome(cell, "not_applicable", evaluation.note or "no metrics", record, evaluation)
    return Outcome(cell, "ok", "", record, evaluation)


def _cohort(outcome: Outcome, name: str, default: Any) -> Any:
    cohorts = outcome.record.cohorts if outcome.record else []
    return next((getattr(c, name) for c in cohorts if c.task == outcome.cell.task), default)


def _basis(outcome: Outcome) -> dict[str, str]:
    """What must agree for two numbers of a task to be comparable."""
    assert outcome.record is not None
    assert outcome.evaluation is not None
    versions = outcome.record.versions
    # each metric by itself: views may have metrics of their own, such as the share of unparsed answers
    # a run lists the metrics of its tasks; `unparsed`, which comes with words, is listed once it was scored anew
    metrics = {f"version of {name}": str(versions.metrics.get(name, 1)) for name in outcome.evaluation.metrics}
    return metrics | {
        "data": _cohort(outcome, "card", ""),
        "split": _cohort(outcome, "split", "patient"),
        "task version": str(versions.tasks.get(outcome.cell.task)),
    }


def _mark_others(outcomes: list[Outcome]) -> list[Outcome]:
    usual: dict[tuple[str, Preparation, str], str] = {}
    counts: dict[tuple[str, Preparation, str], Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        if outcome.status == "ok":
            for what, value in _basis(outcome).items():
                # over all partitions: data don't depend on them
                counts[outcome.cell.task, outcome.cell.preparation, what][value] += 1
    for place, counter in counts.items():
        usual[place] = min(counter, key=lambda value: (-counter[value], value))
    cards = {(task, prepared): card for (task, prepared, what), card in usual.items() if what == "data"}

    marked = []
    for o in outcomes:
        if o.status == "ok" and o.record is not None:
            prepared = o.cell.preparation
            differs = [what for what, value in _basis(o).items() if value != usual[o.cell.task, prepared, what]]
            # A run over several tasks also depends on the training data of the others.
            trained = any(c.card != cards.get((c.task, prepared), c.card) for c in o.record.cohorts)
            if trained and "data" not in differs:
                differs.append("data")
            o = Outcome(o.cell, o.status, o.reason, o.record, o.evaluation, tuple(sorted(differs)))
        marked.append(o)
    return marked


def _metric_names(outcomes: Sequence[Outcome], tasks: Mapping[str, TaskMeta]) -> dict[str, tuple[str, ...]]:
    names: dict[str, list[str]] = {}
    for outcome in outcomes:
        task = outcome.cell.task
        if task not in names:
            names[task] = list(tasks[task].metrics) if task in tasks else []
        if outcome.status == "ok" and outcome.evaluation:
            names[task] += [name for name in outcome.evaluation.metrics if name not in names[task]]
    return {task: tuple(found) for task, found in names.items()}


def _row(outcome: Outcome, metric: str, value: float | None, low: float | None, high: float | None, reason: str) -> Row:
    record, evaluation = outcome.record, outcome.evaluation
    run = None if outcome.cell.algorithm.view == CONSTANT else record  # what a run costs stands in its own row
    up, down, rounds = traffic(run) if run else (0, 0, 0)
    return Row(
        algorithm=outcome.cell.algorithm.name,
        task=outcome.cell.task,
        partition=outcome.cell.partition,
        seed=outcome.cell.seed,
        metric=metric,
        value=value,
        low=low,
        high=high,
        n=evaluation.n if evaluation else None,
        groups=evaluation.groups if evaluation else None,
        status=outcome.status,
        reason=reason,
        key=record.key if record else "",
        bytes_up=up,
        bytes_down=down,
        rounds=rounds,
        seconds=run.cost.seconds if run else 0.0,
        synthetic=bool(record and any(c.synthetic for c in record.cohorts)),
        cohort=_cohort(outcome, "card", ""),
        split_mode=_cohort(outcome, "split", ""),
        environment=environment_digest(record.environment) if record else "",
        other=", ".join(outcome.other),
    )
