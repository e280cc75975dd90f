"""The promises of the command line: names, exit codes, one sentence per error, JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REAL = Path(__file__).parents[2].parent / "shared" / "real"
FAST = ("-o", "rounds=1", "-o", "local_epochs=1", "--plain")


def one_sentence(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line[:2].isdigit()]  # progress lines carry a clock
    assert len(lines) == 1, text
    assert lines[0].startswith("error: "), text
    assert "Traceback" not in text
    return lines[0]


def test_list_names_what_the_readme_promises(bench):
    names = [row["name"] for row in json.loads(bench("list", "algorithms", "--json").out)]
    for rule in ("fedavg", "fedprox"):
        for scope in "sm":
            assert {f"{rule}_{scope}", f"{rule}_{scope}_plus"} <= set(names)
    assert {"majority", "local", "central"} <= set(names)
    assert {row["name"] for row in json.loads(bench("list", "datasets", "--json").out)} >= {"ptbxl", "rsna"}


def test_list_without_a_kind_is_an_overview(bench):
    rows = json.loads(bench("list", "--json").out)
    counts = {row["kind"]: row["count"] for row in rows}
    assert set(counts) > {"tasks", "algorithms", "rules", "datasets", "leaderboards", "profiles"}
    for row in rows:  # every command that it names shows as many
        program, *args = row["command"].split()
        assert program == "fedmeki-bench"
        assert len(json.loads(bench(*args, "--json").out)) == row["count"], row
    assert "fedmeki-bench list rules" in bench("list").out


def test_info_shows_parameters_with_defaults(bench):
    facts = json.loads(bench("info", "fedprox", "--json").out)
    assert facts["rule"]["parameters"][0]["name"] == "mu"
    assert facts["rule"]["parameters"][0]["default"] == 1e-6
    assert "MLSys 2020" in bench("info", "fedprox").out


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("lst",), 2, "did you mean 'list'"),
        (("list", "taks"), 2, "did you mean 'tasks'"),
        (("info", "fedavg_m_plsu"), 2, "did you mean 'fedavg_m_plus'"),
        (("run", "fedavgg_s", "--tasks", "ecg_abnormal"), 2, "did you mean 'fedavg_s'"),
        (("run", "fedavg", "--tasks", "ecg_abnormal"), 2, "fedavg_m_plus"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormol"), 2, "did you mean 'ecg_abnormal'"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormal", "--profile", "dmo"), 2, "did you mean 'demo'"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormal", "--device", "cuda:99"), 2, "can't be used"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormal", "-o", "ruonds=1"), 3, "did you mean 'rounds'"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormal", "-o", "lr=-1"), 3, "greater than 0"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormal", "-o", "rounds"), 3, "key=value"),
        (("run", "fedprox_s", "--tasks", "ecg_abnormal", "-o", "mu=-1"), 3, "greater than or equal to 0"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormal", "--clients", "0"), 3, "at least 1"),
        (("run", "fedavg_s", "--tasks", "ecg_abnormal"), 3, "fedmeki-bench prepare ptbxl"),
        (("run", "fedavg_s"), 3, "prepare"),
        (("sweep", "dmeo"), 2, "did you mean 'demo'"),
        (("sweep", "demo"), 3, "fedmeki-bench prepare"),
        (("leaderboard", "demo"), 3, "sweep demo"),
        (("synth", "ptbxl", "--out", "x", "--size", "0"), 3, "at least 1"),
        (("synth", "ptbx", "--out", "x"), 2, "did you mean 'ptbxl'"),
        (("prepare", "ptbxl", "--raw", "nowhere", "--out", "d", "--plain"), 3, "not a folder"),
        (("prepare", "rsna", "--raw", ".", "--out", "d", "-o", "image_sise=3"), 3, "did you mean 'image_size'"),
        (("prepare", "rsna", "--raw", ".", "--out", "d", "-o", "image_size=-3", "--plain"), 3, "image_size"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_and_its_code(bench, args, code, says):
    ended = bench(*args)
    assert ended.code == code, ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err
    if args[0] != "lst":
        one_sentence(ended.err)
    assert not any(Path().glob("*/*.json")), "nothing half-written"


def test_a_run_leaves_a_record_and_is_not_repeated(bench, cohorts, tmp_path):
    args = ("run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "--results", tmp_path / "r", *FAST)
    first = bench(*args)
    assert first.code == 0, first.err
    (path,) = (tmp_path / "r").glob("*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok"
    assert record["cohorts"][0]["synthetic"] is True
    assert (path.parent / record["evaluations"][0]["predictions"]).is_file()
    assert not (path.parent / "checkpoint").exists()
    assert sorted(p.name for p in path.parent.iterdir()) == ["predictions", "record.json"]
    before = path.stat().st_mtime_ns
    assert "cached" in bench(*args).err + bench(*args).out
    assert path.stat().st_mtime_ns == before


def test_run_as_json_is_the_record(bench, cohorts, tmp_path):
    ended = bench("run", "majority", "--data", cohorts, "--results", tmp_path, "--json", *FAST)
    records = json.loads(ended.out)
    assert [r["tasks"] for r in records] == [["ecg_abnormal"], ["lung_opacity"]]
    assert records[0]["evaluations"][0]["metrics"]["auroc"]["value"] == 0.5


def test_a_failed_run_is_a_record_with_a_reason(bench, cohorts, tmp_path):
    ended = bench(
        "run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "--results", tmp_path, *FAST,
        "-o", "lr=1e30", "-o", "clip=1e30", "-o", "optimizer=sgd",
    )  # fmt: skip
    assert ended.code == 4
    assert "in round 1 at client 0" in ended.err
    (path,) = tmp_path.glob("*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "failed"
    assert record["error"]["type"] == "Diverged"
    assert record["evaluations"] == []


def test_a_rule_in_a_file_runs_and_is_marked(bench, cohorts, tmp_path):
    file = tmp_path / "my_rule.py"
    file.write_text(
        "from fedmeki_bench.api import Rule\n\n\nclass Mine(Rule):\n"
        '    """FedAvg under another name."""\n\n    title = "Mine"\n'
    )
    results = tmp_path / "r"
    shared = ("--data", cohorts, "--tasks", "ecg_abnormal", "--results", results, "--json", *FAST)
    ended = bench("run", f"{file}:Mine", "--variant", "s", *shared)
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)[0]
    assert {"kind": "rules", "name": "my_rule.py:Mine", "origin": "file:my_rule.py"} in record["plugins"]
    reference = json.loads(bench("run", "fedavg_s", *shared).out)[0]
    assert record["key"] != reference["key"]
    assert record["evaluations"][0]["metrics"] == reference["evaluations"][0]["metrics"]


def test_a_board_is_swept_shown_and_checked(bench, cohorts, tmp_path):
    board = tmp_path / "small.yaml"
    board.write_text(
        "name: small\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [ecg_abnormal, lung_opacity]\n"
        "algorithms: [majority, fedavg_m, fedprox_m]\noptions: {rounds: 1, local_epochs: 1, mu: 0.1}\n"
    )
    results, out = tmp_path / "r", tmp_path / "out"
    states = json.loads(bench("status", board, "--data", cohorts, "--results", results, "--json").out)
    assert {row["status"] for row in states} == {"missing"}
    swept = bench("sweep", board, "--data", cohorts, "--results", results, "--jobs", 2, "--plain")
    assert swept.code == 0, swept.err
    states = json.loads(bench("status", board, "--data", cohorts, "--results", results, "--json").out)
    assert {row["status"] for row in states} == {"ok"}
    built = bench("leaderboard", board, "--results", results, "--out", out)
    assert built.code == 0, built.err
    text = (out / "leaderboard.md").read_text()
    assert "SYNTHETIC" in text
    assert "FedProx<sub>m</sub>" in text
    assert bench("leaderboard", board, "--results", results, "--out", out, "--check").code == 0
    (out / "leaderboard.csv").write_text("x")
    stale = bench("leaderboard", board, "--results", results, "--out", out, "--check")
    assert stale.code == 1
    assert "leaderboard.csv is stale" in stale.err
    (out / "leaderboard.csv").unlink()
    assert bench("leaderboard", board, "--results", results, "--out", out, "--check").code == 0  # of what is there
    asked = bench("leaderboard", board, "--results", results, "--out", out, "--check", "--format", "md, csv")
    assert asked.code == 1
    assert "leaderboard.csv is missing" in asked.err
    assert bench("leaderboard", board, "--results", "nowhere", "--out", out, "--check").code == 3


def test_an_option_no_algorithm_of_the_board_has_is_refused(bench, cohorts, tmp_path):
    board = tmp_path / "small.yaml"
    board.write_text(
        "name: small\nprofile: demo\nseeds: [0]\ntasks: [ecg_abnormal]\nalgorithms: [fedavg_s]\noptions: {mu: 1}\n"
    )
    ended = bench("sweep", board, "--data", cohorts)
    assert ended.code == 3
    assert "'mu'" in one_sentence(ended.err)


@pytest.mark.slow
def test_jobs_do_not_change_a_bit(bench, cohorts, tmp_path):
    board = tmp_path / "small.yaml"
    board.write_text(
        "name: small\nprofile: demo\nseeds: [0, 1]\nclients: 2\ntasks: [ecg_abnormal]\nalgorithms: [fedavg_s]\n"
        "options: {rounds: 1, local_epochs: 1}\n"
    )
    scores = []
    for jobs in (1, 2):
        results = tmp_path / str(jobs)
        assert bench("sweep", board, "--data", cohorts, "--results", results, "--jobs", jobs, "--plain").code == 0
        records = [json.loads(p.read_text()) for p in sorted(results.glob("*/record.json"))]
        scores.append([(r["key"], r["evaluations"], [h["loss"] for h in r["history"]]) for r in records])
    assert scores[0] == scores[1]


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killed_in_mid_run_it_goes_on_to_the_same_bits(bench, cohorts, tmp_path, how):
    args = ["run", "fedavg_s", "--data", str(cohorts), "--tasks", "ecg_abnormal", "-o", "rounds=10", "--plain"]
    command = [sys.executable, "-m", "fedmeki_bench", *args, "--results", str(tmp_path / "cut")]
    # a shell's background jobs ignore SIGINT, and their children inherit it: give it its meaning back
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=heed) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "cut").glob("*/checkpoint/state.pt")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.kill(process.pid, how)
        process.communicate(timeout=30)
    if how == signal.SIGINT:
        assert process.returncode == 130
        (path,) = (tmp_path / "cut").glob("*/record.json")
        assert json.loads(path.read_text())["status"] == "interrupted"
    resumed = bench(*args, "--results", tmp_path / "cut", "--json")
    whole = bench(*args, "--results", tmp_path / "whole", "--json")
    a, b = json.loads(resumed.out)[0], json.loads(whole.out)[0]
    assert a["status"] == b["status"] == "ok"
    assert a["evaluations"] == b["evaluations"]
    assert [h["loss"] for h in a["history"]] == [h["loss"] for h in b["history"]]
    assert len(a["history"]) == 10


def test_two_runs_of_the_same_key_at_once(cohorts, tmp_path):
    command = [
        sys.executable, "-m", "fedmeki_bench", "run", "fedavg_s", "--data", str(cohorts), "--tasks", "ecg_abnormal",
        "-o", "rounds=6", "--plain", "--results", str(tmp_path),
    ]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/lease")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 4
        assert "already being run by process" in second.stderr
    finally:
        first.communicate(timeout=60)
    assert first.returncode == 0


def test_doctor_says_whether_bits_repeat(bench):
    ended = bench("doctor", "--json")
    checks = {c["what"]: c for c in json.loads(ended.out)}
    assert checks["determinism"]["found"] == "bit-identical on this machine: yes"
    assert ended.code == 0


def test_python_dash_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "fedmeki_bench", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("fedmeki-bench, version")


@pytest.mark.skipif(not (REAL / "ptbxl").is_dir(), reason="the real PTB-XL sample lies outside this repository")
def test_the_main_job_on_real_ecgs(bench, tmp_path):
    prepared = bench("prepare", "ptbxl", "--raw", REAL / "ptbxl", "--out", "data", "--json", "--plain")
    card = next(c["card"] for c in json.loads(prepared.out) if c["cohort"] == "ecg_abnormal")
    classes = [sum(s[c] for s in card["splits"].values()) for c in ("negative", "positive")]
    assert (card["rows"]["kept"], card["groups"], *classes) == (500, 465, 293, 207)  # ecg 145 and 463 are one recording
    assert card["audit"]["groups_shared_between_splits"] == 0
    ended = bench("run", "fedavg_s", "--tasks", "ecg_abnormal", "--data", "data", "--results", "r", "--json")
    record = json.loads(ended.out)[0]
    assert record["clients"] == 5
    assert record["cohorts"][0]["synthetic"] is False
    assert record["evaluations"][0]["metrics"]["auroc"]["low"] > 0.5


def test_answers_of_others_are_scored(bench, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"label": "yes", "answer": "Yes."}\n{"label": "no", "answer": "maybe"}\n')
    strict = json.loads(bench("score", "a.jsonl", "--kind", "binary", "--json", "--resamples", "0").out)
    assert strict["metrics"]["accuracy"]["value"] == 0.5
    assert strict["metrics"]["unparsed"]["value"] == 0.5
    published = ("score", "a.jsonl", "--kind", "binary", "--protocol", "published", "--json")
    # the published rules read "maybe" as gold negative, predicted positive
    assert json.loads(bench(*published, "--resamples", "0").out)["metrics"]["precision"]["value"] == 0.5
    (tmp_path / "bad.jsonl").write_text('{"label": "yes"}\n')
    bad = bench("score", "bad.jsonl", "--kind", "binary")
    assert bad.code == 3
    assert "bad.jsonl" in one_sentence(bad.err)


def test_a_zero_shot_task_needs_a_foundation_view(bench, cohorts):
    ended = bench("run", "fedavg_m", "--data", cohorts, "--tasks", "ecg_abnormal,medvqa")
    assert ended.code == 2
    assert "fedavg_m_fm" in one_sentence(ended.err)


def test_a_foundation_model_that_is_not_there_is_one_sentence(bench, cohorts, tmp_path):
    ended = bench(
        "run", "fedavg_m_fm", "--data", cohorts, "--tasks", "ecg_abnormal", "--results", tmp_path, *FAST,
        "-o", "foundation=/nowhere/at/all",
    )  # fmt: skip
    assert ended.code == 3
    assert "cannot load the foundation model '/nowhere/at/all'" in one_sentence(ended.err)
    assert not list(tmp_path.glob("*/record.json"))
