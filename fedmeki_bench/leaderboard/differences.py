"""The table of a section's differences: every competitor against the reference and the bounds, in one word each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.grid import Column, Entry, Grid
from fedmeki_bench.leaderboard.saturation import SATURATED, saturated
from fedmeki_bench.leaderboard.tables import Table, TableRow, ordered

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.analysis import Analysis, Asked
    from fedmeki_bench.leaderboard.judging import Comparison

_NO_VALUE = Entry("–")


def differences_table(grid: Grid, analysis: Analysis) -> Table | None:
    """One row per competitor: its difference to the reference on the mean and on each task, and what the bounds say."""
    reference = analysis.reference
    if reference is None or not (analysis.primary or analysis.per_task or analysis.questions):
        return None
    columns = [_mean_column(grid, reference.title)] if analysis.primary else []
    bounds = list(dict.fromkeys(asked.found.against for asked in analysis.questions))
    questions = {name: next(a for a in analysis.questions if a.found.against == name) for name in bounds}
    columns += [_question_column(grid, name, questions[name]) for name in bounds]
    tasks = [task for task in grid.tasks if any(c.task == task for c in analysis.per_task)]
    for task in tasks:
        title, metric = grid.facts.task_title(task), grid.facts.metric_title(grid.main_metric(task))
        columns.append(
            Column(task, f"{title} ({metric})", f"Difference to {reference.title} on this task.", term="",
                   size=grid.size(task), mark=SATURATED if saturated(grid, task) else "")
        )  # fmt: skip
    primary = {c.algorithm: c for c in analysis.primary}
    asked_of = {(a.found.algorithm, a.found.against): a for a in analysis.questions}
    per_task = {(c.algorithm, c.task): c for c in analysis.per_task}
    rows = []
    for algorithm, section in ordered(grid):
        name = algorithm.name
        entries = [entry_of(primary.get(name))] if analysis.primary else []
        entries += [_answer(asked_of.get((name, bound))) for bound in bounds]
        entries += [entry_of(per_task.get((name, task))) for task in tasks]
        if not algorithm.bound and any(e != _NO_VALUE for e in entries):
            rows.append(TableRow(algorithm, section, tuple(entries)))
    title = f"Differences to {reference.title}"
    return Table(
        "differences", title, tuple(columns), tuple(rows), (), tuple(_notes(grid, analysis)),
        tuple(definitions(grid, analysis)),
    )  # fmt: skip


def statistic(grid: Grid) -> str:
    """What orders the table and is judged first, in words."""
    if len(grid.tasks) == 1:
        return grid.facts.task_title(grid.tasks[0])
    return f"the mean over {len(grid.tasks)} tasks"


def margin_text(grid: Grid) -> str:
    """The smallest difference that matters, with its metric."""
    scale = grid.scale
    if not scale.metric:
        return "one margin"
    return f"{scale.margin:g} {grid.facts.metric_title(scale.metric)}"


def _mean_column(grid: Grid, reference: str) -> Column:
    shown = grid.facts.metric_title(grid.scale.metric) if grid.scale.metric else "in margins"
    header = statistic(grid).removeprefix("the ")
    said = f"Difference to {reference} on {statistic(grid)}."
    return Column("mean", f"{header[0].upper()}{header[1:]} ({shown})", said, term="")


def _question_column(grid: Grid, bound: str, asked: Asked) -> Column:
    title = grid.algorithms[bound].title
    if asked.question == "better":
        side = "above" if grid.scale.higher else "below"
        said = f"Difference to {title} on {statistic(grid)}; yes if {side} 0."
        return Column(bound, f"Better than {title}?", said, term="")
    side = "below" if grid.scale.higher else "above"
    said = f"Difference to {title} on {statistic(grid)}; yes if not more than {margin_text(grid)} {side}."
    return Column(bound, f"Not worse than {title}?", said, term="")


def _number(found: Comparison) -> tuple[str, str]:
    assert found.difference is not None
    digits = 3 if found.metric else 2
    low, high = found.low, found.high
    interval = "" if low is None or high is None else f"[{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{found.difference:+.{digits}f}", interval


def _detail(found: Comparison) -> str:
    tests = (
        "" if found.p is None or found.adjusted is None else f"p {found.p:.2g}, in its family {found.adjusted:.2g}; "
    )
    return f"{tests}{found.patients} patients, {found.seeds} seed{'s' * (found.seeds != 1)}"


def entry_of(found: Comparison | None) -> Entry:
    """A difference with its interval and its word, as a table shows it."""
    if found is None:
        return _NO_VALUE
    if found.difference is None:
        return Entry("no number", detail=found.note)
    if found.word == "identical":
        return Entry("identical", 0.0, detail=found.note)
    number, interval = _number(found)
    said = "" if found.word == "not tested" else found.word
    return Entry(number, found.difference, interval, said, _detail(found), best=found.decided)


def _answer(asked: Asked | None) -> Entry:
    if asked is None or asked.found.difference is None:
        return _NO_VALUE
    if asked.found.word == "identical":
        return Entry("identical", 0.0, remark=asked.answer, detail=asked.found.note, best=asked.answer == "yes")
    number, interval = _number(asked.found)
    yes = asked.answer == "yes"
    return Entry(number, asked.found.difference, interval, asked.answer, _detail(asked.found), best=yes)


def definitions(grid: Grid, analysis: Analysis) -> list[tuple[str, str]]:
    """What differences, their words and their intervals mean on a page."""
    level = f"{100 * (1 - analysis.alpha):.3g} %"
    first = "The mean over tasks and the questions about the bounds" if len(grid.tasks) > 1 else "The differences"
    found = [
        (
            "Difference [interval]",
            "A row less the one it is compared with, on the same seeds and patients. All intervals of a family hold "
            f"together with {level} probability. {first} form one family.",
        ),
        (
            "Better, worse, equivalent, undecided",
            "Equivalent if the interval lies within the margin, the smallest difference that matters; else better or "
            f"worse if it leaves out 0; else undecided, which does not mean equal. {_margins(grid)}",
        ),
    ]
    if analysis.questions:
        said = (
            "Better than a bound: yes if the interval of the difference to it leaves out 0. Not worse than a bound: "
            "yes if the interval leaves out a loss of more than the margin."
        )
        found.append(("Questions about the bounds", said))
    if analysis.per_task:
        said = "Another family, tested only where the mean is better or worse: elsewhere they have no word."
        found.append(("Single tasks", said))
    if analysis.seeds == 1:
        said = "The words speak of these trained models on other patients, not of the algorithms trained again."
        found.append(("One seed", said))
    if not grid.scale.metric:
        said = "Main metrics differ between tasks: the mean counts each task's difference in its margin."
        found.append(("In margins", said))
    return found


def _notes(grid: Grid, analysis: Analysis) -> list[str]:
    twins = [f"{grid.algorithms[a].title} and {grid.algorithms[b].title}" for a, b in analysis.twins.items()]
    return [f"The same predictions under two names, counted once: {'; '.join(twins)}."] if twins else []


def _margins(grid: Grid) -> str:
    metrics = dict.fromkeys(grid.main_metric(task) for task in grid.tasks)
    return " ".join(f"The margin of {grid.facts.metric_title(m)} is {grid.board.margin(m):g}." for m in metrics)
