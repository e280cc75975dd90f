"""MIMIC-III v1.4: two cohorts of ICU stays as 48 hourly variables (YAIB's rules), for mortality and for sepsis."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Dropped,
    Drops,
    PreparerOptions,
    series_statistics,
    training_assignment,
)

from .release import EXPECTED, Release
from .sepsis import SEPSIS_COLUMNS, onsets, score_items
from .stay import LONGEST, Stay
from .stays import (
    STAY_COLUMNS,
    Selection,
    general_exclusions,
    mortality_exclusions,
    read_stays,
)
from .variables import NAMES
from .workspace import (
    EVENT_COLUMNS,
    HEIGHT,
    WEIGHT,
    Item,
    Workspace,
    body_items,
    variable_items,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MORTALITY_HOURS = 25  # hours 0 to 24
SEPSIS_HOURS = LONGEST + 1
_AFTER_ONSET = 6  # hours of a series that follow the onset, and of a stay that must precede it
_BATCH = 1000  # stays per query when arrays are written
_RELEASES = {61_532: "MIMIC-III v1.4", 136: "MIMIC-III Clinical Database Demo v1.4"}
_COLUMNS = (
    "sample_id", "group_id", "site", "source", "sex", "age", "height", "weight", "hours", "hospital_death",
    "yaib_icu_death",
)  # fmt: skip


class SeriesOptions(PreparerOptions):
    """Options of both cohorts; the last three change no number and no card."""

    imputation: Literal["none", "forward_median"] = Field(
        "forward_median",
        description="gaps are filled forward, then with the client split's median, when read",
    )
    mask: bool = Field(False, description="show the model which values were measured (48 more columns)")
    memory_gb: float = Field(4.0, gt=0.2, exclude=True, description="memory for the query engine; spills beyond")
    threads: int = Field(0, ge=0, exclude=True, description="threads of the query engine; 0: all processors")
    scratch: Path | None = Field(None, exclude=True, description="folder for temporary files")


class MortalityOptions(SeriesOptions):
    """Options of the mortality cohort."""

    death: Literal["hospital_death", "yaib_icu_death"] = Field(
        "hospital_death", description="in-hospital death (FedMEKI) or death in the ICU (YAIB)"
    )


class SepsisOptions(SeriesOptions):
    """Options of the sepsis cohort."""

    antibiotics: Literal["given", "prescribed"] = Field(
        "given", description="as charted at the pump (YAIB; MetaVision stays only), or prescriptions too"
    )


SeriesOptionsT = TypeVar("SeriesOptionsT", bound=SeriesOptions)


class _Stays(DatasetPreparer[SeriesOptionsT]):
    """What both cohorts share: the tables are streamed once, in :meth:`table`, and arrays follow from that."""

    rows: ClassVar[int]
    synthesize_size: ClassVar[int] = 400

    def __init__(self) -> None:
        self._work: Workspace | None = None
        self._made_for: tuple[Path, PreparerOptions] | None = None
        self._place: dict[str, tuple[int, int]] = {}  # source -> stay number, rows of its series

    def sources(self, raw: Path, options: SeriesOptionsT) -> list[Path]:
        """The tables that are read; also checks their columns."""
        return Release(raw, self._needed(options)).paths

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of ICU stays."""
        stays = int(table.attrs.get("stays", 0))
        return _RELEASES.get(stays, f"MIMIC-III, release not known by its {stays} ICU stays")

    def arrays(self, options: SeriesOptionsT) -> dict[str, ArraySpec]:
        """Hours x 48 variables in their units, NaN where nothing was charted."""
        return {"clinical": ArraySpec((self.rows, len(NAMES)), "float32")}

    def table(self, raw: Path, options: SeriesOptionsT, drops: Drops) -> pd.DataFrame:
        """One row per ICU stay of the cohort, in the order of ICUSTAYS."""
        work = self._open(raw, options)
        try:
            return self._table(work, options, drops)
        except BaseException:
            self._close()
            raise

    def decode(self, raw: Path, source: str, options: SeriesOptionsT) -> Decoded:
        """One stay's series; reads all tables, so :meth:`decode_all` is the way to many."""
        _, outcome = next(iter(self.decode_all(raw, [source], options, 1)))
        if isinstance(outcome, Dropped):
            raise outcome
        return outcome

    def decode_all(
        self, raw: Path, sources: Sequence[str], options: SeriesOptionsT, workers: int
    ) -> Iterator[tuple[str, Decoded | Dropped]]:
        """The series of many stays, a query per thousand."""
        if self._work is None or self._made_for != (raw, options):
            self.table(raw, options, Drops())
        work = self._work
        assert work is not None
        try:
            for start in range(0, len(sources), _BATCH):
                part = [name for name in sources[start : start + _BATCH] if name in self._place]
                places = [self._place[name] for name in part]
                arrays: dict[str, np.ndarray] = {}
                if part:
                    values = work.grid([p[0] for p in places], [p[1] for p in places], self.rows)
                    arrays = dict(zip(part, values, strict=True))
                for name in sources[start : start + _BATCH]:
                    if name in arrays:
                        yield name, Decoded({"clinical": arrays[name]})
                    else:
                        yield name, Dropped("the stay is not in the cohort")
        finally:
            self._close()

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic``."""
        from .synthetic import write

        write(out, size=size, seed=seed)

    def _table(self, work: Workspace, options: SeriesOptionsT, drops: Drops) -> pd.DataFrame:
        import pandas as pd

        stays = read_stays(work, drops)
        work.set_stays(stays)
        work.add_events([*variable_items(), *body_items(), *self._more_items()])
        work.aggregate()
        selection = Selection(stays, list(range(len(stays))), drops)
        general_exclusions(work, selection)
        extra = self._select(work, selection, options)
        drops.note(selection.told())
        for reason, count in work.faults().items():
            drops.note(f"{count} events of the variables {reason} and are left out")
        for name, count in work.lost.items():
            drops.note(f"{count} {name} have no readable time or belong to no ICU stay and are left out")
        body = _body(work)
        rows: list[dict[str, Any]] = []
        for number in sorted(selection.kept, key=lambda n: stays[n].position):
            row = _row(stays[number], body.get(number, {})) | extra.get(number, {})
            row.setdefault("hours", self.rows)
            self._place[row["source"]] = (number, int(row["hours"]))
            rows.append(row)
        table = pd.DataFrame(rows, columns=list(dict.fromkeys([*_COLUMNS, *self._own_columns()])))
        table.attrs["stays"] = drops.read
        return table

    def _open(self, raw: Path, options: SeriesOptionsT) -> Workspace:
        self._close()
        self._work = Workspace(
            Release(raw, self._needed(options)),
            memory_gb=options.memory_gb,
            threads=options.threads,
            scratch=options.scratch,
        )
        weakref.finalize(self, self._work.close)
        self._made_for = (raw, options)
        return self._work

    def _close(self) -> None:
        if self._work is not None:
            self._work.close()
        self._work, self._place = None, {}

    def _needed(self, options: SeriesOptionsT) -> Mapping[str, tuple[str, ...]]:
        return {**STAY_COLUMNS, **EVENT_COLUMNS}

    def _more_items(self) -> list[Item]:
        return []

    def _own_columns(self) -> tuple[str, ...]:
        return ()

    def _select(self, work: Workspace, selection: Selection, options: SeriesOptionsT) -> dict[int, dict[str, Any]]:
        """Apply the task's own exclusions; returns stay number -> its own columns."""
        raise NotImplementedError


_LICENCE = "PhysioNet Credentialed Health Data License 1.5.0 (the demo: ODbL 1.0)"
_ACCESS = (
    "credentialed: PhysioNet account, CITI training and data use agreement, then download; "
    "the demo of 100 patients is open"
)
_CITATION = (
    "Johnson AEW, et al. MIMIC-III, a freely accessible critical care database. Scientific Data 3:160035 (2016); "
    "cohort and variables: van de Water R, et al. Yet Another ICU Benchmark. ICLR 2024, arXiv:2306.05109"
)


class Mimic3(_Stays[MortalityOptions]):
    """The mortality cohort: the first 25 hourly rows of ICU stays of 30 h and more.

    Tasks get ``hospital_death`` and ``yaib_icu_death`` (0 or 1), and ``death``: the one of the two chosen.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="mimic3",
        version=1,
        title="MIMIC-III intensive care, first 24 hours",
        modalities=("clinical",),
        grouping="patient",
        licence=_LICENCE,
        access=_ACCESS,
        citation=_CITATION,
        url="https://physionet.org/content/mimiciii/1.4/",
        real_layout=EXPECTED,
    )
    extra_columns: ClassVar[tuple[str, ...]] = (
        "sex",
        "age",
        "height",
        "weight",
        "hospital_death",
        "yaib_icu_death",
    )
    shortcuts: ClassVar[tuple[str, ...]] = (
        "which variables are measured at all, and how often, tells how ill the staff thought the patient was",
        "o2sat includes item 226253, an alarm limit (part of the published definition)",
    )
    rows: ClassVar[int] = MORTALITY_HOURS

    def statistics(self, arrays: Mapping[str, np.ndarray], samples: pd.DataFrame) -> dict[str, Any]:
        """Median, mean and SD per variable, to impute and standardise by."""
        facts = series_statistics(arrays["clinical"], samples["array_row"].to_numpy())
        return {"clinical": {"variables": list(NAMES), **facts.as_json()}}

    def _own_columns(self) -> tuple[str, ...]:
        return ("death",)

    def _select(self, work: Workspace, selection: Selection, options: MortalityOptions) -> dict[int, dict[str, Any]]:
        mortality_exclusions(selection)
        icu = options.death == "yaib_icu_death"
        stays = selection.stays
        return {n: {"death": int(stays[n].icu_death if icu else stays[n].hospital_death)} for n in selection.kept}


class Mimic3Sepsis(_Stays[SepsisOptions]):
    """The sepsis cohort: up to 169 hourly rows of ICU stays, until 6 h after the onset of sepsis.

    Tasks get ``onset`` (hour since ICU admission, NaN without sepsis in the series) and ``hours`` (rows of the
    series; the rest of the array is NaN).
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="mimic3_sepsis",
        version=1,
        title="MIMIC-III intensive care, up to 7 days",
        modalities=("clinical",),
        grouping="patient",
        licence=_LICENCE,
        access=_ACCESS,
        citation=_CITATION + "; Singer M, et al. Sepsis-3. JAMA 315:801 (2016)",
        url="https://physionet.org/content/mimiciii/1.4/",
        real_layout=EXPECTED,
    )
    release_name: ClassVar[str] = "mimic3"
    extra_columns: ClassVar[tuple[str, ...]] = ("sex", "age", "height", "weight", "hours", "onset")
    shortcuts: ClassVar[tuple[str, ...]] = (
        "a series stops 6 h after the onset, so its length tells something about the label",
        "antibiotics given are charted in MetaVision only (2008-2012): without -o antibiotics=prescribed every stay "
        "charted in CareVue counts as free of sepsis",
        "the last 6 h of a positive series follow the onset: this is detection, not prediction",
    )
    registry_name: ClassVar[str] = Mimic3.meta.name
    rows: ClassVar[int] = SEPSIS_HOURS

    def __init__(self) -> None:
        super().__init__()
        self._trained: list[str] = []

    def registry(self, raw: Path, table: pd.DataFrame, options: SepsisOptions) -> Mapping[str, str]:
        """Patient -> split in the mortality cohort of the same release; known once the table is made."""
        import pandas as pd

        return training_assignment(pd.DataFrame({"group_id": self._trained}), options, self.registry_name)

    def _needed(self, options: SepsisOptions) -> Mapping[str, tuple[str, ...]]:
        tables = {**super()._needed(options), **SEPSIS_COLUMNS}
        if options.antibiotics == "given":
            del tables["PRESCRIPTIONS"]
        return tables

    def _more_items(self) -> list[Item]:
        return score_items()

    def _own_columns(self) -> tuple[str, ...]:
        return ("onset",)

    def _select(self, work: Workspace, selection: Selection, options: SepsisOptions) -> dict[int, dict[str, Any]]:
        stays = selection.stays
        onset = onsets(work, stays, prescribed=options.antibiotics == "prescribed")
        self._trained = _mortality_groups(selection)
        selection.exclude("sepsis began before hour 6", lambda n: onset.get(n, _AFTER_ONSET) < _AFTER_ONSET)
        result: dict[int, dict[str, Any]] = {}
        for number in selection.kept:
            last = stays[number].last_hour
            began = onset.get(number, last + 1)
            seen = began <= last
            result[number] = {
                "onset": float(began) if seen else float("nan"),
                "hours": min(last, began + _AFTER_ONSET) + 1 if seen else last + 1,
            }
        return result


def _mortality_groups(selection: Selection) -> list[str]:
    """The patient of each row of the mortality cohort's table, in its order."""
    part = Selection(selection.stays, list(selection.kept), Drops())
    mortality_exclusions(part)
    kept = sorted(part.kept, key=lambda n: part.stays[n].position)
    return [part.stays[n].subject_id for n in kept]


def _row(stay: Stay, body: Mapping[int, float]) -> dict[str, Any]:
    return {
        "sample_id": stay.icustay_id,
        "group_id": stay.subject_id,
        "site": stay.careunit,
        "source": stay.icustay_id,
        "sex": stay.sex,
        "age": stay.age,
        "height": round(body.get(HEIGHT, float("nan")), 1),
        "weight": round(body.get(WEIGHT, float("nan")), 1),
        "hospital_death": int(stay.hospital_death),
        "yaib_icu_death": int(stay.icu_death),
    }


def _body(work: Workspace) -> dict[int, dict[int, float]]:
    """Stay number -> median height and weight."""
    found = work.fetch(
        "SELECT stay, code::INTEGER AS code, median(value) AS value FROM events "
        f"WHERE fault = 0 AND code IN ({HEIGHT}, {WEIGHT}) GROUP BY ALL"
    )
    body: dict[int, dict[int, float]] = {}
    for stay, code, value in zip(*(found[name].tolist() for name in ("stay", "code", "value")), strict=True):
        body.setdefault(stay, {})[code] = value
    return body
