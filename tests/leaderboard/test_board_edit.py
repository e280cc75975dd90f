"""Options and budgets that are written into a board's file: everything else in it stays, to the letter."""

from __future__ import annotations

import difflib

import pytest

from fedmeki_bench.boards.edit import Change, with_changes
from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.boards.rows import TunedSpec
from fedmeki_bench.errors import InputError

TUNED = TunedSpec(over={"lr": [0.001, 1e-5]}, trials=2, split="valid")
SAID = "tuned: {over: {lr: [0.001, 1.0e-05]}, trials: 2, split: valid, seed: 0}"
HEAD = "# on top\nname: b  # behind\nprofile: demo\nseeds: [0]\n\ntasks: [t]   # columns\n"
TAIL = "\n\n# a word on margins\nmargins: {auroc: 0.02}\n"

WAYS = {
    "plain names in a block": (
        "algorithms:\n  - a   # first\n  - b # second\n  - c",
        f"  - b: {{options: {{lr: 1.0e-05}}, {SAID}}} # second",
    ),
    "plain names in a flow": (
        "algorithms: [a, b, c]  # rows",
        f"algorithms: [a, {{b: {{options: {{lr: 1.0e-05}}, {SAID}}}}}, c]  # rows",
    ),
    "quoted": ("algorithms:\n- a\n- 'b'\n- c", f"- 'b': {{options: {{lr: 1.0e-05}}, {SAID}}}"),
    "an empty mapping": ("algorithms:\n- a\n- b: {}\n- c", f"- b: {{options: {{lr: 1.0e-05}}, {SAID}}}"),
    "a mapping in a flow": (
        "algorithms: [a, {b: {label: B, options: {mu: 1}}}, c]",
        f"algorithms: [a, {{b: {{label: B, options: {{mu: 1, lr: 1.0e-05}}, {SAID}}}}}, c]",
    ),
    "an option that is there": (
        "algorithms:\n- a\n- b: {options: {lr: 0.5, mu: 1}}\n- c",
        f"- b: {{options: {{lr: 1.0e-05, mu: 1}}, {SAID}}}",
    ),
    "a block": (
        "algorithms:\n  - a\n  - b:\n      label: B  # shown\n      options:\n        mu: 1  # weak\n\n  - c",
        f"  - b:\n      label: B  # shown\n      options:\n        mu: 1  # weak\n        lr: 1.0e-05\n      {SAID}\n",
    ),
    "tuned before": (
        "algorithms:\n  - a\n  - b:\n      options: {lr: 0.5}\n      tuned:\n        over:\n          lr: [0.5]\n"
        "        trials: 1\n        split: valid\n  - c",
        f"      options: {{lr: 1.0e-05}}\n      {SAID.replace('tuned: ', 'tuned:@')}\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_way_to_write_a_row(tmp_path, way, newline):
    rows, wanted = WAYS[way]
    before = (HEAD + rows + TAIL).replace("\n", newline)
    after = with_changes(before, [Change(1, {"lr": 1e-5}, TUNED)], where="b.yaml")
    (path := tmp_path / "b.yaml").write_bytes(after.encode())
    board = load_board(path)
    assert dict(board.rows[1].options)["lr"] == 1e-5
    assert board.rows[1].tuned == TUNED
    assert [row.algorithm for row in board.rows] == ["a", "b", "c"]
    removed = [line[2:] for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[:2] == "- "]
    assert all("#" not in line or line.split("#")[1] in after for line in removed)
    assert after.startswith(HEAD.replace("\n", newline))
    assert after.endswith(TAIL.replace("\n", newline))
    assert after.count("\r\n") == (after.count("\n") if newline == "\r\n" else 0)
    if "@" not in wanted:
        assert wanted in after.replace("\r\n", "\n")


def test_several_rows_at_once():
    before = HEAD + "algorithms: [a, b, c]" + TAIL
    after = with_changes(before, [Change(2, {"lr": 0.001}, TUNED), Change(0, {"lr": 1e-5}, TUNED)], where="b.yaml")
    assert f"[{{a: {{options: {{lr: 1.0e-05}}, {SAID}}}}}, b, {{c: {{options: {{lr: 0.001}}, {SAID}}}}}]" in after


def test_what_cannot_be_changed_by_inserting_is_said():
    before = HEAD + "algorithms:\n  - b:\n      label: |\n        B\n  - c" + TAIL
    with pytest.raises(InputError, match=r"b.yaml: entry 1 of algorithms can't be changed safely; write \{b:"):
        with_changes(before, [Change(0, {"lr": 1e-5}, TUNED)], where="b.yaml")


@pytest.mark.parametrize(
    ("tuned", "says"),
    [
        ("{over: {lr: [0.1, 0.2]}, trials: 3, split: valid}", "these values make 2 combinations, not 3"),
        ("{over: {lr: [0.2]}, trials: 1, split: valid}", "options hold none of the values"),
        ("{over: {lr: [0.1, 0.1]}, trials: 1, split: valid}", "not one or more different ones"),
        ("{over: {lr: [0.1]}, trials: 1, split: test}", "'valid'"),
        ("{over: {lr: [0.1]}, trails: 1, split: valid}", "unknown key .*trails'; did you mean 'trials'"),
    ],
)
def test_a_budget_that_can_not_be_is_refused(tmp_path, tuned, says):
    path = tmp_path / "b.yaml"
    path.write_text(HEAD + f"algorithms:\n  - a\n  - b: {{options: {{lr: 0.1}}, tuned: {tuned}}}" + TAIL)
    with pytest.raises(InputError, match=rf"b.yaml:9: .*{says}"):
        load_board(path)
