"""``demo``: the whole way in one command."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.again import goes_on
from fedmeki_bench.cli.boards import build_board, run_board
from fedmeki_bench.cli.data import prepare_dataset
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.data.card import synthetic_facts
from fedmeki_bench.errors import InputError, TasksFailed


@click.command("demo")
@click.option(
    "--out", type=click.Path(path_type=Path), default="demo-out", show_default=True, help="Folder for everything."
)
@click.option("--board", default="demo", show_default=True, help="Which board; it must say what to synthesize.")
@options.jobs
@options.plain
@goes_on()
def demo_command(out: Path, board: str, jobs: int | None, plain: bool | None) -> None:
    """Synthetic raw files, cohorts, a sweep and its leaderboard. A second call finds everything done."""
    from fedmeki_bench.boards.loading import find_board
    from fedmeki_bench.leaderboard.build import FORMATS
    from fedmeki_bench.workflow.data import releases

    started = time.perf_counter()
    chosen = find_board(board)
    if not chosen.synth:
        raise InputError(f"board {chosen.name!r} says nothing under `synth`: use prepare, sweep and leaderboard")
    for release, wanted in chosen.synth.items():
        _write_once(out / "raw" / release, release, wanted.size, wanted.seed)
    for dataset, release in releases().items():
        if release in chosen.synth:
            given = chosen.prepare.get(dataset, {})
            try:
                prepare_dataset(dataset, out / "raw" / release, out / "data", given, plain=plain)
            except TasksFailed as error:
                if error.failed.keys() & set(chosen.tasks):
                    raise
                echo(f"left out: {error}", err=True)  # somebody's task, and none of the board's
    raw = out / "raw" if chosen.axes else None  # the axes may prepare otherwise
    run_board(chosen, out / "data", out / "results", jobs=jobs, plain=plain, raw=raw)
    build_board(chosen, out / "results", out / "leaderboard", formats=FORMATS)
    echo(f"done in {time.perf_counter() - started:.0f} s; open {out / 'leaderboard' / 'leaderboard.html'}")


def _write_once(raw: Path, release: str, size: int, seed: int) -> None:
    """Write the stand-in unless it is there already.

    Raises:
        InputError: another stand-in, or something else, lies there.
    """
    from fedmeki_bench.workflow.data import synth

    if not raw.exists():
        synth(release, raw, size=size, seed=seed)
        return
    facts = synthetic_facts(raw) or {}
    if (facts.get("size"), facts.get("seed")) != (size, seed):
        raise InputError(f"{raw} is not the stand-in of size {size} and seed {seed} that the board wants; remove it")
