"""``compare``: two algorithms of a board, or two records, on the same seeds and patients."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.judging import Comparison
    from fedmeki_bench.workflow.comparing import Compared


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
    from fedmeki_bench.workflow.comparing import compare

    compared = compare(a, b, board=board, metrics=options.listed(metrics), results=results)
    if as_json:
        echo(json.dumps(_told(compared), indent=1))
    else:
        _report(compared)


def _told(compared: Compared) -> dict[str, object]:
    rows = [
        {"partition": partition} | {k: v for k, v in asdict(c).items() if k not in ("algorithm", "against")}
        for partition, c in zip(compared.partitions, compared.comparisons, strict=True)
    ]
    over = None if compared.over_tasks is None else asdict(compared.over_tasks)
    return {
        "a": compared.a, "b": compared.b, "notes": list(compared.notes), "comparisons": rows, "over_tasks": over,
    }  # fmt: skip


def _report(compared: Compared) -> None:
    from fedmeki_bench.cli.view import print_table

    found, partitions, over = compared.comparisons, compared.partitions, compared.over_tasks
    columns = ["task", "metric", "A - B", "interval", "A is", "p", "p (family)", "seeds", "patients", "note"]
    rows = []
    several = any(partitions)
    for partition, c in zip(partitions, found, strict=True):
        place = [c.task, partition] if several else [c.task]
        word = "–" if c.difference is None else c.word
        rows.append([*place, c.metric, *_numbers(c), word, _p(c.p), _p(c.adjusted), c.seeds, c.patients, c.note])
    if several:
        columns.insert(1, "partition")
    print_table(f"A = {compared.a}, B = {compared.b}", columns, rows)
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
    for note in compared.notes:
        echo(note)


def _numbers(found: Comparison) -> tuple[str, str]:
    number = "–" if found.difference is None else f"{found.difference:+.3f}"
    return number, "–" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
