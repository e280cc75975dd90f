"""``plan``: how many seeds and patients a board would need to find a difference."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.leaderboard.planning import Plan
    from fedmeki_bench.leaderboard.section import Section

_ROUGH = 5
"""Below so many seeds the spread between them is known to little more than its order of magnitude."""


def _finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.", param=parameter)
    return value


@click.command("plan")
@click.argument("board")
@click.option(
    "--separate", type=click.FloatRange(min=0, min_open=True), default=None, callback=_finite,
    help="The true difference to be found, in the units of the metric; by default the board's margin.",
)  # fmt: skip
@click.option(
    "--power", type=click.FloatRange(0.5, 0.99), default=0.8, show_default=True, callback=_finite,
    help="Probability with which it is to be found.",
)  # fmt: skip
@options.results
@options.as_json
def plan_command(board: str, separate: float | None, power: float, results: Path, as_json: bool) -> None:
    """How many seeds and test patients would separate two algorithms of BOARD, from its own records.

    Per task and for the mean over tasks: the smallest difference that is found now, and what it takes to find another.
    """
    from fedmeki_bench.boards.loading import find_board
    from fedmeki_bench.leaderboard.planning import plans
    from fedmeki_bench.workflow.tables import page_of

    chosen = find_board(board)
    page = page_of(chosen, results)
    found = [(section, plans(section.grid, section.analysis, separate=separate, power=power))
             for section in page.sections]  # fmt: skip
    if not any(planned for _, planned in found):
        raise InputError(_why(chosen, page.sections, results))
    if as_json:
        told = {
            "board": chosen.name,
            "power": power,
            "sections": [{"section": section.key, "partition": section.partition, "plans": [_told(p) for p in planned]}
                         for section, planned in found],
        }  # fmt: skip
        echo(json.dumps(told, indent=1))
        return
    for section, planned in found:
        _show(section, planned, power)


def _why(board: Board, sections: Sequence[Section], results: Path) -> str:
    """One sentence on why nothing can be planned."""
    notes = [c.note for s in sections for c in (*s.analysis.primary, *s.analysis.per_task) if c.note]
    why = notes[0] if notes else f"no two finished runs in {results} share their seeds and test patients"
    command = shlex.join(["fedmeki-bench", "status", board.called, "--results", str(results)])
    return f"nothing to plan {board.name} from: {why}; `{command}` says what is missing"


def _told(plan: Plan) -> dict[str, object]:
    """A plan as JSON; what is not known of one seed is null."""
    told = asdict(plan)
    told["variances"] = {k: v if math.isfinite(v) else None for k, v in told["variances"].items()}
    return told


def _show(section: Section, planned: Sequence[Plan], power: float) -> None:
    from fedmeki_bench.cli.view import print_table
    from fedmeki_bench.statistics.power import MOST_PATIENTS, MOST_SEEDS

    if not planned:
        echo(f"{section.title}: nothing was compared here")
        return
    grid, reference = section.grid, section.analysis.reference
    title = reference.title if reference else "the reference"
    one_seed = planned[0].variances.one_seed
    numbers = list(planned[0].needed.patients)
    columns = ["task", "metric", "patients", "seeds", "found now", "to find"]
    columns += ["patients needed"] if one_seed else ["seeds needed", *(f"patients at {n} seeds" for n in numbers)]
    rows = []
    for plan in planned:
        task = grid.facts.task_title(plan.task) if plan.task else "mean over tasks"
        metric = grid.facts.metric_title(plan.metric) if plan.metric else "in margins"
        needed = [] if one_seed else ["–" if plan.needed.seeds is None else plan.needed.seeds]
        needed += [_patients(plan, n) for n in numbers]
        now = "none" if plan.smallest is None else f"{plan.smallest:.2g}"
        rows.append([task, metric, plan.patients, plan.seeds, now, f"{plan.separate:.3g}", *needed])
    print_table(f"{grid.board.name}: {section.title}", columns, rows)
    echo(f"{section.title}, {section.partition or grid.board.partition_words}")
    what = "trained model" if one_seed else "algorithm"
    echo(f"found now: the true difference of a typical {what} from {title} that is found with {100 * power:g} % "
         "probability")  # fmt: skip
    levels = " or ".join(dict.fromkeys(f"{plan.each:.2g}" for plan in planned))
    alpha = section.analysis.alpha
    echo(f"each difference is judged at a level of {levels}, so that all of a family hold together at {alpha:.3g}")
    if any(plan.smallest is None for plan in planned):
        echo("none: not even a difference as large as the metric's range")
    if len(planned) > 1:
        echo("mean over tasks: patients are those of all tasks together, and grow alike; a single task counts only for "
             "rows whose mean is decided")  # fmt: skip
    if one_seed:
        echo("One seed says nothing of how far training again would move a difference: run at least 3 to plan for "
             "algorithms.")  # fmt: skip
        return
    echo("seeds needed: with the patients there are; patients: no fewer than there are")
    if any(None in (plan.needed.seeds, *plan.needed.patients.values()) for plan in planned):
        echo(f"–: not even {MOST_SEEDS} seeds, or {MOST_PATIENTS:,} patients, suffice")
    if planned[0].seeds < _ROUGH:
        echo(f"The spread between {planned[0].seeds} seeds is a rough guide: plan again when more have run.")


def _patients(plan: Plan, seeds: int) -> str:
    """Those that are needed at so many seeds; exact where they are the ones there are."""
    from fedmeki_bench.statistics.power import round_up

    found = plan.needed.patients[seeds]
    if found is None:
        return "–"
    return f"{found:,}" if found == plan.patients else round_up(found)
