"""Runs of small specifications by different engines, and what of their records and models must be equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.events import silent
from fedmeki_bench.federation.engine import Opening
from fedmeki_bench.federation.memories import FOLDER
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.engines import HERE, EngineChoice
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import RunSpec, specify
from fedmeki_bench.sites.building import place_of
from fedmeki_bench.sites.place import Place
from fedmeki_bench.sites.remote import Remote

SMALL = {"rounds": 2, "local_epochs": 1, "batch_size": 16}
ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]


class Loopback(Remote):
    """Two places in this process, each made anew for every message, half of which come twice."""

    def __init__(self, opening: Opening, lost: Callable[[int], bool] = lambda number: False) -> None:
        super().__init__(opening)
        self._opening, self._lost, self.messages = opening, lost, 0

    places = 2

    def place(self, client: int) -> int:
        return client % 2

    def deliver(self, messages: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        for place, message in messages:
            self.messages += 1
            if self.messages % 2:
                self.made(place).handle(message)
            if self._lost(self.messages):
                raise KeyboardInterrupt
            yield self.made(place).handle(message)

    def made(self, place: int) -> Place:
        o = self._opening
        mine = tuple(c for c in o.clients if c % 2 == place)
        assert o.folder is not None
        return place_of(o.spec, o.data, mine, device="cpu", folder=o.folder / FOLDER)


class ByLoopback(EngineChoice):
    """Runs are executed by :class:`Loopback`."""

    has_data = True

    def opened(self, spec, key, data, folder, device, models, here):  # type: ignore[no-untyped-def]
        layouts = tuple({id(m): m.values.layout for m in (models.common, *models.own.values())}.values())
        opening = Opening(
            spec, key, data, folder, ("cpu",), {}, models.common, layouts, tuple(range(spec.clients)), here
        )  # fmt: skip
        return Loopback(opening, **self.options)


@pytest.fixture
def run(cohorts: Path, tmp_path: Path) -> Callable[..., tuple[Record, Path]]:
    """``run("ditto_m", engine=...)`` -> its record and the folder it lies in."""

    def by(
        algorithm: str,
        tasks: list[str] | None = None,
        *,
        engine: EngineChoice = HERE,
        **options: Any,
    ) -> tuple[Record, Path]:
        clients, listener = options.pop("clients", 4), options.pop("listener", silent)
        store = RecordStore(tmp_path / options.pop("results", engine.name))
        spec: RunSpec
        (spec,) = specify(resolve(algorithm), tasks or ECG + LUNG, clients=clients, options=SMALL | options)
        keep = resolve(algorithm).stage not in ("tuned", "absorbed")
        record = execute(spec, cohorts, store, engine=engine, keep_model=keep, listener=listener)
        return record, store.folder(record.key)

    return by


def told(record: Record) -> dict[str, Any]:
    """What a record says but for times and machines; predictions by their digests."""
    said = record.model_dump(mode="json")
    for history in said["history"]:
        del history["seconds"]
    for name in ("started", "finished", "environment", "digest"):  # the digest is of all of it
        del said[name]
    for name in ("seconds", "peak_memory"):
        del said["cost"][name]
    return said


def model_bytes(folder: Path) -> dict[str, bytes]:
    """The kept model, file by file."""
    return {path.name: path.read_bytes() for path in sorted((folder / "model").glob("*.safetensors"))}
