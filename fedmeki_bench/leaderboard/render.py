"""A page as Markdown, CSV and JSON: byte-stable, so that a committed table can be compared with its records.

No clock, no paths, fixed decimals, one newline at the end.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from fedmeki_bench.leaderboard.collect import Row
from fedmeki_bench.leaderboard.decimals import DECIMALS, rounded
from fedmeki_bench.leaderboard.grid import Column
from fedmeki_bench.leaderboard.judging import Comparison
from fedmeki_bench.leaderboard.names import Names
from fedmeki_bench.leaderboard.own_options import own_options
from fedmeki_bench.leaderboard.page import Gap, Page
from fedmeki_bench.leaderboard.published import PaperTable
from fedmeki_bench.leaderboard.section import Section
from fedmeki_bench.leaderboard.studies.writing import Say, study_json, study_markdown
from fedmeki_bench.leaderboard.tables import PUBLISHED_SPLIT, SYNTHETIC, Table, TableRow
from fedmeki_bench.leaderboard.tables import Section as RowSection

BANNERS = {
    SYNTHETIC: (
        "These numbers come from generated stand-in data. They show that everything runs and is scored; they say "
        "nothing about patients, and not which algorithm is better in a hospital."
    ),
    PUBLISHED_SPLIT: "Patients may cross the splits, as in the published comparison.",
}
"""What a page says once of each stamp that its tables bear."""

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
    board, names = page.board, Names(page.algorithms)

    def say(text: str) -> str:
        return names.write(" ".join(text.split()), escaped, lambda a: algorithm_name(a.html))

    lines = [
        f"<!-- Built by `fedmeki-bench leaderboard {board.name}` from the records; do not edit. -->",
        f"# {_text(page.title)}",
        "",
        *(f"> **{stamp}.** {BANNERS[stamp]}\n" for stamp in page.stamps),
        *_verdicts(page, say),
    ]
    if board.summary:
        lines += [say(board.summary), ""]
    seeds = ", ".join(str(s) for s in board.seeds)
    options = "".join(f" · {_text(k)} {_text(str(v))}" for k, v in sorted(board.options.items()))
    lines += [
        f"Profile **{_text(board.profile)}** · {board.clients} clients, {_text(board.partition_words)} · "
        f"seed{'s' * (len(board.seeds) > 1)} {seeds}{options}",
        "",
    ]
    for study in page.studies:
        lines += study_markdown(study, say)
    tables = list(page.tables)
    if page.overview is not None:
        lines += _table(tables.pop(0), say)
    if figure:
        lines += [f"![Main metric of every algorithm per task]({figure})", ""]
    if page.terms:
        lines += ["Terms, marks and columns: [How to read the tables](#how-to-read-the-tables).", ""]
    for table in tables:
        lines += _table(table, say)
    for paper in page.papers:
        lines += _paper(paper)
    lines += _reading(page, say)
    lines += _gap_lines(page.gaps, page.unreadable, page.collected.remarks)
    lines += _provenance(page)
    return "\n".join(lines).rstrip("\n") + "\n"


def _verdicts(page: Page, say: Say) -> list[str]:
    """What each section found, as the first thing a reader sees."""
    told = [section for section in page.sections if section.verdict]
    if not told and not page.studies:
        return []
    lines = ["## What was found", ""]
    for study in page.studies:
        lines += [f"**{say(study.verdict[0])}** {say(' '.join(study.verdict[1:]))}".rstrip(), ""]
    if page.across:
        lines += [f"**{say(page.across)}**", ""]
    for section in told:
        where = f"{_text(section.title)}: " if len(page.sections) > 1 else ""
        lines += [f"{where}**{say(section.verdict[0])}** {say(' '.join(section.verdict[1:]))}".rstrip(), ""]
    return lines


def _reading(page: Page, say: Say) -> list[str]:
    """Every definition of the page, once."""
    if not page.terms:
        return []
    terms = [f"- **{say(term)}**: {say(meaning)}" for term, meaning in page.terms]
    return ["## How to read the tables", "", *terms, ""]


def _text(text: str) -> str:
    """Plain text for Markdown, in one line."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """HTML escaped, and no character left that Markdown could read as markup."""
    return _MARKDOWN.sub(lambda m: f"&#{ord(m[0])};", html.escape(text, quote=False))


def algorithm_name(row_html: str) -> str:
    """``Algorithm.html`` for Markdown: its tags and entities stay, Markdown's own characters are escaped."""
    return re.sub(r"[|*_`\[\]~$\\]", lambda m: f"&#{ord(m[0])};", " ".join(row_html.split()))


def _table(table: Table, say: Say) -> list[str]:
    title = say(table.title) + (f" ({', '.join(table.stamps)})" if table.stamps else "")
    lines = [f"## {title}", ""]
    for warning in table.warnings:
        lines += [f"> {say(warning)}", ""]
    lines.append("| Algorithm | " + " | ".join(_header(c, say) for c in table.columns) + " |")
    plain = all(e.value is None for row in table.rows for e in row.entries)
    lines.append("|:--" + ("|:--" if plain else "|--:") * len(table.columns) + "|")
    sections = list(dict.fromkeys(row.section for row in table.rows))
    for section in sections:
        if len(sections) > 1:
            lines.append(f"| *{_SECTIONS[section]}* |" + " |" * len(table.columns))
        lines += [_row(row, say) for row in table.rows if row.section == section]
    return [*lines, "", *(f"{say(note)}  " for note in table.notes), *[""] * bool(table.notes)]


def _header(column: Column, say: Say) -> str:
    """The header with the patients it depends on, and what a reader must know of the column."""
    below = "".join(f"<br>{_text(part)}" for part in (column.size, column.mark) if part)
    return say(column.header) + below


def _row(row: TableRow, say: Say) -> str:
    entries = [f"**{say(e.text)}**" if e.best else say(e.text) for e in row.entries]
    mark = f" {row.mark}" if row.mark else ""
    return f"| {algorithm_name(row.algorithm.html)}{mark} | " + " | ".join(entries) + " |"


def _paper(paper: PaperTable) -> list[str]:
    lines = [f"## {_text(paper.title)}", "", *(f"> {_text(warning)}" for warning in paper.warnings), ""]
    lines += ["| Task | Metric | " + " | ".join(algorithm_name(a.html) for a in paper.algorithms) + " |"]
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
        where += f" ({gap.where})" * bool(gap.points)
        status = gap.status.replace("_", " ")
        lines.append(f"- {algorithm_name(gap.algorithm.html)}, {_text(where)}: {status}: {_text(gap.reason)}")
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


def rows_csv(page: Page) -> str:
    """The tidy rows: one per algorithm, task, seed and metric; empty where there is no number.

    Where rows have options of their own, a last column says which; of a board with axes, one per axis where it stood.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(Row)]
    own = own_options(page.board)
    places = {point.label: [label for _, label in point.place] for point in page.board.points}
    writer.writerow(names + ["options"] * bool(own) + [f"axis {axis}" for axis in page.board.axes])
    for row in page.rows:
        values = (
            [getattr(row, name) for name in names]
            + [own.get(row.algorithm, "")] * bool(own)
            + places.get(row.partition, [])
        )
        writer.writerow([_csv_value(value) for value in values])
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
    own = own_options(page.board)
    content = {
        "board": page.board.model_dump(mode="json"),
        **({"own_options": own} if own else {}),
        **({"points": {p.label: dict(p.place) for p in page.board.points}} if page.board.axes else {}),
        **({"studies": [study_json(study) for study in page.studies]} if page.studies else {}),
        "stamp": page.stamp,
        "across": page.across,
        "tables": [_table_json(table) for table in page.tables],
        "terms": dict(page.terms),
        "rows": [{k: rounded(v) for k, v in asdict(row).items()} for row in page.rows],
        "sections": [_section_json(section) for section in page.sections],
        "papers": [_paper_json(paper) for paper in page.papers],
        "gaps": [
            {
                "algorithm": g.algorithm.name,
                "status": g.status,
                "reason": g.reason,
                "tasks": list(g.tasks),
                "seeds": list(g.seeds),
                **({"points": list(g.points)} if g.points else {}),
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
        "partition": section.partition,
        "reference": analysis.reference.name if analysis.reference else None,
        "verdict": list(section.verdict),
        "alpha": rounded(analysis.alpha),
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
        "targets": [{k: rounded(v) for k, v in asdict(t).items()} for t in analysis.targets],
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {k: rounded(v) for k, v in asdict(comparison).items()}


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
                    {"published": c.published, "measured": rounded(c.measured), "contradicted": c.contradicted}
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
        "stamps": list(table.stamps),
        "columns": [
            {"key": c.key, "header": c.header, "definition": c.definition, "size": c.size, "mark": c.mark}
            for c in table.columns
        ],
        "rows": [
            {
                "algorithm": row.algorithm.name,
                "title": row.algorithm.title,
                "section": row.section,
                "rank": row.rank,
                "mark": row.mark,
                "entries": {
                    c.key: {"text": e.text, "value": rounded(e.value), "best": e.best, "tie": e.tie}
                    for c, e in zip(table.columns, row.entries, strict=True)
                },
            }
            for row in table.rows
        ],
    }
