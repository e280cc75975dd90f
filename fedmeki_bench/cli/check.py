"""``check``: the conformance suite on any rule, stage, task, dataset preparer, encoder or pretext."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo, escape
from fedmeki_bench.errors import CheckFailed
from fedmeki_bench.options import split_pairs

if TYPE_CHECKING:
    from fedmeki_bench.conformance import Outcome

_MARKS = {"passed": "[green]✓[/]", "failed": "[bold red]✕[/]", "skipped": "[dim]–[/]", "undecided": "[yellow]?[/]"}


@click.command("check")
@click.argument("plugin")
@click.option(
    "--kind", type=click.Choice(["rules", "stages", "tasks", "datasets", "encoders", "pretexts"]), default=None,
    help="What PLUGIN is, where its name or file does not say.",
)  # fmt: skip
@click.option(
    "--raw", type=click.Path(path_type=Path), default=None,
    help="Try a task or dataset on the release in this folder, not on a generated stand-in.",
)  # fmt: skip
@options.pairs
@options.as_json
def check_command(plugin: str, kind: str | None, raw: Path | None, pairs: Sequence[str], as_json: bool) -> None:
    """Check whether PLUGIN keeps what every rule, stage, task, dataset preparer, encoder or pretext
    promises.

    PLUGIN is a registered name, `file.py:Attribute` or `package.module:Attribute`. It is tried on generated data; a
    task or dataset is tried on a release of your own with --raw. Legend: ✓ the clause holds, ✕ it does not, – there is
    nothing to check, ? the generated data can't show it. Exits with 1 if a clause does not hold.
    """
    from fedmeki_bench.conformance import clauses, find, run

    subject = find(plugin, kind, split_pairs(pairs), raw=raw)
    told = (lambda outcome: None) if as_json else _told
    outcomes = run(clauses(subject.kind), subject, told=told)
    if as_json:
        echo(json.dumps([outcome.as_json() for outcome in outcomes], indent=1, ensure_ascii=False))
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        names = ", ".join(outcome.clause for outcome in failed)
        raise CheckFailed(f"{len(failed)} of {len(outcomes)} clauses do not hold for {plugin}: {names}")
    if not as_json:
        count = Counter(outcome.status for outcome in outcomes)
        open_ = f", {count['undecided']} undecided" if count["undecided"] else ""
        echo(f"{plugin}: {count['passed']} clauses hold, {count['skipped']} without anything to check{open_}")


def _told(outcome: Outcome) -> None:
    """One line of the table as soon as it is known, and three sentences below a clause that does not hold."""
    from fedmeki_bench.cli.view import make_console

    text = {"passed": outcome.expected, "failed": ""}.get(outcome.status, outcome.found)
    console = make_console()
    console.print(f"{_MARKS[outcome.status]} [bold]{escape(outcome.clause):<16}[/] {escape(text)}", soft_wrap=True)
    if outcome.status == "failed":
        for line in outcome.message.split("\n"):
            console.print(f"    {escape(line)}", soft_wrap=True)
