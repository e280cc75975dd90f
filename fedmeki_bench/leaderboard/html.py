"""A page as one self-contained HTML file: no network, light and dark, complete without scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.plots import PLOTS
from fedmeki_bench.leaderboard.render import DECIMALS, SAME_KEY

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.grid import Column, Entry
    from fedmeki_bench.leaderboard.page import Page, Section
    from fedmeki_bench.leaderboard.tables import Table, TableRow
    from fedmeki_bench.records.record import Record

_SHADES = 5
_SECTION_WORDS = {"bound": "Bounds", "ranked": "Federated", "incomplete": "Incomplete, not ranked"}


def page_html(page: Page) -> str:
    """The whole page; same page and matplotlib, same bytes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fedmeki_bench.leaderboard", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    source = environment.loader
    assert source is not None
    text: str = environment.get_template("page.html.j2").render(
        page=page,
        style=source.get_source(environment, "page.css")[0],
        script=source.get_source(environment, "page.js")[0],
        sections=[_section(page, section) for section in page.sections],
        tables=[_table(t) for section in page.sections for t in section.details],
        runs=[_run(page, record) for record in page.collected.records],
        algorithms=_algorithms(page),
        licences=_licences(page),
        words=_SECTION_WORDS,
        same_key=SAME_KEY,
    )
    return text + "\n"


def _section(page: Page, section: Section) -> dict[str, Any]:
    pictures: dict[str, list[Any]] = {}
    for plot in PLOTS:
        for picture in plot(page, section):
            pictures.setdefault(picture.title, []).append(picture)
    return {
        "key": section.key,
        "title": section.title,
        "table": _table(section.table, section),
        "figures": [{"title": title, "pictures": found} for title, found in pictures.items()],
        "verdict": section.verdict,
        "differences": None if section.differences is None else _table(section.differences),
    }


def _table(table: Table, section: Section | None = None) -> dict[str, Any]:
    columns = [
        {"header": c.header, "definition": c.definition, "first": "descending" if c.higher else "ascending"}
        for c in table.columns
    ]
    rows = []
    for row in table.rows:
        cells = [
            _cell(table, column, index, row, entry, section)
            for index, (column, entry) in enumerate(zip(table.columns, row.entries, strict=True))
        ]
        rows.append({"row": row, "algorithm": row.algorithm, "cells": cells})
    order = list(dict.fromkeys(row.section for row in table.rows))
    return {"table": table, "columns": columns, "rows": rows, "order": order}


def _cell(
    table: Table, column: Column, index: int, row: TableRow, entry: Entry, section: Section | None
) -> dict[str, Any]:
    shown = " ".join(part for part in (entry.number, entry.remark, "=" * entry.tie) if part)
    link, said = "", entry.detail
    if section is not None and (row.algorithm.name, column.key) in section.grid.outcomes:
        link, said = _behind(section, row.algorithm.name, column.key)
    return {
        "text": shown,
        "interval": entry.interval,
        "csv": None if re.fullmatch(r"-?[0-9.]+", entry.number) else entry.text,
        "value": None if entry.value is None else f"{entry.value:.{DECIMALS}f}",
        "best": entry.best,
        "shade": _shade(table, index, column, entry),
        "link": link,
        "said": said,
    }


def _shade(table: Table, index: int, column: Column, entry: Entry) -> int | None:
    """0 to 5 from the worst to the best competitor of the column; None where no value is better."""
    compared = [row for row in table.rows if row.section != "bound"] or table.rows
    values = [v for row in compared if (v := row.entries[index].value) is not None]
    if column.higher is None or entry.value is None or len(values) < 2:
        return None
    low, high = min(values), max(values)
    if high - low < 1e-12:
        return None
    share = min(1.0, max(0.0, (entry.value - low) / (high - low)))  # bounds may lie beyond the competitors
    return round(_SHADES * (share if column.higher else 1 - share))


def _behind(section: Section, algorithm: str, task: str) -> tuple[str, str]:
    """The first run behind a cell, and seeds, samples and reasons in words."""
    metric = section.grid.main_metric(task)
    said, link = [], ""
    for o in section.grid.outcomes[algorithm, task]:
        if o.record is not None and not link:
            link = f"run-{o.record.key}"
        if o.status == "ok" and o.evaluation is not None and metric in o.evaluation.metrics:
            found = o.evaluation.metrics[metric]
            value = "undefined" if found.value is None else f"{found.value:.3f}"
            interval = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
            said.append(f"seed {o.cell.seed}: {value}{interval}, n = {o.evaluation.n}")
        else:
            said.append(f"seed {o.cell.seed}: {o.status.replace('_', ' ')}: {o.reason}")
    return link, "; ".join(said)


def _run(page: Page, record: Record) -> dict[str, Any]:
    titles = dict.fromkeys(
        o.cell.algorithm.title for o in page.collected.outcomes if o.record is not None and o.record.key == record.key
    )
    megabytes = sum(r.bytes_up + r.bytes_down for r in record.history) / 1e6
    return {
        "key": record.key,
        "algorithms": ", ".join(titles),
        "tasks": ", ".join(record.tasks),
        "dealing": record.partition,
        "seed": record.seed,
        "status": record.status,
        "rounds": len(record.history),
        "megabytes": f"{megabytes:.2f}",
        "seconds": f"{record.cost.seconds:.1f}",
        "command": page.commands.get(record.key, ""),
        "reproduce": f"fedmeki-bench reproduce RESULTS/{record.key}/record.json",
    }


def _algorithms(page: Page) -> list[Any]:
    """Every row once, in the order of the first table that has it."""
    found = {row.algorithm.name: row.algorithm for section in page.sections for row in section.table.rows}
    return list(found.values())


def _licences(page: Page) -> list[Mapping[str, str]]:
    return [
        {"title": meta.title, "dataset": meta.dataset, "licence": meta.licence, "citation": meta.citation}
        for name, meta in page.facts.tasks.items()
        if any(name in section.grid.tasks for section in page.sections)
    ]
