"""A page as LaTeX: booktabs tables that fit the text width of the article class, ready to be \\input into a paper."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.names import Names
from fedmeki_bench.leaderboard.studies.writing import study_latex
from fedmeki_bench.leaderboard.tables import Table, TableRow

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.published import PaperTable

_ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$", '"': "''",
    "±": r"$\pm$", "–": "--", "−": r"$-$", "≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "‡": r"$^\ddagger$", "†": r"$^\dagger$", "⚠": r"$^{!}$", "§": r"\textsuperscript{\S}",
    "¶": r"\textsuperscript{\P}", "·": r"$\cdot$", "Δ": r"$\Delta$", "’": "'", "…": r"\dots{}",
}  # fmt: skip
_ACCENTED = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"  # what LaTeX reads without further packages
_ODD = re.compile(rf"[^\x20-\x7e{_ACCENTED}]|[\\&%$#_{{}}~^<>|\"]")

# Widths in points: the article class at 10 pt has lines of 345; columns stand 6 apart, letters are \footnotesize.
_LINE, _APART, _LETTER, _SMALL, _BOLD = 345.0, 6.0, 4.25, 3.1, 1.12
_HEADER = 14  # letters on a line of a header
_ROWS = 16  # up to so many rows fit a page with their intervals below the numbers; longer tables have them beside


def page_latex(page: Page) -> str:
    """The overview, the tables of main metrics and differences, and the papers' tables; needs booktabs alone.

    A table that is wider than a line is continued in a further one. Byte-stable.
    """
    writer = _Writer(page)
    parts = [
        f"% Built by `fedmeki-bench leaderboard {page.board.name}` from {len(page.collected.records)} records, "
        f"sha256 {page.digest[:16]}.",
        r"% Needs \usepackage{booktabs} and nothing else. Tables are set for the lines of the article class (345 pt).",
    ]
    tables = [page.overview, *(t for s in page.sections for t in (s.table, s.differences, *s.axes))]
    for table in tables:
        if table is not None:
            parts += writer.table(table)
    for paper in page.papers:
        parts += writer.paper(paper)
    for study in page.studies:
        parts += study_latex(study, page.board.name, writer.say)
    return "\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Plain text for LaTeX: nothing in it can be read as a command, and no character stops LaTeX."""
    return _ODD.sub(lambda m: _ESCAPED.get(m[0], "?"), " ".join(text.split()))


def _name(algorithm: Algorithm) -> str:
    """The display name with real sub- and superscripts."""
    name = "{}" + escape(algorithm.base)  # or LaTeX reads a leading [ or * as an option of the line break before
    name += rf"\textsubscript{{{escape(algorithm.sub)}}}" if algorithm.sub else ""
    return name + (rf"\textsuperscript{{{escape(algorithm.sup)}}}" if algorithm.sup else "")


class _Writer:
    """Writes the tables of one page, the first of which explains the numbers."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._names = Names(page.algorithms)
        self._explained = False

    def say(self, text: str) -> str:
        """Text with the names in it typeset."""
        return self._names.write(" ".join(text.split()), _escape_part, _name)

    def table(self, table: Table) -> list[str]:
        """A table, in as many parts as its width takes."""
        lines = []
        for number, columns in enumerate(_parts(table)):
            label = f"{self.page.board.name}-{table.key.replace('_', '-')}" + f"-{number + 1}" * (number > 0)
            caption = self.say(table.title) + " (continued)" * (number > 0) + "."
            if number == 0:
                caption = f"{caption} {self._basis(table)}"
            heads = [_stacked([*textwrap.wrap(c.header, _HEADER), *_below(c)], self.say, "b") for c in columns.values()]
            lines += ["", r"\begin{table}[t]", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
                      rf"\caption{{{caption}}}", rf"\label{{tab:{label}}}",
                      rf"\begin{{tabular}}{{@{{}}l{'r' * len(columns)}@{{}}}}", r"\toprule",
                      " & ".join(["Algorithm", *heads]) + r" \\"]  # fmt: skip
            before = None
            for row in table.rows:
                if row.section != before:  # a rule between bounds, ranked and incomplete rows
                    lines.append(r"\midrule")
                    before = row.section
                lines.append(self._row(row, list(columns), long=len(table.rows) > _ROWS))
            lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        return lines

    def _basis(self, table: Table) -> str:
        """What a caption says of a table: what it depends on, and in the first one how numbers are written."""
        board, said = self.page.board, []
        said += [f"{stamp}." for stamp in table.stamps]
        if not self._explained:
            seeds = ", ".join(map(str, board.seeds))
            of = "seeds" if len(board.seeds) > 1 else "seed"
            title = board.title or board.name
            said.append(
                f"{title}: profile {board.profile}, {board.clients} clients, {board.partition_words}, {of} {seeds}."
            )
            said += [meaning if term in _PLAIN else f"{term}: {meaning[0].lower()}{meaning[1:]}"
                     for term, meaning in self.page.terms if term in (*_PLAIN, *_MARKS)]  # fmt: skip
            self._explained = True
        return self.say(" ".join([*said, *table.warnings, *table.notes]))

    def _row(self, row: TableRow, shown: Sequence[int], *, long: bool) -> str:
        entries = [self._entry(row.entries[index], long=long) for index in shown]
        return " & ".join([_name(row.algorithm) + escape(row.mark), *entries]) + r" \\"

    def _entry(self, entry: Entry, *, long: bool) -> str:
        number = self.say(_number(entry))
        number = rf"\textbf{{{number}}}" if entry.best else number
        if not entry.interval:
            return number
        small = rf"\scriptsize {escape(entry.interval)}"
        if long:
            return rf"{number} {{{small}}}"
        return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{number}\\[-2pt]{{{small}}}\end{{tabular}}"

    def paper(self, paper: PaperTable) -> list[str]:
        """One of the papers' tables, in as many parts as its approaches take."""
        lines = []
        width = max((len(c.text) for *_, cells in paper.rows for c in cells), default=0) * _LETTER + _APART
        names = max((len(a.title) for a in paper.algorithms), default=0) * _LETTER * _BOLD + _APART
        task = max((len(t) for t, *_ in paper.rows), default=0) * _LETTER
        room = max(1, int((_LINE - task - 60) // max(width, names, 1)))
        for start in range(0, max(1, len(paper.algorithms)), room):
            shown = paper.algorithms[start : start + room]
            label = f"{self.page.board.name}-{paper.key.replace('_', '-')}" + f"-{start // room + 1}" * (start > 0)
            caption = self.say(paper.title) + (" (continued)." if start else ".")
            if not start:
                caption = f"{caption} {self.say(' '.join([*paper.warnings, *paper.notes]))}"
            lines += ["", r"\begin{table}[t]", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
                      rf"\caption{{{caption}}}", rf"\label{{tab:{label}}}",
                      rf"\begin{{tabular}}{{@{{}}ll{'r' * len(shown)}@{{}}}}", r"\toprule",
                      " & ".join(["Task", "Metric", *(_name(a) for a in shown)]) + r" \\"]  # fmt: skip
            before = ""
            for title, metric, cells in paper.rows:
                if title != before:
                    lines.append(r"\midrule")
                first = escape(title) if title != before else ""
                before = title
                texts = [escape(c.text) for c in cells[start : start + room]]
                lines.append(" & ".join([first, escape(metric), *texts]) + r" \\")
            lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        return lines


_PLAIN = ("Numbers", "Bold and =", "Difference [interval]", "Better, worse, equivalent, undecided")
_MARKS = ("⚠", "[–]", "§", "¶", "Saturated", "Rows that answer in words")
"""Terms that the first caption explains, without and with their name; the rest is for the page."""


def _escape_part(text: str) -> str:
    """As :func:`escape`, with the spaces at the ends that part a name from its sentence."""
    return _ODD.sub(lambda m: _ESCAPED.get(m[0], "?"), text)


def _below(column: Column) -> list[str]:
    return [line for text in (column.size, column.mark) if text for line in textwrap.wrap(text, _HEADER + 3)]


def _stacked(lines: Sequence[str], say: Callable[[str], str], place: str) -> str:
    """Lines of a header above each other."""
    if len(lines) < 2:
        return "".join(map(say, lines))
    return rf"\begin{{tabular}}[{place}]{{@{{}}r@{{}}}}" + r"\\".join(map(say, lines)) + r"\end{tabular}"


def _number(entry: Entry) -> str:
    """A cell without its interval."""
    return " ".join(part for part in (entry.number, entry.remark, "=" * entry.tie) if part)


def _width(table: Table, index: int) -> float:
    """Of a column, in points."""
    column = table.columns[index]
    head = max((len(line) for line in textwrap.wrap(column.header, _HEADER)), default=0)
    below = max((len(line) for line in _below(column)), default=0)
    entries = [row.entries[index] for row in table.rows]
    numbers = max((len(_number(e)) * (_BOLD if e.best else 1) for e in entries), default=0)
    small = max((len(e.interval) for e in entries), default=0)
    both = (numbers + 1) * _LETTER + small * _SMALL if len(table.rows) > _ROWS else 0.0
    return max(head * _LETTER, below * _LETTER, numbers * _LETTER, small * _SMALL, both) + _APART


def _parts(table: Table) -> Iterator[dict[int, Column]]:
    """The columns that stand side by side within a line, by index; a first column of names comes before each."""
    names = max((len(row.algorithm.title + row.mark) for row in table.rows), default=9) * _LETTER
    part: dict[int, Column] = {}
    used = names
    for index, column in enumerate(table.columns):
        width = _width(table, index)
        if part and used + width > _LINE:
            yield part
            part, used = {}, names
        part[index] = column
        used += width
    if part:
        yield part
