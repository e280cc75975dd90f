"""``audit``: would any number computed from these cohorts be too good?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import CheckFailed

if TYPE_CHECKING:
    from fedmeki_bench.audit.reading import Audited
    from fedmeki_bench.data.clients.assignment import Assignment

_COLOURS = {"leak": "bold red", "note": "yellow", "ok": "green"}


@click.command("audit")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--cohorts", default=None, help="Comma-separated; all by default.")
@click.option("--html", type=click.Path(path_type=Path), default=None, help="Write a page with pictures.")
@click.option("--full", is_flag=True, help="Compare every file with its hash first.")
@click.option("--near/--no-near", default=True, show_default=True, help="Look for nearly identical pictures.")
@click.option("--clients", type=int, default=5, show_default=True, help="Clients to show the class balance of.")
@click.option("--partition", default="iid", show_default=True, help="How they are assigned.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the partition.")
@options.as_json
def audit_command(
    data: Path, cohorts: str | None, html: Path | None, full: bool, near: bool, clients: int, partition: str, seed: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Look for leakage in and across the cohorts of DATA; exits with 1 if there is any.

    Groups that cross splits or clients, identical and nearly identical samples, one source's test data in another's
    training data, attributes that give the label away.
    """
    from fedmeki_bench.audit.checks import run_all
    from fedmeki_bench.audit.reading import facts_of, read
    from fedmeki_bench.cli.view import print_table

    audited = read(data, [name.strip() for name in cohorts.split(",")] if cohorts else ())
    if full:
        for one in audited:
            one.cohort.verify()
    assigned = _assigned(audited, clients, partition, seed)
    findings = run_all(audited, near=near, parts=assigned.parts if assigned else ())
    counts = assigned.counts() if assigned else {}
    if html is not None:
        from fedmeki_bench.audit.page import render

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(render(audited, findings, counts), encoding="utf-8")
    if as_json:
        content = {
            "cohorts": [facts_of(one) for one in audited],
            "findings": [finding.as_json() for finding in findings],
            "clients": counts,
        }
        echo(json.dumps(content, indent=1, ensure_ascii=False, default=str))
    else:
        rows = [[f.level, f.check, list(f.cohorts), f.text] for f in findings]
        print_table(
            f"audit of {data}", ["level", "check", "cohorts", "found"], rows,
            style=lambda column, value: _COLOURS.get(value, "") if column == "level" else "",
        )  # fmt: skip
        if html is not None:
            echo(f"wrote {html}")
    leaks = [f for f in findings if f.level == "leak"]
    if leaks:
        raise CheckFailed(
            f"{len(leaks)} leaks, first {leaks[0].check} in {', '.join(leaks[0].cohorts)}: {leaks[0].text}"
        )


def _assigned(audited: Sequence[Audited], clients: int, partition: str, seed: int) -> Assignment | None:
    """The training cohorts as a run would assign them; None if there is none."""
    from fedmeki_bench.data.clients.assignment import assign

    training = {one.name: one.cohort for one in audited if one.cohort.role == "training"}
    if not training:
        return None
    return assign(training, registry.load("partitions", partition)(), clients, seed)
