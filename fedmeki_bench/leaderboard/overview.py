"""All sections of a board in one view: every row's mean and its difference to the reference, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.differences import entry_of, statistic
from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.tables import Section as RowSection
from fedmeki_bench.leaderboard.tables import Table, TableRow
from fedmeki_bench.leaderboard.verdict import WORDS

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.section import Section

_NO_VALUE = Entry("–")
_ORDER: tuple[RowSection, ...] = ("bound", "ranked", "incomplete")


def overview_table(sections: Sequence[Section]) -> Table | None:
    """Rows of all sections x (mean, difference to the reference) of each; None with fewer than two to compare.

    The means and differences are those of the sections' own tables.
    """
    compared = [section for section in sections if any(c.difference is not None for c in section.analysis.primary)]
    if len(compared) < 2:
        return None
    columns: list[Column] = []
    for section in compared:
        columns += _columns(section)
    counted = Column(
        "count", "In all", f"How often the row is better, equivalent, undecided or worse in the {len(compared)} "
        "comparisons of its line. The words of a page hold together, so that they may be counted.",
    )  # fmt: skip
    where = _places(compared)
    rows = []
    for kind in _ORDER:
        for name, algorithm in _algorithms(compared).items():
            if where[name] != kind:
                continue
            entries = [entry for section in compared for entry in _entries(section, name)]
            if all(entry.value is None for entry in entries):
                continue
            marks = "".join(dict.fromkeys(m for s in compared for r in s.table.rows
                                          if r.algorithm.name == name for m in r.mark))  # fmt: skip
            rows.append(TableRow(algorithm, kind, (*entries, _count(compared, name)), marks))
    stamps = tuple(dict.fromkeys(stamp for section in compared for stamp in section.table.stamps))
    return Table("overview", "In one view", (*columns, counted), tuple(rows), stamps=stamps)


def across(sections: Sequence[Section]) -> str:
    """What holds under every partition and what under some only, against one reference; empty if there is but one.

    Rows of zero-shot tasks have a reference of their own and are left to their section.
    """
    trained = [s for s in sections if not s.zero_shot and any(c.difference is not None for c in s.analysis.primary)]
    references = {s.analysis.reference.name: s.analysis.reference for s in trained if s.analysis.reference}
    if len(trained) < 2 or len(references) != 1:
        return ""
    (reference,) = references.values()
    found = {name: _words(trained, name) for name in _algorithms(trained)}
    everywhere = "under both" if len(trained) == 2 else f"under all {len(trained)}"
    parts = []
    for word, text in (("better", "better than {}"), ("worse", "worse than {}"), ("equivalent", "equivalent to {}")):
        phrase = text.format(reference.title)
        places: dict[tuple[str, ...], list[str]] = {}
        for name, words in found.items():
            labels = tuple(s.label for s, said in zip(trained, words, strict=True) if said == word)
            if labels:
                places.setdefault(labels, []).append(_algorithms(trained)[name].title)
        for labels, names in sorted(places.items(), key=lambda item: -len(item[0])):
            under = everywhere if len(labels) == len(trained) else f"under {' and '.join(labels)} alone"
            parts.append(f"{phrase} {under}: {', '.join(names)}")
    open_ones = sum(bool(w) and set(w) <= {"undecided", ""} and "undecided" in w for w in found.values())
    if not parts:
        return f"Under no partition is a row shown to differ from {reference.title}; undecided does not mean equal."
    left = f"; {open_ones} undecided {everywhere}" if open_ones else ""
    said = "; ".join(parts) + left
    return f"{said[0].upper()}{said[1:]}."


def _columns(section: Section) -> list[Column]:
    found = []
    reference = section.analysis.reference
    assert reference is not None
    mean = _mean_of(section)
    if mean is not None:
        header = f"{section.label}: {mean.header}"
        found.append(replace(mean, key=f"{section.key}_mean", header=header, term=""))
    against = f"{section.label}: against {reference.title}"
    found.append(
        Column(f"{section.key}_difference", against, f"Difference to {reference.title} on {statistic(section.grid)}.",
               term="")
    )  # fmt: skip
    return found


def _mean_of(section: Section) -> Column | None:
    """The column of the section's table that orders it: the mean over tasks, or the one task."""
    key = section.grid.tasks[0] if len(section.grid.tasks) == 1 else "mean"
    return next((column for column in section.table.columns if column.key == key), None)


def _entries(section: Section, name: str) -> list[Entry]:
    row = next((row for row in section.table.rows if row.algorithm.name == name), None)
    mean = _mean_of(section)
    entries = []
    if mean is not None:
        entries.append(_NO_VALUE if row is None else row.entries[section.table.columns.index(mean)])
    reference = section.analysis.reference
    if reference is not None and name == reference.name:
        return [*entries, Entry("reference")]
    found = next((c for c in section.analysis.primary if c.algorithm == name), None)
    return [*entries, entry_of(found)]


def _words(sections: Sequence[Section], name: str) -> list[str]:
    """The row's word in each section; empty where it has none."""
    return [
        next((c.word for c in section.analysis.primary if c.algorithm == name and c.difference is not None), "")
        for section in sections
    ]


def _count(sections: Sequence[Section], name: str) -> Entry:
    words = [word for word in _words(sections, name) if word]
    counts = Counter(words)
    if not words:
        return _NO_VALUE
    if len(counts) == 1:
        return Entry(words[0] + {1: "", 2: " in both"}.get(len(words), f" in all {len(words)}"))
    return Entry(", ".join(f"{word} in {counts[word]}" for word in WORDS if counts[word]))


def _algorithms(sections: Sequence[Section]) -> dict[str, Algorithm]:
    """Name -> algorithm, in the order of the first section's table, then of the others'."""
    return {row.algorithm.name: row.algorithm for section in sections for row in section.table.rows}


def _places(sections: Sequence[Section]) -> dict[str, RowSection]:
    """Name -> bound, ranked, or incomplete if it is so in any section."""
    found: dict[str, RowSection] = {}
    for section in sections:
        for row in section.table.rows:
            if found.get(row.algorithm.name) != "incomplete":
                found[row.algorithm.name] = row.section
    return found
