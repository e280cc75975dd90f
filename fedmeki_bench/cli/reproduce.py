"""``reproduce``: run a record again and report the difference per metric."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.run import run_view, stand_in_view
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import CheckFailed, UsageError
from fedmeki_bench.plain import plain_text

if TYPE_CHECKING:
    from fedmeki_bench.runs.reproduce import Agreement, Change


@click.command("reproduce")
@click.argument("record", type=click.Path(path_type=Path))
@options.data
@click.option(
    "--results", type=click.Path(path_type=Path), default=None, help="Keep the new record here; thrown away by default."
)
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=None,
    help="Largest difference of a metric; 0 on the CPU and 0.001 elsewhere by default.",
)  # fmt: skip
@click.option("--trust", is_flag=True, help="Run the code that the record names (files, a model's own) unasked.")
@options.device
@options.as_json
@options.plain
def reproduce_command(
    record: Path, data: Path, results: Path | None, tolerance: float | None, trust: bool, device: str, as_json: bool,
    plain: bool | None,
) -> None:  # fmt: skip
    """Run RECORD (a record.json, or the folder that holds it) again and compare every metric and prediction.

    Exits with 1 if a metric differs by more than the tolerance, if predictions differ by more than rounding, or if the
    data or the code define another run. Code that the record names is listed first, and run only if you agree.
    """
    from fedmeki_bench.workflow.repeating import repeat

    plain = True if as_json else plain
    done = repeat(
        record, data, results=results, device=device, agree=partial(_agree_to, trust=trust),
        watch=partial(run_view, plain=plain, title="again: "), building=partial(stand_in_view, plain=plain),
    )  # fmt: skip
    found, around, agreement = done.changes, done.around, done.agreement
    allowed = tolerance if tolerance is not None else 0.0 if device == "cpu" else 1e-3
    beyond = [c for c in found if c.difference is None or c.difference > allowed]
    _report(found, around, allowed, agreement, as_json)
    if beyond:
        worst = beyond[0]
        raise CheckFailed(
            f"{len(beyond)} of {len(found)} metrics differ by more than {allowed:g}, first {worst.metric} of "
            f"{worst.task} ({worst.view}): {worst.recorded} there, {worst.repeated} here"
        )
    if agreement.state == "different" and not allowed:
        raise CheckFailed(f"every metric is equal, but the predictions are {agreement.text}")


def _agree_to(code: list[str], trust: bool) -> None:
    """Ask before code is run that a record brings along.

    Raises:
        UsageError: the user declined, or can't be asked.
    """
    if not code or trust:
        return
    told = "repeating this record would run " + " and ".join(code)
    if not (sys.stdin.isatty() and click.confirm(f"{plain_text(told)}. Run it?", err=True)):
        raise UsageError(f"{told}; look at it, then say --trust")


def _report(
    found: Sequence[Change], around: Sequence[tuple[str, str, str, bool]], allowed: float, agreement: Agreement,
    as_json: bool,
) -> None:  # fmt: skip
    from fedmeki_bench.cli.view import print_table

    differing = [row for row in around if not row[3]]
    if as_json:
        echo(json.dumps({
            "tolerance": allowed,
            "predictions_identical": {"identical": True, "unknown": None}.get(agreement.state, False),
            "predictions": agreement.state,
            "metrics": [
                {"view": c.view, "task": c.task, "metric": c.metric, "recorded": c.recorded, "repeated": c.repeated,
                 "difference": c.difference} for c in found
            ],
            "environment": [{"what": w, "recorded": a, "now": b, "same": s} for w, a, b, s in around],
        }, indent=1))  # fmt: skip
        return
    if differing:
        print_table("environment: what differs", ["what", "recorded", "now"], [list(row[:3]) for row in differing])
    rows = [[c.task, c.view, c.metric, _said(c.recorded), _said(c.repeated), _said(c.difference)] for c in found]
    print_table("recorded and repeated", ["task", "view", "metric", "recorded", "now", "difference"], rows)
    equal = sum(c.difference == 0 for c in found)
    echo(f"{equal} of {len(found)} metrics are equal to the last bit; tolerance {allowed:g}")
    echo(f"predictions: {agreement.text}")


def _said(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else f"{value:.6g}"
