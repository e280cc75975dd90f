"""Two sites and more behind Flower, as real processes on this machine: the same bits as in one process."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.federation.memories import FOLDER
from fedmeki_bench.foundation.tiny import tiny_folder
from fedmeki_bench.foundation.tiny_config import TinyConfig
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify
from fedmeki_bench.workflow.sites import deal_sites

from .conftest import ECG, LUNG, SMALL, model_bytes, told
from .hospital import FLOWER, LIMIT, Hospitals, free_port, hospitals, needs_flower, wait_for

pytestmark = [needs_flower, pytest.mark.flower]

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
        # what left the sites in answers to exchanges: two messages a round and site, at most 600 bytes beside it
        logs = at.log("site-0") + at.log("site-1")
        sizes = [int(n.replace(",", "")) for n in re.findall(r": 2 messages, [\d,]+ bytes in, ([\d,]+) out", logs)]
        exchanges = sorted(sizes)[-SMALL["rounds"] * 2 :]  # the others are scores of clients' own models
        assert 0 < sum(exchanges) - one[0].cost.bytes_up < 4 * SMALL["rounds"] * 600


@pytest.mark.slow
def test_clients_that_tune_the_foundation_model(cohorts, tmp_path, short):
    config = TinyConfig(hidden=32, layers=2, heads=2, intermediate=64, steps=2, batch=4)
    barely = str(tiny_folder(config, cache=tmp_path / "cache"))
    one = here(cohorts, tmp_path, "fedavg_s_tuned", ECG, foundation=barely)
    server, *sites = deal_sites(cohorts, tmp_path / "dealt", sites=2, clients=4, tasks=ECG)
    with hospitals(sites, short) as at:
        more = ("-o", f"foundation={barely}", "--tasks", *ECG)
        assert finish(at, server, tmp_path / "results", "fedavg_s_tuned", *more) == 0, at.log("run")
        same(at, tmp_path / "results", one)


@pytest.mark.slow
def test_five_sites(cohorts, tmp_path, short):
    one = here(cohorts, tmp_path, "scaffold_m", clients=5)
    server, *sites = deal_sites(cohorts, tmp_path / "dealt", sites=5, clients=5)
    with hospitals(sites, short) as at:
        run = at.run(server, tmp_path / "results", "scaffold_m", "--clients", "5", *OPTIONS, "--keep-model")
        assert run.wait(LIMIT * 2) == 0, at.log("run")
        same(at, tmp_path / "results", one)


def quietly(*command: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True)


@pytest.mark.slow
def test_over_tls_an_unknown_key_and_a_plain_text_node_are_refused(cohorts, tmp_path, short):
    """The commands of docs/sites.md: a throw-away authority, a certificate for the server, a key for each site."""
    one = here(cohorts, tmp_path, "fedavg_m")
    server, *sites = deal_sites(cohorts, tmp_path / "dealt", sites=2, clients=4)
    ca = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes")
    quietly("openssl", "req", "-x509", *ca, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ours", cwd=short)
    quietly("openssl", "req", *ca, "-keyout", "link.key", "-out", "link.csr", "-subj", "/CN=link", cwd=short)
    (short / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-days", "2")
    quietly("openssl", "x509", "-req", "-in", "link.csr", *signing, "-out", "link.crt", cwd=short)
    for name in ("0", "1", "stranger"):
        quietly("ssh-keygen", "-t", "ecdsa", "-b", "384", "-N", "", "-f", f"key-{name}", cwd=short)
    link = [
        "--ssl-ca-certfile", str(short / "ca.crt"), "--ssl-certfile", str(short / "link.crt"), "--ssl-keyfile",
        str(short / "link.key"), "--enable-supernode-auth",
    ]  # fmt: skip
    keys = {0: "key-0", 1: "key-stranger"}

    def node(number: int) -> list[str]:
        tls = ["--root-certificates", str(short / "ca.crt")]
        return [*tls, "--auth-supernode-private-key", str(short / keys[number])]

    at = Hospitals(sites, short, link=link, node=node, connection=f'root-certificates = "{short / "ca.crt"}"')
    try:
        wait_for(lambda: "Uvicorn running" in at.log("link"))
        for number in (0, 1):
            register = [str(FLOWER / "flwr"), "supernode", "register", f"key-{number}.pub"]
            quietly(*register, cwd=short, env=dict(at.environment))
        at.open(0, 1)  # site 1 comes with a key that nobody knows
        wait_for(lambda: "SuperNode ID" in at.log("node-0"))
        wait_for(lambda: at.processes["node-1"].poll() is not None or "rror" in at.log("node-1"), 60)
        assert "SuperNode ID" not in at.log("node-1")
        run = at.run(server, tmp_path / "results", "fedavg_m", "--clients", "4", *OPTIONS, "-e", "patience=45")
        assert run.wait(LIMIT) != 0
        (record,) = RecordStore(tmp_path / "results").all()
        assert isinstance(record, Record)
        assert record.status == "interrupted"
        assert record.error is not None
        assert "site 1 did not answer within 45 s" in record.error.message
        at.kill("node-1", "site-1")
        plain = ["--insecure", "--superlink", f"127.0.0.1:{at.port}", "--port", str(free_port())]
        at.start("plain", [str(FLOWER / "flower-supernode"), *plain])
        keys[1] = "key-1"
        at.open(1)
        assert finish(at, server, tmp_path / "results", "fedavg_m") == 0, at.log("run")
        same(at, tmp_path / "results", one)
        assert "SuperNode ID" not in at.log("plain")
    finally:
        left = at.close()
    assert not left
