"""The table of answers given without the data: what a model says before injection, and after it without soft tokens."""

from __future__ import annotations

import statistics

from fedmeki_bench.evaluation.view import in_words
from fedmeki_bench.leaderboard.grid import Column, Entry, Grid
from fedmeki_bench.leaderboard.tables import Table, TableRow, ordered

_VIEWS = {"foundation_before": "before", "foundation_blind": "after"}


def unseeing_table(grid: Grid) -> Table | None:
    """Foundation rows x tasks: the main metric before injection and after it, both asked in words alone; None without.

    Where all questions of a task are alike, as in classification, AUROC is 0.5 by construction: no control there.
    """
    rows = [(a, section) for a, section in ordered(grid) if in_words(a.view)]
    entries = {a.name: [_entry(grid, a.name, task) for task in grid.tasks] for a, _ in rows}
    if not any(entry.value is not None for found in entries.values() for entry in found):
        return None
    columns = tuple(
        Column(
            task, f"{grid.facts.task_title(task)} ({grid.facts.metric_title(grid.main_metric(task))})",
            "The same questions without soft tokens: before injection, and after it; mean over seeds.", term="",
        )
        for task in grid.tasks
    )  # fmt: skip
    meaning = (
        "The same questions without soft tokens, before injection and after it; mean over seeds: what the wording "
        "alone gives away. Questions that are all alike get the same answer, so that AUROC is 0.5 "
        "whatever was injected: in classification, shuffled answers and untrained projectors are the controls."
    )
    return Table(
        "unseeing", "Asked without the data", columns,
        tuple(TableRow(a, section, tuple(entries[a.name])) for a, section in rows),
        definitions=(("Asked without the data", meaning),),
    )  # fmt: skip


def _entry(grid: Grid, algorithm: str, task: str) -> Entry:
    metric = grid.main_metric(task)
    said, last = [], None
    for view, when in _VIEWS.items():
        found = [
            e.metrics[metric].value
            for o in grid.outcomes.get((algorithm, task), [])
            if o.status == "ok" and o.record is not None
            for e in o.record.evaluations
            if (e.view, e.task) == (view, task) and metric in e.metrics
        ]
        known = [v for v in found if v is not None]
        if known and len(known) == len(found):
            last = statistics.fmean(known)
            said.append(f"{when} {last:.3f}")
    return Entry(", ".join(said) or "–", last)
