"""Data that a board lacks, prepared from releases: what its axes prepare otherwise lies in folders of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fedmeki_bench import registry
from fedmeki_bench.boards.board import Board
from fedmeki_bench.data.card import CARD, read_card
from fedmeki_bench.data.preparations import known_to
from fedmeki_bench.errors import InputError, TasksFailed
from fedmeki_bench.runs.plan import Planned
from fedmeki_bench.runs.points import datasets_of
from fedmeki_bench.workflow.data import found_in

if TYPE_CHECKING:
    from fedmeki_bench.data.prepare.prepare import PreparedCohort


Preparing: TypeAlias = Callable[..., "Sequence[PreparedCohort]"]
"""Prepares a dataset: its name, its release, the data folder, and ``options``."""


def prepare_lacking(board: Board, entries: Sequence[Planned], data: Path, raw: Path, preparing: Preparing) -> int:
    """Prepare what runs lack, dataset by dataset; returns how many were prepared.

    What the axes do not say is prepared as the cohorts of the dataset in the data folder are; where there are none, as
    the board says under ``prepare``.

    Args:
        raw: the folder of releases, each under its name.

    Raises:
        InputError: a release is not there, or was prepared with a file that its card does not keep.
        TasksFailed: some of the board's tasks raised an error; all others are prepared.
    """
    wanted: dict[tuple[str, Path], dict[str, Any]] = {}
    for entry in entries:
        if entry.status != "no data" or entry.data is None:
            continue
        for dataset, folder in datasets_of((*entry.spec.tasks, *entry.spec.zero_shot), entry.data).items():
            wanted[dataset, folder] = dict(known_to([dataset], entry.preparation))
    if not wanted:
        return 0
    releases, made = found_in(raw, {}).folders, 0
    for (dataset, folder), own in wanted.items():
        before = _as_before(dataset, data)
        if folder == data and before is not None and any(before.get(key, value) != value for key, value in own.items()):
            continue  # what is there was prepared otherwise, and may be needed
        if dataset not in releases:
            if all((folder / task / CARD).is_file() for task in board.tasks if dataset in datasets_of([task], data)):
                continue  # it is there; what the run lacks is of another dataset
            raise InputError(f"{raw} has no folder of the release that {dataset} is prepared from")
        given = dict(board.prepare.get(dataset, {})) if before is None else before
        try:
            preparing(dataset, releases[dataset], folder, options=given | own)
        except TasksFailed as error:
            if error.failed.keys() & set(board.tasks):
                raise
        made += 1
    return made


def _as_before(dataset: str, data: Path) -> dict[str, Any] | None:
    """The options with which the dataset's cohorts in the data folder were prepared; None where there are none."""
    for path in sorted(data.glob(f"*/{CARD}")):
        card = read_card(path.parent)
        if card["dataset"] != dataset:
            continue
        files = [name for name, field in _fields(dataset).items() if "Path" in str(field.annotation)]
        if lost := next((name for name in files if card["options"].get(name)), None):
            raise InputError(
                f"{path.parent} was prepared with a file as {lost}, of which its card keeps the name alone: prepare "
                f"{dataset} by hand"
            )
        return {key: value for key, value in card["options"].items() if key not in files}
    return None


def _fields(dataset: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = registry.load("datasets", dataset).Options.model_fields
    return found
