"""The rows of a board as algorithms: what each trains, and under which name, label and options it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from fedmeki_bench import algorithms
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.axes import Point
from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.rows import BoardRow
from fedmeki_bench.errors import InputError, UsageError, nearest
from fedmeki_bench.runs.pretext import PRETRAIN, SECTION
from fedmeki_bench.runs.spec import IN_FULL, MAPPINGS, assign_options, installed_models, option_models

_SHARED = ("partition", "availability", "faults", "seed")
"""Sections of options that are the same for all rows of a board: they make the federation, and pair the runs."""

_SHARES = {"availability.fraction", "availability.labelled"}


@dataclass(frozen=True, slots=True)
class ResolvedRow:
    """A row with its algorithm.

    Attributes:
        row: as the board gives it.
        trained: the algorithm that it names.
        shown: the same under the row's name and label, its options after the algorithm's own.
    """

    row: BoardRow
    trained: Algorithm
    shown: Algorithm

    def where(self, board: Board, *place: Any) -> str:
        """Where the row, or a key of it, is in the board's file."""
        return board.where("algorithms", self.row.place, self.row.algorithm, *place)


def resolve_rows(board: Board, *, load: bool) -> list[ResolvedRow]:
    """The rows of a board, in its order.

    Args:
        load: load the code of files that the board names; without it the board can only be shown.

    Raises:
        UsageError: an unknown algorithm.
        InputError: a name or label that another row or algorithm has, or an option that the row's algorithm lacks.
    """
    resolve = algorithms.resolve if load else algorithms.described
    rows = []
    for row in board.rows:
        trained = resolve(row.algorithm)
        rows.append(ResolvedRow(row, trained, _shown(board, row, trained)))
    for one in rows:
        _check_name(board, one, rows)
        _check_own(board, one, load=load)
    return _told_apart(board, rows)


def options_of(board: Board, row: ResolvedRow, choice: Point) -> dict[str, Any]:
    """The board's options that this row's algorithm has, under its own: ``mu`` reaches FedProx, not FedAvg.

    What a point sets for all rows lies between these two, what it sets for this one above both.

    Raises:
        InputError: one of its own could be several.
    """
    models = option_models(row.trained, choice.partition)
    options: dict[str, Any] = {key: value for key, value in board.options.items() if has_option(models, key)}
    above = [choice.settings, row.row.options, choice.of_row(row.row.name)]
    for layer in above:
        own = {key: value for key, value in layer if has_option(models, key)}
        if own:  # whichever way either writes a key
            options = _in_full(models, options) | _in_full(models, own)
    if row.trained.pooled:  # nobody can fail; what is shared out matters where clients do not use all they have
        dealt = {key: value for key, value in choice.in_full.items() if key.startswith("partition.")}
        return options | dealt if {in_full(models, key) for key in options} & _SHARES else options
    return options | choice.in_full


def has_option(models: Mapping[str, type[BaseModel]], option: str) -> bool:
    """Whether one of these sections has an option, given as ``key`` or ``section.key``."""
    section, dot, key = option.partition(".")
    if section in (SECTION, PRETRAIN) or (dot and section in MAPPINGS):
        return True  # whether a pretext has the option is known once it is chosen
    if dot:
        return section in models and key in models[section].model_fields
    return any(option in model.model_fields for name, model in models.items() if name not in IN_FULL)


def in_full(sections: Mapping[str, type[BaseModel] | Mapping[str, Any]], option: str) -> str:
    """``section.key`` of an option; as it is where these sections, models or values, lack it or several have it."""
    fields = {s: keys.model_fields if isinstance(keys, type) else keys for s, keys in sections.items()}
    holders = [s for s, keys in fields.items() if s not in IN_FULL and option in keys]
    if "." in option or not holders:
        return option
    if "profile" in holders:  # lr means the clients'; the stage's own is stage.lr
        return f"profile.{option}"
    return f"{holders[0]}.{option}" if len(holders) == 1 else option


def _in_full(models: Mapping[str, type[BaseModel]], options: Mapping[str, Any]) -> dict[str, Any]:
    handed = assign_options(models, options)
    found: dict[str, Any] = {}
    for section, given in handed.items():
        for key, value in given.items():
            if isinstance(value, dict) and (key in MAPPINGS or section == SECTION):  # each entry is a choice of its own
                prefix = key if key in MAPPINGS else SECTION
                found |= {f"{prefix}.{entry}": one for entry, one in value.items()}
            else:
                found[f"{section}.{key}"] = value
    return found


def _shown(board: Board, row: BoardRow, trained: Algorithm) -> Algorithm:
    if not row.detailed:
        return trained
    models = installed_models(trained, board.federations[0].partition)
    own = {in_full(models, key): tuple(v) if isinstance(v, list) else v for key, v in row.options}
    above = {in_full(models, key): value for key, value in trained.options}
    shown = replace(trained, name=row.name, options=tuple((above | own).items()) if own else trained.options)
    return replace(shown, base=row.label, sub="", sup="") if row.label else shown


def _check_name(board: Board, one: ResolvedRow, rows: Sequence[ResolvedRow]) -> None:
    for other in rows[: one.row.place]:
        if other.shown.name == one.shown.name:
            raise InputError(
                f"{one.where(board)}: {one.row.name!r} and {other.row.name!r} are one algorithm; give a `name` to one"
            )
    if one.row.name == one.row.algorithm:
        return
    try:
        meant = algorithms.described(one.row.name)
    except UsageError:
        return
    if meant.name != one.trained.name:
        raise InputError(
            f"{one.where(board, 'name')}: {one.row.name!r} is the name of an algorithm, and not of the row's "
            f"({one.trained.name}); choose another"
        )


def _check_own(board: Board, one: ResolvedRow, *, load: bool) -> None:
    """Refuse options that the row's algorithm lacks, or that are the same for all rows."""
    names = [choice.partition for choice in board.federations]
    known = [(option_models if load else installed_models)(one.trained, name) for name in names]
    for key, _ in one.row.options:
        section = in_full(known[0], key).partition(".")[0]
        if section in _SHARED and all(has_option(models, key) for models in known):
            raise InputError(
                f"{one.where(board, 'options', key)}: {key} is the same for all rows of a board; set it for the board, "
                "or compare several partitions or faults"
            )
        if any(has_option(models, key) for models in known):
            continue
        if load or "rule" in known[0]:  # else a file that is not loaded may have it
            fields = [field for models in known for model in models.values() for field in model.model_fields]
            raise InputError(
                f"{one.where(board, 'options', key)}: {one.row.algorithm} has no option {key!r}; "
                f"{nearest(key.rpartition('.')[2], fields)}"
            )


def _told_apart(board: Board, rows: list[ResolvedRow]) -> list[ResolvedRow]:
    """Rows of one algorithm get titles that differ: by their options, or else by their names."""
    for what in (lambda row: row.own, lambda row: row.name):
        titles = Counter(one.shown.title for one in rows)
        rows = [
            _marked(one, what(one.row))
            if one.row.detailed and not one.row.label and titles[one.shown.title] > 1
            else one
            for one in rows
        ]  # fmt: skip
    titles = Counter(one.shown.title for one in rows)
    for one in rows:
        if one.row.label and titles[one.shown.title] > 1:
            raise InputError(
                f"{one.where(board, 'label')}: another row is called {one.row.label!r} in tables; choose another label"
            )
    return rows


def _marked(one: ResolvedRow, what: str) -> ResolvedRow:
    return replace(one, shown=replace(one.shown, sub=", ".join(filter(None, (one.trained.sub, what)))))
