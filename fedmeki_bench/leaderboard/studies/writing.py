"""Studies as Markdown, LaTeX and JSON; the page's HTML is in its template."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.decimals import rounded

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.studies.study import Study, StudyTable

Say = Callable[[str], str]


def study_markdown(study: Study, say: Say) -> list[str]:
    """The tables of a study; what it found stands at the top of the page.

    Args:
        study: what an analysis found.
        say: writes a text with its markup escaped and the names in it typeset.
    """
    lines = [f"## {say(study.title)}", ""]
    for table in study.tables:
        lines += table_markdown(table, say)
    return [*lines, *(f"{say(note)}  " for note in study.notes), *[""] * bool(study.notes)]


def table_markdown(table: StudyTable, say: Say) -> list[str]:
    """A table of a study under a heading of its own, with its notes."""
    lines = [f"### {say(table.title)}", ""]
    lines += [f"| {say(table.about)} | " + " | ".join(say(column.header) for column in table.columns) + " |"]
    lines += ["|:--" + "".join("|--:" if _numeric(table, i) else "|:--" for i in range(len(table.columns))) + "|"]
    lines += [
        f"| {say(row.name)} | "
        + " | ".join(f"**{say(e.text)}**" if e.best else say(e.text) for e in row.entries)
        + " |"
        for row in table.rows
    ]
    return [*lines, "", *(f"{say(note)}  " for note in table.notes), *[""] * bool(table.notes)]


def study_latex(study: Study, board: str, say: Say) -> list[str]:
    """The tables of a study with booktabs rules; a column of text takes the room that it needs."""
    lines = []
    for table in study.tables:
        places = "".join("r" if _numeric(table, i) else "l" for i in range(len(table.columns)))
        caption = say(". ".join([table.title, *(note.rstrip(".") for note in table.notes)]) + ".")
        lines += [
            "", r"\begin{table}[t]", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}", rf"\caption{{{caption}}}",
            rf"\label{{tab:{board}-{table.key.replace('_', '-')}}}", rf"\begin{{tabular}}{{@{{}}l{places}@{{}}}}",
            r"\toprule", " & ".join(map(say, [table.about, *(c.header for c in table.columns)])) + r" \\", r"\midrule",
            *(" & ".join(map(say, [row.name, *(e.text for e in row.entries)])) + r" \\" for row in table.rows),
            r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]  # fmt: skip
    return lines


def study_json(study: Study) -> dict[str, Any]:
    """A study as plain values."""
    return {
        "key": study.key,
        "title": study.title,
        "verdict": list(study.verdict),
        "notes": list(study.notes),
        "tables": [
            {
                "key": table.key,
                "title": table.title,
                "about": table.about,
                "columns": [{"key": c.key, "header": c.header, "definition": c.definition} for c in table.columns],
                "notes": list(table.notes),
                "rows": [
                    {
                        "name": row.name,
                        "entries": {
                            c.key: {"text": e.text, "value": rounded(e.value)}
                            for c, e in zip(table.columns, row.entries, strict=True)
                        },
                    }
                    for row in table.rows
                ],
            }
            for table in study.tables
        ],
        **({"content": rounded(dict(study.content))} if study.content else {}),
    }


def _numeric(table: StudyTable, index: int) -> bool:
    """Whether a column holds numbers."""
    return any(row.entries[index].value is not None for row in table.rows)
