"""What the audit knows of a cohort: its card, its sample table and, for pictures, thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.cohort import Cohort, prepared
from fedmeki_bench.data.holdings import rows_of, spread
from fedmeki_bench.data.splits import EXTERNAL
from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TRAINING = ("client", "valid", "public")
"""Splits that a model may learn or be selected from."""

SCORED = ("test", EXTERNAL)
"""Splits that a model is scored on."""


@dataclass
class Audited:
    """One cohort under audit.

    Attributes:
        cohort: opened for its card and paths.
        samples: the sample table, all splits.
    """

    cohort: Cohort
    samples: pd.DataFrame

    @property
    def name(self) -> str:
        """The cohort's name."""
        return self.cohort.name

    @property
    def registry(self) -> str:
        """The source whose group ids these are: cohorts of one source share patients."""
        return str(self.cohort.card.get("registry") or self.cohort.dataset)

    @property
    def trained(self) -> pd.Series:
        """Whether each sample may be learnt from: in a training cohort, every split but test."""
        return self.samples["split"].isin(TRAINING)

    @property
    def strata(self) -> np.ndarray | None:
        """(n,) a whole number per sample that tells labels apart; None where there are answers alone."""
        spec = self.cohort.labels
        if not spec.how.labelled:
            return None
        return spec.how.strata(spec.how.read(self.samples["label"].tolist(), spec), spec)

    def array(self, modality: str) -> np.ndarray | None:
        """The memory map of one modality (arrays, *shape), or None if the cohort has no such modality."""
        return self.cohort.array(modality) if modality in self.cohort.arrays else None

    def held(self, modality: str) -> pd.DataFrame:
        """A row per array of a sample: the sample's, with the array's own row of the file as ``array_row``.

        ``number`` is its place among the sample's arrays, from 0, where samples differ in how many they have.
        """
        import numpy as np

        if not self.cohort.arrays[modality].counted:
            return self.samples[self.samples["array_row"] >= 0].copy()
        _, count = self.cohort.rows(modality)
        found = self.samples.iloc[np.repeat(np.arange(len(self.samples)), count)].copy()
        found["array_row"] = rows_of(self.samples, modality)
        found["number"] = spread(np.zeros_like(count), count)
        return found


def read(data: Path, names: Sequence[str] = ()) -> list[Audited]:
    """All cohorts below ``data``, or the named ones.

    Raises:
        InputError: there is none, or one is damaged.
    """
    there = prepared(data)
    chosen = list(names) or there
    if not chosen:
        raise InputError(f"no cohort in {data}; prepare one with `fedmeki-bench prepare`")
    found = []
    for name in chosen:
        if name not in there:
            raise InputError(f"no cohort {name!r} in {data}; there: {', '.join(there) or 'nothing'}")
        cohort = Cohort.open(data / name)
        found.append(Audited(cohort, cohort.samples()))
    return found


def facts_of(audited: Audited) -> dict[str, Any]:
    """What a reader needs to know before the findings: size, splits, classes, grouping, source."""
    card = audited.cohort.card
    return {
        "cohort": audited.name,
        "dataset": card["dataset"],
        "release": card["release"],
        "synthetic": card["synthetic"],
        "split": card["split_mode"],
        "grouping": card["grouping"],
        "groups": card["groups"],
        "rows": card["rows"],
        "splits": card["splits"],
        "shortcuts": card["shortcuts"],
    }
