from __future__ import annotations

from pathlib import Path

import pytest

from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.known import known_boards
from fedmeki_bench.boards.loading import find_board, load_board
from fedmeki_bench.errors import InputError, UsageError

GOOD = """\
name: toy
profile: demo
seeds: [0, 1]
tasks: [a]
algorithms: [x_s, y_s]
synth:
  ptbxl: {size: 5, seed: 1}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    return path


def test_good_board(tmp_path):
    board = load_board(write(tmp_path, GOOD))
    assert (board.clients, board.partition, board.seeds) == (5, "iid", [0, 1])
    assert board.synth["ptbxl"].size == 5
    assert board.source == tmp_path / "toy.yaml"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("profile", "profil", r"toy.yaml:2: unknown key 'profil'; did you mean 'profile'"),
        ("{size: 5", "{sice: 5", r"toy.yaml:7: unknown key 'synth.ptbxl.sice'; did you mean 'size'"),
        ("[0, 1]", "[0, 0]", r"toy.yaml:3: seeds: 0 is listed twice"),
        ("[0, 1]", "[zero]", r"toy.yaml:3: seeds.0: .*integer"),
        ("[0, 1]", "[-1]", r"not negative"),
        ("[a]", "[]", r"toy.yaml:4: tasks: "),
        ("tasks: [a]\n", "", r"key 'tasks' is missing"),
        ("tasks: [a]", "name: b", r"toy.yaml:4: key 'name' occurs twice"),
        ("[a]", "[a", r"toy.yaml:\d+: not valid YAML"),
        (
            "seeds",
            "reference: z_s\nseeds",
            r"toy.yaml:3: reference 'z_s' is not among .* did you mean '[xy]_s'",
        ),
        ("name: toy", "name: ../evil", r"toy.yaml:1: name: "),
    ],
)
def test_errors_name_file_line_and_key(tmp_path, old, new, says):
    with pytest.raises(InputError, match=says):
        load_board(write(tmp_path, GOOD.replace(old, new, 1)))


def test_not_a_mapping_and_no_code(tmp_path):
    with pytest.raises(InputError, match="mapping"):
        load_board(write(tmp_path, "- a\n"))
    with pytest.raises(InputError, match="not valid YAML"):
        load_board(write(tmp_path, "name: !!python/object/apply:os.getcwd []\n"))


def test_find_by_name_path_and_folder(tmp_path, monkeypatch):
    assert find_board("demo").tasks == ["ecg_abnormal", "lung_opacity"]
    with pytest.raises(UsageError, match="unknown board 'demoo'; did you mean 'demo'"):
        find_board("demoo")
    with pytest.raises(UsageError, match="no board file"):
        find_board(tmp_path / "none.yaml")
    write(tmp_path, GOOD)
    assert find_board(tmp_path / "toy.yaml").name == "toy"
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards" / "mine.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert find_board("mine").name == "toy"
    assert {"demo", "mine"} <= set(known_boards())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("margins: {auroc: 0}\n", "the margin of auroc is not positive"),
        ("margins: {auroc: -0.01}\n", "the margin of auroc is not positive"),
        ("margins: {auroc: wide}\n", "valid number"),
        ("questions: {majority: equal}\n", "'better' or 'not_worse'"),
        (
            "questions:\n  majorty: better\n",
            "'majorty' of questions is not among its algorithms; did you mean 'majority'",
        ),
    ],
)
def test_margins_and_questions_are_checked(tmp_path, lines, said):
    path = tmp_path / "b.yaml"
    path.write_text(
        "name: b\nprofile: demo\nseeds: [0]\ntasks: [ecg_abnormal]\nalgorithms: [majority, fedavg_s]\n" + lines
    )
    with pytest.raises(InputError, match=r"b\.yaml:") as refused:
        load_board(path)
    assert said in str(refused.value)


def test_a_board_declares_what_matters_or_a_hundredth_does():
    made = Board.model_validate(
        {"name": "b", "profile": "demo", "seeds": [0], "tasks": ["t"], "algorithms": ["a"], "margins": {"auroc": 0.02}}
    )
    assert made.margin("auroc") == 0.02
    assert made.margin("token_f1") == 0.01
