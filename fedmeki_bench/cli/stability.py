"""``stability``: what of a board stands under other choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.studies.study import Study


@click.command("stability")
@click.argument("board")
@options.results
@click.option(
    "--document", type=click.Path(path_type=Path), default=None,
    help="Also write the five sections of PCS documentation into this folder.",
)  # fmt: skip
@click.option(
    "--data", type=click.Path(path_type=Path), default="data", show_default=True,
    help="Folder of cohorts, whose cards the documentation prints.",
)  # fmt: skip
@click.option("--reproduce", is_flag=True, help="Do the first run of every row again and say how well it agrees.")
@options.device
@options.as_json
def stability_command(
    board: str, results: Path, document: Path | None, data: Path, reproduce: bool, device: str, as_json: bool
) -> None:
    """Would other seeds, partitions, preparations or options have said the same? From records that exist.

    BOARD is a board, or a published leaderboard.csv alone. Nothing is trained without --reproduce.
    """
    from fedmeki_bench.leaderboard.studies.writing import study_json
    from fedmeki_bench.workflow.stability import document_stability, gathered, is_table, stability

    if is_table(board) and document is None and not reproduce:
        study = stability(board)
    else:
        found = gathered(board, results)
        found = found.done_again(data, device) if reproduce else found
        study = found.study
        for path in [] if document is None else document_stability(found, document, data):
            echo(f"wrote {path}", err=as_json)
    if as_json:
        echo(json.dumps(study_json(study), indent=1))
    else:
        show_study(study)


def show_study(study: Study) -> None:
    """What a study found, in the terminal."""
    from fedmeki_bench.cli.view import print_table

    echo(" ".join(study.verdict))
    for table in study.tables:
        rows = [[row.name, *(entry.text for entry in row.entries)] for row in table.rows]
        print_table(table.title, [table.about, *(column.header for column in table.columns)], rows)
        for note in table.notes:
            echo(note)
    for note in study.notes:
        echo(note)
