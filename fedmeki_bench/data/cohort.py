"""Reading a prepared cohort. The test split stays shut here: see :mod:`fedmeki_bench.data.sealed`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.data.card import CARD, SAMPLES, STORED_ROLES, card_hash, check_files, labels_of, read_card
from fedmeki_bench.data.content import array_digest
from fedmeki_bench.data.contract import ArraySpec
from fedmeki_bench.data.holdings import arrays_of, counted, there
from fedmeki_bench.data.pseudonyms import pseudonym, read_key
from fedmeki_bench.data.splits import EXTERNAL
from fedmeki_bench.data.stored import located, mapped, read_columns, read_samples
from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import FedmekiError, InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import numpy as np
    import pandas as pd

    from fedmeki_bench.kinds.kind import Kind, LabelSpec

_OPEN_SPLITS = ("client", "valid", "public")


class TestSplitSealed(FedmekiError):
    """Someone other than the evaluation asked for the test split."""

    __test__ = False  # not a test case, whatever pytest makes of the name


class Cohort:
    """One dataset prepared for one task.

    Attributes:
        path: its folder.
        card: the data card (see ``card.json``).
        card_hash: SHA-256 identity of the data, as records give it.
        name, task: the task's name (a cohort is called after its task).
        dataset: the dataset's name, which also names the random streams of splits and partitions.
        labels: what the labels are, their kind and classes; ``kind`` is the kind itself.
        learnt: what clients train on: the labels, the concepts that answers name, or None.
        role: ``training`` or ``zero_shot``.
        synthetic: whether it came from a stand-in; stamps everything computed from it.
        split_mode: ``patient``, ``published`` or ``test only``.
        arrays: modality -> :class:`ArraySpec`.
    """

    def __init__(self, path: Path, card: dict[str, Any]) -> None:
        self.path = path
        self.card = card
        self.card_hash = card_hash(card)
        self.task: str = card["task"]
        self.name = self.task
        self.dataset: str = card["dataset"]
        self.labels: LabelSpec = labels_of(card)
        self.learnt: LabelSpec | None = self.labels.how.learnt(self.labels, card.get("concepts", ()))
        self.role: str = next(role for role, stored in STORED_ROLES.items() if stored == card["role"])
        self.synthetic: bool = card["synthetic"]
        self.split_mode: str = card["split_mode"]
        self.arrays = {
            name: ArraySpec(
                tuple(spec["shape"]),
                spec["dtype"],
                spec["scale"],
                spec["unit"],
                spec.get("many", 1),
                spec.get("optional", False),
            )
            for name, spec in card["arrays"].items()
        }
        self._columns: dict[str, np.ndarray] | None = None
        self._maps: dict[str, np.ndarray] = {}

    @property
    def kind(self) -> Kind:
        """The kind of its task."""
        return self.labels.how

    @property
    def counted(self) -> tuple[str, ...]:
        """The modalities of which a sample may have several arrays, or none."""
        return counted(self.arrays)

    @property
    def optional(self) -> tuple[str, ...]:
        """The modalities that a sample may lack."""
        return tuple(modality for modality, spec in self.arrays.items() if spec.optional)

    @property
    def many(self) -> dict[str, int]:
        """Modality -> how many arrays of it a sample may have."""
        return {modality: spec.many for modality, spec in self.arrays.items()}

    @classmethod
    def open(cls, path: Path) -> Cohort:
        """Open the cohort in folder ``path``; reads the card only, the rest when it is asked for.

        Raises:
            InputError: there is none, or a file is missing or was changed since it was prepared. An unchanged file is
                read for this once and then known by its dates.
        """
        path = Path(path)
        card = read_card(path)
        try:
            check_files(path, card)
            return cls(path, card)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path / CARD} is damaged ({error!r}): prepare the cohort again") from None

    def part(self, split: str) -> CohortPart:
        """The samples of ``client``, ``valid`` or ``public``.

        Raises:
            TestSplitSealed: ``split`` is ``test`` or ``external``, which only the evaluation opens.
            InputError: there is no such split.
        """
        if split in ("test", EXTERNAL):
            raise TestSplitSealed(f"the {split} split of {self.name!r} is for the evaluation only; select on valid")
        if split not in _OPEN_SPLITS:
            raise InputError(f"unknown split {split!r}: {nearest(split, _OPEN_SPLITS)}")
        return self._part(split)

    def verify(self) -> None:
        """Read every file whole and compare it with the card; raises InputError at the first that differs.

        The arrays are also compared with what the card's own hash depends on, so that card and array can't be exchanged
        together without the cohort becoming another one.
        """
        for name, facts in self.card["files"].items():
            if file_digest(self.path / name) != facts["sha256"]:
                raise InputError(f"{self.path / name} was changed after it was prepared: prepare it again")
        for modality in self.arrays:
            if array_digest(self.path / f"{modality}.npy") != self.card["content"][modality]:
                raise InputError(f"{self.path / modality}.npy is not what the card describes: prepare it again")

    def pseudonyms(self, ids: Iterable[str], what: Literal["sample", "group"]) -> np.ndarray:
        """Keyed hashes of ids, text of shape (n,): what may leave this machine in the place of the ids.

        HMAC-SHA256, 64 bits shown. The key lies with the cohort and follows from the release's tables, so that whoever
        has the data gets the same hashes, and runs pair; who lacks the data can neither read nor guess them.
        """
        import numpy as np

        key = read_key(self.path, self.card)
        return np.asarray([pseudonym(key, what, str(name)) for name in ids], dtype=str)

    def _part(self, split: str) -> CohortPart:
        return CohortPart(self, split, (self._table()["split"] == split).nonzero()[0])

    def _table(self) -> dict[str, np.ndarray]:
        if self._columns is None:
            self._columns = read_columns(self.path / SAMPLES, self.labels, self.counted, self.learnt)
        return self._columns

    def _attribute(self, name: str) -> list[Any] | None:
        from pyarrow.parquet import ParquetFile

        with ParquetFile(self.path / SAMPLES) as file:
            known = name in file.schema_arrow.names
            return file.read(columns=[name]).column(name).to_pylist() if known else None

    def array(self, modality: str) -> np.ndarray:
        """The memory map of one modality, shape (arrays, \\*spec.shape), read-only.

        Raises:
            InputError: the file holds anything else than the card and the sample table say.
        """
        if modality not in self._maps:
            self._maps[modality] = mapped(self.path / f"{modality}.npy", self.arrays[modality])
            first, count = self.rows(modality)
            if len(first) and not 0 <= first.min() <= (first + count).max() <= len(self._maps[modality]):
                raise InputError(
                    f"{self.path / SAMPLES} names rows that {modality}.npy lacks: prepare the cohort again"
                )
        return self._maps[modality]

    def rows(self, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """Where in the modality's file each sample's arrays begin, (n,), and how many there are, (n,).

        Raises:
            InputError: the sample table says what the card rules out.
        """
        return located(self._table(), modality, self.arrays[modality], self.path / SAMPLES)

    def samples(self) -> pd.DataFrame:
        """The sample table with all its columns, for those who look at a cohort as a whole.

        Raises:
            InputError: it is damaged.
        """
        self._table()
        return read_samples(self.path / SAMPLES)

    def __getstate__(self) -> dict[str, Any]:
        # another process maps the files itself: pickling a memory map would copy all of it
        return self.__dict__ | {"_maps": {}}

    def __repr__(self) -> str:
        return f"Cohort({self.name!r}, {str(self.path)!r})"


class CohortPart:
    """Samples of one split, or a selection of them, in the order of the sample table.

    Attributes:
        cohort: where they come from.
        split: the split's name.
        rows: their positions in the cohort's sample table.
        hidden: modalities that whoever holds this part does not have: every sample lacks them.
    """

    def __init__(self, cohort: Cohort, split: str, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> None:
        self.cohort = cohort
        self.split = split
        self.rows = rows
        self.hidden = hidden

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sample_ids(self) -> np.ndarray:
        """Text ids, unique in the cohort; shape (n,)."""
        return self._column("sample_id")

    @property
    def group_ids(self) -> np.ndarray:
        """The unit that never crosses splits or clients, as text; shape (n,)."""
        return self._column("group_id")

    @property
    def sites(self) -> np.ndarray:
        """Where the sample was recorded, as text, ``""`` if unknown; shape (n,)."""
        return self._column("site")

    @property
    def labels(self) -> np.ndarray | None:
        """Labels as the kind reads them, (n,) or (n, K), such as 0.0 and 1.0; ``None`` where there are only answers."""
        return self._column("label") if self.cohort.kind.labelled else None

    @property
    def gold(self) -> np.ndarray:
        """The labels, (n,) or (n, K).

        Raises:
            InputError: the task asks for text.
        """
        if self.labels is None:
            raise InputError(f"cohort '{self.cohort.name}' holds answers in words, not labels")
        return self.labels

    @property
    def learnt(self) -> np.ndarray:
        """What clients train on, as ``cohort.learnt`` says: the labels, or (n, K) which concepts an answer names.

        Raises:
            InputError: the task has answers alone.
        """
        return self.gold if self.cohort.kind.labelled or self.cohort.learnt is None else self._column("concepts")

    @property
    def targets(self) -> np.ndarray:
        """What clients train on as its kind's loss takes it, (n,) or (n, K).

        Raises:
            InputError: the task has answers alone.
        """
        found, spec = self.learnt, self.cohort.learnt
        assert spec is not None
        return spec.how.targets(found, spec)

    @property
    def strata(self) -> np.ndarray | None:
        """(n,) what label skews, audits and tests tell apart: for a binary task the labels; ``None`` without any."""
        spec = self.cohort.learnt
        return None if spec is None else spec.how.strata(self.learnt, spec)

    @property
    def questions(self) -> np.ndarray:
        """The question put to the foundation model, as text; shape (n,)."""
        return self._column("question")

    @property
    def answers(self) -> np.ndarray:
        """The gold answer, as text; shape (n,)."""
        return self._column("answer")

    def attribute(self, name: str) -> list[Any] | None:
        """A column such as ``sex`` or ``age``, None where a value is unknown; None if the cohort has no such column."""
        found = self.cohort._attribute(name)
        return None if found is None else [found[row] for row in self.rows]

    def batch(self, index: Sequence[int] | np.ndarray, leaving: Collection[str] = ()) -> dict[str, np.ndarray]:
        """Arrays of the samples at ``index`` (positions in this part), as stored: a copy per modality, but ``leaving``.

        Multiply by ``cohort.arrays[modality].scale`` for physical units. Shape (len(index), \\*spec.shape).
        Where series differ in length, ``hours`` says how many rows belong to each; the rest is padding.
        Where samples differ in how many arrays of a modality they have, the shape is (len(index), K, \\*spec.shape)
        with ``K = spec.many``; ``<modality>_there`` (len(index), K) says which are there, and the others are 0.
        """
        import numpy as np

        chosen = np.asarray(index, dtype=np.intp)
        found: dict[str, np.ndarray] = {}
        for name, spec in self.cohort.arrays.items():
            if name in leaving:
                continue
            stored, (rows, present) = self.cohort.array(name), self.arrays_at(name, chosen)
            if present is None:
                found[name] = np.asarray(stored[rows])
            else:
                found[name] = np.zeros((*present.shape, *spec.shape), dtype=stored.dtype)
                found[name][present], found[there(name)] = stored[rows], present
        if "hours" in self.cohort._table():
            found["hours"] = self._column("hours")[chosen]
        return found

    def altered(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Inputs as a model is to see them: as they are, here."""
        return inputs

    def arrays_at(self, modality: str, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Which rows of ``cohort.array(modality)`` the samples at ``index`` have; see :func:`holdings.arrays_of`."""
        first, count = (column[self.rows[index]] for column in self._rows_of(modality))
        return arrays_of(first, count, self.cohort.arrays[modality])

    def having(self, modality: str) -> np.ndarray:
        """Which of the samples have an array of the modality, (n,) of bool."""
        return self._rows_of(modality)[1][self.rows] > 0

    def holding(self, modality: str) -> int:
        """How many of the samples have an array of the modality."""
        return int(self.having(modality).sum())

    @property
    def lacking(self) -> frozenset[str]:
        """The modalities of which none of the samples has an array."""
        return frozenset(modality for modality in self.cohort.optional if not self.holding(modality))

    def take(self, index: Sequence[int] | np.ndarray) -> CohortPart:
        """The part made of the samples at ``index`` (positions in this part), in that order."""
        return CohortPart(self.cohort, self.split, self.rows.take(index), self.hidden)

    def hiding(self, modalities: Iterable[str]) -> CohortPart:
        """The same samples for someone who has none of these modalities, less those of which nothing is left.

        Raises:
            InputError: samples of this cohort never lack one of them.
        """
        import numpy as np

        hidden = self.hidden.union(modalities)
        if needed := sorted(hidden.difference(self.cohort.optional)):
            raise InputError(f"every sample of cohort '{self.cohort.name}' has {needed[0]}: it can't be hidden")
        part = CohortPart(self.cohort, self.split, self.rows, hidden)
        left = [part._rows_of(modality)[1][self.rows] > 0 for modality in self.cohort.arrays]
        return part.take(np.flatnonzero(np.any(left, axis=0)))

    def _rows_of(self, modality: str) -> tuple[np.ndarray, np.ndarray]:
        first, count = self.cohort.rows(modality)
        return first, count * (modality not in self.hidden)

    def _column(self, name: str) -> np.ndarray:
        return self.cohort._table()[name][self.rows]

    def __repr__(self) -> str:
        return f"CohortPart({self.cohort.name!r}, {self.split!r}, n={len(self)})"


def find(data: Path, task: str, *, dataset: str = "DATASET") -> Cohort:
    """The cohort of ``task`` under the data folder.

    Args:
        dataset: the dataset to name in the advice, where the caller knows it.

    Raises:
        InputError: it is not there (names the command that prepares it, and what is there) or damaged.
    """
    data = Path(data)
    folder = data / task
    if (folder / CARD).is_file():
        return Cohort.open(folder)
    there = ", ".join(prepared(data)) or "nothing"
    raise InputError(
        f"no cohort for task '{task}' in {data} (prepared there: {there}); prepare it with "
        f"`fedmeki-bench prepare {dataset} --raw RAW --out {shlex.quote(str(data))}`"
    )


def prepared(data: Path) -> list[str]:
    """Names of the tasks that have a cohort under ``data``, sorted."""
    if not data.is_dir():
        return []
    return sorted(entry.name for entry in data.iterdir() if not entry.name.startswith(".") and (entry / CARD).is_file())
