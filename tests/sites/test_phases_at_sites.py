"""Tasks one after another where the samples are elsewhere: the same bits, and counts of what is rehearsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.federation.memories import FOLDER
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.engines import EngineChoice
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify
from fedmeki_bench.sites.building import place_of
from fedmeki_bench.workflow.sites import deal_sites

from .conftest import ECG, LUNG, SMALL, ByLoopback, Loopback, model_bytes, told

PHASES = {"regime": "sequential", "order": "lung_opacity,ecg_abnormal", "rounds": 4, "rehearsal": 0.3}


class Dealt(Loopback):
    """Two places, each with the folder of its own site; the server has that of the server."""

    def made(self, place: int):  # type: ignore[no-untyped-def]
        o = self._opening
        assert o.folder is not None
        mine = tuple(c for c in o.clients if c % 2 == place)
        site = o.data.parent / f"site-{place}"
        return place_of(o.spec, site, mine, device="cpu", folder=o.folder / FOLDER)


class ByDealt(ByLoopback):
    """Runs are executed by :class:`Dealt`."""

    has_data = False

    def opened(self, spec, key, data, folder, device, models, here):  # type: ignore[no-untyped-def]
        found = super().opened(spec, key, data, folder, device, models, here)
        return Dealt(found._opening)


def same(one, other):  # type: ignore[no-untyped-def]
    (record, folder), (again, elsewhere) = one, other
    assert record.status == again.status == "ok", (record.error, again.error)
    assert told(record) == told(again)
    assert len(record.phases) == 10 * len(record.views)
    assert model_bytes(folder) == model_bytes(elsewhere)


@pytest.mark.parametrize("algorithm", ["scaffold_m", pytest.param("ditto_m", marks=pytest.mark.slow)])
def test_every_message_to_a_place_made_anew_and_half_of_them_twice(run, algorithm):
    how = PHASES | {"exchange": "task", "participation": 0.75, "rehearse_at": "both"}
    same(run(algorithm, **how), run(algorithm, engine=ByLoopback("loopback"), **how))


@pytest.mark.slow
def test_processes_give_the_same_bits(run):
    same(run("fedavg_m_plus", **PHASES), run("fedavg_m_plus", engine=EngineChoice("processes"), **PHASES))


@pytest.mark.parametrize("algorithm", ["fedavg_m", pytest.param("ditto_m", marks=pytest.mark.slow)])
def test_sites_tell_how_much_is_rehearsed_and_nothing_of_whom(cohorts: Path, tmp_path: Path, algorithm):
    """At the server is no private sample: the weights of what is rehearsed come from the sites' counts."""
    server, *_ = deal_sites(cohorts, tmp_path / "dealt", sites=2, clients=4)
    (spec,) = specify(resolve(algorithm), ECG + LUNG, clients=4, options=SMALL | PHASES)
    found = []
    for data, engine in ((cohorts, EngineChoice("sequential")), (server, ByDealt("dealt"))):
        store = RecordStore(tmp_path / engine.name)
        record = execute(spec, data, store, engine=engine, keep_model=True)
        found.append((record, store.folder(record.key)))
    same(*found)
