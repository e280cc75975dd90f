"""Rows that answer in words: what their columns show, who mumbles, and what a constant answer scores beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedmeki_bench import registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.evaluation.text_metrics import UNPARSED
from fedmeki_bench.evaluation.view import in_words
from fedmeki_bench.leaderboard.collect import Outcome
from fedmeki_bench.leaderboard.grid import Column, Grid

MUMBLES = "§"
UNREADABLE = 0.10
"""Share of unparsed answers above which a row is marked."""

DOUBTED = "¶"
_SPELT = 5
"""Remarks that a note spells out."""

CONSTANT_ROW = Algorithm(
    "constant_answer", "none", "s", view=CONSTANT, base="Constant answer", bound=True,
    summary="the one answer that scores best when it is given to every question, chosen on the very samples",
)  # fmt: skip

_BASIS = {
    "label": " Rows that answer in words: of their answers, an unparsed one counting as wrong.",
    "score": " Rows that answer in words: of their probability of yes against no, whatever they say.",
}


def column(grid: Grid, key: str, header: str, metric: str, task: str) -> Column:
    """A column of a metric on a task, which says what the rows that answer in words are scored by."""
    plain = grid.facts.column(key, header, metric)
    spec = grid.facts.metrics.get(metric)
    if spec is None or not _asked(grid, task, metric):
        return plain
    return replace(plain, definition=plain.definition + _BASIS.get(spec.needs, ""))


def mark(grid: Grid, algorithm: str, tasks: Sequence[str]) -> str:
    """The marks of a row: ‡ other data, § too many answers to one of these tasks unread, ¶ a run to be doubted."""
    found = grid.mark(algorithm, tasks) + MUMBLES * any(_mumbles(grid, algorithm, task) for task in tasks)
    return found + DOUBTED * bool(_doubts(grid, algorithm, tasks))


def definitions(grid: Grid, tasks: Sequence[str]) -> list[tuple[str, str]]:
    """What a table over these tasks has to explain about rows that answer in words."""
    found = []
    needs = {
        spec.needs
        for task in tasks
        for metric in grid.collected.metrics.get(task, ())
        if (spec := grid.facts.metrics.get(metric)) is not None and _asked(grid, task, metric)
    }
    if needs & {"label", "score"}:
        found.append((
            "Rows that answer in words",
            "Accuracy, F1 and other metrics of a prediction come from their answers, an unparsed one counting as "
            "wrong; AUROC and other metrics of a probability from that of yes against no.",
        ))  # fmt: skip
    for name in dict.fromkeys(row.view for row in grid.algorithms.values()):
        told = registry.load("views", name).explained if name in registry.names("views") else ""
        if told:
            rows = ", ".join(row.title for row in grid.algorithms.values() if row.view == name)
            found.append((f"View {name}", f"{told} Here: {rows}."))
    marks = {mark(grid, name, tasks) for name in grid.algorithms}
    if any(MUMBLES in one for one in marks):
        found.append((MUMBLES, f"More than {100 * UNREADABLE:.0f} % of the row's answers to a task could not be read."))
    if any(DOUBTED in one for one in marks):
        found.append((DOUBTED, "A run behind the row left a remark, which the note below the table repeats."))
    return found


def notes(grid: Grid, tasks: Sequence[str]) -> list[str]:
    """What a table over these tasks has to say about its own rows that answer in words, and about doubted runs."""
    said = []
    doubts = [said for name in grid.algorithms for said in _doubts(grid, name, tasks)]
    if doubts:
        more = f"; and {len(doubts) - _SPELT} more" if len(doubts) > _SPELT else ""
        said.append(f"{DOUBTED} marks rows whose runs left a remark: {'; '.join(doubts[:_SPELT])}{more}.")
    said += _assumed(grid, tasks)
    reasons: dict[str, list[str]] = {}
    for task in tasks:
        for o in grid.outcomes.get((CONSTANT_ROW.name, task), [])[:1]:
            if o.evaluation is not None and o.evaluation.note:
                reasons.setdefault(o.evaluation.note, []).append(grid.facts.task_title(task))
    for reason, titles in reasons.items():
        said.append(f"{CONSTANT_ROW.title} {reason} ({', '.join(titles)}).")
    return said


def _assumed(grid: Grid, tasks: Sequence[str]) -> list[str]:
    """Which rows were run otherwise than their papers assume, one sentence per assumption."""
    rows: dict[str, list[str]] = {}
    for name, row in grid.algorithms.items():
        found = {
            f"{key}={value}"
            for task in tasks
            for o in grid.outcomes.get((name, task), [])
            if o.record is not None
            for key, value in o.record.assumed.items()
        }
        for assumption in sorted(found):
            rows.setdefault(assumption, []).append(row.title)
    return [
        f"The papers of {', '.join(titles)} assume {what}, which these runs do not have."
        for what, titles in rows.items()
    ]


def constant_outcomes(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The row of the constant answer for a section's outcomes, one per task and seed that has the evaluation.

    None where another row gives a constant predictor's numbers on all these tasks.
    """
    bounded = {o.cell.task for o in outcomes if o.cell.algorithm.view == "constant" and o.status == "ok"}
    found: dict[tuple[str, int], Outcome] = {}
    for o in outcomes:
        place = (o.cell.task, o.cell.seed)
        if not in_words(o.cell.algorithm.view) or o.status != "ok" or o.record is None or place in found:
            continue
        for e in o.record.evaluations:
            if (e.view, e.task) == (CONSTANT, o.cell.task) and e.metrics:
                found[place] = replace(o, cell=replace(o.cell, algorithm=CONSTANT_ROW), evaluation=e)
    return tuple(found.values()) if {task for task, _ in found} - bounded else ()


def _asked(grid: Grid, task: str, metric: str) -> bool:
    """Whether a row that answers in words has this metric on the task."""
    return any(in_words(a.view) and grid.values(name, task, metric) for name, a in grid.algorithms.items())


def _mumbles(grid: Grid, algorithm: str, task: str) -> bool:
    return any(v.value is not None and v.value > UNREADABLE for v in grid.values(algorithm, task, UNPARSED.name))


def _doubts(grid: Grid, algorithm: str, tasks: Sequence[str]) -> list[str]:
    """The remarks of the runs behind a row, with row and seed; a constant answer's note says what it is, no doubt."""
    row = grid.algorithms[algorithm]
    if row.view == CONSTANT:
        return []
    return [
        f"{row.title}, seed {o.cell.seed}: {o.evaluation.note}"
        for task in tasks
        for o in grid.outcomes.get((algorithm, task), [])
        if o.status == "ok" and o.evaluation is not None and o.evaluation.note
    ]
