"""The result does not depend on where the clients are: every rule on every engine, compared bit for bit."""

from __future__ import annotations

import pytest

from fedmeki_bench import registry
from fedmeki_bench.events import RoundEnded
from fedmeki_bench.foundation.tiny import tiny_folder
from fedmeki_bench.foundation.tiny_config import TinyConfig
from fedmeki_bench.runs.engines import EngineChoice
from fedmeki_bench.sites.place import Place

from .conftest import ECG, ByLoopback, model_bytes, told

QUICK = ["scaffold", "fedbuff", "power_of_choice", "majority"]
RULES = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in registry.names("rules")
    if not registry.load("rules", name).needs_stage
]


def same(one, other):
    (record, folder), (again, elsewhere) = one, other
    assert record.status == again.status == "ok", (record.error, again.error)
    assert told(record) == told(again)
    assert model_bytes(folder) == model_bytes(elsewhere)


@pytest.mark.parametrize("rule", RULES)
def test_every_message_to_a_place_made_anew_and_half_of_them_twice(run, rule):
    how = {"exchange": "round" if registry.load("rules", rule)().buffer else "task", "participation": 0.75}
    here = run(f"{rule}_m", **how)
    same(here, run(f"{rule}_m", engine=ByLoopback("loopback"), **how))


@pytest.fixture(scope="session")
def barely(tmp_path_factory) -> str:
    """A language model that has hardly been trained."""
    config = TinyConfig(hidden=32, layers=2, heads=2, intermediate=64, steps=2, batch=4)
    return str(tiny_folder(config, cache=tmp_path_factory.mktemp("cache")))


TUNED = ["fedkim", "fedavg_m_tuned", "ffa_lora_s_tuned", "flex_lora_s_tuned", "flora_s_absorbed", "het_lora_s_tuned"]


@pytest.mark.parametrize(
    "algorithm", ["fedsa_lora_s_tuned", *(pytest.param(name, marks=pytest.mark.slow) for name in TUNED)]
)
def test_also_where_a_foundation_model_is_injected_or_tuned(run, barely, algorithm):
    here = run(algorithm, ECG, clients=2, foundation=barely)
    same(here, run(algorithm, ECG, clients=2, foundation=barely, engine=ByLoopback("loopback")))


@pytest.mark.parametrize(
    "fault", ["noise", *(pytest.param(f, marks=pytest.mark.slow) for f in ("straggle", "flip_labels", "nan"))]
)
def test_also_with_faults(run, fault):
    how = {f"faults.{fault}": 0.25}
    same(run("median_m", **how), run("median_m", **how, engine=ByLoopback("loopback")))


def test_the_control_a_place_that_forgets_what_came_before_is_seen(run, monkeypatch):
    """Half of the messages come twice: work on what the first one left behind, and the numbers are others."""
    here = run("scaffold_m", ECG)
    monkeypatch.setattr(Place, "_at", lambda self, client, step: None)
    record, _ = run("scaffold_m", ECG, engine=ByLoopback("loopback"))
    assert told(record) != told(here[0])


@pytest.mark.parametrize("algorithm", ["fedavg_m", pytest.param("ditto_m", marks=pytest.mark.slow)])
@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_the_same_bits_however_many(run, algorithm, workers):
    same(run(algorithm, ECG), run(algorithm, ECG, engine=EngineChoice("processes", {"workers": workers})))


class Watched(EngineChoice):
    """The engine ``processes``, whose processes are there to be killed."""

    has_data = True

    def opened(self, *args):
        self.options["made"].append(EngineChoice("processes", {"workers": 2}).opened(*args))
        return self.options["made"][-1]


def test_a_process_that_is_killed_is_started_again_and_does_its_work_again(run):
    """SCAFFOLD's control variates lie in the process: what it had done before it died is not done twice."""
    here, made = run("scaffold_m", ECG), []

    def kill(event):
        if isinstance(event, RoundEnded) and event.round == 0:
            made[0].workers[1].process.kill()

    same(here, run("scaffold_m", ECG, engine=Watched("killed", {"made": made}), listener=kill))


@pytest.mark.slow
def test_a_run_whose_process_dies_time_and_again_is_interrupted_and_goes_on_by_another_engine(run):
    here, made = run("scaffold_m", ECG), []

    def kill(event):
        if isinstance(event, RoundEnded) and event.round == 0:
            worker = made[0].workers[1]
            worker._starts = 4
            worker.process.kill()

    record, folder = run("scaffold_m", ECG, engine=Watched("dying", {"made": made}), listener=kill)
    assert record.status == "interrupted"
    assert record.error.type == "SiteLost"
    assert "ended 4 times (signal SIGKILL" in record.error.message
    assert (folder / "checkpoint" / "state.pt").exists()
    assert list((folder / "checkpoint" / "clients").glob("client-*.pt"))
    same(here, run("scaffold_m", ECG, engine=EngineChoice("sequential"), results="dying"))


@pytest.mark.slow
def test_a_run_begun_in_one_process_goes_on_in_several(run):
    here = run("ditto_m", ECG)

    def stop(event):
        if isinstance(event, RoundEnded) and event.round == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("ditto_m", ECG, results="begun", listener=stop)
    same(here, run("ditto_m", ECG, results="begun", engine=EngineChoice("processes", {"workers": 2})))
