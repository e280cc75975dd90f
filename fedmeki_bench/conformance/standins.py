"""Synthetic stand-ins of registered and other datasets, made small in a temporary folder."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fedmeki_bench.data.contract import DatasetMeta, DatasetPreparer, PreparerOptions
from fedmeki_bench.options import parse_options
from fedmeki_bench.task import Clinical, Row, Task, TaskMeta

_SMALL = {"image_size": 32}


@dataclass
class Standin:
    """A preparer, its options and a folder with its synthetic release; the folder goes with this object."""

    preparer: DatasetPreparer
    options: PreparerOptions
    raw: Path
    folder: tempfile.TemporaryDirectory[str]

    @property
    def room(self) -> Path:
        """A folder to prepare into."""
        return Path(self.folder.name)


def standin(cls: type[DatasetPreparer], given: Mapping[str, Any], *, size: int, seed: int = 0) -> Standin:
    """Synthesize ``size`` samples; pictures are stored small unless an option says otherwise."""
    preparer = cls()
    known = cls.Options.model_fields
    options = {name: value for name, value in _SMALL.items() if name in known} | dict(given)
    folder = tempfile.TemporaryDirectory(prefix="fedmeki-bench-check-")
    raw = Path(folder.name) / "raw"
    raw.mkdir()
    preparer.synthesize(raw, size=size, seed=seed)
    return Standin(preparer, parse_options(cls.Options, options, owner=cls.__name__), raw, folder)


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its bytes; hidden ones too, but for the writer's lock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".prepare.lock"
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """The first file that is in one of two listings only, or differs."""
    return next((name for name in sorted({*before, *after}) if before.get(name) != after.get(name)), None)


def any_task(dataset: DatasetMeta) -> Task:
    """A task that takes every row of a dataset, so that a preparer can be checked without one of its own."""

    class AnyRow(Task):
        """Takes every row."""

        meta: ClassVar[TaskMeta] = TaskMeta(
            name="any_row", version=1, title="any row", dataset=dataset.name, modalities=dataset.modalities,
            kind="classification", role="training", clinical=Clinical("Is it?", "", ""), licence="", access="",
            citation="", grouping=dataset.grouping,
        )  # fmt: skip

        def label(self, row: Row) -> int:
            return hashlib.sha256(str(row["sample_id"]).encode()).digest()[0] % 2

    return AnyRow()
