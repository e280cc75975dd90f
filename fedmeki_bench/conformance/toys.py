"""Generated data (pictures, signals, clinical series; volumes) with an easy problem in each, as real cohorts.

They go through the same ``prepare`` as any release, into a temporary folder, so that a plug-in meets what it will meet
in a run: files, a card, a sealed test split.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.data.card import CARD, SAMPLES
from fedmeki_bench.data.cohort import Cohort, find
from fedmeki_bench.data.contract import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Drops,
    PreparerOptions,
    write_marker,
)
from fedmeki_bench.digests import file_digest
from fedmeki_bench.seeds import generator
from fedmeki_bench.task import Clinical, Row, Task, TaskMeta

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SAMPLES_EACH = 240
SIDE, POINTS, LEADS, HOURS, VARIABLES = 32, 128, 2, 6, 3
DEEP = 8


class _Generated(DatasetPreparer):
    """Samples made from their number; the first label shows in ``draw``'s first argument, the second in its second."""

    spec: ClassVar[ArraySpec]

    def sources(self, raw: Path, options: PreparerOptions) -> list[Path]:
        return []

    def table(self, raw: Path, options: PreparerOptions, drops: Drops) -> pd.DataFrame:
        import pandas as pd

        drops.read = SAMPLES_EACH
        labels = generator(0, "conformance", self.meta.name).integers(0, 2, (SAMPLES_EACH, 2))
        names = [f"{self.meta.name}-{k:03d}" for k in range(SAMPLES_EACH)]
        return pd.DataFrame(
            {
                "sample_id": names,
                "group_id": names,
                "site": [f"site {k % 3}" for k in range(SAMPLES_EACH)],
                "source": [f"{k}:{a}:{b}" for k, (a, b) in enumerate(labels)],
                "first": labels[:, 0],
                "second": labels[:, 1],
            }
        )

    def arrays(self, options: PreparerOptions) -> dict[str, ArraySpec]:
        return {self.meta.modalities[0]: self.spec}

    def decode(self, raw: Path, source: str, options: PreparerOptions) -> Decoded:
        number, first, second = map(int, source.split(":"))
        drawn = self.draw(first, second, generator(number, "conformance", self.meta.name))
        return Decoded({self.meta.modalities[0]: drawn.astype(self.spec.dtype)})

    def draw(self, first: int, second: int, random: np.random.Generator) -> np.ndarray:
        """One sample in which both labels show."""
        raise NotImplementedError


def _dataset(name: str, modality: str) -> DatasetMeta:
    return DatasetMeta(
        name=name, version=1, title=f"generated {name}", modalities=(modality,), grouping="sample", licence="none",
        access="generated", citation="none", url="none", real_layout="nothing",
    )  # fmt: skip


class Pictures(_Generated):
    """Grey pictures: brighter on the left or on the right, and above or below."""

    meta: ClassVar[DatasetMeta] = _dataset("pictures", "image")
    spec: ClassVar[ArraySpec] = ArraySpec((1, SIDE, SIDE), "uint8", 1 / 255, "grey")

    def draw(self, first: int, second: int, random: np.random.Generator) -> np.ndarray:
        """Left or right, above or below."""
        picture = random.normal(100, 20, self.spec.shape)
        half = SIDE // 2
        picture[..., :half] += 60 * first
        picture[..., half:] += 60 * (1 - first)
        picture[:, :half] += 60 * second
        picture[:, half:] += 60 * (1 - second)
        return picture.clip(0, 255)


class Volumes(_Generated):
    """Grey volumes: brighter at the bottom or at the top."""

    meta: ClassVar[DatasetMeta] = _dataset("volumes", "volume")
    spec: ClassVar[ArraySpec] = ArraySpec((1, DEEP, 2 * DEEP, 2 * DEEP), "uint8", 1 / 255, "grey")

    def draw(self, first: int, second: int, random: np.random.Generator) -> np.ndarray:
        """The first label is the bottom."""
        volume = random.normal(100, 20, self.spec.shape)
        volume[:, : DEEP // 2] += 60 * first
        volume[:, DEEP // 2 :] += 60 * (1 - first)
        return volume.clip(0, 255)


class Signals(_Generated):
    """Two leads with a slow or a fast wave."""

    meta: ClassVar[DatasetMeta] = _dataset("signals", "signal")
    spec: ClassVar[ArraySpec] = ArraySpec((LEADS, POINTS), "int16", 0.001, "mV")

    def draw(self, first: int, second: int, random: np.random.Generator) -> np.ndarray:
        """The first label is the speed."""
        import numpy as np

        wave = np.sin(np.arange(POINTS) * (0.6 if first else 0.15) + random.uniform(0, 6))
        return 1000 * (wave + random.normal(0, 0.3, self.spec.shape))


class Series(_Generated):
    """Hourly values, high or low, a fifth of them not charted; every third stay is shorter by two hours."""

    meta: ClassVar[DatasetMeta] = _dataset("series", "clinical")
    spec: ClassVar[ArraySpec] = ArraySpec((HOURS, VARIABLES), "float32")
    extra_columns: ClassVar[tuple[str, ...]] = ("hours",)

    def table(self, raw: Path, options: PreparerOptions, drops: Drops) -> pd.DataFrame:
        """With the hours that belong to each stay."""
        table = super().table(raw, options, drops)
        return table.assign(hours=[HOURS - 2 * (k % 3 == 0) for k in range(len(table))])

    def draw(self, first: int, second: int, random: np.random.Generator) -> np.ndarray:
        """The first label is the level."""
        values = random.normal(2.0 * first - 1.0, 1.0, self.spec.shape)
        values[random.random(self.spec.shape) < 0.2] = float("nan")
        return values

    def statistics(self, arrays: Mapping[str, np.ndarray], samples: pd.DataFrame) -> dict[str, Any]:
        """Figures to fill and standardise by."""
        from fedmeki_bench.data.series import series_statistics

        return {"clinical": series_statistics(arrays["clinical"], samples["array_row"].to_numpy()).as_json()}


class _Asked(Task):
    column: ClassVar[str] = "first"

    def label(self, row: Row) -> int:
        return int(row[self.column])

    def prompt(self, question: str) -> str:
        return f"Above is what was recorded. {question} Reply with yes or no.\nAnswer:"


def _task(name: str, dataset: str, modality: str, what: str) -> TaskMeta:
    return TaskMeta(
        name=name, version=1, title=what.rstrip("?"), dataset=dataset, modalities=(modality,), kind="binary",
        role="training", clinical=Clinical(what, "nobody", "never"), licence="none", access="generated",
        citation="none", grouping="sample", positive="yes",
    )  # fmt: skip


class Left(_Asked):
    """Is the left brighter?"""

    meta: ClassVar[TaskMeta] = _task("left", "pictures", "image", "Is the left side brighter?")


class Above(_Asked):
    """Is the upper part brighter? Shares its encoder with :class:`Left`."""

    meta: ClassVar[TaskMeta] = _task("above", "pictures", "image", "Is the upper part brighter?")
    column: ClassVar[str] = "second"


class Fast(_Asked):
    """Is the wave fast?"""

    meta: ClassVar[TaskMeta] = _task("fast", "signals", "signal", "Is the wave fast?")


class Low(_Asked):
    """Is the bottom brighter?"""

    meta: ClassVar[TaskMeta] = _task("low", "volumes", "volume", "Is the lower half brighter?")


class High(_Asked):
    """Are the values high?"""

    meta: ClassVar[TaskMeta] = _task("high", "series", "clinical", "Are the values high?")


def _of_kind(name: str, kind: str, what: str, classes: tuple[str, ...] = (), unit: str = "") -> TaskMeta:
    return TaskMeta(
        name=name, version=1, title=what.rstrip("?"), dataset="pictures", modalities=("image",), kind=kind,
        role="training", clinical=Clinical(what, "nobody", "never"), licence="none", access="generated",
        citation="none", grouping="sample", classes=classes, unit=unit,
    )  # fmt: skip


class Brightest(Task):
    """Which part is brightest, of three classes."""

    meta: ClassVar[TaskMeta] = _of_kind(
        "brightest", "multiclass", "Which part is brightest: right, lower left or upper left?",
        ("right", "lower left", "upper left"),
    )  # fmt: skip

    def label(self, row: Row) -> int:
        """Right, or one of the two on the left."""
        return int(row["first"]) * (1 + int(row["second"]))


class Order(Task):
    """One of four levels: twice the first label and the second."""

    meta: ClassVar[TaskMeta] = _of_kind("order", "ordinal", "Which level is it?", ("one", "two", "three", "four"))

    def label(self, row: Row) -> int:
        """From 0 to 3."""
        return 2 * int(row["first"]) + int(row["second"])


class Parts(Task):
    """Which parts are bright, the second not annotated in a third of the samples."""

    meta: ClassVar[TaskMeta] = _of_kind("parts", "multilabel", "Which parts are bright?", ("left", "above"))

    def label(self, row: Row) -> tuple[int, int | None]:
        """Left, and above if annotated."""
        return int(row["first"]), None if int(row["source"].split(":")[0]) % 3 == 0 else int(row["second"])


class Amount(Task):
    """A number around forty that both labels move."""

    meta: ClassVar[TaskMeta] = _of_kind("amount", "regression", "How much is it?", unit="grey")

    def label(self, row: Row) -> float:
        """30 to 50."""
        return 30.0 + 12.0 * int(row["first"]) + 8.0 * int(row["second"])


KINDS: dict[str, Task] = {task.meta.name: task for task in (Brightest(), Order(), Parts(), Amount())}
"""A task of each kind whose labels are not yes or no, over the pictures."""

TASKS: dict[str, Task] = {task.meta.name: task for task in (Left(), Above(), Fast(), High())}


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fedmeki-bench-check-")  # removed when the process ends


@cache
def kind_cohorts() -> dict[str, Cohort]:
    """Task -> cohort of :data:`KINDS`."""
    from fedmeki_bench.data.prepare.prepare import prepare

    cohorts()
    preparer, raw, data = Pictures(), Path(_root().name) / "raw", Path(_root().name) / "kinds"
    prepare(preparer, raw, data, list(KINDS.values()), preparer.Options(), workers=1)
    return {name: find(data, name) for name in KINDS}


@cache
def volumes() -> Cohort:
    """The cohort of :class:`Low`; rules and stages, which know nothing of modalities, are not tried on it."""
    from fedmeki_bench.data.prepare.prepare import prepare

    cohorts()
    preparer, raw, data = Volumes(), Path(_root().name) / "raw", Path(_root().name) / "volumes"
    prepare(preparer, raw, data, [Low()], preparer.Options(), workers=1)
    return find(data, Low.meta.name)


def cohorts(altered: tuple[str, ...] = ()) -> dict[str, Cohort]:
    """Task -> cohort; of the splits named, every label, answer and array is another one than usual."""
    return _cohorts(altered)


@cache
def _cohorts(altered: tuple[str, ...]) -> dict[str, Cohort]:
    from fedmeki_bench.data.prepare.prepare import prepare

    data = Path(_root().name) / "-".join(("data", *altered))
    if altered:
        shutil.copytree(cohorts()["left"].path.parent, data)
        for name in TASKS:
            _alter(data / name, altered)
    else:
        raw = Path(_root().name) / "raw"
        raw.mkdir()
        write_marker(raw, generator="fedmeki_bench.conformance")
        for preparer in (Pictures(), Signals(), Series()):
            prepare(preparer, raw, data, list(TASKS.values()), preparer.Options(), workers=1)
    return {name: find(data, name) for name in TASKS}


def _alter(folder: Path, splits: Collection[str]) -> None:
    import numpy as np
    import pandas as pd

    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    samples = pd.read_parquet(folder / SAMPLES)
    chosen = samples["split"].isin(splits)
    samples.loc[chosen, "label"] = 1 - samples.loc[chosen, "label"]
    samples.loc[chosen, "answer"] = samples.loc[chosen, "answer"].map({"yes": "no", "no": "yes"})
    samples.to_parquet(folder / SAMPLES, index=False)
    for modality in card["modalities"]:
        array = np.load(folder / f"{modality}.npy", mmap_mode="r+")
        for row in samples.loc[chosen, "array_row"]:
            array[row] = array[row][..., ::-1] + array.dtype.type(1)
        array.flush()
    for name, facts in card["files"].items():
        facts |= {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
    (folder / CARD).write_text(json.dumps(card), encoding="utf-8")
