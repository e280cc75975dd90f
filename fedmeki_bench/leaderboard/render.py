"""A page as Markdown, CSV and JSON: byte-stable, so that a committed table can be compared with its records.

No clock, no paths, fixed decimals, one newline at the end.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from fedmeki_bench.leaderboard.collect import Row
from fedmeki_bench.leaderboard.judging import Comparison
from fedmeki_bench.leaderboard.page import Gap, Page, Section
from fedmeki_bench.leaderboard.published import PaperTable
from fedmeki_bench.leaderboard.tables import Section as RowSection
from fedmeki_bench.leaderboard.tables import Table, TableRow

DECIMALS = 6

SAME_KEY = (
    "A key names a run, not a machine: elsewhere the same run gives slightly other numbers, and metrics at a fixed "
    "threshold can move by more."
)

# Inside words '_' is literal, and ']' matters only where a link could follow: the source stays readable.
_MARKDOWN = re.compile(r"[|*`~$\\]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|^#|(?<=\W)#(?=\d)")
_SECTIONS: dict[RowSection, str] = {
    "bound": "Bounds",
    "ranked": "Federated",
    "incomplete": "Incomplete, not ranked",
}


def markdown(page: Page, *, figure: str | None = None) -> str:
    """The page for GitHub; ``figure`` is the relative path of a picture to show above the tables."""
    board = page.board
    lines = [
        f"<!-- Built by `fedmeki-bench leaderboard {board.name}` from the records; do not edit. -->",
        f"# {_text(page.title)}",
        "",
    ]
    if board.summary:
        lines += [_text(" ".join(board.summary.split())), ""]
    seeds = ", ".join(str(s) for s in board.seeds)
    options = "".join(f" · {_text(k)} {_text(str(v))}" for k, v in sorted(board.options.items()))
    lines += [
        f"Profile **{_text(board.profile)}** · {board.clients} clients, {_text(board.dealt)} · "
        f"seed{'s' * (len(board.seeds) > 1)} {seeds}{options}",
        "",
    ]
    lines += _verdicts(page)
    if figure:
        lines += [f"![Main metric of every algorithm per task]({figure})", ""]
    for table in page.tables:
        lines += _table(table, page.stamp)
    for paper in page.papers:
        lines += _paper(paper)
    lines += _gap_lines(page.gaps, page.unreadable, page.collected.remarks)
    lines += _provenance(page)
    return "\n".join(lines).rstrip("\n") + "\n"


def _verdicts(page: Page) -> list[str]:
    """What each section found, as the first thing a reader sees."""
    told = [section for section in page.sections if section.verdict]
    if not told:
        return []
    lines = ["## What was found", ""]
    for section in told:
        where = f"{_text(section.title)}: " if len(page.sections) > 1 else ""
        lines += [f"{where}**{_text(section.verdict[0])}** {_text(' '.join(section.verdict[1:]))}".rstrip(), ""]
    return lines


def _text(text: str) -> str:
    """Plain text for Markdown: HTML escaped, and no character left that Markdown could read as markup."""
    return _MARKDOWN.sub(lambda m: f"&#{ord(m[0])};", html.escape(" ".join(text.split()), quote=False))


def _name(row_html: str) -> str:
    """``Algorithm.html`` for Markdown: its tags and entities stay, Markdown's own characters are escaped."""
    return re.sub(r"[|*_`\[\]~$\\]", lambda m: f"&#{ord(m[0])};", " ".join(row_html.split()))


def _table(table: Table, stamp: str) -> list[str]:
    title = _text(table.title) + (f" ({stamp})" if stamp and table.warnings else "")
    lines = [f"## {title}", ""]
    for warning in table.warnings:
        lines += [f"> {_text(warning)}", ""]
    lines.append("| Algorithm | " + " | ".join(_text(c.header) for c in table.columns) + " |")
    lines.append("|:--" + "|--:" * len(table.columns) + "|")
    sections = list(dict.fromkeys(row.section for row in table.rows))
    for section in sections:
        if len(sections) > 1:
            lines.append(f"| *{_SECTIONS[section]}* |" + " |" * len(table.columns))
        lines += [_row(row) for row in table.rows if row.section == section]
    lines += ["", *(f"{_text(note)}  " for note in table.notes), ""]
    lines += [f"- {_text(c.header)}: {_text(c.definition)}" for c in table.columns]
    return [*lines, ""]


def _row(row: TableRow) -> str:
    entries = [f"**{_text(e.text)}**" if e.best else _text(e.text) for e in row.entries]
    mark = f" {row.mark}" if row.mark else ""
    return f"| {_name(row.algorithm.html)}{mark} | " + " | ".join(entries) + " |"


def _paper(paper: PaperTable) -> list[str]:
    lines = [f"## {_text(paper.title)}", "", *(f"> {_text(warning)}" for warning in paper.warnings), ""]
    lines += ["| Task | Metric | " + " | ".join(_name(a.html) for a in paper.algorithms) + " |"]
    lines += ["|:--|:--" + "|--:" * len(paper.algorithms) + "|"]
    lines += [f"| {_text(t)} | {_text(m)} | " + " | ".join(c.text for c in cells) + " |" for t, m, cells in paper.rows]
    return [*lines, "", *(f"{_text(note)}  " for note in paper.notes), ""]


def _gap_lines(gaps: Sequence[Gap], unreadable: Sequence[str], remarks: Sequence[str]) -> list[str]:
    noted = [f"- {_text(remark)}" for remark in remarks]
    if not gaps and not unreadable:
        nothing = ["## Not in the tables", "", "Nothing: every cell of the board has a number.", ""]
        return [*nothing, *noted, ""] if noted else nothing
    lines = ["## Not in the tables", ""]
    for gap in gaps:
        where = f"{', '.join(gap.tasks)}, seed{'s' * (len(gap.seeds) > 1)} {', '.join(map(str, gap.seeds))}"
        status = gap.status.replace("_", " ")
        lines.append(f"- {_name(gap.algorithm.html)}, {_text(where)}: {status}: {_text(gap.reason)}")
    lines += [f"- unreadable record {_text(item)}" for item in unreadable]
    return [*lines, *noted, ""]


def _provenance(page: Page) -> list[str]:
    records = page.collected.records
    lines = [
        "## Provenance",
        "",
        f"- Built from {len(records)} record{'s' * (len(records) != 1)}, sha256 {page.digest[:16]} "
        "over their keys and metric values.",
    ]
    if page.environments:
        n = len(page.environments)
        lines.append(f"- {n} environment{'s' * (n != 1)}: {_text('; '.join(page.environments))}. {SAME_KEY}")
    if page.versions:
        lines += [f"- Versions of {kind}: {_text(said)}." for kind, said in _said_versions(page.versions)]
    if page.from_files:
        lines.append(f"- Plug-ins from files, not from an installed package: {_text('; '.join(page.from_files))}.")
    return [*lines, ""]


def _said_versions(versions: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """``[("tasks", "ecg_abnormal 1, lung_opacity 1"), ...]``; two versions of one thing read "1 and 2"."""
    kinds: dict[str, list[str]] = {}
    for name, found in versions.items():
        kind, _, what = name.partition(" ")
        kinds.setdefault(f"{kind}s", []).append(f"{what} {' and '.join(found)}")
    return [(kind, ", ".join(said)) for kind, said in kinds.items()]


def _number(value: Any) -> Any:
    """Floats at fixed decimals, so that the last bits of a mean cannot change a committed file."""
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0 if math.isfinite(value) else None
    return value


def rows_csv(page: Page) -> str:
    """The tidy rows: one per algorithm, task, seed and metric; empty where there is no number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(Row)]
    writer.writerow(names)
    for row in page.rows:
        writer.writerow([_csv_value(getattr(row, name)) for name in names])
    return out.getvalue()


def _csv_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.{DECIMALS}f}"
    text = str(value)
    # A spreadsheet would run a cell that begins like a formula.
    return "'" + text if isinstance(value, str) and text[:1] in tuple("=+-@\t\r") else text


def page_json(page: Page) -> str:
    """The whole page as JSON: tables with shown text and value, tidy rows, gaps and provenance."""
    content = {
        "board": page.board.model_dump(mode="json"),
        "stamp": page.stamp,
        "tables": [_table_json(table) for table in page.tables],
        "rows": [{k: _number(v) for k, v in asdict(row).items()} for row in page.rows],
        "sections": [_section_json(section) for section in page.sections],
        "papers": [_paper_json(paper) for paper in page.papers],
        "gaps": [
            {
                "algorithm": g.algorithm.name,
                "status": g.status,
                "reason": g.reason,
                "tasks": list(g.tasks),
                "seeds": list(g.seeds),
            }
            for g in page.gaps
        ],
        "unreadable": list(page.unreadable),
        "remarks": list(page.collected.remarks),
        "provenance": {
            "records": len(page.collected.records),
            "sha256": page.digest,
            "versions": {name: list(found) for name, found in page.versions.items()},
            "environments": list(page.environments),
            "plugins_from_files": list(page.from_files),
            "commands": dict(page.commands),
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _section_json(section: Section) -> dict[str, Any]:
    analysis = section.analysis
    return {
        "key": section.key,
        "dealing": section.dealing,
        "reference": analysis.reference.name if analysis.reference else None,
        "verdict": list(section.verdict),
        "alpha": _number(analysis.alpha),
        "statistic": {
            "metric": analysis.scale.metric,
            "margin": analysis.scale.margin,
            "higher": analysis.scale.higher,
        },
        "places": {name: asdict(place) for name, place in analysis.places.items()},
        "may_be_best": list(analysis.best),
        "places_elsewhere": {name: asdict(place) for name, place in analysis.elsewhere.items()},
        "primary": [_comparison_json(c) for c in analysis.primary],
        "questions": [
            {"question": a.question, "answer": a.answer} | _comparison_json(a.found) for a in analysis.questions
        ],
        "per_task": [_comparison_json(c) for c in analysis.per_task],
        "uncompared": len(analysis.uncompared),
        "identical": dict(analysis.twins),
        "cohorts": [list(tasks) for tasks in analysis.cohorts],
        "pareto": list(analysis.front),
        "targets": [{k: _number(v) for k, v in asdict(t).items()} for t in analysis.targets],
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {k: _number(v) for k, v in asdict(comparison).items()}


def _paper_json(paper: PaperTable) -> dict[str, Any]:
    return {
        "key": paper.key,
        "title": paper.title,
        "warnings": list(paper.warnings),
        "notes": list(paper.notes),
        "algorithms": [a.name for a in paper.algorithms],
        "rows": [
            {
                "task": task,
                "metric": metric,
                "cells": [
                    {"published": c.published, "measured": _number(c.measured), "contradicted": c.contradicted}
                    for c in cells
                ],
            }
            for task, metric, cells in paper.rows
        ],
    }


def _table_json(table: Table) -> dict[str, Any]:
    return {
        "key": table.key,
        "title": table.title,
        "warnings": list(table.warnings),
        "notes": list(table.notes),
        "columns": [{"key": c.key, "header": c.header, "definition": c.definition} for c in table.columns],
        "rows": [
            {
                "algorithm": row.algorithm.name,
                "title": row.algorithm.title,
                "section": row.section,
                "rank": row.rank,
                "mark": row.mark,
                "entries": {
                    c.key: {"text": e.text, "value": _number(e.value), "best": e.best, "tie": e.tie}
                    for c, e in zip(table.columns, row.entries, strict=True)
                },
            }
            for row in table.rows
        ],
    }
