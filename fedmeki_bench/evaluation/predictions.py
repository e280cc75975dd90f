"""The scores behind every number, one Parquet file per view and task, so that any metric can be redone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_COLUMNS = ("sample_id", "group_id", "site", "label", "score")


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores of one view on the test split of one task.

    Attributes:
        sample_id, group_id, site: (n,) strings; the group is the unit that is resampled (the patient).
        label: (n,) of 0 and 1.
        score: (n,) probabilities, or (clients, n) where every client has its own model.
    """

    sample_id: NDArray[Any]
    group_id: NDArray[Any]
    site: NDArray[Any]
    label: NDArray[np.int64]
    score: NDArray[np.float64]


def predictions_path(folder: Path, view: str, task: str) -> Path:
    """``<folder>/predictions/<view>.<task>.parquet``; names that could leave the folder are refused."""
    for name in (view, task):
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot be part of a file name: use letters, digits, _ and -")
    return folder / "predictions" / f"{view}.{task}.parquet"


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write atomically; the same predictions give the same bytes.

    With one model per client the table is long: ``client`` (0-based) is a sixth column and samples repeat.

    Raises:
        InputError: the columns differ in length.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = len(predictions.sample_id)
    scores = np.asarray(predictions.score, dtype=np.float64)
    clients = scores.shape[0] if scores.ndim == 2 else 1
    described = (predictions.group_id, predictions.site, predictions.label)
    if scores.shape[-1] != n or any(len(column) != n for column in described):
        raise InputError(f"{path.name}: the columns of the predictions differ in length")

    def text(values: NDArray[Any]) -> pa.Array:
        return pa.array([str(v) for v in np.tile(values, clients)], type=pa.string())

    columns = {
        "sample_id": text(predictions.sample_id),
        "group_id": text(predictions.group_id),
        "site": text(predictions.site),
        "label": pa.array(np.tile(np.asarray(predictions.label, dtype=np.int64), clients)),
        "score": pa.array(scores.ravel()),
    }
    if scores.ndim == 2:
        columns["client"] = pa.array(np.repeat(np.arange(clients), n))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_predictions(path: Path) -> Predictions:
    """Read a file written by :func:`write_predictions`.

    Raises:
        InputError: no such file, not Parquet, or a column is missing.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot read predictions: {error}") from error
    lacking = [name for name in _COLUMNS if name not in table.column_names]
    if lacking:
        raise InputError(f"{path}: predictions lack the column {lacking[0]!r}")
    data = {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}
    score, n = data["score"], table.num_rows
    if "client" in data:
        clients = int(data["client"].max()) + 1 if n else 1
        if n % clients or not np.array_equal(data["client"], np.repeat(np.arange(clients), n // clients)):
            raise InputError(f"{path}: the column 'client' does not list every client once per sample")
        n //= clients
        score = score.reshape(clients, n)
    return Predictions(
        sample_id=data["sample_id"][:n],
        group_id=data["group_id"][:n],
        site=data["site"][:n],
        label=data["label"][:n],
        score=score,
    )
