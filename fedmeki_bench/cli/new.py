"""``new``: begin a rule, stage, task, dataset or encoder as a small package of its own."""

from __future__ import annotations

from pathlib import Path

import click

from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import UsageError, nearest


@click.command("new")
@click.argument("kind")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), default=".", show_default=True, help="Where it goes.")
@click.option("--dataset", default="ptbxl", show_default=True, help="Which dataset a new task asks about.")
@click.option("--kind", "labels", default="binary", show_default=True, help="Kind of a new task; see `list kinds`.")
def new_command(kind: str, name: str, out: Path, dataset: str, labels: str) -> None:
    """Write a commented skeleton: KIND is rule, stage, task, dataset or encoder; NAME is what you will type.

    The package has an entry point, a module that works as it is, a test and a README.
    """
    from fedmeki_bench.skeletons import KINDS, write

    if kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}; {nearest(kind, KINDS)}")
    for path in write(kind, name, out, dataset=dataset, labels=labels):
        echo(f"wrote {path}")
    folder = out / name
    echo(f"next: pip install -e {folder} && fedmeki-bench check {name}")
