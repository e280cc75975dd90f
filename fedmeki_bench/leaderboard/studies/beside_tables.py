"""What records of a board hold beside its cells: scores on a held-out site, of variants of the questions, and the cost.

Predictability, stress and computability of the rows, after PCS (Yu and Kumbier 2020), at the base of the board.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from fedmeki_bench.data.splits import EXTERNAL
from fedmeki_bench.leaderboard.collect import environment_digest, traffic
from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.studies.study import StudyRow, StudyTable
from fedmeki_bench.leaderboard.studies.worlds import Number, Worlds
from fedmeki_bench.statistics.perturbation import mean_ranks
from fedmeki_bench.statistics.seeds import over_seeds

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.collect import Collected, Outcome
    from fedmeki_bench.records.record import Evaluation

_NONE = Entry("–")
_OWN = "own"
_WORDS = {
    _OWN: "As trained", "bare": "Question alone", "swapped": "Others' arrays", "blank": "Blank arrays",
    "unparsed": "Unparsed at worst",
}  # fmt: skip
_MEANS = {
    _OWN: "The question as it was trained, on the test split.",
    "bare": "The question without the words around it.",
    "swapped": "The same questions, each beside the arrays of another patient: what is left does not come from them.",
    "blank": "The same questions beside arrays of zeros: what a model says that sees nothing.",
    "unparsed": "The largest share of answers, over all wordings, that could not be read.",
}
_MB = 1e6


def beside_tables(
    worlds: Worlds, collected: Collected, repeated: Mapping[str, str] | None = None
) -> list[StudyTable]:  # fmt: skip
    """The tables that have something to show, from the records at the base.

    Args:
        repeated: row -> how well a run of it agreed with its repetition, where that was asked for.
    """
    first = next((o.cell.partition for o in collected.outcomes), "")
    base = [o for o in collected.outcomes if o.cell.partition == first and o.status == "ok" and o.record is not None]
    found = [_predictability(worlds, base), _stress(worlds, base), _computability(worlds, base, repeated or {})]
    return [table for table in found if table is not None]


def first_runs(worlds: Worlds, collected: Collected) -> dict[str, str]:
    """Row -> the key of its first run at the base, of all rows but the one that learns nothing."""
    first = next((o.cell.partition for o in collected.outcomes), "")
    found: dict[str, set[str]] = {}
    for o in collected.outcomes:
        if o.cell.partition == first and o.status == "ok" and o.record is not None:
            found.setdefault(o.cell.algorithm.name, set()).add(o.record.key)
    return {row: min(found[row]) for row in worlds.rows if row in found and row != worlds.floor}


def _of(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    """(row, task) -> its outcomes, one per seed."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.cell.algorithm.name, outcome.cell.task), []).append(outcome)
    return found


def _beside(outcome: Outcome) -> Iterator[Evaluation]:
    """What stands beside an outcome's evaluation, of its own view and task."""
    for one in outcome.record.beside if outcome.record is not None else ():
        if (one.view, one.task) == (outcome.cell.algorithm.view, outcome.cell.task):
            yield one


def _mean(worlds: Worlds, task: str, evaluations: Sequence[Evaluation]) -> Number:
    """The mean of the main metric over seeds, with the interval of the mean where there is one."""
    metric = worlds.metrics[task]
    values = [one.metrics[metric.name] for one in evaluations if metric.name in one.metrics]
    known = [v.value for v in values if v.value is not None]
    if not known:
        return Number(None)
    ends = [
        (v.value, v.low, v.high) for v in values if v.value is not None and v.low is not None and v.high is not None
    ]
    low, high = over_seeds(ends, metric.range) if len(ends) == len(known) else (None, None)
    return Number(fmean(known), low, high)


def _predictability(worlds: Worlds, base: Sequence[Outcome]) -> StudyTable | None:
    """Inside against the site that was held out."""
    inside: dict[tuple[str, str], Number] = {}
    outside: dict[tuple[str, str], Number] = {}
    for (row, task), outcomes in _of(base).items():
        there = [one for o in outcomes for one in _beside(o) if one.split == EXTERNAL]
        if there and task in worlds.metrics and row in worlds.rows:
            inside[row, task] = _mean(worlds, task, [o.evaluation for o in outcomes if o.evaluation is not None])
            outside[row, task] = _mean(worlds, task, there)
    if not outside:
        return None
    tasks = [task for task in worlds.tasks if any(t == task for _, t in outside)]
    columns: list[Column] = []
    for task in tasks:
        columns += [
            Column(f"{task}_test", f"{worlds.tasks[task]}: test", "Test patients of the sites that were trained on.",
                   term="Test and held-out site"),
            Column(f"{task}_site", "Held-out site", "Patients of a site that nobody trained or selected on.",
                   term="Test and held-out site"),
            Column(f"{task}_fall", "Difference", "Held-out site minus test [95 % interval; the patients are others, so "
                   "both intervals add up as squares].", term="Difference to the held-out site"),
        ]  # fmt: skip
    rows = []
    for row in [r for r in worlds.rows if any((r, task) in outside for task in tasks)]:
        entries: list[Entry] = []
        for task in tasks:
            a, b = inside.get((row, task), Number(None)), outside.get((row, task), Number(None))
            entries += [_shown(a), _shown(b), _difference(b, a)]
        rows.append(StudyRow(worlds.rows[row], tuple(entries), row))
    return StudyTable("predictability", "Predictability: does it hold on a site that nobody trained on?", "Row",
                      tuple(columns), tuple(rows), (_ranking(worlds, tasks, inside, outside),))  # fmt: skip


def _shown(found: Number) -> Entry:
    if found.value is None:
        return _NONE
    interval = "" if found.low is None or found.high is None else f"[{found.low:.2f}, {found.high:.2f}]"
    return Entry(f"{found.value:.3f}", found.value, interval)


def _difference(after: Number, before: Number) -> Entry:
    """Of two independent samples of patients, by the ends of their intervals (Zou and Donner 2008)."""
    if after.value is None or before.value is None:
        return _NONE
    apart = after.value - before.value
    if None in (after.low, after.high, before.low, before.high):
        return Entry(f"{apart:+.3f}", apart)
    assert after.low is not None
    assert after.high is not None
    assert before.low is not None
    assert before.high is not None
    low = apart - math.hypot(after.value - after.low, before.high - before.value)
    high = apart + math.hypot(after.high - after.value, before.value - before.low)
    return Entry(f"{apart:+.3f}", apart, f"[{low:+.2f}, {high:+.2f}]")


def _ranking(
    worlds: Worlds, tasks: Sequence[str], inside: Mapping[tuple[str, str], Number],
    outside: Mapping[tuple[str, str], Number],
) -> str:  # fmt: skip
    """Whether the order of the competitors survives the site."""

    def ranks(found: Mapping[tuple[str, str], Number]) -> dict[str, float]:
        scores = {}
        for row in worlds.competitors:
            values = [found.get((row, task), Number(None)).value for task in tasks]
            signs = [1 if worlds.metrics[task].direction == "higher" else -1 for task in tasks]
            scores[row] = [None if v is None else s * v for s, v in zip(signs, values, strict=True)]
        return mean_ranks(scores)

    here, there = ranks(inside), ranks(outside)
    rows = [row for row in here if row in there]
    if len(rows) < 2:
        return "There are no two competitors to be ranked at both."
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i] if here[a] != here[b]]
    kept = sum((here[a] - here[b]) * (there[a] - there[b]) > 0 for a, b in pairs)
    best = {min(rows, key=lambda row: found[row]) for found in (here, there)}
    said = "the same row is best at both" if len(best) == 1 else "another row is best there"
    return f"Of {len(pairs)} pairs of competitors, {kept} are in the same order at the held-out site, and {said}."


def _stress(worlds: Worlds, base: Sequence[Outcome]) -> StudyTable | None:
    """The injected model asked in variants."""
    found: dict[tuple[str, str], dict[str, list[Evaluation]]] = {}
    for place, outcomes in _of(base).items():
        for outcome in outcomes:
            for one in _beside(outcome):
                if one.variant is not None:
                    found.setdefault(place, {}).setdefault(one.variant, []).append(one)
            if place in found and outcome.evaluation is not None:
                found[place].setdefault(_OWN, []).append(outcome.evaluation)
    found = {(row, task): variants for (row, task), variants in found.items() if row in worlds.rows}
    if not found:
        return None
    names = dict.fromkeys(name for variants in found.values() for name in variants)
    wordings = sorted(name for name in names if name.startswith("wording-"))
    order = [_OWN, *wordings, *(name for name in ("bare", "swapped", "blank") if name in names)]
    columns = tuple(
        Column(name, _WORDS.get(name, f"Wording {name.rpartition('-')[2]}"), _MEANS.get(
            name, "The same question in other words, without training on them."), term="Wording k" if name in wordings
            else None)
        for name in (*order, "unparsed")
    )  # fmt: skip
    rows = []
    for (row, task), variants in found.items():
        entries = [_shown(_mean(worlds, task, variants.get(name, []))) for name in order]
        lost = [v for name in (_OWN, *wordings, "bare") for e in variants.get(name, [])
                if "unparsed" in e.metrics and (v := e.metrics["unparsed"].value) is not None]  # fmt: skip
        entries.append(_NONE if not lost else Entry(f"{100 * max(lost):.0f} %", max(lost)))
        name = f"{worlds.rows[row]}, {worlds.tasks[task]} ({worlds.metrics[task].title})"
        rows.append(StudyRow(name, tuple(entries), row))
    note = "A model that reads the picture loses what it can with others' arrays, and says the same in any wording."
    return StudyTable(
        "stress", "Stress: the same questions, put otherwise", "Row and task", columns, tuple(rows), (note,)
    )


def _computability(
    worlds: Worlds, base: Sequence[Outcome], repeated: Mapping[str, str]
) -> StudyTable | None:  # fmt: skip
    """What a row takes, and where it was made."""
    columns = (
        Column("seconds", "Seconds", "Wall-clock time of the rounds of a run, mean over the runs at the base.",
               term="Seconds per run"),
        Column("memory", "Memory (MB)", "Largest resident size of the process that ran it.", term="Memory"),
        Column("sent", "MB sent", "Bytes of all clients both ways over a whole run.", term="MB sent"),
        Column("parameters", "Parameters", "Trained parameters.", term="Parameters"),
        Column("device", "On", "Device and threads of the runs.", term=""),
        Column("environments", "Environments", "Different machines or versions behind the row: with one, equal keys "
               "mean equal bits.", term="Environments"),
        *([Column("repeated", "Repeated", "Predictions of the first of these runs beside those of its repetition here.",
                  term="Repeated")] if repeated else []),
        Column("runs", "Runs", "Training runs at the base; each is repeated by `fedmeki-bench reproduce` with its key.",
               term=""),
    )  # fmt: skip
    rows = []
    for row, title in worlds.rows.items():
        records = {o.record.key: o.record for o in base if o.cell.algorithm.name == row and o.record is not None}
        if not records or row == worlds.floor:
            continue
        runs = list(records.values())
        memory = [r.cost.peak_memory for r in runs if r.cost.peak_memory]
        trained = [r.cost.parameters for r in runs if r.cost.parameters]
        sent = fmean(up + down for up, down, _ in map(traffic, runs)) / _MB
        on = dict.fromkeys(
            f"{r.environment.get('device', '?')}, {r.environment.get('threads', '?')} threads" for r in runs
        )
        seconds = fmean(r.cost.seconds for r in runs)
        rows.append(
            StudyRow(title, (
                Entry(f"{seconds:.1f}", seconds),
                Entry(f"{max(memory) / _MB:.0f}", max(memory) / _MB) if memory else _NONE,
                Entry(f"{sent:.1f}", sent),
                Entry(f"{max(trained):,}", float(max(trained))) if trained else _NONE,
                Entry("; ".join(on)),
                Entry(str(n := len({environment_digest(r.environment) for r in runs})), float(n)),
                *([Entry(repeated.get(row, "–"))] if repeated else []),
                Entry(", ".join(sorted(records)[:2]) + (f" and {len(records) - 2} more" if len(records) > 2 else "")),
            ), row)
        )  # fmt: skip
    if not rows:
        return None
    return StudyTable(
        "computability", "Computability: what it takes, and where it was done", "Row", columns, tuple(rows)
    )
