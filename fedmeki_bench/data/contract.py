"""What a dataset preparer provides: it knows one dataset's raw layout and nothing about tasks or splits.

A preparer lists the candidate samples (:meth:`DatasetPreparer.table`), decodes what they refer to
(:meth:`DatasetPreparer.decode`) and can write a synthetic stand-in in the same raw layout
(:meth:`DatasetPreparer.synthesize`). Everything else (labels, splits, storage, card) is done once, for all
datasets, by :mod:`fedmeki_bench.data.prepare.prepare`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from typing_extensions import TypeVar

from fedmeki_bench.data.decoding import Decoded, Dropped, decode_in_order
from fedmeki_bench.data.preparer_options import PreparerOptions, plain
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import bracketed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from fedmeki_bench.task import Task


__all__ = [
    "SYNTHETIC_MARKER", "ArraySpec", "DatasetMeta", "DatasetPreparer", "Decoded", "Dropped", "Drops",
    "PreparerOptions", "confined", "plain", "write_marker",
]  # fmt: skip

SYNTHETIC_MARKER = "SYNTHETIC.json"
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class DatasetMeta:
    """What a reader needs to know about a dataset before having it.

    ``version`` is raised whenever the preparer's output changes for the same input. ``grouping`` is the unit
    that never crosses splits; ``real_layout`` says which folder and files are expected.
    """

    name: str
    version: int
    title: str
    modalities: tuple[str, ...]
    grouping: str
    licence: str
    access: str
    citation: str
    url: str
    real_layout: str


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One modality's arrays: shape and dtype of each on disk; ``physical = stored * scale`` in ``unit``.

    Attributes:
        many: how many arrays of the modality a sample may have, such as two views of one chest.
        optional: whether a sample may have none, such as a stay without an ECG.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    unit: str = ""
    many: int = 1
    optional: bool = False

    @property
    def counted(self) -> bool:
        """Whether samples differ in how many arrays they have, so that their number is stored."""
        return self.many > 1 or self.optional


class Drops:
    """Accounts for every row of the raw table: read = merged + dropped + left out + what :meth:`table` returns.

    Attributes:
        read: rows of the raw table.
        merged: rows folded into another row of the same sample (RSNA has one row per box).
        left_out: good rows that an option or the dataset's frame leaves out, per reason; counted on the card with
            what tasks exclude.
        counts: dropped rows per reason; ``examples`` keeps the first few ids of each.
        notes: remarks for the card, e.g. how many ages were capped.
    """

    def __init__(self) -> None:
        self.read = 0
        self.merged = 0
        self.left_out: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}
        self.notes: list[str] = []

    @property
    def total(self) -> int:
        """How many rows were dropped."""
        return sum(self.counts.values())

    def add(self, reason: str, sample: str) -> None:
        """Count one dropped row; ``sample`` is its id, or ``row 17`` where it has none."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(sample)

    def leave_out(self, reason: str) -> None:
        """Count one row that is in order but not asked for, e.g. in another language."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def note(self, text: str) -> None:
        """Add a remark to the card."""
        self.notes.append(text)

    def copy(self) -> Drops:
        """An independent copy, so that each task counts its own unreadable records."""
        other = Drops()
        other.read, other.merged = self.read, self.merged
        other.counts, other.left_out = dict(self.counts), dict(self.left_out)
        other.examples = {reason: list(ids) for reason, ids in self.examples.items()}
        other.notes = list(self.notes)
        return other

    def as_json(self) -> dict[str, dict[str, Any]]:
        """``{reason: {"n": ..., "examples": [...]}}``, most frequent first."""
        order = sorted(self.counts, key=lambda reason: (-self.counts[reason], reason))
        return {r: {"n": self.counts[r], "examples": self.examples[r]} for r in order}


OptionsT = TypeVar("OptionsT", bound=PreparerOptions, default=Any)


class DatasetPreparer(Generic[OptionsT]):
    """Base of all dataset preparers: set ``meta`` and define the methods that raise NotImplementedError.

    Attributes:
        Options: a subclass of :class:`PreparerOptions` with the dataset's own options; named in brackets, as in
            ``class Rsna(DatasetPreparer[RsnaOptions])``.
        extra_columns: columns of the table (or attributes of a file) kept in ``samples.parquet``.
        shortcuts: known ways to be right for the wrong reason; shown on the card.
        registry_name: whose patients :meth:`registry` lists; the dataset's own name by default.
        release_name: the release it reads, where several preparers read one; the dataset's own name by default.
        pool_from: from this many sources on, decoding uses a process pool.
        synthesize_size: the default number of synthetic samples.
    """

    meta: ClassVar[DatasetMeta]
    Options: ClassVar[type[PreparerOptions]] = PreparerOptions
    extra_columns: ClassVar[tuple[str, ...]] = ("sex", "age")
    shortcuts: ClassVar[tuple[str, ...]] = ()
    registry_name: ClassVar[str] = ""
    release_name: ClassVar[str] = ""
    pool_from: ClassVar[int] = 1000
    synthesize_size: ClassVar[int] = 400

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Options" not in vars(cls) and (found := bracketed(cls)) is not None:
            cls.Options = found  # type: ignore[assignment]

    def sources(self, raw: Path, options: OptionsT) -> list[Path]:
        """The tables, each hashed whole: a changed table means a new cohort.

        Raises:
            InputError: ``raw`` is not this dataset's folder; names the file that was expected.
        """
        raise NotImplementedError

    def bulk(self, raw: Path, options: OptionsT) -> list[Path]:
        """Folders of many files, of which only names and sizes enter the digest."""
        return []

    def companions(self, raw: Path, options: OptionsT) -> list[Path]:
        """Folders of other releases that are read, too; if one is a stand-in, so is the cohort."""
        return []

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """Which release of the dataset this is, as far as the files show."""
        return "unknown"

    def grouping(self, options: OptionsT) -> str:
        """The grouping unit actually used under these options."""
        return self.meta.grouping

    def table(self, raw: Path, options: OptionsT, drops: Drops) -> pd.DataFrame:
        """One row per candidate sample, in the order of the raw table.

        Columns: ``sample_id`` (unique), ``group_id``, ``site``, ``source`` (key of what :meth:`decode` reads;
        samples may share one), all text, then the dataset's own columns, which ``Task.label(row)`` reads.
        Fills ``drops`` so that read = merged + dropped + left out + returned rows. ``table.attrs`` may hold
        ``official_split`` (see :func:`~fedmeki_bench.data.prepare.official.official_overlap`), which the card holds.
        """
        raise NotImplementedError

    def tasks(self, raw: Path, options: OptionsT) -> list[Task]:
        """The tasks that the release itself defines, beside the registered ones that read the dataset."""
        return []

    def arrays(self, options: OptionsT) -> dict[str, ArraySpec]:
        """Modality -> what is stored."""
        raise NotImplementedError

    def decode(self, raw: Path, source: str, options: OptionsT) -> Decoded:
        """Read one source.

        Raises:
            Dropped: the record is missing or corrupt.
        """
        raise NotImplementedError

    def registry(self, raw: Path, table: pd.DataFrame, options: OptionsT) -> Mapping[str, str] | None:
        """Group -> split in the training cohorts that are made from the same source, under the same options.

        A zero-shot task then leaves out the groups that training has seen (see
        :mod:`~fedmeki_bench.data.prepare.zero_shot`). ``None``: nothing is trained on this source.
        """
        return None

    def statistics(self, arrays: Mapping[str, np.ndarray], samples: pd.DataFrame) -> dict[str, Any]:
        """Numbers for the card that may depend on private training data only, e.g. medians to impute by.

        Called for training tasks once splits are known; not where the client split is empty.

        Args:
            arrays: read-only memory maps, one row per stored array; index them by
                :func:`~fedmeki_bench.data.holdings.rows_of`.
            samples: the rows of the client split, and no other.

        Returns:
            Finite JSON numbers, nested at will; stored under ``statistics`` unless empty.
        """
        return {}

    def decode_all(
        self, raw: Path, sources: Sequence[str], options: OptionsT, workers: int
    ) -> Iterator[tuple[str, Decoded | Dropped]]:
        """Decode many sources, in order. Override where one query serves all of them."""
        return decode_in_order(self, raw, sources, options, workers)

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """Write ``size`` synthetic samples in the raw layout, and :func:`write_marker`."""
        raise NotImplementedError(f"dataset {self.meta.name!r} has no synthetic stand-in")


def confined(folder: Path, name: str) -> Path:
    """``folder / name`` for a file name found in a table.

    Raises:
        Dropped: the name is empty or points outside the folder (absolute, ``..``, backslash, NUL).
    """
    relative = PurePosixPath(name)
    if not name.strip() or name in {".", "./"}:
        raise Dropped("the table names no file")
    if relative.is_absolute() or ".." in relative.parts or "\\" in name or "\0" in name or ":" in name:
        raise Dropped("the file name points outside the dataset's folder")
    if len(name.encode()) > 1000 or any(len(part.encode()) > 250 for part in relative.parts):
        raise Dropped("the file name is too long")
    return folder / relative


def write_marker(out: Path, **facts: Any) -> None:
    """Write SYNTHETIC.json, by which ``prepare`` knows a stand-in: generator, size, seed, difficulty."""
    text = json.dumps({"synthetic": True, **facts}, indent=2, sort_keys=True, allow_nan=False)
    (out / SYNTHETIC_MARKER).write_text(text + "\n", encoding="utf-8")


def require_folder(raw: Path, meta: DatasetMeta, expected: Iterable[str]) -> None:
    """Raise one sentence if ``raw`` is no folder or lacks one of the ``expected`` files or folders."""
    if not raw.is_dir():
        raise InputError(f"{raw} is not a folder; dataset '{meta.name}' expects {meta.real_layout}")
    for name in expected:
        if not (raw / name).exists():
            raise InputError(f"{raw} lacks '{name}'; dataset '{meta.name}' expects {meta.real_layout}")
