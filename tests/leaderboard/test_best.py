"""Bold is the best value behind the cells, whatever stands in them; the same in every format."""

from __future__ import annotations

import json

import pytest
from board_fakes import algorithm, board, cells, record

from fedmeki_bench.leaderboard.build import page_of, render

TASK = "ecg_abnormal"
ROWS = [algorithm("fedavg_s"), algorithm("fedprox_s"), algorithm("fednova_s")]


def page(values, seeds=(0, 1), metric="auroc"):
    made = cells(ROWS, [TASK], list(seeds))
    records = [record(c, {metric: values[c.algorithm.name][c.seed]}) for c in made]
    return page_of(board(algorithms=[a.name for a in ROWS], tasks=[TASK], seeds=list(seeds)), made, records)


TWO = {"fedavg_s": (0.9, 0.5), "fedprox_s": (0.8, 0.8), "fednova_s": (0.7, 0.72)}


def best(p):
    return {r.algorithm.name for r in p.main.rows if r.entries[0].best}


def test_with_two_seeds_the_better_mean_is_best():
    assert best(page(TWO)) == {"fedprox_s"}
    low = {name: tuple(1 - v for v in found) for name, found in TWO.items()}
    assert best(page(low, metric="brier")) == {"fedprox_s"}


def test_the_first_seed_does_not_make_a_tie():
    same_first = {"fedavg_s": (0.8, 0.2), "fedprox_s": (0.8, 0.9), "fednova_s": (0.1, 0.2)}
    p = page(same_first)
    assert best(p) == {"fedprox_s"}
    assert not any(e.tie for r in p.main.rows for e in r.entries[:1])


def test_ties_at_the_digits_shown_are_all_best():
    assert best(page({"fedavg_s": (0.8001, 0.8), "fedprox_s": (0.8, 0.8001), "fednova_s": (0.7, 0.7)})) == {
        "fedavg_s", "fedprox_s",
    }  # fmt: skip
    assert best(page({"fedavg_s": (0.803, 0.8), "fedprox_s": (0.8, 0.8), "fednova_s": (0.7, 0.7)})) == {"fedavg_s"}


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_every_format_agrees(seeds):
    values = {name: [*found, found[0]][: len(seeds)] for name, found in TWO.items()}
    p = page(values, seeds)
    (winner,) = best(p)
    means = {name: sum(found) / len(found) for name, found in values.items()}
    assert winner == max(means, key=means.get)
    title = next(a.title for a in ROWS if a.name == winner)
    text = {name: content.decode() for name, content in render(p, ["md", "tex", "html", "json"]).items()}
    rows = json.loads(text["leaderboard.json"])["tables"][0]["rows"]
    assert [r["algorithm"] for r in rows if r["entries"][TASK]["best"]] == [winner]
    base = title.split("_")[0]
    line = next(found for found in text["leaderboard.md"].splitlines() if found.startswith("| Fed") and "**" in found)
    assert line.startswith(f"| {base}")
    line = next(found for found in text["leaderboard.tex"].splitlines() if "textbf" in found)
    assert line.startswith("{}" + base)
    marked = [line for line in text["leaderboard.html"].splitlines() if "<td" in line and "<b>" in line]
    shown = next(r.entries[0].number for r in p.main.rows if r.algorithm.name == winner)
    assert f"<b>{shown}</b>" in marked[0]


def test_the_note_says_what_bold_is():
    assert "Bold is the best mean" in dict(page(TWO).terms)["Bold and ="]
    assert "Bold is the best value" in dict(page({k: v[:1] for k, v in TWO.items()}, (0,)).terms)["Bold and ="]
