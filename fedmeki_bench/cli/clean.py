"""``clean``: what of a folder of results no board needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo

if TYPE_CHECKING:
    from fedmeki_bench.runs.cleaning import Cleaning


@click.command("clean")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--boards", default=None, help="Comma-separated names or files: runs that none of these boards needs can go, too."
)
@click.option("--yes", is_flag=True, help="Remove it; without this nothing is touched.")
@options.as_json
def clean_command(results: Path, boards: str | None, yes: bool, as_json: bool) -> None:
    """Say what in RESULTS no board needs and how much it frees: checkpoints of finished runs, and leftovers.

    Runs under way stay, as does all that is not the harness's own; links are not followed.
    """
    from fedmeki_bench.workflow.folders import clean

    found = clean(results, boards=options.listed(boards), yes=yes)
    if as_json:
        echo(json.dumps(_told(found), indent=1, ensure_ascii=False))
    else:
        _report(found)


def _report(found: Cleaning) -> None:
    from fedmeki_bench.cli.view import print_table

    if found.removals:
        rows = []
        for one in found.removals:
            about = [one.record.algorithm, one.record.tasks, one.record.seed] if one.record else [None, None, None]
            rows.append([one.key, *about, one.what, round(one.bytes / 1e6, 3), one.why])
        columns = ["run", "algorithm", "tasks", "seed", "what", "MB", "why"]
        print_table("removed" if found.done else "can be removed", columns, rows)
    if found.left:
        print_table("left alone", ["path", "why"], [[str(path), why] for path, why in found.left])
    echo(f"{found.folder}{' before' if found.done and found.removals else ''}: {found.use.text}")
    if not found.removals:
        echo("nothing to remove")
    elif found.done:
        echo(f"removed {found.bytes:,} bytes ({found.bytes / 1e6:.2f} MB)")
    else:
        echo(f"{found.bytes:,} bytes ({found.bytes / 1e6:.2f} MB) would be freed; --yes removes this")


def _told(found: Cleaning) -> dict[str, Any]:
    removals = [
        {
            "key": one.key, "what": one.what, "why": one.why, "bytes": one.bytes,
            "files": [str(held.path.relative_to(found.folder)) for held in one.files],
            **{name: getattr(one.record, name, None) for name in ("algorithm", "tasks", "seed", "status")},
        }
        for one in found.removals
    ]  # fmt: skip
    return {
        "results": str(found.folder), "removed": found.done, "bytes": found.bytes, "disk": found.use.as_json(),
        "removals": removals, "left": [{"path": str(path), "why": why} for path, why in found.left],
    }  # fmt: skip
