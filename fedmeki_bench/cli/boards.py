"""``sweep``, ``status`` and ``leaderboard``: a board's runs, their state, and its tables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.again import PROGRAM, goes_on
from fedmeki_bench.cli.data import prepare_dataset
from fedmeki_bench.cli.run import stand_in_view
from fedmeki_bench.cli.view.echo import echo

if TYPE_CHECKING:
    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.boards.cells import Cell
    from fedmeki_bench.cli.view import SweepView
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.workflow.boards import Sweep


_WHEREABOUTS = ("state", "host", "pid", "job", "silent")  # of a run that is not done, for programs


@click.command("sweep")
@click.argument("board")
@options.data
@options.results
@options.jobs
@click.option("--only", default=None, help="missing, failed, or the name of a row.")
@options.devices
@click.option(
    "--launcher",
    default="local",
    show_default=True,
    help="local, slurm, or slurm-here: the same as slurm without a cluster, to try it.",
)
@click.option(
    "--array", type=click.IntRange(min=1), default=None, metavar="N", help="Of a cluster's jobs, N at once at most."
)
@click.option(
    "--slurm",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="What a job asks of Slurm, such as partition=gpu,gres=gpu:1,time=4:00:00; repeatable.",
)
@click.option(
    "--raw", type=click.Path(path_type=Path), default=None,
    help="Folder of releases, each under its name: data that the board lacks are prepared from it first.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Begin, even if the board's axes make more than 200 runs.")
@click.option("--no-wait", is_flag=True, help="Submit a cluster's jobs and return.")
@options.plain
@goes_on(only=["missing"])
def sweep_command(
    board: str, data: Path, results: Path, jobs: int | None, only: str | None, device: str, launcher: str,
    array: int | None, slurm: tuple[str, ...], raw: Path | None, yes: bool, no_wait: bool, plain: bool | None,
) -> None:  # fmt: skip
    """Run what BOARD lacks; killed at any moment, a second call goes on."""
    run_board(
        board, data, results, jobs=jobs, only=only, device=device, plain=plain, launcher=launcher, array=array,
        slurm=options.settings(slurm), wait=not no_wait, raw=raw, yes=yes,
    )  # fmt: skip


def run_board(
    board: Board | str, data: Path, results: Path, *, jobs: int | None = None, only: str | None = None,
    device: str = "cpu", plain: bool | None = None, launcher: str = "local", array: int | None = None,
    slurm: Mapping[str, str] | None = None, wait: bool = True, raw: Path | None = None, yes: bool = False,
) -> None:  # fmt: skip
    """Run a board's missing training runs under a live grid; errors are those of :func:`fedmeki_bench.sweep`."""
    from fedmeki_bench.workflow.boards import ordered, planned, run_sweep

    told = partial(echo, err=True)
    orders = ordered(launcher, jobs=jobs, device=device, array=array, slurm=slurm, wait=wait, told=told)
    sweep = planned(
        board, data, results, jobs=jobs, only=only, device=device, raw=raw, yes=yes,
        preparing=partial(prepare_dataset, plain=plain),
    )  # fmt: skip
    if sweep.board.axes:
        echo(f"{sweep.board.name}: {sweep.work.text}", err=True)
    for reason in sweep.left_out:
        echo(f"left out: {reason}", err=True)
    grid = partial(_grid, plain=plain or not wait, here=launcher == "local")
    run_sweep(
        sweep, launcher=launcher, orders=orders, watch=grid, building=partial(stand_in_view, plain=plain),
    )  # fmt: skip
    if not wait:
        again = shlex.join([PROGRAM, "status", sweep.board.called, "--data", str(data), "--results", str(results)])
        echo(f"see them with: {again}")


def _grid(sweep: Sweep, *, plain: bool | None, here: bool = True) -> SweepView:
    """The live grid of a sweep."""
    from fedmeki_bench.cli import view

    board, entries = sweep.board, sweep.entries
    shown = {e.key: [(_row(c), c.task, c.algorithm.view) for c in e.cells] for e in entries if e.key}
    labels = {
        _row(c): c.algorithm.title + (f", {c.partition}" if c.partition else "") for e in entries for c in e.cells
    }
    seeds = ", ".join(map(str, board.seeds))
    several = f"{sweep.jobs} job{'s' if sweep.jobs > 1 else ''}" if here else "jobs of a cluster"
    title = f"sweep {board.name} · profile {board.profile} · seed {seeds} · {several}"
    return view.SweepView(title, shown, plain=plain, labels=labels)


def _row(cell: Cell) -> str:
    """A row of the grid while it fills: an algorithm under one partition; more would be taken for seeds."""
    return f"{cell.algorithm.name}, {cell.partition}" if cell.partition else cell.algorithm.name


@click.command("status")
@click.argument("board")
@options.data
@options.results
@options.as_json
def status_command(board: str, data: Path, results: Path, as_json: bool) -> None:
    """Which of BOARD's runs are done, under way (where), missing (and why) or failed, with estimated time and bytes."""
    from fedmeki_bench.boards.loading import find_board
    from fedmeki_bench.cli.view import print_table
    from fedmeki_bench.records.store import RecordStore
    from fedmeki_bench.runs.expected import cost, work
    from fedmeki_bench.runs.folders import survey
    from fedmeki_bench.runs.plan import inspect
    from fedmeki_bench.runs.whereabouts import whereabouts
    from fedmeki_bench.workflow.partitions import partition_in_words

    chosen = find_board(board)
    store = RecordStore(results)
    entries = inspect(chosen, data, store, load=False)
    found, rows = whereabouts(entries, store), []
    for entry in entries:
        seconds, traffic, estimated = cost(entry, entries)
        names = [algorithm.name for algorithm in entry.algorithms]
        there = found.get(entry.key)
        pooled = all(algorithm.pooled for algorithm in entry.algorithms)
        pretext = entry.spec.params.get("pretext", {}).get("kind")
        rows.append([
            [f"{pretext} for {name}" for name in names] if pretext else names, list(entry.spec.tasks),
            "pooled" if pooled else partition_in_words(entry.spec.partition, entry.spec.params),
            entry.spec.seed, there.state if there and there.state in ("running", "queued") else entry.status,
            None if seconds is None else round(seconds, 1), None if traffic is None else round(traffic / 1e6, 2),
            estimated, entry.key, there.text if there else entry.reason,
            list(entry.record.notes) if entry.record else [],
        ])  # fmt: skip
        if chosen.axes:
            rows[-1].append(list(dict.fromkeys(cell.partition for cell in entry.cells)))
        if as_json:
            rows[-1] += [getattr(there, name, None) for name in _WHEREABOUTS]
    columns = [
        "algorithms", "tasks", "partition", "seed", "status", "seconds", "MB", "estimated", "key", "reason", "remarks",
        *(["points"] if chosen.axes else []), *(_WHEREABOUTS if as_json else ()),
    ]  # fmt: skip
    colours = {"ok": "green", "failed": "red", "no data": "yellow", "interrupted": "yellow", "running": "cyan"}
    done = sum(e.status == "ok" for e in entries)
    print_table(
        f"{chosen.name}: {done} of {len(entries)} runs done", columns, rows, as_json,
        style=lambda column, value: colours.get(value, "") if column == "status" else "",
    )  # fmt: skip
    if not as_json:
        if chosen.axes:
            echo(chosen.axes_words)
            echo(work(entries).text)
        left = [cost(e, entries)[0] for e in entries if e.status not in ("ok", "no data")]
        known = [seconds for seconds in left if seconds is not None]
        if known:
            without = (
                f"; {len(left) - len(known)} runs like none of these are not in it" if len(known) < len(left) else ""
            )
            echo(f"about {sum(known):.0f} s of single-process work left, judged by runs alike that are done{without}")
        echo(f"on disk, {results} holds {survey(results).use.text}")


@click.command("leaderboard")
@click.argument("board")
@options.results
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="Folder; leaderboards/generated/BOARD by default."
)
@click.option(
    "--format", "formats", default=None, help="Comma-separated: md, csv, json, tex, html, svg; all by default."
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with 1 if a file that is there differs from the records (pictures: by digest).",
)
@options.as_json
def leaderboard_command(
    board: str, results: Path, out: Path | None, formats: str | None, check: bool, as_json: bool
) -> None:
    """Build BOARD's tables, figure and page from records and their predictions. The same ones give the same bytes."""
    from fedmeki_bench.boards.loading import find_board
    from fedmeki_bench.leaderboard.build import FORMATS, default_folder

    chosen = find_board(board)
    folder = out or default_folder(chosen)
    asked = tuple(options.listed(formats) or FORMATS)
    if check and not formats:  # not every format need be kept
        asked = tuple(f for f in FORMATS if (folder / f"leaderboard.{f}").exists()) or FORMATS
    build_board(chosen, results, folder, formats=asked, check=check, as_json=as_json)


def build_board(
    board: Board, results: Path, out: Path, *, formats: Sequence[str], check: bool = False, as_json: bool = False
) -> None:
    """Write or check the tables, then show the main one."""
    from fedmeki_bench.workflow.tables import check_leaderboard, leaderboard

    if check:
        check_leaderboard(board, results, out, formats)
        echo(f"{out} is up to date")
        return
    built = leaderboard(board, results, out=out, formats=formats)
    if as_json:
        from fedmeki_bench.leaderboard.render import page_json

        echo(page_json(built.page), nl=False)
        return
    show_page(built.page)
    for path in built.files:
        echo(f"wrote {path}")


def show_page(page: Page) -> None:
    """The board's tables of main metrics in the terminal, with their partition and what marks mean."""
    from fedmeki_bench.cli.stability import show_study
    from fedmeki_bench.cli.view import print_table

    for study in page.studies:
        show_study(study)
    for section in page.sections:
        columns = ["algorithm", *(column.header for column in section.table.columns)]
        rows = [[r.algorithm.title + r.mark, *(entry.text for entry in r.entries)] for r in section.table.rows]
        title = page.title if section.key == "main" and not section.partition else f"{page.title}: {section.title}"
        print_table(title, columns, rows)
        what = "point" if page.board.axes else "partition"
        echo(f"{what}: {section.partition or page.board.partition_words}")
        marks = (f"{term}: {meaning}" for term, meaning in section.table.definitions)
        for said in (*section.table.warnings, *section.table.notes, *marks):
            echo(said)
