"""``tune``: options of a board's rows, chosen on `valid`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.again import goes_on
from fedmeki_bench.cli.run import stand_in_view
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import InputError, UsageError

if TYPE_CHECKING:
    from fedmeki_bench.cli.view import SweepView
    from fedmeki_bench.workflow.tuning import TrialRuns, TunedRow, Tuning


@click.command("tune")
@click.argument("rows", nargs=-1, metavar="[ROW|ALGORITHM]...")
@click.option("--board", required=True, help="The board whose tasks, partitions and budget the trials have.")
@click.option("--over", multiple=True, required=True, metavar="KEY=VALUE,...", help="Values to try; repeatable.")
@click.option("--all", "every", is_flag=True, help="Every row of the board that is trained.")
@click.option("--trials", type=click.IntRange(min=1), default=None, help="Draw so many combinations; all by default.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the trials.")
@click.option("--write", is_flag=True, help="Write the chosen values and the budget into the board's file.")
@options.data
@options.results
@options.jobs
@options.devices
@options.as_json
@options.plain
@goes_on()
def tune_command(
    rows: tuple[str, ...], board: str, over: Sequence[str], every: bool, trials: int | None, seed: int, write: bool,
    data: Path, results: Path, jobs: int | None, device: str, as_json: bool, plain: bool | None,
) -> None:  # fmt: skip
    """Try every combination of options for rows of a board, and choose what does best on `valid`.

    ROW is what a row of the board is called, or an algorithm. Every row gets the same trials. Each is a run in
    --results, so that a killed command, given again, goes on. No test split is opened.
    """
    from fedmeki_bench.runs.engines import devices_of
    from fedmeki_bench.workflow.training import check_device
    from fedmeki_bench.workflow.tuning import check, plan_trials, run_trials

    if bool(rows) == every:
        raise UsageError("name the rows to tune, or say --all" if not rows else "name rows or say --all, not both")
    grid = _grid(over)
    for name in devices_of(device):
        check_device(name)
    planned = plan_trials(None if every else rows, grid, board=board, data=data, results=results, seed=seed,
                          trials=trials, write=write, jobs=jobs)  # fmt: skip
    for reason in planned.left_out:
        echo(f"left out: {reason}", err=True)
    plain = True if as_json else plain
    found = run_trials(
        planned, grid, board=board, data=data, results=results, write=write, device=device,
        watch=partial(_view, plain=plain), building=partial(stand_in_view, plain=plain),
    )  # fmt: skip
    if as_json:
        echo(json.dumps(_told(found), indent=1, ensure_ascii=False))
    else:
        for one in found.rows:
            _show(found, one)
        for note in found.notes:
            echo(note)
        if found.written:
            echo(f"wrote {found.written}")
    check(found)


def _grid(over: Sequence[str]) -> dict[str, list[Any]]:
    """``lr=0.001,0.01`` as an option with its values, each read as ``-o`` reads it."""
    from fedmeki_bench.options import scalar

    grid: dict[str, list[Any]] = {}
    for text in over:
        key, sep, values = text.partition("=")
        key = key.strip()
        if not sep or not key:
            raise InputError(f"--over {text!r} is not of the form key=value,value")
        if key in grid:
            raise InputError(f"--over {key!r} is given twice")
        grid[key] = [scalar(value.strip()) for value in values.split(",")]
        odd = next((value for value in grid[key] if not isinstance(value, bool | int | float | str)), "")
        if odd != "" or "" in grid[key]:
            raise InputError(f"--over {text!r}: each value is a number, a text, true or false")
    return grid


def _view(planned: TrialRuns, *, plain: bool | None) -> SweepView:
    """The live grid of the trials."""
    from fedmeki_bench.cli import view

    shown = {e.key: [(_row(c), c.task, c.algorithm.view) for c in e.cells] for e in planned.entries if e.key}
    n = len(planned.names[0])
    several = f"{planned.jobs} job{'s' if planned.jobs > 1 else ''}"
    title = f"tune {planned.board.name} · {n} trials a row · seed {planned.board.seeds[0]} · {several}"
    return view.SweepView(title, shown, plain=plain)


def _row(cell: Any) -> str:
    return f"{cell.algorithm.name}, {cell.partition}" if cell.partition else str(cell.algorithm.name)


def _told(found: Tuning) -> dict[str, Any]:
    from fedmeki_bench.workflow.tuning import column_of

    rows = [
        {
            "row": one.row.name, "measure": one.measure, "chosen": None if one.best is None else one.best.values,
            "notes": list(one.notes),
            "trials": [
                {"values": t.values, "status": t.status, "reason": t.reason, "score": t.score,
                 "valid": {column_of(place): value for place, value in t.valid.items()}, "chosen": t is one.best,
                 "keys": list(t.keys)} for t in one.trials
            ],
        }
        for one in found.rows
    ]  # fmt: skip
    return {
        "board": found.board.name, "over": {k: list(v) for k, v in found.over.items()}, "seed": found.seed,
        "split": "valid", "rows": rows, "left_out": list(found.left_out), "notes": list(found.notes),
        "written": None if found.written is None else str(found.written),
    }  # fmt: skip


def _show(found: Tuning, one: TunedRow) -> None:
    from fedmeki_bench.cli.view import print_table
    from fedmeki_bench.workflow.tuning import column_of

    places = list(dict.fromkeys(place for trial in one.trials for place in trial.valid))
    columns = [*found.over, *map(column_of, places), "score", ""]
    rows = []
    for trial in one.trials:
        numbers = [trial.valid.get(place) for place in places]
        said = "chosen" if trial is one.best else trial.status if trial.status != "ok" else ""
        said += f": {trial.reason}" * bool(trial.reason)
        rows.append([*trial.values.values(), *(None if v is None else round(v, 4) for v in numbers),
                     None if trial.score is None else round(trial.score, 4), said])  # fmt: skip
    print_table(f"{found.board.name}: {one.row.name}, seed {found.seed}", columns, rows)
    if one.best is not None:
        values = ", ".join(f"{key} {value}" for key, value in one.best.values.items())
        echo(f"{one.row.name}: {values}, chosen on valid among {len(one.trials)} by the score: {one.measure}")
    for note in one.notes:
        echo(note)
