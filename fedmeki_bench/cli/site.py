"""``site``: deal a data folder over hospital sites, and serve one of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo


@click.group("site")
def site_command() -> None:
    """Hospital sites: clients whose samples and memories stay where they are, reached through Flower."""


@site_command.command("prepare")
@options.data
@click.option("--sites", type=int, required=True, help="How many; client k goes to site k modulo their number.")
@click.option("--clients", type=int, default=5, show_default=True, help="Number of hospitals, as of the runs to come.")
@click.option("--tasks", default=None, help="Comma-separated; by default every prepared training task.")
@click.option("--partition", default="iid", show_default=True, help="How private samples are assigned to clients.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the runs to come.")
@options.pairs
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where server and site-0, ... are written.")
@options.as_json
def prepare_command(
    data: Path, sites: int, clients: int, tasks: str | None, partition: str, seed: int, pairs: Sequence[str],
    out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Deal prepared cohorts: one folder for the server, without a sample of any client, and one for each site.

    Public, valid and test samples are common and go to all. What is asked of `run` later must agree with this:
    clients, partition, seed, availability, and the tasks that are trained together.
    """
    from fedmeki_bench.options import split_pairs
    from fedmeki_bench.workflow.sites import deal_sites

    folders = deal_sites(
        data, out, sites=sites, clients=clients, tasks=options.listed(tasks), partition=partition, seed=seed,
        options=split_pairs(pairs),
    )  # fmt: skip
    if as_json:
        echo(json.dumps([str(folder) for folder in folders], indent=1))
        return
    for folder in folders:
        echo(f"{folder}")
    echo(f"take each site's folder to its hospital and serve it there; run with --engine flower --data {folders[0]}")


@site_command.command("serve")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True, help="The site's folder."
)
@click.option(
    "--memory", type=click.Path(path_type=Path), required=True, help="Where what clients hold between rounds is kept."
)
@click.option("--socket", type=click.Path(path_type=Path), required=True, help="Where messages come in: a path.")
@options.device
def serve_command(data: Path, memory: Path, socket: Path, device: str) -> None:
    """Answer for the clients of one site until ended: messages come in at a socket of this machine, from Flower.

    Samples never leave this process, nor do the memories of clients and their own models.
    """
    from fedmeki_bench.workflow.sites import serve_site

    serve_site(data, memory, socket, device=device, tell=echo)
