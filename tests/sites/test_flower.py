"""Two sites and more behind Flower, as real processes on this machine: the same bits as in one process."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.federation.memories import FOLDER
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify
from fedmeki_bench.workflow.sites import deal_sites

from .conftest import ECG, LUNG, SMALL, model_bytes, told
from .hospital import LIMIT, Hospitals, hospitals, needs_flower, wait_for

pytestmark = needs_flower

OPTIONS = [part for name, value in SMALL.items() for part in ("-o", f"{name}={value}")]


@pytest.fixture
def short() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="h-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def here(cohorts: Path, folder: Path, algorithm: str, tasks=ECG + LUNG, clients=4, **options) -> tuple[Record, Path]:  # type: ignore[no-untyped-def]
    """The same run in one process."""
    (spec,) = specify(resolve(algorithm), tasks, clients=clients, options=SMALL | options)
    store = RecordStore(folder / "here")
    keep = resolve(algorithm).stage not in ("tuned", "absorbed")
    record = execute(spec, cohorts, store, keep_model=keep)
    return record, store.folder(record.key)


def finish(at: Hospitals, server: Path, results: Path, algorithm: str, *more: str) -> int:
    keep = [] if "tuned" in algorithm else ["--keep-model"]
    return at.run(server, results, algorithm, "--clients", "4", *OPTIONS, *keep, *more).wait(LIMIT)


def same(at: Hospitals, results: Path, one: tuple[Record, Path]) -> None:
    record, folder = one
    again = RecordStore(results).load(record.key)
    assert again is not None, at.log("run")
    assert again.status == "ok", again.error
    assert told(record) == told(again)
    assert model_bytes(folder) == model_bytes(results / record.key)


def test_a_site_is_killed_in_mid_exchange_and_the_server_before_its_checkpoint(cohorts, tmp_path, short):
    """SCAFFOLD's control variates lie at the sites; whatever is killed, the record and the model are the same bits."""
    one = here(cohorts, tmp_path, "scaffold_m")
    server, *sites = deal_sites(cohorts, tmp_path / "dealt", sites=2, clients=4)
    results, key = tmp_path / "results", one[0].key
    with hospitals(sites, short) as at:
        run = at.run(server, results, "scaffold_m", "--clients", "4", *OPTIONS, "--keep-model")
        wait_for(lambda: bool(at.kept(1, "client-1.round-0.*")))  # its first client is done, its second is under way
        at.kill("site-1", "node-1")
        assert not at.kept(1, "client-3.round-0.*")
        at.open(1)
        wait_for(lambda: bool(at.kept(0, "client-2.round-1.*") and at.kept(1, "client-3.round-1.*")))
        at.kill("run")  # the clients have trained, and the server's checkpoint still says one round
        assert run.returncode == -9
        checkpoint = results / key / "checkpoint"
        assert not (checkpoint / FOLDER).exists()  # no memory of any client at the server
        assert b"c_i" not in (checkpoint / "state.pt").read_bytes()
        assert finish(at, server, results, "scaffold_m") == 0, at.log("run")
        same(at, results, one)
        wait_for(lambda: not at.kept(0, "*") and not at.kept(1, "*"), 30)  # the run is over: forgotten at the sites
        sent = sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) out", at.log("site-0") + at.log("site-1")))
        assert sent > one[0].cost.bytes_up


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["fedavg_m", "fedbn_m", "ditto_m", "dpfedavg_m"])
def test_records_are_equal_but_for_times_and_bytes_are_the_ledgers(cohorts, tmp_path, short, algorithm):
    one = here(cohorts, tmp_path, algorithm)
    server, *sites = deal_sites(cohorts, tmp_path / "dealt", sites=2, clients=4)
    with hospitals(sites, short) as at:
        assert finish(at, server, tmp_path / "results", algorithm) == 0, at.log("run")
        same(at, tmp_path / "results", one)
        # what left the sites in answers to exchanges: two messages a round and site, under half a kilobyte beside it
        logs = at.log("site-0") + at.log("site-1")
        sizes = [int(n.replace(",", "")) for n in re.findall(r": 2 messages, [\d,]+ bytes in, ([\d,]+) out", logs)]
        exchanges = sizes[: SMALL["rounds"] * 2] if algorithm != "ditto_m" else []
        if exchanges:
            overhead = sum(exchanges) - one[0].cost.bytes_up
            assert 0 < overhead < 4 * SMALL["rounds"] * 600
