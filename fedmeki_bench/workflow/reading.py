"""Records, as they are and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError, Unfinished
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import BadRecord, RecordStore
from fedmeki_bench.runs.failures import pointer

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "key", "algorithm", "rule", "scope", "stage", "profile", "partition", "clients", "seed", "status", "view", "task",
    "split", "metric", "value", "low", "high", "n", "groups", "note", "synthetic", "seconds", "bytes_up", "bytes_down",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Records:
    """Records of runs, in a fixed order; as a sequence, those that could be read.

    Attributes:
        folder: where they lie.
        records: one per run, whether it is finished, failed or was interrupted.
        unreadable: files that are no record, each with the reason.
        notes: what should be known about them, in sentences.
    """

    folder: Path
    records: tuple[Record, ...]
    unreadable: tuple[BadRecord, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    @property
    def failed(self) -> tuple[Record, ...]:
        """Those of runs that stopped with an error or were interrupted."""
        return tuple(record for record in self.records if record.status != "ok")

    @property
    def scores(self) -> pd.DataFrame:
        """One row per evaluation and metric.

        ``value``, ``low`` and ``high`` are in the metric's own units, the interval a 95 % one over patients; NaN where
        undefined, and then ``note`` says why. ``n`` counts samples, ``groups`` patients, ``seconds`` those of the
        run's rounds; ``bytes_up`` and ``bytes_down`` are sums over its rounds and clients. A run without an evaluation
        is one row with an empty metric and the reason in ``note``.
        """
        import pandas as pd

        frame = pd.DataFrame([row for record in self.records for row in _rows(record)], columns=list(_COLUMNS))
        numbers = ["value", "low", "high"]
        return frame.astype(dict.fromkeys(numbers, "float64") | dict.fromkeys(("n", "groups"), "Int64"))

    def check(self) -> None:
        """Raise if a run failed or was interrupted.

        Raises:
            RunFailed: says how many, and the first one's reason.
        """
        if self.failed:
            error = self.failed[0].error
            reason = error.message if error else "unknown reason"
            where = pointer(self.folder / self.failed[0].key)
            how = "failed" if any(record.status == "failed" for record in self.failed) else "were interrupted"
            raise Unfinished(f"{len(self.failed)} of {len(self)} runs {how}: {reason}{where}")


def records(results: str | Path = "results") -> Records:
    """Every record in a folder of results, in order of keys; nothing is computed.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(results)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of records; `fedmeki-bench run` and `sweep` make one")
    found = list(RecordStore(folder).all())
    readable = tuple(one for one in found if isinstance(one, Record))
    return Records(folder, readable, tuple(one for one in found if isinstance(one, BadRecord)))


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    run: dict[str, Any] = {
        name: getattr(record, name)
        for name in ("key", "algorithm", "rule", "scope", "stage", "profile", "partition", "clients", "seed", "status")
    }
    cost = record.cost
    run |= {"seconds": cost.seconds, "bytes_up": cost.bytes_up, "bytes_down": cost.bytes_down}
    synthetic: Mapping[str, bool] = {c.task: c.synthetic for c in record.cohorts}
    if not record.evaluations:
        reason = record.error.message if record.error else record.status
        yield run | {"metric": "", "note": reason, "synthetic": any(synthetic.values())}
    for e in record.evaluations:
        place = {"view": e.view, "task": e.task, "split": e.split, "n": e.n, "groups": e.groups}
        place["synthetic"] = synthetic.get(e.task, False)
        if not e.metrics:
            yield run | place | {"metric": "", "note": e.note}
        for name, found in e.metrics.items():
            yield run | place | {
                "metric": name, "value": found.value, "low": found.low, "high": found.high, "note": found.note,
            }  # fmt: skip
