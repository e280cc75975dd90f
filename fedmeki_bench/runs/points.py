"""The points of a board's axes, for its runs: whether rows have the options, and where data are that fit them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.boards.axes import PARTITION, Preparation, Value, values_of
from fedmeki_bench.boards.board import Board
from fedmeki_bench.data.preparations import folder_of, in_words, known_to, options_of, place_of
from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.options import parse_options
from fedmeki_bench.runs.recorded import is_file
from fedmeki_bench.runs.rows import ResolvedRow, has_option
from fedmeki_bench.runs.spec import option_models

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort


def check_axes(board: Board, rows: Sequence[ResolvedRow], *, shown: bool) -> None:
    """Refuse what no row and no dataset of the board has.

    Args:
        shown: the board is only to be shown: then what a file may have, which is not loaded, is not asked for.

    Raises:
        InputError: names the value and the nearest option.
    """
    partitions = {choice.partition for choice in board.federations}
    files = shown and (any(is_file(row.trained.rule) for row in rows) or any(map(is_file, partitions)))
    for axis, values in values_of(board.axes).items():
        for place, value in enumerate(values):
            where = board.where("axes", axis, place)
            _check_preparation(board, value, where)
            if axis != PARTITION and not files:
                _check_options(rows, partitions, value, where)


def _check_options(rows: Sequence[ResolvedRow], partitions: Iterable[str], value: Value, where: str) -> None:
    models = {row.row.name: [option_models(row.trained, name) for name in partitions] for row in rows}
    asked = [(key, [one for found in models.values() for one in found], "no algorithm of the board has")
             for key, _ in value.options]  # fmt: skip
    asked += [(key, models[row], f"{row} does not have") for row, own in value.rows for key, _ in own]
    for key, found, whose in asked:
        if not any(has_option(one, key) for one in found):
            known = {field for one in found for model in one.values() for field in model.model_fields}
            raise InputError(f"{where}: {whose} the option {key!r}; {nearest(key, known)}")


def _check_preparation(board: Board, value: Value, where: str) -> None:
    datasets = dict.fromkeys(_dataset(task) for task in board.tasks)
    for key, given in value.preparation:
        takers = [name for name in datasets if key in options_of(name)]
        if not takers:
            known = {option for name in datasets for option in options_of(name)}
            raise InputError(f"{where}: no dataset of the board's tasks has the option {key!r}; {nearest(key, known)}")
        for name in takers:
            if name not in registry.names("datasets"):
                continue
            try:
                model = parse_options(
                    registry.load("datasets", name).Options, {key: given}, owner=f"dataset {name}"
                ).model_dump(mode="json")
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
            if model[key] != given:
                raise InputError(f"{where}: write {key}: {model[key]} for {given!r}")


def preparation_for(preparation: Preparation, tasks: Iterable[str]) -> Preparation:
    """What of a point's preparation the data of these tasks depend on."""
    return known_to(map(_dataset, tasks), preparation) if preparation else ()


def changed_by(board: Board, preparation: Preparation) -> Preparation:
    """In what a preparation differs from that of the board's base point, whose data lie in the data folder itself."""
    base = dict(item for values in values_of(board.axes).values() for item in values[0].preparation)
    return tuple((key, value) for key, value in preparation if base.get(key) != value)


def data_for(board: Board, preparation: Preparation, data: Path) -> Path:
    """The folder of data prepared so."""
    return folder_of(data, changed_by(board, preparation))


def why_no_data(board: Board, data: Path, folder: Path, preparation: Preparation, error: InputError) -> str:
    """Why runs have no data, with the command that prepares them."""
    if folder == data:
        return str(error)
    command = shlex.join(["fedmeki-bench", "sweep", board.called, "--data", str(data)])
    said = str(error).partition(" (prepared there")[0].partition(": prepare it again")[0]
    return f"{said}; `{command} --raw RAW` prepares it with {in_words(changed_by(board, preparation))}"


def prepared_otherwise(cohorts: Mapping[str, Cohort], preparation: Preparation) -> str:
    """Which cohort was not prepared so, in a sentence; empty if all were."""
    return next(_otherwise(cohorts, preparation), "")


def _otherwise(cohorts: Mapping[str, Cohort], preparation: Preparation) -> Iterator[str]:
    for cohort in cohorts.values() if preparation else ():
        there: Mapping[str, Any] = cohort.card["options"]
        for key, value in preparation:
            if there.get(key, value) != value:
                yield (
                    f"{cohort.path} was prepared with {in_words(((key, there[key]),))}, and the board's axes want "
                    f"{in_words(((key, value),))}: prepare it again, or into another folder"
                )


def datasets_of(tasks: Iterable[str], folder: Path) -> dict[str, Path]:
    """The datasets of these tasks, each with the folder of its cohorts for runs that read ``folder``."""
    return {name: place_of(folder, name) for name in map(_dataset, tasks)}


def _dataset(task: str) -> str:
    found: str = registry.load("tasks", task, files=False).meta.dataset
    return found
