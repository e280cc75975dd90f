"""The files of a cohort as values: the columns of its sample table and its array files, each checked as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING

from fedmeki_bench.data.contract import ArraySpec
from fedmeki_bench.data.holdings import columns_of
from fedmeki_bench.data.splits import EXTERNAL, SPLITS
from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from fedmeki_bench.kinds.kind import LabelSpec

_DAMAGED = (OSError, ValueError, EOFError, SyntaxError, TokenError, TypeError, MemoryError, OverflowError)
"""What numpy raises on files that are no arrays."""
_NUMBERS = {"array_row": "int64", "hours": "int64"}
_COLUMNS = ("sample_id", "group_id", "site", "split", "question", "answer", "array_row")


def read_columns(
    path: Path, labels: LabelSpec, counted: Sequence[str], learnt: LabelSpec | None
) -> dict[str, np.ndarray]:
    """The columns that every reader of a cohort needs, (n,) each, of the whole sample table.

    Raises:
        InputError: the table is damaged.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile  # read_table would import pandas and pyarrow's datasets

    concepts = None if labels.how.labelled else learnt
    names = [*_COLUMNS, "label"] if labels.how.labelled else list(_COLUMNS)
    numbers = _NUMBERS | {name: "int64" for modality in counted for name in columns_of(modality)}
    names += [name for name in numbers if name not in _NUMBERS] + ["concepts"] * (concepts is not None)
    try:
        with ParquetFile(path) as file:
            there = file.schema_arrow.names
            names += ["hours"] * ("hours" in there)
            if lacking := [name for name in names if name not in there]:
                raise ValueError(f"column {lacking[0]} is missing")
            table = file.read(columns=names)
        columns = {name: table.column(name).to_pylist() for name in names}
        if any(None in values for values in columns.values()):
            raise ValueError("a needed column has blanks")
        found = {name: np.asarray(columns[name], dtype=str) for name in _COLUMNS if name != "array_row"}
        if nested := [name for name, values in found.items() if values.ndim != 1]:
            raise ValueError(f"column {nested[0]} holds no texts")
        for name in names:
            if name in numbers:
                found[name] = np.asarray(columns[name], dtype=numbers[name])
        if "label" in names:
            found["label"] = labels.how.read(columns["label"], labels)
        if concepts is not None:
            found["concepts"] = concepts.how.read(columns["concepts"], concepts)
        if not set(found["split"].tolist()) <= {*SPLITS, EXTERNAL}:
            raise ValueError("a split is none that there is")
    except (pa.ArrowException, KeyError, OSError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({error}): prepare the cohort again") from None
    return found


def mapped(path: Path, spec: ArraySpec) -> np.ndarray:
    """The memory map of an array file, (arrays, \\*spec.shape).

    Raises:
        InputError: the file is damaged, or is not what ``spec`` says.
    """
    import numpy as np

    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise InputError(f"{path} is damaged ({error}): prepare the cohort again") from None
    if not isinstance(found, np.ndarray) or found.shape[1:] != spec.shape or found.dtype != np.dtype(spec.dtype):
        raise InputError(f"{path} is not the array that the card describes: prepare the cohort again")
    return found


def located(
    columns: Mapping[str, np.ndarray], modality: str, spec: ArraySpec, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Where in the modality's file each sample's arrays begin, (n,), and how many there are, (n,).

    Raises:
        InputError: the sample table at ``path`` says what ``spec`` rules out.
    """
    import numpy as np

    if not spec.counted:
        return columns["array_row"], np.ones_like(columns["array_row"])
    first, count = (columns[name] for name in columns_of(modality))
    if len(count) and not int(not spec.optional) <= count.min() <= count.max() <= spec.many:
        raise InputError(
            f"{path} and the card disagree on how many arrays of {modality} a sample has: prepare the cohort again"
        )
    return first, count


def read_samples(path: Path) -> pd.DataFrame:
    """A sample table with all its columns.

    Raises:
        InputError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        table.validate(full=True)  # texts that are not UTF-8 would fail only when they are looked at
        found: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): prepare the cohort again") from None
    if not {"source", "digest"} <= set(found.columns):
        raise InputError(f"{path} lacks sources or digests: prepare the cohort again")
    return found
