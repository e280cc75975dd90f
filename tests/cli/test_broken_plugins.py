"""Somebody's broken plug-ins: doctor says whose they are and what is wrong, and no other command minds them."""

from __future__ import annotations

import json
import sys

import pytest

from fedmeki_bench import algorithms, registry

MODULES = {
    "alas_raises": "raise RuntimeError('no licence here')\n",
    "alas_exits": "raise SystemExit(3)\n",
    "alas_heavy": "import torch\n\nraise RuntimeError('not on this machine')\n\n\nclass Heavy:\n    pass\n",
    "alas_odd": (
        "from fedmeki_bench.api import DatasetPreparer, Encoder, Rule, Stage, Task\n\n\n"
        "class NoBase:\n    pass\n\n\n"
        "class NoMeta(Task):\n    pass\n\n\n"
        "class NoData(DatasetPreparer):\n    pass\n\n\n"
        "class Odd(Stage):\n    variants = {'odd': 'x'}\n\n\n"
        "TABLE = ['not', 'a', 'mapping']\nNUMBER = 3\n"
    ),
}
POINTS = {
    "rules": {"zz_rule": "alas_raises:Rule", "zz_lost": "alas_nowhere:Rule"},
    "stages": {"zz_stage": "alas_odd:Odd", "zz_exit": "alas_exits:Stage"},
    "algorithms": {"zz_table": "alas_odd:TABLE"},
    "tasks": {"zz_task": "alas_odd:NoMeta", "zz_heavy": "alas_heavy:Heavy"},
    "datasets": {"zz_data": "alas_odd:NoData"},
    "encoders": {"zz_encoder": "alas_odd:NoBase"},
    "metrics": {"zz_metric": "alas_odd:NUMBER"},
    "partitions": {"zz_partition": "alas_odd:Nothing"},
    "foundations": {"zz_foundation": "alas_raises:make"},
    "views": {"zz_view": "alas_odd:NoBase"},
}


def forget() -> None:
    for cached in (registry._entry_points, registry._load_file, algorithms.table, algorithms.suffixes):
        cached.cache_clear()


@pytest.fixture
def alas(tmp_path, monkeypatch):
    """A distribution that declares a broken plug-in of every kind."""
    root = tmp_path / "alas"
    info = root / "alas-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: alas\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        "\n".join(f"[fedmeki_bench.{kind}]\n" + "".join(f"{n} = {t}\n" for n, t in points.items())
                  for kind, points in POINTS.items())
    )  # fmt: skip
    for name, text in MODULES.items():
        (root / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(root))
    forget()
    yield root
    forget()
    for name in MODULES:
        sys.modules.pop(name, None)


def test_the_distribution_is_seen(alas):
    for kind, points in POINTS.items():
        assert set(points) <= set(registry.names(kind))


def test_doctor_makes_every_check_and_says_whose_fault_it_is(bench, alas, cohorts):
    ended = bench("doctor", "--json", "--data", cohorts)
    assert ended.code == 1
    assert "Traceback" not in ended.err
    checks = {check["what"]: check for check in json.loads(ended.out)}
    assert {"python", "processor", "cohort ecg_abnormal", "results folder", "determinism"} <= set(checks)
    assert checks["determinism"]["state"] == "ok"
    assert "no licence here" in checks["rule zz_rule"]["found"]
    assert "declared by alas 0.1: [fedmeki_bench.rules] zz_rule = alas_raises:Rule" in checks["rule zz_rule"]["found"]
    bad = {what for what, check in checks.items() if check["state"] == "bad"}
    assert bad == {f"{kind[:-1]} {name}" for kind, points in POINTS.items() for name in points}
    for what, says in {
        "task zz_heavy": "not on this machine", "task zz_task": "its meta is no TaskMeta",
        "stage zz_stage": "its variants are not", "stage zz_exit": "SystemExit",
        "algorithm zz_table": "a Mapping is expected", "metric zz_metric": "a MetricSpec is expected",
        "encoder zz_encoder": "a subclass of Encoder is expected", "rule zz_lost": "alas_nowhere",
        "dataset zz_data": "its meta is no DatasetMeta", "partition zz_partition": "has no 'Nothing'",
    }.items():  # fmt: skip
        assert says in checks[what]["found"], checks[what]


def test_a_check_that_breaks_down_does_not_stop_the_others(bench, alas, monkeypatch):
    from fedmeki_bench.cli import doctor

    def broken():
        raise ImportError("half an installation")

    monkeypatch.setattr(doctor, "_environment", broken)
    monkeypatch.setattr(doctor, "_determinism", broken)
    checks = {check["what"]: check["found"] for check in json.loads(bench("doctor", "--json").out)}
    assert checks["environment"] == "ImportError: half an installation"
    assert checks["determinism"] == "ImportError: half an installation"
    assert "plug-ins" in checks


@pytest.mark.parametrize("kind", [*registry.KINDS, "leaderboards", "profiles"])
def test_everything_is_listed_beside_them(bench, alas, kind):
    ended = bench("list", kind, "--json")
    assert ended.code == 0, ended.err
    rows = {row["name"]: row for row in json.loads(ended.out)}
    for name in set(POINTS.get(kind, ())) - {"zz_metric", "zz_encoder", "zz_view", "zz_data", "zz_stage", "zz_heavy"}:
        assert rows[name]["problem"], name
    assert len(rows) > len(POINTS.get(kind, ()))


@pytest.mark.slow
def test_no_other_command_minds_them(bench, alas, tmp_path):
    for args in (
        ("info", "fedavg_m"), ("synth", "ptbxl", "--out", "raw/ptbxl", "--size", 150),
        ("prepare", "all", "--raw", "raw", "--out", "data", "--plain"), ("audit", "data"),
        ("check", "fedavg"), ("new", "rule", "mine", "--out", "n"),
        ("run", "fedavg_m", "--data", "data", "-o", "rounds=1", "-o", "local_epochs=1", "--plain"),
    ):  # fmt: skip
        ended = bench(*args)
        assert ended.code == 0, (args, ended.err)
    (tmp_path / "b.yaml").write_text(
        "name: b\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [ecg_abnormal]\nalgorithms: [majority, fedavg_s]\n"
        "options: {rounds: 1, local_epochs: 1}\n"
    )
    for args in (
        ("status", "b.yaml"), ("sweep", "b.yaml", "--jobs", 1, "--plain"), ("leaderboard", "b.yaml", "--out", "o"),
        ("compare", "majority", "fedavg_s", "--board", "b.yaml", "--metrics", "accuracy"), ("rescore", "results"),
    ):  # fmt: skip
        ended = bench(*args)
        assert ended.code == 0, (args, ended.err)
