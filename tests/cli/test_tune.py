"""``tune``: trials that are runs, chosen on `valid` with the test split closed, and written into the board."""

from __future__ import annotations

import json

import pytest

import fedmeki_bench as fb
from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.errors import InputError, RunFailed, UsageError
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import sweep as sweeping
from fedmeki_bench.runs.execute import CHECKPOINT, UNSCORED, execute

BOARD = """\
# why there is this board
name: small
profile: demo
seeds: [0, 1]
clients: 2
tasks: [ecg_abnormal]
algorithms:
  - majority
  - fedavg_s   # the reference
  - fedprox_s: {label: FedProx, options: {mu: 0.1}}
  - fedavg_m_fm
reference: fedavg_s
options: {rounds: 2, local_epochs: 1}
"""
OVER = ("--over", "lr=1e-7,0.002")


@pytest.fixture
def here(monkeypatch):
    """Runs in this process, where it is seen that no test split is opened; returns what was executed."""
    ran = []

    def closed(cohort):
        raise AssertionError("the test split was opened")

    def sweep(entries, data, store, *, jobs, listener, device="cpu", test=True):
        for entry in entries:
            ran.append(entry.key)
            execute(entry.spec, data, store, listener=listener, test=test)

    monkeypatch.setattr("fedmeki_bench.evaluation.scoring.open_test", closed)
    monkeypatch.setattr(sweeping, "sweep", sweep)
    return ran


@pytest.fixture
def board(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(BOARD)
    return path


@pytest.fixture
def places(cohorts, tmp_path):
    return ("--data", cohorts, "--results", tmp_path / "r", "--plain")


def test_tune_chooses_on_valid_and_writes(bench, here, board, places, tmp_path, cohorts, monkeypatch):
    args = ("tune", "fedavg_s", "fedprox_s", "--board", board, *OVER, *places)
    first = bench(*args, "--json")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    for one in told["rows"]:
        assert one["chosen"] == {"lr": 0.002}
        slow, good = (trial["valid"]["valid ecg_abnormal"] for trial in one["trials"])
        assert good > slow + 0.01
        assert [trial["chosen"] for trial in one["trials"]] == [False, True]
        assert one["notes"] == ["lr 0.002 is the largest that was tried: a better one may lie beyond"]
    assert len(here) == 4
    # the records hold valid alone; only the chosen runs can go on to be scored
    store = RecordStore(tmp_path / "r")
    records = list(store.all())
    assert all((r.status, r.error.type, r.evaluations) == ("interrupted", UNSCORED, []) for r in records)
    assert not list((tmp_path / "r").glob("*/predictions"))
    chosen = {key for one in told["rows"] for trial in one["trials"] if trial["chosen"] for key in trial["keys"]}
    assert {r.key for r in records if (store.folder(r.key) / CHECKPOINT).exists()} == chosen

    here.clear()
    second = bench(*args, "--write")
    assert second.code == 0, second.err
    assert here == []  # every trial was there
    assert "lr 0.002, chosen on valid among 2 by the score: mean over tasks on valid" in second.out
    tuned = "tuned: {over: {lr: [1.0e-07, 0.002]}, trials: 2, split: valid, seed: 0}"
    assert board.read_text() == BOARD.replace(
        "  - fedavg_s   #", f"  - fedavg_s: {{options: {{lr: 0.002}}, {tuned}}}   #"
    ).replace("{mu: 0.1}}", f"{{mu: 0.1, lr: 0.002}}, {tuned}}}")

    monkeypatch.undo()  # what is left is scored, not trained again
    made = load_board(board).model_copy(update={"seeds": [0]})
    made.algorithms.pop()
    monkeypatch.setattr("fedmeki_bench.federation.loop.Federation.round", None)
    key = next(iter(chosen))
    from fedmeki_bench.runs.plan import inspect

    (entry,) = [e for e in inspect(made, cohorts, store) if e.key == key]
    assert entry.status == "interrupted"
    scored = execute(entry.spec, cohorts, store)
    assert scored.status == "ok"
    assert scored.evaluations[0].metrics["auroc"].value is not None
    assert [r.valid for r in scored.history] == [r.valid for r in next(r for r in records if r.key == key).history]


def test_the_page_says_what_was_chosen(tmp_path):
    from fedmeki_bench.leaderboard.own_options import own_options

    (path := tmp_path / "b.yaml").write_text(BOARD.replace(
        "options: {mu: 0.1}",
        "options: {mu: 0.1, lr: 0.002}, tuned: {over: {lr: [0.002, 1], mu: [0.1]}, trials: 2, split: valid}",
    ))  # fmt: skip
    assert own_options(load_board(path)) == {"fedprox_s": "mu 0.1, lr 0.002 (lr and mu chosen on valid among 2)"}


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("fedavg_s", "--over", "lr"), 3, "not of the form key=value"),
        (("fedavg_s", "--over", "lr=0.1,"), 3, "each value is a number"),
        (("fedavg_s", "--over", "lr=0.1,0.1"), 2, "given twice"),
        (("fedavg_s", "--over", "lr=-1"), 3, "option 'lr'"),
        (("fedavg_s", "fedprox_s", "--over", "mu=0.1,1"), 2, "fedavg_s has no option 'mu', and all rows get the same"),
        (("majority", *OVER), 2, "its clients train nothing"),
        (("fedavg_m_fm", "--over", "stage.lr=0.1,1"), 2, "says nothing of stage.lr"),
        (("fedavgs", *OVER), 2, "'fedavgs' is not a row of small; did you mean 'fedavg_s'"),
        (("scaffold_s", *OVER, "--write"), 2, "'scaffold_s' is no row of"),
        (("--all", "fedavg_s", *OVER), 2, "not both"), (OVER, 2, "--all"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_said_and_nothing_runs(bench, here, board, places, tmp_path, args, code, says):
    ended = bench("tune", *args, "--board", board, *places)
    assert (ended.code, here) == (code, [])
    assert says in ended.err
    assert board.read_text() == BOARD
    assert not (tmp_path / "r").exists()


def test_all_leaves_out_what_cannot_be_tuned_and_says_so(cohorts, here, board, tmp_path):
    from fedmeki_bench.workflow.tuning import plan_trials

    planned = plan_trials(None, {"mu": [0.1, 1.0, 2.0]}, board=board, data=cohorts, results=tmp_path / "r", trials=2)
    assert [row.name for row in planned.rows] == ["fedprox_s"]
    assert len(planned.chosen) == 2
    assert len(planned.left_out) == 3
    watched = plan_trials(["fedavg_m_fm"], {"lr": [0.1]}, board=board, data=cohorts, results=tmp_path / "r")
    assert watched.notes == (("valid is watched by the view aggregated, the row is scored by the view foundation",),)


def test_trials_that_all_fail_change_nothing(cohorts, here, board, tmp_path, monkeypatch):
    monkeypatch.setattr("fedmeki_bench.federation.loop.Federation.round", None)
    with pytest.raises(RunFailed, match="nothing was written: no trial of fedavg_s ended"):
        fb.tune("fedavg_s", {"lr": [0.1, 0.2]}, board=board, data=cohorts, results=tmp_path / "r", write=True)
    assert board.read_text() == BOARD
    found = fb.tune("fedavg_s", {"lr": [0.1, 0.2]}, board=board, data=cohorts, results=tmp_path / "r")
    assert list(found.trials["status"]) == ["failed", "failed"]
    assert found.rows[0].best is None


def test_a_board_that_changed_meanwhile_is_left_alone(cohorts, here, board, tmp_path, monkeypatch):
    def changed(*args, **kwargs):
        board.write_text(BOARD.replace("mu: 0.1", "mu: 0.2"))

    monkeypatch.setattr(sweeping, "sweep", changed)
    monkeypatch.setattr("fedmeki_bench.workflow.tuning.best_of", lambda found: found[0])
    with pytest.raises(InputError, match="the row 'fedprox_s' was changed meanwhile"):
        fb.tune("fedprox_s", {"lr": [0.1]}, board=board, data=cohorts, results=tmp_path / "r", write=True)
    with pytest.raises(UsageError, match="no file to write to"):
        fb.tune("fedavg_s", {"lr": [0.1]}, board=load_board(board).model_dump(), data=cohorts, write=True)


@pytest.mark.slow
def test_tune_in_processes_of_its_own(bench, board, places, tmp_path):
    ended = bench("tune", "fedavg_s", "--board", board, *OVER, *places, "-j", 1)
    assert ended.code == 0, ended.err
    assert "chosen" in ended.out
    assert all(r.evaluations == [] and r.error.type == UNSCORED for r in RecordStore(tmp_path / "r").all())
