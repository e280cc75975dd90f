"""Tables on stdout: for people in a terminal, for programs otherwise."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.cli.view.live import make_console
from fedmeki_bench.plain import one_line

if TYPE_CHECKING:
    from rich.console import Console


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    json: bool = False,
    *,
    console: Console | None = None,
    style: Callable[[str, Any], str] | None = None,
) -> None:
    """Print rows under a title on stdout, or with ``json`` as a JSON list of objects keyed by column.

    Without a terminal the columns are tab-separated and nothing is wrapped or cut. ``style`` maps
    (column, value) to a rich style such as ``"red"``.
    """
    if json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        echo(json_module.dumps(objects, indent=1, ensure_ascii=False, default=str))
        return
    console = console or make_console()
    if not console.is_terminal:
        console.file.write("\t".join(columns) + "\n")
        for row in rows:
            console.file.write("\t".join(_flat(value) for value in row) + "\n")
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        values = [row[columns.index(column)] for row in rows]
        numeric = bool(values) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        cells = zip(columns, row, strict=True)
        table.add_row(*(Text(_flat(value), style=style(column, value) if style else "") for column, value in cells))
    console.print(table)


def _flat(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(one_line(str(v)) for v in value)
    return one_line(str(value))
