"""``compare``: two algorithms of a board, or two records, on the same seeds and patients."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import InputError, UsageError, nearest


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--board", default=None, help="The board whose rows A and B are; without it they are records.")
@click.option("--metrics", default=None, help="Comma-separated; by default the main metric of each task.")
@options.results
@options.as_json
def compare_command(a: str, b: str, board: str | None, metrics: str | None, results: Path, as_json: bool) -> None:
    """Differences A minus B on the same seeds and patients, as one family, and over the tasks.

    A and B are two rows of --board, or two records: a record.json, its folder, or a key in --results.
    """
    from fedmeki_bench.leaderboard.comparing import Column, compare_rows

    sides = _of_board(a, b, board, results) if board else _of_records(a, b, results)
    known = {p.name: p for p in registry.describe("metrics") if not p.broken}
    wanted = [name.strip() for name in metrics.split(",")] if metrics else None
    for name in wanted or ():
        if name not in known:
            raise UsageError(f"unknown metric {name!r}; {nearest(name, known)}")
    columns, notes, collections = [], list(sides.notes), {}
    for (task, dealing), outcomes in sides.outcomes.items():
        meta = registry.load("tasks", task, files=False).meta
        collections[task] = meta.patients or meta.dataset
        two = [o for row in (sides.a, sides.b) for o in outcomes[row]]
        scored = [o.evaluation.metrics for o in two if o.evaluation is not None]
        for name in wanted or list(meta.metrics[:1]):
            if all(name in metrics_of for metrics_of in scored):
                margin = sides.margin(name)
                columns.append(Column(task, dealing, registry.load("metrics", name), margin, outcomes))
            else:
                notes.append(f"{task} has no {name} on both sides: left out")
    if not columns:
        raise InputError(f"{a} and {b} share no task that both finished" + (f" with {metrics}" if metrics else ""))
    found, over = compare_rows(sides.a, sides.b, columns, sides.read, collections)
    if all(c.difference is None for c in found):
        raise InputError(f"{a} and {b} can't be compared: {found[0].note}")
    dealings = [column.dealing for column in columns]
    if as_json:
        rows = [
            {"dealing": dealing} | {k: v for k, v in asdict(c).items() if k not in ("algorithm", "against")}
            for dealing, c in zip(dealings, found, strict=True)
        ]
        told = {
            "a": a, "b": b, "notes": notes, "comparisons": rows, "over_tasks": None if over is None else asdict(over),
        }  # fmt: skip
        echo(json.dumps(told, indent=1))
        return
    _report(a, b, found, dealings, over, notes)


def _report(
    a: str, b: str, found: Sequence[Any], dealings: Sequence[str], over: Any | None, notes: Sequence[str]
) -> None:
    from fedmeki_bench.cli.view import print_table

    columns = ["task", "metric", "A - B", "interval", "A is", "p", "p (family)", "seeds", "patients", "note"]
    rows = []
    several = any(dealings)
    for dealing, c in zip(dealings, found, strict=True):
        place = [c.task, dealing] if several else [c.task]
        word = "–" if c.difference is None else c.word
        rows.append([*place, c.metric, *_numbers(c), word, _p(c.p), _p(c.adjusted), c.seeds, c.patients, c.note])
    if several:
        columns.insert(1, "dealing")
    print_table(f"A = {a}, B = {b}", columns, rows)
    margins = ", ".join(dict.fromkeys(f"{c.metric} {c.margin:g}" for c in found))
    lost = sum(c.difference is None for c in found)
    echo(
        "Intervals hold together with 95 % probability. equivalent: the interval lies within the margin "
        f"({margins}); else better or worse: it leaves out 0."
        + (f" {lost} differences have no number, see the note." if lost else "")
    )
    if max(c.seeds for c in found) == 1:
        echo("One seed was trained: this speaks of these trained models on other patients, not of the algorithms.")
    if over is not None:
        difference, interval = _numbers(over.found)
        echo(
            f"On the mean over these tasks A - B is {difference} ({interval}), p {_p(over.found.p)}: "
            f"A is {over.found.word}."
        )
        echo(
            f"For other tasks, {over.cohorts} independent groups of patients: sign-flip p {_p(over.flip_p)} (it can't "
            f"fall below {over.smallest:.3g})."
        )
    for note in notes:
        echo(note)


def _numbers(found: Any) -> tuple[str, str]:
    number = "–" if found.difference is None else f"{found.difference:+.3f}"
    return number, "–" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


@dataclass(frozen=True)
class _Sides:
    """(task, dealing) -> row -> outcomes; which rows are A and B, and how their predictions are read."""

    a: str
    b: str
    outcomes: dict[tuple[str, str], dict[str, list[Any]]]
    read: Any
    margin: Callable[[str], float]
    notes: list[str]


def _of_board(a: str, b: str, board: str, results: Path) -> _Sides:
    """All rows of the board where both sides have a number."""
    from fedmeki_bench.algorithms import described
    from fedmeki_bench.boards.board import find_board
    from fedmeki_bench.leaderboard.collect import collect
    from fedmeki_bench.leaderboard.reading import reader
    from fedmeki_bench.records.store import RecordStore
    from fedmeki_bench.runs.plan import cells

    chosen = find_board(board)
    for name in (a, b):
        if name not in chosen.algorithms:
            raise UsageError(f"{name!r} is not a row of {chosen.name}; {nearest(name, chosen.algorithms)}")
    store = RecordStore(results)
    records = list(store.all())
    if not records:
        raise InputError(f"no record in {results}; run `fedmeki-bench sweep {chosen.name}` first")
    outcomes = collect(cells(chosen, records), records).outcomes
    first, second = (described(name).name for name in (a, b))
    found: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for dealing, task in product([d.label for d in chosen.dealings], chosen.tasks):
        rows: dict[str, list[Any]] = {}
        for o in outcomes:
            if (o.cell.task, o.cell.dealing) == (task, dealing):
                rows.setdefault(o.cell.algorithm.name, []).append(o)
        if all(any(o.status == "ok" for o in rows.get(name, [])) for name in (first, second)):
            found[task, dealing] = rows
    return _Sides(first, second, found, reader(store.folder), chosen.margin, [])


def _of_records(a: str, b: str, results: Path) -> _Sides:
    """One outcome each of the two records, each by the view of its algorithm."""
    from fedmeki_bench.algorithms import described
    from fedmeki_bench.boards.board import DEFAULT_MARGIN
    from fedmeki_bench.boards.cells import Cell
    from fedmeki_bench.cli.view.dealt import dealt_as
    from fedmeki_bench.leaderboard.collect import Outcome
    from fedmeki_bench.leaderboard.reading import reader
    from fedmeki_bench.records.store import read_record

    sides, readers = [], {}
    for given in (a, b):
        path = _record_path(given, results)
        record = read_record(path)
        readers[id(record)] = reader(partial(_same_folder, path.parent))
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
    found: dict[tuple[str, str], dict[str, list[Any]]] = {
        (task, ""): {"A": [ours[task]], "B": [theirs[task]]} for task in shared
    }
    return _Sides("A", "B", found, lambda record, e: readers[id(record)](record, e), lambda name: DEFAULT_MARGIN, notes)


def _same_folder(folder: Path, key: str) -> Path:
    return folder


def _record_path(given: str, results: Path) -> Path:
    for path in (Path(given), Path(given) / "record.json", results / given / "record.json"):
        if path.is_file():
            return path
    raise UsageError(
        f"{given!r} is no record: give a record.json, its folder, a key in {results}, or --board for rows of a board"
    )
