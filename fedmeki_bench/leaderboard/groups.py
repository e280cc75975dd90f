"""Tables of who is served worse (sites, sexes, ages, clients) and of what a score costs to reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.data.clients.assignment import label_shares
from fedmeki_bench.leaderboard.grid import Column, Entry, Grid
from fedmeki_bench.leaderboard.tables import Table, TableRow, ordered
from fedmeki_bench.statistics import ChanceGap, GroupValue, Spread, chance_gap, spread

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.analysis import Analysis
    from fedmeki_bench.records.record import AssignmentCounts, Subgroup

ATTRIBUTES = {"site": "Sites", "sex": "Sexes", "age": "Age bands"}
_QUANTILE = 1.959964
_NO_VALUE = Entry("–")
_WORST = (
    "Worst group, gap",
    "The worst site, sex or age band of the test split by the main metric, and the gap to the best one. Groups with "
    "too few samples for a value are left out.",
)
_OWN_MODELS = ("Clients' own models", "The main metric of each client's own model on the whole test split.")
_TARGET = (
    "Rounds and megabytes to a score",
    "Until the validation score reaches the reference's last one, both ways; mean over seeds, which must all reach it. "
    "A row over all tasks counts the traffic of all of them. Foundation views are not validated and have no row.",
)
_CHANCE = (
    "By chance",
    "If the model served all groups equally well, the gap would stay below this in 95 of 100 test splits with as many "
    "patients per group. A larger gap deserves a look and is no test: among many cells some exceed it by chance.",
)


def by_name(grid: Grid, algorithm: str, task: str, attribute: str) -> list[GroupValue]:
    """The main metric per group, mean over seeds; a group without a value in some seed has none."""
    seeds: dict[str, list[Subgroup]] = {}
    finished = 0
    for o in grid.outcomes.get((algorithm, task), []):
        if o.status == "ok" and o.evaluation is not None:
            finished += 1
            for group in o.evaluation.subgroups.get(attribute, []):
                seeds.setdefault(group.name, []).append(group)
    values = []
    for name, found in seeds.items():
        numbers = [f.value for f in found if f.value is not None]
        value = sum(numbers) / finished if len(numbers) == finished else float("nan")
        one = found[0]
        alone = finished == 1
        values.append(
            GroupValue(
                name, one.n, one.groups or 0, value,
                one.low if alone and one.low is not None else float("nan"),
                one.high if alone and one.high is not None else float("nan"), one.note,
            )
        )  # fmt: skip
    return values


def spread_of(grid: Grid, algorithm: str, task: str, attribute: str) -> Spread | None:
    """Best and worst group of an attribute; None with fewer than two groups that have a value."""
    values = [v for v in by_name(grid, algorithm, task, attribute) if v.value == v.value]
    if len(values) < 2:
        return None
    metric = grid.facts.metrics.get(grid.main_metric(task))
    return spread(values, higher=metric is None or metric.direction == "higher")


def gap_by_chance(grid: Grid, algorithm: str, task: str, attribute: str) -> ChanceGap | None:
    """The gap that equal groups would show, from their intervals; None if a group with a value has no interval.

    Half the width of a 95 % interval is taken as 1.96 standard errors; with several seeds their mean counts, because
    all seeds are tested on the same patients.
    """
    errors: dict[str, list[float]] = {}
    for o in grid.outcomes.get((algorithm, task), []):
        if o.status == "ok" and o.evaluation is not None:
            for group in o.evaluation.subgroups.get(attribute, []):
                width = float("nan") if group.low is None or group.high is None else group.high - group.low
                errors.setdefault(group.name, []).append(width / (2 * _QUANTILE))
    known = [v.name for v in by_name(grid, algorithm, task, attribute) if v.value == v.value]
    means = [sum(errors[name]) / len(errors[name]) for name in known]
    if len(means) < 2 or any(error != error for error in means):
        return None
    return chance_gap(means)


def group_tables(grid: Grid) -> tuple[Table, ...]:
    """Per attribute that the data have: the worst group of every algorithm and task, and the gap to the best."""
    tables = []
    for attribute, title in ATTRIBUTES.items():
        there = [task for task in grid.tasks if any(spread_of(grid, name, task, attribute) for name in grid.algorithms)]
        if not there:
            continue
        columns = tuple(
            Column(
                task, f"{grid.facts.task_title(task)} ({grid.facts.metric_title(grid.main_metric(task))})",
                f"Worst {attribute} group of the test split with its name, and the gap to the best group.",
                term="",
            )
            for task in there
        )  # fmt: skip
        rows = tuple(
            TableRow(algorithm, section, tuple(_worst(grid, algorithm.name, task, attribute) for task in there))
            for algorithm, section in ordered(grid)
        )
        table = Table(f"groups_{attribute}", f"{title}: worst group", columns, rows, definitions=(_WORST, _CHANCE))
        tables.append(table)
    return tuple(tables)


def _worst(grid: Grid, algorithm: str, task: str, attribute: str) -> Entry:
    found = spread_of(grid, algorithm, task, attribute)
    if found is None:
        return _NO_VALUE
    if found.gap == 0:
        return Entry(f"{found.worst_value:.3f} in all", found.worst_value)
    text = f"{found.worst_value:.3f} ({found.worst}), gap {found.gap:.3f}"
    chance = gap_by_chance(grid, algorithm, task, attribute)
    return Entry(text if chance is None else f"{text}; by chance up to {chance.upper:.3f}", found.worst_value)


def client_tables(grid: Grid) -> tuple[Table, ...]:
    """Per task: the metric of every client's own model, for algorithms that leave one."""
    tables = []
    for task in grid.tasks:
        found = {name: by_name(grid, name, task, "client") for name in grid.algorithms}
        found = {name: values for name, values in found.items() if values}
        if not found:
            continue
        clients = list(dict.fromkeys(v.name for values in found.values() for v in values))
        metric = grid.main_metric(task)
        held = _held(grid, task) if len(grid.board.seeds) == 1 else {}
        columns = tuple(
            Column(
                f"client_{client}", f"Client {client}",
                f"{grid.facts.metric_title(metric)} of this client's own model on the whole test split"
                + (f"; it holds {held[client]}." if client in held else "."),
                term="", size=held.get(client, ""),
            )
            for client in clients
        )  # fmt: skip
        rows = []
        for algorithm, section in ordered(grid):
            if algorithm.name in found:
                entries = [_own(grid, algorithm.name, task, client) for client in clients]
                rows.append(TableRow(algorithm, section, tuple(entries)))
        title = f"{grid.facts.task_title(task)}: clients' own models"
        tables.append(Table(f"clients_{task}", title, columns, tuple(rows), definitions=(_OWN_MODELS,)))
    return tuple(tables)


def _own(grid: Grid, algorithm: str, task: str, client: str) -> Entry:
    """A client's own value per seed: the assignment depends on the seed, so client 0 is another hospital in each."""
    groups = [
        group
        for o in grid.outcomes.get((algorithm, task), [])
        if o.status == "ok" and o.evaluation is not None
        for group in o.evaluation.subgroups.get("client", [])
        if group.name == client
    ]
    known = [group.value for group in groups if group.value is not None]
    if not known:
        return _NO_VALUE
    return Entry(", ".join(f"{v:.3f}" for v in known), known[0] if len(known) == 1 else None)


def _held(grid: Grid, task: str) -> dict[str, str]:
    """Client -> how many samples it holds, where all finished runs of the task agree."""
    assigned: list[AssignmentCounts] = [
        o.record.assignment
        for (_, t), outcomes in grid.outcomes.items()
        if t == task
        for o in outcomes
        if o.status == "ok" and o.record is not None and o.record.assignment is not None and not o.cell.algorithm.pooled
    ]
    if not assigned or len({d.digest for d in assigned}) != 1 or task not in assigned[0].counts:
        return {}
    held = {}
    for number, counts in enumerate(assigned[0].counts[task]):
        held[str(number)] = f"{counts.get('n')} samples{label_shares(counts)}"
    return held


def target_table(grid: Grid, analysis: Analysis) -> Table | None:
    """Rounds and megabytes until the validation score reaches what the reference ended with."""
    if not analysis.targets or analysis.reference is None:
        return None
    targets = {t.task: t.target for t in analysis.targets}
    found = {(t.algorithm, t.task): t for t in analysis.targets}
    columns = tuple(
        Column(
            task, f"{grid.facts.task_title(task)} (to {targets[task]:.3f})",
            "Rounds, and megabytes both ways, until the validation score reaches the reference's last one.", term="",
        )
        for task in grid.tasks if task in targets
    )  # fmt: skip
    rows = []
    for algorithm, section in ordered(grid):
        entries = []
        for column in columns:
            target = found.get((algorithm.name, column.key))
            if target is None:
                entries.append(_NO_VALUE)
            elif target.rounds is None or target.megabytes is None:
                entries.append(Entry("not reached" if target.seeds == 1 else f"{target.reached} of {target.seeds}"))
            else:
                entries.append(Entry(f"{target.rounds:.3g}, {target.megabytes:.3g} MB", target.megabytes))
        if any(e.text != "–" for e in entries):
            rows.append(TableRow(algorithm, section, tuple(entries)))
    title = f"Rounds and megabytes to the validation score of {analysis.reference.title}"
    return Table("targets", title, columns, tuple(rows), definitions=(_TARGET,)) if rows else None
