"""A page as LaTeX: one booktabs table per section, ready to be \\input into a paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.grid import Entry
from fedmeki_bench.leaderboard.tables import Table, TableRow

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.published import PaperTable

_ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "–": "--", "−": r"$-$", "≥": r"$\geq$",
    "×": r"$\times$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "‡": r"$^\ddagger$", "†": r"$^\dagger$",
    "⚠": r"$^{!}$", "§": r"\textsuperscript{\S}", "¶": r"\textsuperscript{\P}", "·": r"$\cdot$",
}  # fmt: skip
_SPECIAL = re.compile("|".join(re.escape(c) for c in _ESCAPED))


def page_latex(page: Page) -> str:
    """The sections' tables of main metrics; needs the packages booktabs and graphicx. Byte-stable."""
    parts = [
        f"% Built by `fedmeki-bench leaderboard {page.board.name}` from {len(page.collected.records)} records, "
        f"sha256 {page.digest[:16]}.",
        "% Needs \\usepackage{booktabs,graphicx} and \\usepackage[T1]{fontenc}.",
    ]
    for section in page.sections:
        parts += _table(page, section.table)
    for paper in page.papers:
        parts += _paper(page, paper)
    return "\n".join(parts) + "\n"


def _paper(page: Page, paper: PaperTable) -> list[str]:
    lines = [
        "",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape(paper.title)}. {escape(' '.join([*paper.warnings, *paper.notes]))}}}",
        rf"\label{{tab:{page.board.name}-{paper.key.replace('_', '-')}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'r' * len(paper.algorithms)}}}",
        r"\toprule",
        " & ".join(["Task", "Metric", *(_name(a) for a in paper.algorithms)]) + r" \\",
    ]
    before = ""
    for task, metric, cells in paper.rows:
        if task != before:
            lines.append(r"\midrule")
        shown = escape(task) if task != before else ""
        before = task
        lines.append(" & ".join([shown, escape(metric), *(escape(c.text) for c in cells)]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]


def escape(text: str) -> str:
    """Plain text for LaTeX: nothing in it can be read as a command."""
    return _SPECIAL.sub(lambda m: _ESCAPED[m[0]], " ".join(text.split()))


def _name(algorithm: Algorithm) -> str:
    """The display name with real sub- and superscripts."""
    name = "{}" + escape(algorithm.base)  # or LaTeX reads a leading [ or * as an option of the line break before
    name += rf"\textsubscript{{{escape(algorithm.sub)}}}" if algorithm.sub else ""
    return name + (rf"\textsuperscript{{{escape(algorithm.sup)}}}" if algorithm.sup else "")


def _table(page: Page, table: Table) -> list[str]:
    board = page.board
    caption = f"{page.title}: {table.title}. Profile {board.profile}, {board.clients} clients, {board.dealt}."
    notes = " ".join([*table.warnings, *table.notes])
    lines = [
        "",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape(caption)} {escape(notes)}}}",
        rf"\label{{tab:{page.board.name}-{table.key.replace('_', '-')}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(["Algorithm", *(escape(c.header) for c in table.columns)]) + r" \\",
    ]
    before = None
    for row in table.rows:
        if row.section != before:  # a rule between bounds, ranked and incomplete rows
            lines.append(r"\midrule")
            before = row.section
        lines.append(_row(row))
    return [*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]


def _row(row: TableRow) -> str:
    return " & ".join([_name(row.algorithm) + escape(row.mark), *(_entry(e) for e in row.entries)]) + r" \\"


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return rf"\textbf{{{text}}}" if entry.best else text
