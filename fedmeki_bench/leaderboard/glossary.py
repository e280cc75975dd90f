"""What a page's terms, marks and columns mean, each said once for all its tables and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.leaderboard.studies.study import StudyTable
from fedmeki_bench.leaderboard.tables import Table

Definition = tuple[str, str]


def _sentences(text: str) -> dict[str, None]:
    return dict.fromkeys(re.split(r"(?<=\.) (?=[A-Z])", text))


def glossary(tables: Iterable[Table | StudyTable], metrics: Mapping[str, MetricSpec]) -> tuple[Definition, ...]:
    """(term, meaning) in the order of first use: first what the tables explain themselves, then their columns.

    A term that tables explain differently (numbers without an interval for several reasons, say) has all their
    sentences, each once.
    """
    tables = list(tables)
    found: dict[str, dict[str, None]] = {}
    for table in tables:
        for term, meaning in table.definitions:
            found.setdefault(term, {}).update(_sentences(meaning))
    plain = {spec.title: spec.definition for spec in metrics.values()}
    for table in tables:
        for column in table.columns:
            term = column.header if column.term is None else column.term
            if term:
                found.setdefault(term, {}).update(_sentences(plain.get(term, column.definition)))
    return tuple((term, " ".join(meanings)) for term, meanings in found.items())
