"""What tasks and datasets are tried on: a synthetic stand-in in a temporary folder, or a release of the user's own."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fedmeki_bench.data.contract import DatasetMeta, DatasetPreparer, PreparerOptions
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import parse_options
from fedmeki_bench.task import Clinical, Row, Task, TaskMeta

_SMALL = {"image_size": 32}


@dataclass
class Release:
    """A preparer, its options, raw files for it, and a temporary folder that goes with this object.

    Attributes:
        own: whether the raw files are the user's; they are read and never written.
    """

    preparer: DatasetPreparer
    options: PreparerOptions
    raw: Path
    folder: tempfile.TemporaryDirectory[str]
    own: bool = False

    @property
    def room(self) -> Path:
        """A folder to prepare into."""
        return Path(self.folder.name)

    @property
    def title(self) -> str:
        """What to call it in a sentence."""
        return f"the release in {self.raw}" if self.own else f"the stand-in of {self.preparer.meta.name!r}"


def standin(cls: type[DatasetPreparer], given: Mapping[str, Any], *, size: int, seed: int = 0) -> Release:
    """Synthesize ``size`` samples; pictures are stored small unless an option says otherwise."""
    folder = _folder()
    raw = Path(folder.name) / "raw"
    raw.mkdir()
    preparer = cls()
    preparer.synthesize(raw, size=size, seed=seed)
    return Release(preparer, _options(cls, given), raw, folder)


def own_release(cls: type[DatasetPreparer], given: Mapping[str, Any], raw: Path) -> Release:
    """The user's own release; pictures are stored small unless an option says otherwise.

    Raises:
        InputError: the folder is missing, or the preparer refuses it.
    """
    if not raw.is_dir():
        raise InputError(f"--raw {raw} is no folder; name the one that 'fedmeki-bench prepare' would read")
    found = Release(cls(), _options(cls, given), raw.resolve(), _folder(), own=True)
    found.preparer.sources(found.raw, found.options)
    return found


def _options(cls: type[DatasetPreparer], given: Mapping[str, Any]) -> PreparerOptions:
    known = cls.Options.model_fields
    options = {name: value for name, value in _SMALL.items() if name in known} | dict(given)
    return parse_options(cls.Options, options, owner=cls.__name__)


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fedmeki-bench-check-")


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its bytes; hidden ones too, but for the writer's lock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".prepare.lock"
    }


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time of change: what a large release can be compared by."""
    found = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): (facts.st_size, facts.st_mtime_ns) for path, facts in found}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """The first file that is in one of two listings only, or differs."""
    return next((name for name in sorted({*before, *after}) if before.get(name) != after.get(name)), None)


def any_task(dataset: DatasetMeta) -> Task:
    """A task that takes every row of a dataset, so that a preparer can be checked without one of its own."""

    class AnyRow(Task):
        """Takes every row."""

        meta: ClassVar[TaskMeta] = TaskMeta(
            name="any_row", version=1, title="any row", dataset=dataset.name, modalities=dataset.modalities,
            kind="binary", role="training", clinical=Clinical("Is it?", "", ""), licence="", access="",
            citation="", grouping=dataset.grouping,
        )  # fmt: skip

        def label(self, row: Row) -> int:
            return hashlib.sha256(str(row["sample_id"]).encode()).digest()[0] % 2

    return AnyRow()
