from __future__ import annotations

import csv
import json
import re

import pytest
from board_fakes import TASKS, algorithm, board, cells, record

from fedmeki_bench.errors import CheckFailed, UsageError
from fedmeki_bench.leaderboard.build import FORMATS, build, check, default_folder, page_of
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.reading import reader
from fedmeki_bench.leaderboard.render import markdown
from fedmeki_bench.records.store import RecordStore


@pytest.fixture
def filled(tmp_path):
    names = ["majority", "local", "fedavg_s", "fedavg_s_plus", "fedavg_s_star"]
    made = cells([algorithm(n) for n in names], TASKS, [0])
    store = RecordStore(tmp_path / "results")
    for i, cell in enumerate(made[:-1]):
        v = 0.5 + i / 30
        store.write(record(cell, {"auroc": (v, v - 0.1, v + 0.1), "f1": v}))
    return board(algorithms=names), made, store


def test_same_bytes_twice_and_check(tmp_path, filled):
    toy, made, store = filled
    out = tmp_path / "out"
    paths = build(toy, made, store, out)
    assert [p.name for p in paths] == [f"leaderboard.{f}" for f in FORMATS]
    first = [p.read_bytes() for p in paths]
    # Records in any order, from any source, at any time.
    build(toy, made, list(store.all())[::-1], out, context=Context(read=reader(store.folder)))
    assert [p.read_bytes() for p in paths] == first
    assert all(b.endswith(b"\n") and not b.endswith(b"\n\n") for b in first)
    check(toy, made, store, out)
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in paths)


def test_check_names_what_is_stale(tmp_path, filled):
    toy, made, store = filled
    out = tmp_path / "out"
    build(toy, made, store, out)
    store.write(record(made[-1], {"auroc": 0.9, "f1": 0.5}))
    with pytest.raises(CheckFailed, match=r"leaderboard.md is stale \(line \d+\).*csv.*json.*svg is stale"):
        check(toy, made, store, out)
    build(toy, made, store, out)
    (out / "leaderboard.csv").unlink()
    with pytest.raises(CheckFailed, match=r"leaderboard.csv is missing: run `fedmeki-bench leaderboard toy`"):
        check(toy, made, store, out)


def test_formats_and_folder(tmp_path, filled):
    toy, made, store = filled
    with pytest.raises(UsageError, match="unknown format 'mdd'; did you mean 'md'"):
        build(toy, made, store, tmp_path, ["mdd"])
    (path,) = build(toy, made, store, tmp_path / "o", ["md"])
    assert "leaderboard.svg" not in path.read_text()
    assert default_folder(toy).as_posix() == "leaderboards/generated/toy"


def test_csv_and_json_agree_with_the_records(tmp_path, filled):
    toy, made, store = filled
    build(toy, made, store, tmp_path, ["csv", "json"])
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * 2 + 1
    assert rows[0]["value"] == "0.500000"
    assert rows[-1]["status"] == "missing"
    assert rows[-1]["value"] == ""
    content = json.loads((tmp_path / "leaderboard.json").read_text())
    assert len(content["rows"]) == len(rows)
    assert content["stamp"] == "SYNTHETIC"
    assert content["provenance"]["records"] == 9


def test_markdown_says_what_it_rests_on(filled):
    text = markdown(page_of(*filled))
    assert text.count("(SYNTHETIC)") == 4  # title and three tables
    assert re.search(r"Built from 9 records, sha256 [0-9a-f]{16}", text)
    assert "FedAvg" not in text
    assert "| Fedavg<sub>s</sub><sup>&#42;</sup> | 0.767 [0.67, 0.87] | missing |" in text
    assert "- Fedavg<sub>s</sub><sup>&#42;</sup>, lung_opacity, seed 0: missing: not run yet" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_names_and_reasons_cannot_inject_markup():
    evil = algorithm("evil", base="<script>alert(1)</script>|*x*", sub="`a`", sup="[b](c)")
    made = cells([evil], TASKS[:1], [0])
    failed = record(
        made[0], {}, status="failed", evaluations=[],
        error={"type": "E", "message": "<img src=x onerror=y> | [a](http://b)\n# c"},
        plugins=[{"kind": "rule", "name": "<b>", "origin": "file:x_y.py"}],
    )  # fmt: skip
    toy = board(title="<i>t</i>", summary="# big *news*", tasks=TASKS[:1], algorithms=["evil"])
    text = markdown(page_of(toy, made, [failed]))
    for bad in ("<script", "<img", "<b>", "<i>", "](http", "](c)", "\n# c", "\n# big", "*x*", "`a`"):
        assert bad not in text, bad
    assert "file:x_y.py" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_spreadsheets_do_not_run_cells(tmp_path):
    made = cells([algorithm("fedavg_s")], TASKS[:1], [0])
    failed = record(made[0], {}, status="failed", evaluations=[], error={"type": '=HYPERLINK("x")', "message": "m"})
    build(board(tasks=TASKS[:1]), made, [failed], tmp_path, ["csv"])
    assert "'=HYPERLINK" in (tmp_path / "leaderboard.csv").read_text()


@pytest.mark.parametrize("seeds", [[0], [0, 1], [0, 1, 2]])
def test_figure_is_stable_and_survives_odd_input(tmp_path, seeds):
    odd = algorithm("odd_s", base="a$b", sub="x_{y}", sup="^%")
    made = cells([algorithm("majority"), algorithm("fedavg_s"), odd], TASKS, seeds)
    records = [record(c, {"auroc": (0.6 + 0.01 * c.seed, 0.5, 0.7)}) for c in made if c.task == TASKS[0]]
    toy = board(seeds=seeds, title="$t")
    (path,) = build(toy, made, records, tmp_path, ["svg"])
    first = path.read_bytes()
    build(toy, made, records, tmp_path, ["svg"])
    assert path.read_bytes() == first
    assert b"<dc:date>" not in first


def test_an_empty_board_builds(tmp_path):
    made = cells([algorithm("fedavg_s")], TASKS, [0])
    for path in build(board(), made, RecordStore(tmp_path / "none"), tmp_path / "out"):
        assert path.stat().st_size


def test_numbers_of_one_key_from_another_machine_are_told(tmp_path):
    made = cells([algorithm("fedavg_s")], TASKS[:1], [0])
    toy = board(tasks=TASKS[:1], algorithms=["fedavg_s"])

    def on(processor, recall):
        return [record(made[0], {"auroc": 0.891, "recall": recall}, environment={"processor": processor, "threads": 1})]

    build(toy, made, on("A", 0.564), tmp_path, ["md", "csv"])
    assert "(A, 1 thread)" in (tmp_path / "leaderboard.md").read_text()
    with pytest.raises(CheckFailed, match="1 number of the same runs was made in another environment") as told:
        check(toy, made, on("B", 0.821), tmp_path, ["md", "csv"])
    assert "recall of fedavg_s on ecg_abnormal 0.564 there, 0.821 here" in str(told.value)
    with pytest.raises(CheckFailed) as same:  # one machine: the numbers are stale for another reason
        check(toy, made, on("A", 0.821), tmp_path, ["md", "csv"])
    assert "another environment" not in str(same.value)
    (tmp_path / "leaderboard.csv").write_text("key,value\n1,one\n")
    with pytest.raises(CheckFailed) as torn:
        check(toy, made, on("B", 0.821), tmp_path, ["md"])
    assert "another environment" not in str(torn.value)
