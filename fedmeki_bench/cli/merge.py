"""``merge``: the results of several machines in one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.again import goes_on
from fedmeki_bench.cli.view.echo import echo

if TYPE_CHECKING:
    from fedmeki_bench.runs.merging import MergedRun
    from fedmeki_bench.workflow.folders import Merged

_SHOWN = 3  # differences of a run


@click.command("merge")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), required=True, help="Folder that is to hold all the runs.")
@click.option("--checkpoints", is_flag=True, help="Take the checkpoints of unfinished runs, too.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and write nothing.")
@options.as_json
@goes_on()
def merge_command(results: tuple[Path, ...], into: Path, checkpoints: bool, dry_run: bool, as_json: bool) -> None:
    """Join the folders RESULTS of several machines into one; killed at any moment, a second call goes on.

    A finished run is taken before an unfinished one. Two finished runs of one key must agree in everything but times
    and machine; where they do not, neither is written. Exits with 1 if runs contradict each other or were left out.
    """
    from fedmeki_bench.workflow.folders import merge

    merged = merge(results, into, checkpoints=checkpoints, dry_run=dry_run, check=False)
    if as_json:
        echo(json.dumps(_told(merged), indent=1, ensure_ascii=False))
    else:
        _report(merged)
    merged.check()


def _report(merged: Merged) -> None:
    from fedmeki_bench.cli.view import print_table
    from fedmeki_bench.runs.merging import STATES

    rows = [row for run in merged.runs for row in _rows(run)]
    if rows:
        print_table("what needs a look", ["run", "algorithm", "tasks", "seed", "state", "why"], rows)
    count = {state: len(merged.of(state)) for state in STATES}
    size = sum(run.bytes for run in merged.runs) / 1e6
    would = "would be " if merged.dry_run else ""
    said = f"{count['taken']} {would}taken ({size:.2f} MB), {count['already there']} already there, "
    said += f"{count['contradicting']} contradicting, {count['left out']} left out"
    if nothing := count["no record"]:
        said += f", {nothing} without a record (--checkpoints takes what can go on)"
    echo(said)
    echo(f"{merged.into}: {merged.use.text}")


def _rows(run: MergedRun) -> Iterator[list[Any]]:
    """What is to be said of a run, a line each."""
    record = run.record
    about = [run.key, *([record.algorithm, record.tasks, record.seed] if record else [None, None, None])]
    if run.state in ("left out", "no record"):
        yield [*about, run.state, run.reason]
    if run.differences:
        yield [*about, run.state, " and ".join(map(str, run.between))]
    for one in run.differences[:_SHOWN]:
        yield [*about, run.state, one.text]
    if (more := len(run.differences) - _SHOWN) > 0:
        yield [*about, run.state, f"and {more} more differences (--json has them all)"]
    for said in run.aside:
        yield [*about, run.state, f"not used: {said}"]


def _told(merged: Merged) -> dict[str, Any]:
    from fedmeki_bench.runs.merging import STATES

    runs = []
    for run in merged.runs:
        told: dict[str, Any] = {"key": run.key, "state": run.state, "reason": run.reason, "bytes": run.bytes}
        told["source"] = None if run.source is None else str(run.source)
        for name in ("algorithm", "tasks", "seed", "partition", "status"):
            told[name] = getattr(run.record, name, None)
        told["between"] = [str(path) for path in run.between]
        told["differences"] = [
            {"field": one.field, "first": one.first, "second": one.second, "apart": one.apart, "text": one.text}
            for one in run.differences
        ]
        told["not_used"] = list(run.aside)
        runs.append(told)
    return {
        "into": str(merged.into), "dry_run": merged.dry_run,
        "counts": {state.replace(" ", "_"): len(merged.of(state)) for state in STATES},
        "bytes": sum(run.bytes for run in merged.runs), "disk": merged.use.as_json(), "runs": runs,
    }  # fmt: skip
