"""The table of settings: with which parameters each row was trained, what of them is no default, and who chose it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.tables import Table, TableRow, ordered

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.section import Section
    from fedmeki_bench.records.record import Record

Changed = Mapping[str, Mapping[str, Any] | None]
"""Key of a record -> ``section.key`` -> value, of parameters set apart from the defaults; None where unknown here."""

_UNKNOWN = "unknown here"
_COLUMNS = (
    Column("rule", "Rule", "The federated rule with its parameters, from the records."),
    Column("stage", "Server stage", "What the server does after combining, with the parameters in which rows differ; "
           "those that all rows share are in the note below the table."),
    Column("apart", "Set apart from the defaults", "Parameters of this row that differ from the default of the profile "
           "or the plug-in, by the row itself or by the board for all rows."),
    Column("by", "Set by", "Defaults: nothing is set apart. Board: the board sets it for every row that has the "
           "parameter. Row: the row is defined by it."),
)  # fmt: skip
UNTUNED = (
    "Tuning",
    "Neither a board nor a record says whether a value was chosen on validation data, with what budget, or taken from "
    "a paper: settings are shown, and none is called tuned.",
)
TUNED = (
    "Tuning",
    "Values that the note below the table calls chosen on valid were chosen there, among so many trials of one seed; "
    "of all others neither a board nor a record says whether they were tuned or taken from a paper.",
)


def settings_table(
    sections: Sequence[Section], changed: Changed, common: Mapping[str, Any], *, tuned: bool = False
) -> Table | None:
    """One line per row of the board that was trained; None without a record.

    Args:
        sections: of the page.
        changed: what differs from the defaults, per record.
        common: what the board sets for all rows, as it writes it.
        tuned: whether the board says that some rows' options were chosen on `valid`.
    """
    rows = []
    runs: dict[str, dict[str, Record]] = {}
    algorithms: dict[str, Algorithm] = {}
    for section in sections:
        for algorithm, _ in ordered(section.grid):
            for o in section.grid.of(algorithm.name):
                if o.record is not None and algorithm.rule != "none":
                    algorithms.setdefault(algorithm.name, algorithm)
                    runs.setdefault(algorithm.name, {})[o.record.key] = o.record
    shared = _shared([_values(list(found.values()), "stage") for found in runs.values()])
    for name, algorithm in algorithms.items():
        records = list(runs[name].values())
        apart = apart_of(algorithm, records, changed)
        own = {key.rpartition(".")[2] for key, _ in algorithm.options}
        by = ["row"] * any(key.rpartition(".")[2] in own for key in apart or ())
        by += ["board"] * any(key.rpartition(".")[2] not in own for key in apart or ())
        said = _UNKNOWN if apart is None else _listed(apart) or "nothing"
        entries = (
            Entry(_with_name(algorithm.rule, _values(records, "rule"))),
            Entry("–" if algorithm.stage == "none" else _with_name(
                algorithm.stage, {k: v for k, v in _values(records, "stage").items() if k not in shared})),
            Entry(said),
            Entry("–" if apart is None else " and ".join(by) or "defaults"),
        )  # fmt: skip
        rows.append(TableRow(algorithm, "bound" if algorithm.bound else "ranked", entries))
    if not rows:
        return None
    notes = []
    if common:
        notes.append(f"The board sets for all rows: {_listed({k: [_said(v)] for k, v in common.items()})}.")
    if shared:
        notes.append(f"The same in every server stage that has it: {_listed(shared)}.")
    tuning = TUNED if tuned else UNTUNED
    return Table("settings", "Settings of every row", _COLUMNS, tuple(rows), (), tuple(notes), (tuning,))


def apart_of(algorithm: Algorithm, records: Sequence[Record], changed: Changed) -> dict[str, list[str]] | None:
    """``section.key`` -> the values of the row's runs that differ from the defaults; None if some run's are unknown."""
    found: dict[str, list[str]] = {}
    for record in records:
        given = changed.get(record.key)
        if given is None:
            return None
        for key, value in {**_own(algorithm, record), **given}.items():
            if key.startswith("partition."):  # the partition is the section's, not the row's
                continue
            values = found.setdefault(key, [])
            if _said(value) not in values:
                values.append(_said(value))
    return dict(sorted(found.items()))


def short(algorithm: Algorithm, *, own: bool = False) -> str:
    """What defines the row beside its name, e.g. ``mu 0.01``; empty for a row without options.

    Args:
        own: the board gives it options of its own, among which those of a stage are told from the clients'.
    """
    if own:
        return _listed({key: [_said(value)] for key, value in algorithm.options})
    return ", ".join(f"{key.rpartition('.')[2]} {_said(value)}" for key, value in algorithm.options)


def _own(algorithm: Algorithm, record: Record) -> dict[str, Any]:
    """The row's own options, by the section of the record's parameters that has them."""
    found = {}
    for name, value in algorithm.options:
        section, dot, key = name.rpartition(".")
        holders = [s for s, params in record.params.items() if key in params and (not dot or s == section)]
        found[f"{'profile' if 'profile' in holders else holders[0]}.{key}" if holders else name] = value
    return found


def _values(records: Sequence[Record], section: str) -> dict[str, list[str]]:
    """Parameter -> its different values in these runs."""
    found: dict[str, list[str]] = {}
    for record in records:
        for key, value in record.params.get(section, {}).items():
            values = found.setdefault(key, [])
            if _said(value) not in values:
                values.append(_said(value))
    return found


def _shared(rows: Sequence[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Parameters with one value in all the rows that have them, two at least."""
    found: dict[str, list[list[str]]] = {}
    for row in rows:
        for key, values in row.items():
            found.setdefault(key, []).append(values)
    return {k: rows[0] for k, rows in found.items() if len(rows) > 1 and all(v == rows[0] for v in rows)}


def _with_name(name: str, values: Mapping[str, Sequence[str]]) -> str:
    return f"{name}: {_listed(values)}" if values else name


def _listed(values: Mapping[str, Sequence[str]]) -> str:
    """In one line; a stage's own keys keep their section, as the clients' optimiser has some of the same names."""
    return ", ".join(
        f"{key.removeprefix('profile.').removeprefix('rule.')} {' or '.join(found)}" for key, found in values.items()
    )


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
