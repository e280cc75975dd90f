"""What an analysis of a board finds: sentences, tables and pictures, which the page shows before its tables.

An analysis is a plug-in of the group ``fedmeki_bench.analyses`` that a board names in ``analysis: [NAME]``: a function

    def stability(page: Page, context: Context) -> Study

of everything that :class:`~fedmeki_bench.leaderboard.page.Page` holds but its studies, and of what the page took from
outside the records. ``page.collected.outcomes`` are those of every point of the board; ``context.read`` reads the
predictions behind an evaluation, where they are known. It computes nothing that would need models or data, and the
same page gives the same study, to the last byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.grid import Column, Entry
    from fedmeki_bench.leaderboard.plots.theme import Picture


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A row of a study's table: what it is about, and an entry for each column.

    Attributes:
        name: as text; names of algorithms in it are typeset by the page.
        entries: one per column.
        algorithm: the row of the board it is about, so that the page can highlight it; empty for none.
    """

    name: str
    entries: tuple[Entry, ...]
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class StudyTable:
    """A table whose rows are what the study is about: claims, axes, regimes, tasks.

    Attributes:
        key: unique on the page; part of anchors and of JSON.
        title: its heading.
        about: header of the first column.
        columns: the others; their definitions join the page's explanations.
        rows: top to bottom.
        notes: sentences below it.
        definitions: terms that it uses with their meaning, which the page explains once.
        heat: shade cells by their value, column by column where a column says which direction is better.
    """

    key: str
    title: str
    about: str
    columns: tuple[Column, ...]
    rows: tuple[StudyRow, ...]
    notes: tuple[str, ...] = ()
    definitions: tuple[tuple[str, str], ...] = ()
    heat: bool = False


def no_pictures() -> Sequence[Picture]:
    """What a study without pictures draws."""
    return ()


@dataclass(frozen=True, slots=True)
class Study:
    """What an analysis found.

    Attributes:
        key: name of the analysis.
        title: heading of its part of the page.
        verdict: what was found, in sentences; a reader who knows nothing of the study understands the first.
        tables: in order.
        draw: draws the pictures when a page with pictures is written, and not before, as matplotlib is slow to load.
            The first stands above the tables.
        notes: what a reader must know of the method, in sentences.
        content: further numbers for ``leaderboard.json``: plain values.
    """

    key: str
    title: str
    verdict: tuple[str, ...]
    tables: tuple[StudyTable, ...] = ()
    draw: Callable[[], Sequence[Picture]] = no_pictures
    notes: tuple[str, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)
