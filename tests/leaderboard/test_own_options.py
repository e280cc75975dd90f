"""Rows with options of their own are named on the page, in every format; without any it is as it was."""

from __future__ import annotations

import json

import pytest
from board_fakes import board, judged

from fedmeki_bench.leaderboard import build
from fedmeki_bench.leaderboard.page import Context

FORMATS = ("md", "csv", "json", "tex", "html")
SAID = "Rows with options of their own, over the board's: Fedprox_s: optimizer sgd, lr 0.05."
DETAIL = {"fedprox_s": {"options": {"optimizer": "sgd", "lr": 0.05}}}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The same records under three boards: without own options, with an empty mapping, and with some."""
    toy, cells, store = judged(tmp_path_factory.mktemp("r"), [0, 1])
    found = {}
    for name, row in {"plain": "fedprox_s", "empty": {"fedprox_s": {}}, "own": DETAIL}.items():
        rows = [row if entry == "fedprox_s" else entry for entry in toy.algorithms]
        page = build.page_of(board(**(toy.model_dump() | {"algorithms": rows})), cells, store, Context())
        found[name] = {f: c.decode() for f, c in build.render(page, FORMATS).items()} | {"page": page}
    return found


def test_every_format_names_the_rows_with_options_of_their_own(pages):
    own = pages["own"]
    assert own["leaderboard.md"].count("optimizer sgd, lr 0.05.") == 3  # main metrics, differences, settings
    assert own["leaderboard.html"].count("optimizer sgd, lr 0.05") == 3
    assert own["leaderboard.tex"].count("optimizer sgd, lr 0.05") == 2
    told = json.loads(own["leaderboard.json"])
    assert told["own_options"] == {"fedprox_s": "optimizer sgd, lr 0.05"}
    assert {t["key"] for t in told["tables"] if SAID in t["notes"]} == {"main", "differences", "settings"}
    header, *lines = own["leaderboard.csv"].splitlines()
    assert header.endswith(",options")
    assert all(line.endswith('"optimizer sgd, lr 0.05"') == line.startswith("fedprox_s,") for line in lines)
    assert any(line.startswith("fedprox_s,") for line in lines)


def test_a_page_without_any_is_as_it_was(pages):
    for name in FORMATS:
        text = pages["plain"][f"leaderboard.{name}"]
        assert "options of their own" not in text
        assert "own_options" not in text
        if name != "json":  # which repeats the board as it is written
            assert pages["empty"][f"leaderboard.{name}"] == text
    assert pages["plain"]["leaderboard.csv"].splitlines()[0].endswith(",other")
