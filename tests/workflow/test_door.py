"""The door for programs, called as programs call it: what it returns, what it leaves, and what it raises."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import fedmeki_bench as fb
from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.errors import InputError, RunFailed, UsageError
from fedmeki_bench.events import RoundEnded, RunEnded, RunStarted

FAST = {"rounds": 1, "local_epochs": 1}
BOARD = {
    "name": "small", "profile": "demo", "seeds": [0], "clients": 2, "tasks": ["ecg_abnormal", "lung_opacity"],
    "algorithms": ["majority", "fedavg_s", "fedprox_s"], "options": FAST | {"mu": 10.0},  # mu is FedProx's alone
}  # fmt: skip
ILL = '''
from fedmeki_bench.api import Rule


class Ill(Rule):
    """Fails."""

    def client_update(self, ctx, received):
        raise ValueError("ill")
'''


@pytest.fixture(scope="module")
def swept(cohorts, tmp_path_factory):
    """A folder of records, and what the sweep said."""
    results = tmp_path_factory.mktemp("swept") / "results"
    events = []
    return results, fb.sweep(BOARD, cohorts, results=results, jobs=1, listener=events.append), events


# ---- synth and prepare


def test_synth_writes_a_release_and_prepare_its_cohorts(tmp_path):
    raw = fb.synth("rsna", tmp_path / "raw", size=40, seed=2)
    assert raw == tmp_path / "raw"
    said = []
    options = {"image_size": 32}
    made = fb.prepare("rsna", raw, tmp_path / "data", options=options, workers=1, progress=lambda *a: said.append(a))
    assert {cohort.name for cohort in made} >= {"lung_opacity"}
    for cohort in made:
        assert cohort.path == tmp_path / "data" / cohort.name
        assert (cohort.path / "card.json").is_file()
        assert cohort.card["synthetic"]
        assert not cohort.unchanged
    assert any(done == total > 0 for done, total, _ in said)
    assert all(cohort.unchanged for cohort in fb.prepare("rsna", raw, tmp_path / "data", options=options))
    rows = fb.prepare("rsna", raw, tmp_path / "rows", split="published", options=options, workers=1)
    assert {cohort.card["split_mode"] for cohort in rows if cohort.card["role"] == "training"} == {"published"}


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda p: fb.synth("rsn", p / "x"), UsageError, "did you mean 'rsna'"),
        (lambda p: fb.synth("rsna", p / "x", size=0), InputError, "at least 1"),
        (lambda p: fb.synth("rsna", p / "x", seed=-1), InputError, "not negative"),
        (lambda p: fb.synth("rsna", p), InputError, "is not empty"),
        (lambda p: fb.prepare("rsn", p, p / "x"), UsageError, "did you mean 'rsna'"),
        (lambda p: fb.prepare("rsna", p / "nowhere", p / "x"), InputError, "not a folder"),
        (lambda p: fb.prepare("rsna", p, p / "x", options={"image_sise": 3}), InputError, "did you mean 'image_size'"),
        (lambda p: fb.prepare("rsna", p, p / "x", split="pupil"), InputError, "split"),
    ],
)
def test_bad_input_leaves_nothing(tmp_path, call, error, says):
    (tmp_path / "something").write_text("")
    with pytest.raises(error, match=says):
        call(tmp_path)
    assert not (tmp_path / "x").exists()


# ---- run and records


def test_run_returns_records_and_frames(cohorts, tmp_path, capfd):
    events = []
    done = fb.run(
        "fedavg_s", cohorts, tasks=["ecg_abnormal"], options=FAST, clients=2, seed=3, results=tmp_path / "r",
        listener=events.append,
    )  # fmt: skip
    (record,) = done
    assert len(done) == 1
    assert done[0] is record
    assert (record.status, record.seed, record.clients, record.tasks) == ("ok", 3, 2, ["ecg_abnormal"])
    assert done.failed == done.notes == done.unreadable == ()
    assert [type(event) for event in events] == [RunStarted, RoundEnded, RunEnded]
    scores = done.scores
    assert set(scores["task"]) == {"ecg_abnormal"}
    assert scores["value"].dtype == np.float64
    auroc = scores.set_index("metric").loc["auroc"]
    assert auroc["low"] <= auroc["value"] <= auroc["high"]
    assert auroc["value"] == record.evaluations[0].metrics["auroc"].value
    found = fb.records(tmp_path / "r")
    assert [r.key for r in found] == [record.key]
    pd.testing.assert_frame_equal(found.scores, scores)
    again = fb.run("fedavg_s", cohorts, tasks=["ecg_abnormal"], options=FAST, clients=2, seed=3, results=tmp_path / "r")
    assert again[0].finished == record.finished, "a finished run is not repeated"
    fresh = fb.run(
        "fedavg_s", cohorts, tasks=["ecg_abnormal"], options=FAST, clients=2, seed=3, results=tmp_path / "r",
        fresh=True, keep_model=True,
    )  # fmt: skip
    assert fresh[0].finished > record.finished
    assert (tmp_path / "r" / record.key / "model" / "model.json").is_file()
    assert capfd.readouterr() == ("", ""), "the door prints nothing"


def test_scope_s_gives_a_record_per_task(cohorts, tmp_path):
    done = fb.run("majority", cohorts, options=FAST, results=tmp_path)
    assert [record.tasks for record in done] == [["ecg_abnormal"], ["lung_opacity"]]


def test_a_failed_run_is_raised_or_returned(cohorts, tmp_path):
    (tmp_path / "ill.py").write_text(ILL)
    call = {"variant": "s", "tasks": ["ecg_abnormal"], "options": FAST, "results": tmp_path / "r"}
    with pytest.raises(RunFailed, match=r"1 of 1 runs failed: rule .* failed in .*ill\.py, line 9") as caught:
        fb.run(f"{tmp_path}/ill.py:Ill", cohorts, **call)
    assert "traceback.txt" in str(caught.value)
    done = fb.run(f"{tmp_path}/ill.py:Ill", cohorts, check=False, **call)
    assert [record.status for record in done.failed] == ["failed"]
    assert done.scores["note"].str.contains("ValueError: ill").all()
    with pytest.raises(RunFailed):
        done.check()


@pytest.mark.parametrize(
    ("algorithm", "more", "error", "says"),
    [
        ("fedavgg_s", {}, UsageError, "did you mean 'fedavg_s'"),
        ("fedavg_s", {"tasks": ["ecg_abnormol"]}, UsageError, "did you mean 'ecg_abnormal'"),
        ("fedavg_s", {"profile": "dmo"}, UsageError, "did you mean 'demo'"),
        ("fedavg_s", {"partition": "idd"}, UsageError, "did you mean 'iid'"),
        ("fedavg_s", {"device": "cuda:99"}, UsageError, "can't be used"),
        ("fedavg_m", {"tasks": ["ecg_abnormal", "medvqa"]}, UsageError, "zero-shot"),
        ("fedavg_s", {"options": {"ruonds": 1}}, InputError, "did you mean 'rounds'"),
        ("fedavg_s", {"options": {"lr": -1}}, InputError, "greater than 0"),
        ("fedavg_s", {"clients": 0}, InputError, "at least 1"),
        ("fedavg_s", {"seed": -1}, InputError, "not negative"),
        ("fedavg_s", {"tasks": ["mortality"]}, InputError, "no cohort for task 'mortality'"),
        ("fedavg_m_fm", {"options": {"foundation": "nowhere/at/all"}}, InputError, "cannot load the foundation model"),
    ],
)
def test_what_does_not_fit_trains_nothing(cohorts, tmp_path, algorithm, more, error, says):
    with pytest.raises(error, match=says):
        fb.run(algorithm, cohorts, results=tmp_path / "r", **more)
    assert not (tmp_path / "r").exists()


def test_records_of_nowhere_and_damaged_ones(swept, tmp_path):
    with pytest.raises(InputError, match="no folder of records"):
        fb.records(tmp_path / "nowhere")
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "record.json").write_text("{")
    found = fb.records(tmp_path)
    assert len(found) == 0
    assert [bad.name for bad in found.unreadable] == ["abc/record.json"]
    assert list(found.scores.columns) == list(fb.records(swept[0]).scores.columns)


# ---- boards


def test_sweep_returns_the_board_s_records(swept, cohorts):
    results, done, events = swept
    assert len(done) == 6
    assert not done.failed
    assert {record.algorithm for record in done} == set(BOARD["algorithms"])
    assert sum(isinstance(event, RunEnded) and event.status == "ok" for event in events) == 6
    cached = []
    again = fb.sweep(BOARD, cohorts, results=results, jobs=1, listener=cached.append)
    assert [record.key for record in again] == [record.key for record in done]
    assert {event.status for event in cached} == {"cached"}


@pytest.mark.slow
def test_a_board_may_be_given_in_four_ways(swept, tmp_path, monkeypatch):
    results = swept[0]
    monkeypatch.chdir(tmp_path)
    text = "\n".join(f"{key}: {value}" for key, value in BOARD.items()).replace("'", "")
    (tmp_path / "leaderboards").mkdir()
    file = tmp_path / "leaderboards" / "small.yaml"
    file.write_text(text)
    shown = [fb.leaderboard(board, results).scores for board in (BOARD, file, str(file), "small", load_board(file))]
    for other in shown[1:]:
        pd.testing.assert_frame_equal(shown[0], other)


@pytest.mark.slow
def test_what_lacks_data_is_left_out_and_said(cohorts, tmp_path):
    board = BOARD | {"tasks": ["ecg_abnormal", "mortality"], "algorithms": ["majority"], "options": FAST}
    done = fb.sweep(board, cohorts, results=tmp_path, jobs=1)
    assert [record.tasks for record in done] == [["ecg_abnormal"]]
    assert len(done.notes) == 1
    assert "no cohort for task 'mortality'" in done.notes[0]


@pytest.mark.slow
def test_a_failed_row_is_raised_or_returned(cohorts, tmp_path):
    (tmp_path / "ill.py").write_text(ILL)
    rows = ["majority", f"{tmp_path}/ill.py:Ill_s"]
    board = BOARD | {"tasks": ["ecg_abnormal"], "algorithms": rows, "options": FAST}
    with pytest.raises(RunFailed, match=r"1 of 2 runs failed, first .*ValueError: ill.*traceback"):
        fb.sweep(board, cohorts, results=tmp_path / "r", jobs=1)
    done = fb.sweep(board, cohorts, results=tmp_path / "r", jobs=1, only="failed", check=False)
    assert sorted(record.status for record in done) == ["failed", "ok"]


def test_leaderboard_has_frames_and_writes_files(swept, tmp_path):
    results = swept[0]
    shown = fb.leaderboard(BOARD, results)
    assert shown.files == ()
    assert set(shown.scores["algorithm"]) == set(BOARD["algorithms"])
    assert shown.scores["value"].notna().any()
    assert set(shown.ranks["algorithm"]) == {"fedavg_s", "fedprox_s"}, "a bound has no place"
    assert list(shown.ranks["place"]) == sorted(shown.ranks["place"])
    assert set(shown.differences["against"]) >= {"fedavg_s"}
    written = fb.leaderboard(BOARD, results, out=tmp_path / "out", formats=("md", "csv"))
    assert sorted(path.name for path in written.files) == ["leaderboard.csv", "leaderboard.md"]
    assert all(path.is_file() for path in written.files)


def test_compare_rows_and_records(swept):
    results, done, _ = swept
    found = fb.compare("fedprox_s", "fedavg_s", board=BOARD, results=results)
    assert (found.a, found.b) == ("fedprox_s", "fedavg_s")
    frame = found.differences
    assert list(frame["task"]) == BOARD["tasks"]
    assert frame["difference"].dtype == np.float64
    assert (frame["low"] <= frame["difference"]).all()
    assert (frame["difference"] <= frame["high"]).all()
    keys = {(r.algorithm, r.tasks[0]): r.key for r in done}
    a, b = keys["fedprox_s", "ecg_abnormal"], keys["fedavg_s", "ecg_abnormal"]
    two = fb.compare(a, results / b, results=results, metrics=["accuracy"])
    assert list(two.differences["metric"]) == ["accuracy"]
    same = fb.compare(results / a / "record.json", a, results=results).differences
    assert (same["difference"] == 0).all()


BAD_BOARDS = [
    ({"taks": ["x"]}, "the board: unknown key 'taks'; did you mean 'tasks'"),
    ({"seeds": ["one"]}, r"the board: seeds\.0: "),
    ({"seeds": [0, 0]}, "the board: seeds: 0 is listed twice"),
    ({"reference": "fedprox_m"}, "the board: reference 'fedprox_m' is not among its algorithms"),
    ({"groups": {"hearts": ["ecg"]}}, "the board: task 'ecg' of group 'hearts' is not among its tasks"),
    ({"questions": {"fedprox_m": "better"}}, "the board: 'fedprox_m' of questions is not among its algorithms"),
    ({"title": "\x1b[2J"}, "control character"),
]


@pytest.mark.parametrize(("change", "says"), BAD_BOARDS)
def test_a_bad_mapping_is_one_sentence(change, says):
    for call in (fb.sweep, fb.leaderboard, lambda board: fb.compare("majority", "fedavg_s", board=board)):
        with pytest.raises(InputError, match=says):
            call(BOARD | change)


def test_a_mapping_lacks_what_a_board_needs():
    with pytest.raises(InputError, match="the board: key 'profile' is missing"):
        fb.sweep({key: value for key, value in BOARD.items() if key != "profile"})


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda d, r: fb.sweep("dmeo", d), UsageError, "did you mean 'demo'"),
        (lambda d, r: fb.sweep("no.yaml", d), UsageError, "no board file"),
        (lambda d, r: fb.sweep(BOARD, d, results=r, only="fedavgg_s"), UsageError, "did you mean 'fedavg_s'"),
        (lambda d, r: fb.sweep(BOARD, d, results=r, device="cuda:99"), UsageError, "can't be used"),
        (lambda d, r: fb.sweep(BOARD, "nowhere", results=r), InputError, "no cohort"),
        (lambda d, r: fb.sweep(BOARD | {"options": {"mue": 1}}, d, results=r), InputError, "the option 'mue'"),
        (lambda d, r: fb.leaderboard(BOARD, "nowhere"), InputError, "no record in nowhere"),
        (lambda d, r: fb.leaderboard(BOARD, r, out="x", formats=["docx"]), UsageError, "docx"),
        (lambda d, r: fb.compare("majority", "fedavg_m", board=BOARD, results=r), UsageError, "not a row of small"),
        (lambda d, r: fb.compare("majority", "fedavg_s", board=BOARD, results="nowhere"), InputError, "no record"),
        (lambda d, r: fb.compare("abc", "def", results=r), UsageError, "'abc' is no record"),
        (
            lambda d, r: fb.compare("majority", "fedavg_s", board=BOARD, results=r, metrics=["acuracy"]),
            UsageError, "did you mean 'accuracy'",
        ),
    ],
)  # fmt: skip
def test_what_a_board_can_not_do_is_one_sentence(swept, cohorts, tmp_path, monkeypatch, call, error, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says) as caught:
        call(cohorts, swept[0])
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_importing_the_door_loads_nothing_heavy():
    code = "import sys, fedmeki_bench; assert not {'torch', 'pandas', 'numpy'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(fb.__all__) <= set(dir(fb))
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        fb.swep  # noqa: B018
