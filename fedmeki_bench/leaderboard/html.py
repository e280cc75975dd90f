"""A page as one self-contained HTML file: no network, light and dark, complete without scripts."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.decimals import DECIMALS
from fedmeki_bench.leaderboard.names import Names
from fedmeki_bench.leaderboard.own_options import own_options
from fedmeki_bench.leaderboard.plots import PLOTS, overview
from fedmeki_bench.leaderboard.render import BANNERS, SAME_KEY
from fedmeki_bench.leaderboard.settings import short
from fedmeki_bench.leaderboard.verdict import WORDS, tally

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.grid import Column, Entry
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section
    from fedmeki_bench.leaderboard.studies.study import Study, StudyTable
    from fedmeki_bench.leaderboard.tables import Table, TableRow
    from fedmeki_bench.records.record import Record

_SHADES = 5
_WORDS = (*WORDS, "yes", "no")
"""Remarks that answer a comparison: the page sets them apart from the number."""
_SECTION_WORDS = {"bound": "Bounds", "ranked": "Federated", "incomplete": "Incomplete, not ranked"}


def page_html(page: Page) -> str:
    """The whole page; same page and matplotlib, same bytes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    names, own = Names(page.algorithms), own_options(page.board)

    def named(text: str) -> Markup:
        """The text escaped, with the names of algorithms in it typeset."""
        return Markup(names.write(text, lambda plain: html.escape(plain), lambda a: a.html))

    environment = Environment(
        loader=PackageLoader("fedmeki_bench.leaderboard", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters["named"] = named
    source = environment.loader
    assert source is not None
    text: str = environment.get_template("page.html.j2").render(
        page=page,
        style=source.get_source(environment, "page.css")[0],
        study_style=source.get_source(environment, "study.css")[0],
        script=source.get_source(environment, "page.js")[0],
        sections=[_section(page, section) for section in page.sections],
        studies=[_study(study) for study in page.studies],
        overview=None if page.overview is None else _table(page.overview),
        forest=overview.draw(page),
        settings=None if page.settings is None else _table(page.settings),
        tables=[_table(t) for section in page.sections for t in section.details],
        runs=[_run(page, record) for record in page.collected.records],
        algorithms=page.algorithms,
        options={a.name: short(a, own=a.name in own) for a in page.algorithms},
        banners=BANNERS,
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
        "label": section.label,
        "reference": section.analysis.reference,
        "basis": _basis(section),
        "verdict": section.verdict,
        "tally": {
            word: [section.grid.algorithms[name].title for name in names]
            for word, names in tally(section.analysis).items()
        },
        "differences": None if section.differences is None else _table(section.differences),
        "axes": [_table(table) for table in section.axes],
    }


def _study(study: Study) -> dict[str, Any]:
    """What an analysis found, its pictures drawn."""
    return {"study": study, "pictures": list(study.draw()), "tables": [study_table(table) for table in study.tables]}


def study_table(table: StudyTable) -> dict[str, Any]:
    """What the template ``studies.html.j2`` needs of a study's table."""
    rows = [(row, [_study_cell(table, i, entry) for i, entry in enumerate(row.entries)]) for row in table.rows]
    text = [all(row.entries[i].value is None for row in table.rows) for i in range(len(table.columns))]
    return {"table": table, "rows": rows, "text": text}


def _study_cell(table: StudyTable, index: int, entry: Entry) -> dict[str, Any]:
    values = [v for row in table.rows if (v := row.entries[index].value) is not None]
    shade = _shade_among(values, table.columns[index].higher, entry.value) if table.heat else None
    return {"entry": entry, "shade": shade, "value": None if entry.value is None else f"{entry.value:.{DECIMALS}f}"}


def _basis(section: Section) -> str:
    """What the section's first comparison depends on: the statistic, patients and seeds."""
    n, seeds = len(section.grid.tasks), section.analysis.seeds
    patients = len(section.analysis.mean.patients) if section.analysis.mean is not None else 0
    said = [f"mean over {n} tasks" if n > 1 else section.grid.facts.task_title(section.grid.tasks[0])]
    said += [f"{patients} test patients"] * (patients > 0)
    return " · ".join([*said, f"{seeds} seed{'s' * (seeds != 1)}"])


def _table(table: Table, section: Section | None = None) -> dict[str, Any]:
    columns = [{"column": c, "first": "descending" if c.higher else "ascending"} for c in table.columns]
    rows = []
    for row in table.rows:
        cells = [
            _cell(table, column, index, row, entry, section)
            for index, (column, entry) in enumerate(zip(table.columns, row.entries, strict=True))
        ]
        rows.append({"row": row, "algorithm": row.algorithm, "cells": cells})
    order = list(dict.fromkeys(row.section for row in table.rows))
    plain = all(entry.value is None for row in table.rows for entry in row.entries)
    return {"table": table, "columns": columns, "rows": rows, "order": order, "plain": plain}


def _cell(
    table: Table, column: Column, index: int, row: TableRow, entry: Entry, section: Section | None
) -> dict[str, Any]:
    shown = " ".join(part for part in (entry.number, entry.remark, "=" * entry.tie) if part)
    link, said = "", entry.detail
    if section is not None and (row.algorithm.name, column.key) in section.grid.outcomes:
        link, said = _behind(section, row.algorithm.name, column.key)
    return {
        "text": entry.number + " =" * entry.tie if entry.remark in _WORDS else shown,
        "word": entry.remark if entry.remark in _WORDS else "",
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
    return _shade_among(values, column.higher, entry.value)


def _shade_among(values: Sequence[float], higher: bool | None, value: float | None) -> int | None:
    if higher is None or value is None or len(values) < 2:
        return None
    low, high = min(values), max(values)
    if high - low < 1e-12:
        return None
    share = min(1.0, max(0.0, (value - low) / (high - low)))  # bounds may lie beyond the competitors
    return round(_SHADES * (share if higher else 1 - share))


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
        "partition": record.partition,
        "seed": record.seed,
        "status": record.status,
        "rounds": len(record.history),
        "megabytes": f"{megabytes:.2f}",
        "seconds": f"{record.cost.seconds:.1f}",
        "command": page.commands.get(record.key, ""),
        "reproduce": f"fedmeki-bench reproduce RESULTS/{record.key}/record.json",
    }


def _licences(page: Page) -> list[Mapping[str, str]]:
    return [
        {"title": meta.title, "dataset": meta.dataset, "licence": meta.licence, "citation": meta.citation}
        for name, meta in page.facts.tasks.items()
        if any(name in section.grid.tasks for section in page.sections)
    ]
