"""Analyses of a board: found by name, shown in every format, and no trace of them where a board asks for none."""

import json

import pytest
from board_fakes import board, judged

from fedmeki_bench import registry
from fedmeki_bench.boards.loading import board_from
from fedmeki_bench.errors import InputError
from fedmeki_bench.leaderboard.build import page_of, render
from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.plots.theme import Picture
from fedmeki_bench.leaderboard.studies.study import Study, StudyRow, StudyTable

FORMATS = ("md", "csv", "json", "tex", "html")


def count(page, context):
    """How many cells have a number."""
    n = sum(o.status == "ok" for o in page.collected.outcomes)
    column = Column("n", "Counted", "Cells of the board that have a number.")
    table = StudyTable("counted", "Cells & rows", "What", (column,), (StudyRow("ok", (Entry(str(n), float(n)),)),))
    return Study(
        "count", "Counting", (f"{n} cells have a number.", "No more is said."), (table,),
        draw=lambda: [Picture("p", "A line", "What it shows.", "<svg></svg>")], content={"cells": n},
    )  # fmt: skip


@pytest.fixture
def _counting(monkeypatch):
    """The analysis ``count``, in this test alone."""
    monkeypatch.setattr(registry, "_DECLARED", dict(registry._DECLARED))
    registry.declare("analyses", "count", count, "test")


@pytest.mark.usefixtures("_counting")
def test_a_study_stands_in_every_format(tmp_path):
    """Its sentences, table and picture are on the page, and its term is explained; the CSV stays that of the board."""
    toy, made, store = judged(tmp_path / "results", [0])
    plain = render(page_of(toy, made, store), FORMATS)
    asked = board(**(toy.model_dump() | {"analysis": ["count"]}))
    page = page_of(asked, made, store)
    shown = {name.partition(".")[2]: content.decode() for name, content in render(page, FORMATS).items()}
    n = page.studies[0].content["cells"]
    assert n > 0
    assert ("Counted", "Cells of the board that have a number.") in page.terms
    for form in ("md", "html"):
        assert f"{n} cells have a number." in shown[form]
        assert "Cells &amp; rows" in shown[form]
    assert f"ok & {n} \\\\" in shown["tex"]
    assert "<svg></svg>" in shown["html"]
    assert json.loads(shown["json"])["studies"][0]["content"] == {"cells": n}
    assert shown["csv"] == plain["leaderboard.csv"].decode()
    assert page.digest == page_of(toy, made, store).digest


def test_a_board_without_analyses_says_nothing_of_them(tmp_path):
    """Neither its keys nor its page know the word."""
    toy, made, store = judged(tmp_path / "results", [0])
    assert "analysis" not in toy.model_dump()
    found = render(page_of(toy, made, store), FORMATS)
    assert '"studies"' not in found["leaderboard.json"].decode()
    assert ".study" not in found["leaderboard.html"].decode()


@pytest.mark.usefixtures("_counting")
def test_an_unknown_analysis_is_refused_by_name():
    """The sentence offers the nearest."""
    with pytest.raises(InputError, match="unknown analysis 'cuont'; did you mean 'count'"):
        board_from(board().model_dump() | {"analysis": ["cuont"]})
