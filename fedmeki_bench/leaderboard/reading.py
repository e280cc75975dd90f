"""The predictions behind an evaluation, read once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.predictions import (
    Predictions,
    TextPredictions,
)
from fedmeki_bench.evaluation.rescoring import predictions_file, stored

if TYPE_CHECKING:
    from fedmeki_bench.records.record import Evaluation, Record

Reader = Callable[["Record", "Evaluation"], "Predictions | TextPredictions | None"]


def reader(folder: Callable[[str], Path]) -> Reader:
    """Reads predictions below ``folder(record.key)``; None where the record names no file.

    A file is read once; it raises InputError if it is gone, damaged or was changed, and names it as it lies below the
    results.
    """
    known: dict[Path, Predictions | TextPredictions] = {}

    def read(record: Record, evaluation: Evaluation) -> Predictions | TextPredictions | None:
        if evaluation.predictions is None:
            return None
        path, name = predictions_file(evaluation, folder(record.key)), f"{record.key}/{evaluation.predictions}"
        if path not in known:
            if not path.is_file():
                raise InputError(f"the predictions {name} are needed, and the file is gone")
            try:
                known[path] = stored(evaluation, folder(record.key))
            except InputError as error:
                raise type(error)(str(error).replace(str(path), name)) from error
        return known[path]

    return read
