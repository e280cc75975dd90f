"""``compare``: two algorithms of a board, or two records, on the same seeds and patients."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.console.echo import echo
from fedmeki_bench.errors import InputError, UsageError, nearest


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--board", default=None, help="The board whose rows A and B are; without it they are records.")
@click.option("--metrics", default=None, help="Comma-separated; by default the main metric of each task.")
@options.results
@options.as_json
def compare_command(a: str, b: str, board: str | None, metrics: str | None, results: Path, as_json: bool) -> None:
    """Paired differences A minus B with 95 % intervals, tests, and Holm's adjustment over all of them.

    A and B are two rows of --board, or two records: a record.json, its folder, or a key in --results.
    """
    from fedmeki_bench.leaderboard.analysis import adjust, compare_outcomes
    from fedmeki_bench.leaderboard.pairs import reader

    pairs, sides, notes = _of_board(a, b, board, results) if board else _of_records(a, b, results)
    known = {p.name: p for p in registry.describe("metrics") if not p.broken}
    wanted = [name.strip() for name in metrics.split(",")] if metrics else None
    for name in wanted or ():
        if name not in known:
            raise UsageError(f"unknown metric {name!r}; {nearest(name, known)}")
    read_a, read_b = (reader(side) for side in sides)
    found, dealings = [], []
    for (task, dealing), (ours, theirs) in pairs.items():
        scored = [o.evaluation.metrics for o in (*ours, *theirs) if o.evaluation is not None]
        main = list(registry.load("tasks", task, files=False).meta.metrics[:1])
        for name in wanted or main:
            if all(name in metrics_of for metrics_of in scored):
                found.append(compare_outcomes(ours, theirs, registry.load("metrics", name), read_a, read_b))
                dealings.append(dealing)
            else:
                notes.append(f"{task} has no {name} on both sides: left out")
    if not found:
        raise InputError(f"{a} and {b} share no task that both finished" + (f" with {metrics}" if metrics else ""))
    if all(c.difference is None for c in found):
        raise InputError(f"{a} and {b} can't be compared: {found[0].note}")
    found = list(adjust(found))
    if as_json:
        rows = [
            {"dealing": dealing} | {k: v for k, v in asdict(c).items() if k != "algorithm"}
            for dealing, c in zip(dealings, found, strict=True)
        ]
        told = {"a": a, "b": b, "notes": notes, "comparisons": rows, "over_tasks": _over_tasks(found)}
        echo(json.dumps(told, indent=1))
        return
    _report(a, b, found, dealings, notes)


def _report(a: str, b: str, found: Sequence[Any], dealings: Sequence[str], notes: Sequence[str]) -> None:
    from fedmeki_bench.console import print_table
    from fedmeki_bench.leaderboard.analysis import certain
    from fedmeki_bench.leaderboard.render import p_text

    columns = ["task", "metric", "A - B", "95 % interval", "p", "p (Holm)", "test", "seeds", "samples", "note"]
    rows = []
    several = any(dealings)
    for dealing, c in zip(dealings, found, strict=True):
        number = "–" if c.difference is None else f"{c.difference:+.3f}"
        interval = "–" if c.low is None or c.high is None else f"{c.low:+.3f} to {c.high:+.3f}"
        place = [c.task, dealing] if several else [c.task]
        tests = [p_text(c.p), p_text(c.adjusted) + " *" * c.separated, c.test or "–"]
        rows.append([*place, c.metric, number, interval, *tests, c.seeds, c.samples, c.note])
    if several:
        columns.insert(1, "dealing")
    print_table(
        f"A = {a}, B = {b}", columns, rows,
    )  # fmt: skip
    separated = [c for c in found if c.separated]
    meaning = certain(max(c.seeds for c in found))
    untested = sum(c.adjusted is None for c in found)
    without = f" ({untested} could not be tested, see the note)" if untested else ""
    echo(f"* {len(separated)} of {len(found)} differences are separated{without}: {meaning}")
    over = _over_tasks(found)
    if over is not None:
        columns_of = "tasks and dealings" if several else "tasks"
        echo(
            f"over {over['columns']} {columns_of}: mean difference {over['difference']:+.3f}, sign-flip p "
            f"{p_text(over['p'])} (it can't fall below {over['smallest']:.3g})"
        )
    for note in notes:
        echo(note)


def _over_tasks(found: Sequence[Any]) -> dict[str, Any] | None:
    """The mean difference over tasks (and dealings) and its sign-flip test; None unless they share one metric."""
    from fedmeki_bench.statistics import sign_flip

    differences = [c.difference for c in found if c.difference is not None]
    if len(differences) < 2 or len(differences) < len(found) or len({c.metric for c in found}) > 1:
        return None
    test = sign_flip(differences)
    mean = sum(differences) / len(differences)
    return {"columns": len(differences), "difference": mean, "p": test.p, "smallest": test.smallest}


_Folder = Callable[[str], Path]
_Found = tuple[dict[tuple[str, str], Any], tuple[_Folder, _Folder], list[str]]


def _of_board(a: str, b: str, board: str, results: Path) -> _Found:
    """(task, dealing) -> outcomes of the two rows."""
    from fedmeki_bench.leaderboard.board import find_board
    from fedmeki_bench.leaderboard.collect import collect
    from fedmeki_bench.results.store import RecordStore
    from fedmeki_bench.runs.plan import cells

    chosen = find_board(board)
    for name in (a, b):
        if name not in chosen.algorithms:
            raise UsageError(f"{name!r} is not a row of {chosen.name}; {nearest(name, chosen.algorithms)}")
    store = RecordStore(results)
    records = list(store.all())
    found = [c for c in cells(chosen, records) if c.algorithm.name in _names(a, b)]
    if not records:
        raise InputError(f"no record in {results}; run `fedmeki-bench sweep {chosen.name}` first")
    outcomes = collect(found, records).outcomes
    first, second = _names(a, b)
    pairs = {}
    for dealing, task in product([d.label for d in chosen.dealings], chosen.tasks):
        here = [o for o in outcomes if (o.cell.task, o.cell.dealing) == (task, dealing)]
        ours = [o for o in here if o.cell.algorithm.name == first]
        theirs = [o for o in here if o.cell.algorithm.name == second]
        if any(o.status == "ok" for o in ours) and any(o.status == "ok" for o in theirs):
            pairs[task, dealing] = (ours, theirs)
    return pairs, (store.folder, store.folder), []


def _names(*given: str) -> list[str]:
    from fedmeki_bench.algorithms import described

    return [described(name).name for name in given]


def _of_records(a: str, b: str, results: Path) -> _Found:
    """(task, "") -> one outcome each of the two records, each by the view of its algorithm."""
    from fedmeki_bench.algorithms import described
    from fedmeki_bench.console.dealt import dealt_as
    from fedmeki_bench.leaderboard.cells import Cell
    from fedmeki_bench.leaderboard.collect import Outcome
    from fedmeki_bench.results.store import read_record

    sides, folders = [], []
    for given in (a, b):
        path = _record_path(given, results)
        record = read_record(path)
        folders.append(path.parent)
        algorithm = described(record.algorithm)
        sides.append((record, {
            e.task: Outcome(Cell(algorithm, e.task, 0, record.setting), "ok", "", record, e)
            for e in record.evaluations if e.view == algorithm.view and e.metrics
        }))  # fmt: skip
    (left, ours), (right, theirs) = sides
    notes = [] if left.seed == right.seed else [f"seeds {left.seed} and {right.seed} differ: so may luck"]
    dealings = [dealt_as(record.partition, record.params) for record in (left, right)]
    if dealings[0] != dealings[1]:
        notes.append(f"dealt otherwise: {dealings[0]}, and {dealings[1]}")
    cards = [{c.task: c.card for c in record.cohorts} for record in (left, right)]
    shared = [task for task in ours if task in theirs]
    other = [task for task in shared if cards[0].get(task) != cards[1].get(task)]
    notes += [f"{task}: the two records rest on differently prepared data" for task in other]
    pairs = {(task, ""): ([ours[task]], [theirs[task]]) for task in shared}
    return pairs, (lambda key: folders[0], lambda key: folders[1]), notes


def _record_path(given: str, results: Path) -> Path:
    for path in (Path(given), Path(given) / "record.json", results / given / "record.json"):
        if path.is_file():
            return path
    raise UsageError(
        f"{given!r} is no record: give a record.json, its folder, a key in {results}, or --board for rows of a board"
    )
