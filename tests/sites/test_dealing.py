"""Data dealt over a server and sites, and what a site does with what it is sent."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench import __version__, registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.assemble import assignment
from fedmeki_bench.runs.deal import read_deal
from fedmeki_bench.runs.execute import execute, open_cohorts
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify
from fedmeki_bench.sites.evidence import contradiction, evidence_of
from fedmeki_bench.sites.flower_app.fedmeki_relay.frames import pack, unpack
from fedmeki_bench.sites.serving import Serving
from fedmeki_bench.workflow.sites import deal_sites

from .conftest import ECG, LUNG, SMALL

HOW = {"partition": "dirichlet", "options": {"alpha": 0.5}}


@pytest.fixture(scope="module")
def dealt(cohorts: Path, tmp_path_factory) -> list[Path]:
    return deal_sites(cohorts, tmp_path_factory.mktemp("dealt"), sites=2, clients=5, **HOW)


def spec_of(algorithm="fedavg_m", tasks=ECG + LUNG, *, clients=5, seed=0, partition="dirichlet", **options):
    given = SMALL | ({"alpha": 0.5} if partition == "dirichlet" else {}) | options
    (spec,) = specify(resolve(algorithm), tasks, clients=clients, seed=seed, partition=partition, options=given)
    return spec


def told(data: Path, spec):
    plugins = resolve_plugins(spec)
    return assignment(spec, plugins, open_cohorts(spec, data, plugins.tasks))


@pytest.mark.parametrize("tasks", [ECG + LUNG, ECG, LUNG])
def test_sites_hold_exactly_their_clients_samples_and_the_server_is_told_their_counts(cohorts, dealt, tasks):
    spec = spec_of(tasks=tasks)
    whole, server = told(cohorts, spec), told(dealt[0], spec)
    assert server.digest == whole.digest
    assert server.counts() == whole.counts()
    for number, folder in enumerate(dealt[1:]):
        here = told(folder, spec)
        for client in range(5):
            if client % 2 != number:
                assert not here.parts[client]
                continue
            assert here.parts[client].keys() == whole.parts[client].keys()
            for task, part in whole.parts[client].items():
                mine = here.parts[client][task]
                assert mine.sample_ids.tolist() == part.sample_ids.tolist()
                some = np.arange(min(4, len(part)))
                for name, array in part.batch(some).items():
                    assert np.array_equal(array, mine.batch(some)[name])


def test_no_folder_holds_a_row_that_is_not_its_own(cohorts, dealt):
    """The server has no client's sample, no site has another's, and all have the same held-out samples."""
    seen: dict[str, set[str]] = {task: set() for task in ECG + LUNG}
    for folder in dealt:
        for task in ECG + LUNG:
            table = pd.read_parquet(folder / task / "samples.parquet")
            private = set(table.loc[table["split"] == "client", "sample_id"])
            assert not private & seen[task]
            assert not (folder.name == "server" and private)
            seen[task] |= private
            common = find(cohorts, task).samples()
            assert (
                table.loc[table["split"] != "client", "sample_id"].tolist()
                == common.loc[common["split"] != "client", "sample_id"].tolist()
            )
            assert find(folder, task).card_hash == find(cohorts, task).card_hash
            assert (folder / task / "ids.key").exists() == (folder.name == "server")
    for task, ids in seen.items():
        everything = find(cohorts, task).samples()
        assert ids == set(everything.loc[everything["split"] == "client", "sample_id"])


def test_a_folder_is_refused_where_it_does_not_belong(cohorts, dealt, tmp_path):
    store, spec = RecordStore(tmp_path), spec_of()
    with pytest.raises(InputError, match=r"not in .*server but at 2 sites"):
        execute(spec, dealt[0], store)
    with pytest.raises(InputError, match="folder of site 0"):
        execute(spec, dealt[1], store)
    with pytest.raises(InputError, match="not a site's folder"):
        Serving(cohorts, tmp_path / "memory")
    with pytest.raises(InputError, match="exists already"):
        deal_sites(cohorts, dealt[0].parent, sites=2, clients=5)
    with pytest.raises(InputError, match="at least one client for each"):
        deal_sites(cohorts, tmp_path / "many", sites=6, clients=5)
    assert not list(tmp_path.glob("*/record.json"))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"clients": 4}, "clients 5, the run has 4"),
        ({"seed": 1}, "seed 0, the run has 1"),
        ({"partition": "iid"}, 'partition "dirichlet", the run has "iid"'),
        ({"alpha": 0.3}, "partition options"),
    ],
)
def test_a_run_that_was_dealt_otherwise_is_refused(dealt, how, said):
    with pytest.raises(InputError, match=said):
        told(dealt[0], spec_of(**how))


def begin(serving: Serving, spec, folder: Path, *, key="abc", cards=None):
    cards = cards or {task: find(folder, task).card_hash for task in spec.tasks}
    header = {"what": "begin", "run": key, "cards": cards, "package": __version__}
    return unpack(serving.handle(pack(header, json.dumps(asdict(spec)).encode())))[0]


def test_a_site_says_who_it_is_and_begins_a_run(dealt, tmp_path):
    lines: list[str] = []
    serving = Serving(dealt[2], tmp_path, tell=lines.append)
    assert unpack(serving.handle(pack({"what": "hello"})))[0] == {"site": 1, "sites": 2, "clients": [1, 3]}
    assert begin(serving, spec_of(), dealt[2]) == {"evidence": {"ecg_abnormal": {}, "lung_opacity": {}}}  # no series
    assert any("fedavg_m on ecg_abnormal, lung_opacity" in line for line in lines)
    unpack(serving.handle(pack({"what": "forget", "run": "abc"})))
    assert not (tmp_path / "abc").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: replace(s, seed=3), "seed 0, the run has 3"),
        (lambda s: replace(s, versions=s.versions | {"rule": 99}), "rule of version 1, the server's .* 99: install"),
        (lambda s: replace(s, rule="/tmp/rule.py:Rule"), "is a file, which sites don't run"),
        (lambda s: replace(s, tasks=("ecg_abnormal",), zero_shot=()), ""),
    ],
)
def test_a_site_refuses_what_it_could_not_do_to_the_same_bits(dealt, tmp_path, change, said):
    spec = change(spec_of())
    if spec.tasks == ("ecg_abnormal",):
        spec = replace(spec, versions=spec.versions | {"tasks": {"ecg_abnormal": 0}})
        said = "tasks of version"
    answer = begin(Serving(dealt[1], tmp_path), spec, dealt[1])
    assert said.split(" .*")[0] in answer["refused"]
    assert answer["refused"].startswith("site 0: ")
    assert not list(tmp_path.iterdir())


def test_a_site_refuses_another_cohort_and_nonsense(dealt, tmp_path):
    serving = Serving(dealt[1], tmp_path)
    wrong = dict.fromkeys(ECG + LUNG, "0" * 64)
    assert "another one than the server's" in begin(serving, spec_of(), dealt[1], cards=wrong)["refused"]
    assert "no name of a run" in begin(serving, spec_of(), dealt[1], key="../../etc")["refused"]
    for nonsense in (
        b"",
        b"\x00\x00\x00\x02{}",
        pack({"what": "rm"}),
        pack({"what": "messages", "run": "x", "sizes": []}),
    ):
        assert "refused" in unpack(serving.handle(nonsense))[0]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """A data folder with mortality: series of intensive care."""
    root = tmp_path_factory.mktemp("series")
    preparer = registry.load("datasets", "mimic3")()
    raw = root / "raw"
    raw.mkdir()
    preparer.synthesize(raw, size=120, seed=0)
    prepare(preparer, raw, root / "data", [registry.load("tasks", "mortality")()], preparer.Options(), workers=1)
    return root / "data"


def test_sums_and_counts_of_sites_vouch_for_the_statistics_of_series(series, tmp_path):
    server, *sites = deal_sites(series, tmp_path, sites=3, clients=5, tasks=["mortality"], partition="quantity")
    told = [evidence_of(find(folder, "mortality")) for folder in sites]
    cohort = find(server, "mortality")
    assert "mortality" in read_deal(server).whole
    assert contradiction(cohort, told) == ""
    # the controls: a site's samples missing, counted twice, or a card with other figures
    assert contradiction(cohort, told[:2])
    assert contradiction(cohort, [*told, told[0]])
    for name, said in (("mean", "mean"), ("sd", "standard deviation"), ("median", "median")):
        facts = cohort.card["statistics"]["clinical"]
        variable = int(np.argmax(facts["sd"]))
        kept, facts[name] = facts[name], list(facts[name])
        facts[name][variable] *= 1.01
        assert said in contradiction(cohort, _against(cohort, sites))
        facts[name] = kept
    assert contradiction(cohort, told) == ""


def _against(cohort, sites):
    """What sites say about a card with other figures."""
    found = []
    for folder in sites:
        other = find(folder, "mortality")
        other.card["statistics"] = cohort.card["statistics"]
        found.append(evidence_of(other))
    return found
