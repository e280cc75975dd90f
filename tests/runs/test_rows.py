"""Rows of a board with a name, a label and options of their own: what they train, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.loading import board_from, load_board
from fedmeki_bench.errors import InputError
from fedmeki_bench.records.record import Record
from fedmeki_bench.runs.plan import cells, plan
from fedmeki_bench.runs.rows import resolve_rows

HEAD = "name: small\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [ecg_abnormal]\nalgorithms:\n  - fedavg_s\n"


def board(*algorithms: Any, **changes: Any) -> Board:
    content = {
        "name": "small", "profile": "demo", "seeds": [0], "clients": 2, "tasks": ["ecg_abnormal"],
        "algorithms": list(algorithms),
    }  # fmt: skip
    return board_from(content | changes)


def settings(made: Board) -> dict[str, str]:
    """Row -> setting of its only run."""
    return {cell.algorithm.name: cell.setting for cell in cells(made)}


def params(made: Board, row: str) -> dict[str, Any]:
    (entry,) = [e for e in plan(made) if any(c.algorithm.name == row for c in e.cells)]
    return entry.spec.params


def test_a_row_without_anything_of_its_own_is_what_its_name_alone_is():
    plain, detailed = board("majority", "fedprox_s"), board("majority", {"fedprox_s": {}})
    assert cells(plain) == cells(detailed)
    assert plain.model_dump()["algorithms"] == ["majority", "fedprox_s"]


def test_options_of_a_row_are_those_of_the_board_for_it_alone():
    made = board("fedavg_s", {"fedavg_s": {"name": "low", "options": {"lr": 0.05, "rounds": 3}}}, options={"rounds": 2})
    everywhere = board("fedavg_s", options={"rounds": 3, "lr": 0.05})
    found = settings(made)
    assert found["fedavg_s"] == settings(board("fedavg_s", options={"rounds": 2}))["fedavg_s"]
    assert found["low"] == settings(everywhere)["fedavg_s"] != found["fedavg_s"]
    assert len(plan(made)) == 2
    assert {entry.spec.algorithm for entry in plan(made)} == {"fedavg_s"}  # what a record can be repeated by


@pytest.mark.parametrize(("shared", "own"), [("lr", "profile.lr"), ("profile.lr", "lr"), ("lr", "lr")])
def test_the_row_comes_after_the_board_whichever_way_a_key_is_written(shared, own):
    made = board({"fedavg_s": {"options": {own: 0.05}}}, options={shared: 0.01})
    assert params(made, "fedavg_s")["profile"]["lr"] == 0.05


def test_the_row_comes_after_the_options_of_its_algorithm():
    made = board({"fedprox_mu_s": {"options": {"mu": 0.5}}}, options={"rule.mu": 0.2})
    assert params(made, "fedprox_mu_s")["rule"]["mu"] == 0.5
    (row,) = resolve_rows(made, load=False)
    assert row.shown.options == (("rule.mu", 0.5),)


def test_rows_that_mean_one_run_share_its_training():
    made = board("fedavg_s", {"fedavg_s": {"name": "same", "options": {"local_epochs": 2}}})  # the profile's own
    (entry,) = plan(made)
    assert [cell.algorithm.name for cell in entry.cells] == ["fedavg_s", "same"]


def test_titles_of_one_algorithm_are_told_apart_and_labels_shown():
    made = board(
        "fedavg_s", {"fedavg_s": {"name": "low", "options": {"lr": 0.05}}}, {"fedavg_s": {"name": "again"}},
        {"fedprox_s": {"label": "FedProx, mine", "options": {"mu": 0.1}}},
    )  # fmt: skip
    titles = [row.shown.title for row in resolve_rows(made, load=False)]
    assert titles == ["FedAvg_s", "FedAvg_s, lr 0.05", "FedAvg_s, again", "FedProx, mine"]


def test_a_board_with_rows_survives_being_written_and_read():
    made = board("fedavg_s", {"fedavg_s": {"name": "low", "label": "Low", "options": {"lr": 0.05}}})
    again = Board.model_validate(made.model_dump(mode="json"))
    assert again.rows == made.rows
    assert settings(again) == settings(made)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("  - fedavg_s: {options: {lr: 0.1}}", r"toy.yaml:8: .*'fedavg_s' is listed twice"),
        ("  - fedprox_s: {lable: a}", r"toy.yaml:8: unknown key .*lable'; did you mean 'label'"),
        ("  - fedprox_s:\n    options: {lr: 0.1}", r"toy.yaml:8: .*a row is a name, or one name with a mapping"),
        ("  - fedprox_s: {options: {lr: {a: 1}}}", r"toy.yaml:8: .*an option is a number, a text"),
        ("  - fedprox_s: {name: failed}", r"toy.yaml:8: .*means something else"),
        ("  - fedprox_s: {label: One}\n  - majority: {label: One}", r"toy.yaml:9: .*that of another row"),
        ("  - fedprox_s: {label: FedAvg_s}", r"toy.yaml:8: another row is called 'FedAvg_s' in tables"),
        ("  - fedprox_s: {name: scaffold_m}", r"toy.yaml:8: 'scaffold_m' is the name of an algorithm"),
        ("  - fedprox_s:\n      options:\n        lr: 0.1\n        muu: 1", r"toy.yaml:11: .*no option 'muu'; .*'mu'"),
        ("  - majority: {options: {mu: 1}}", r"toy.yaml:8: majority has no option 'mu'"),
        ("  - fedprox_s: {options: {lr: -1}}", r"toy.yaml:8: row 'fedprox_s': option 'lr' .*-1"),
        ("  - fedprox_s: {options: {availability.rate: 1}}", r"toy.yaml:8: fedprox_s has no option"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, lines, says):
    path = tmp_path / "toy.yaml"
    path.write_text(HEAD + lines + "\n")
    with pytest.raises(InputError, match=says):
        plan(load_board(path))


def test_the_federation_is_no_matter_of_a_row():
    made = board("fedavg_s", {"fedprox_s": {"options": {"alpha": 1.0}}}, partition="dirichlet")
    with pytest.raises(InputError, match="the same for all rows"):
        plan(made)


def record(**params: Any) -> Record:
    shared = {"rounds": 12, "local_epochs": 2, "lr": 0.002, "optimizer": "adam"}
    rule = {key: params.pop(key) for key in ("mine",) if key in params}
    name = "-".join(f"{k}{v}" for k, v in (params | rule).items()) or "plain"
    return Record.model_validate({
        "key": name, "setting": f"s-{name}", "status": "ok", "algorithm": "gone.py:Gone_m", "rule": "gone.py:Gone",
        "scope": "m", "stage": "none", "profile": "demo", "seed": 0, "clients": 2, "partition": "iid",
        "tasks": ["ecg_abnormal"], "views": ["aggregated"], "versions": {"tasks": {"ecg_abnormal": 1}},
        "params": {"profile": shared | params, "rule": {"mine": 1} | rule, "stage": {}},
    })  # fmt: skip


def test_rows_of_a_rule_from_a_file_find_their_own_records():
    gone = "gone.py:Gone_m"
    made = board(
        gone, {gone: {"name": "low", "options": {"lr": 0.05}}}, {gone: {"name": "other", "options": {"mine": 7}}},
        {gone: {"name": "both", "options": {"mine": 7, "profile.lr": 0.05}}},
    )  # fmt: skip
    records = [record(), record(lr=0.05), record(mine=7), record(lr=0.05, mine=7)]
    found = {cell.algorithm.name: cell.setting for cell in cells(made, records)}
    assert found == {gone: "s-plain", "low": "s-lr0.05", "other": "s-mine7", "both": "s-lr0.05-mine7"}
    missing = {cell.algorithm.name: cell.setting for cell in cells(made, records[1:2])}
    assert missing["low"] == "s-lr0.05"
    assert all(setting.startswith("no setting: ") for name, setting in missing.items() if name != "low")
    assert len(set(missing.values())) == 4


FAULTS = {"all honest": {}, "signs flipped": {"flip_signs": 0.5}}


def test_faults_are_compared_as_partitions_are():
    made = board("fedavg_s", "central", faults=FAULTS)
    found = {(c.algorithm.name, c.partition): c.setting for c in cells(made)}
    plain = settings(board("fedavg_s", "central"))
    assert found["fedavg_s", "all honest"] == plain["fedavg_s"] != found["fedavg_s", "signs flipped"]
    assert found["central", "all honest"] == found["central", "signs flipped"] == plain["central"]  # nobody can fail
    one_fault = board("fedavg_s", options={"faults.flip_signs": 0.5})
    assert found["fedavg_s", "signs flipped"] == settings(one_fault)["fedavg_s"]
    assert made.partition_words == "iid partition"


def test_partitions_and_faults_together_are_every_pair():
    made = board("fedavg_s", partitions=["iid", {"dirichlet": {"alpha": 0.3}}], faults=FAULTS)
    assert [choice.label for choice in made.federations] == [
        "iid, all honest", "iid, signs flipped",
        "dirichlet alpha 0.3, all honest", "dirichlet alpha 0.3, signs flipped",
    ]  # fmt: skip
    assert len({cell.setting for cell in cells(made)}) == 4
    assert board("fedavg_s", faults={"signs flipped": FAULTS["signs flipped"]}).federations[0].label == ""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"flip_sign": 0.5}, r"'signs flipped': unknown option 'flip_sign' of faults; did you mean 'flip_signs'"),
        ({"flip_signs": 2}, r"'signs flipped': option 'flip_signs' of faults cannot be 2"),
        ({"flip_signs_scale": 2}, r"a fault is that nobody has; give faults.flip_signs"),
        ({}, r"'signs flipped' and 'all honest' are the same faults"),
    ],
)
def test_wrong_faults_are_refused_with_their_heading(wrong, says):
    with pytest.raises(InputError, match=says):
        plan(board("fedavg_s", faults=FAULTS | {"signs flipped": wrong}))
