"""What a page says about its numbers: differences, ranks, shares, groups, targets, published figures."""

from __future__ import annotations

import csv
import json

import pytest
from board_fakes import TASKS, algorithm, board, cells, judged, record

from fedmeki_bench.errors import InputError
from fedmeki_bench.leaderboard.board import Board
from fedmeki_bench.leaderboard.build import build, page_of, render
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.published import load_published

COLUMNS = "paper_table,task,metric,aggregation,scope,stage,percent\n"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    return judged(tmp_path_factory.mktemp("judged") / "results", [0, 1, 2])


def test_the_weak_row_is_separated_and_the_equal_one_is_not(filled):
    (section,) = page_of(*filled).sections
    found = {(c.algorithm, c.task): c for c in section.analysis.comparisons}
    assert set(found) == {(a, t) for a in ("fedprox_s", "fedavg_m") for t in TASKS}  # neither bounds nor the reference
    for task in TASKS:
        weak, equal = found["fedavg_m", task], found["fedprox_s", task]
        assert weak.separated
        assert weak.better is False
        assert weak.low < weak.difference < weak.high < 0
        assert weak.seeds == 3
        assert weak.samples == 60
        assert not equal.separated
        assert equal.low < 0 < equal.high
        assert weak.adjusted >= weak.p  # Holm never makes a p smaller


def test_one_seed_is_tested_by_delong_and_says_what_its_interval_lacks(tmp_path):
    (section,) = page_of(*judged(tmp_path / "r", [0], TASKS[:1])).sections
    for one in section.analysis.comparisons:
        assert one.test == "DeLong"
        assert "seed" in one.note
    assert section.analysis.ranks == {}  # one task, one seed: no order can be said


def test_ranks_shares_front_and_tie_group(filled):
    page = page_of(*filled)
    (section,) = page.sections
    analysis = section.analysis
    assert set(analysis.ranks) == {"fedavg_s", "fedprox_s", "fedavg_m"}
    assert analysis.ranks["fedavg_m"].low == 3
    assert set(analysis.first) == {"fedavg_s", "fedprox_s"}
    assert analysis.shares["majority"] == 0
    assert analysis.shares["central"] == 1
    assert 0.3 < analysis.shares["fedavg_s"] < 1
    by_hand = []
    for task in TASKS:
        value, low, high = (section.grid.mean(a, task, "auroc") for a in ("fedavg_s", "majority", "central"))
        by_hand.append((value - low) / (high - low))
    assert analysis.shares["fedavg_s"] == pytest.approx(sum(by_hand) / 2, abs=1e-12)
    assert len(analysis.front) == 1  # equal bytes: only the best remains
    assert "Nemenyi" in analysis.resolution
    notes = " ".join(page.main.notes)
    assert "Tied for first" in notes
    assert "Resolution" in notes


def test_worst_site_and_rounds_to_a_target(filled):
    (section,) = page_of(*filled).sections
    tables = {t.key: t for t in section.details}
    row = next(r for r in tables["groups_site"].rows if r.algorithm.name == "fedavg_s")
    value = section.grid.mean("fedavg_s", TASKS[0], "auroc")
    assert row.entries[0].text == f"{value - 0.1:.3f} (B), gap 0.100; by chance up to 0.354"
    by_chance = 1.959964 * (0.9 - 0.4) / (2 * 1.959964) * 2**0.5  # two groups, intervals from 0.4 to 0.9
    assert by_chance == pytest.approx(0.354, abs=5e-4)
    assert all(t.algorithm != "central" for t in section.analysis.targets)  # pooling sends data, not models
    own = next(t for t in section.analysis.targets if (t.algorithm, t.task) == ("fedprox_s", TASKS[0]))
    assert own.seeds == 3
    weak = next(t for t in section.analysis.targets if (t.algorithm, t.task) == ("fedavg_m", TASKS[0]))
    assert weak.reached == 0
    assert weak.rounds is None
    assert any(r.algorithm.name == "fedavg_m" and r.entries[0].text == "0 of 3" for r in tables["targets"].rows)


def test_lost_predictions_are_told_and_nothing_else_suffers(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0])
    before = page_of(toy, made, store)
    lost = next(c for c in made if c.algorithm.name == "fedprox_s" and c.task == TASKS[0])
    (store.folder(f"k-{lost.setting}") / "predictions" / f"aggregated.{TASKS[0]}.parquet").unlink()
    after = page_of(toy, made, store)
    assert [r.entries for r in after.main.rows] == [r.entries for r in before.main.rows]
    (one,) = [c for c in after.sections[0].analysis.comparisons if (c.algorithm, c.task) == ("fedprox_s", TASKS[0])]
    assert one.difference is None
    assert "is gone" in one.note
    assert str(tmp_path) not in one.note  # a page says the same wherever the results lie


def test_what_could_not_be_compared_is_counted_in_every_format(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0])
    whole = page_of(toy, made, store)
    assert whole.sections[0].analysis.uncompared == ()
    for task, damage in zip(TASKS, (None, b"torn"), strict=True):
        lost = next(c for c in made if c.algorithm.name == "fedprox_s" and c.task == task)
        path = store.folder(f"k-{lost.setting}") / "predictions" / f"aggregated.{task}.parquet"
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
    page = page_of(toy, made, store)
    text = {name: content.decode() for name, content in render(page, ["md", "tex", "html", "json"]).items()}
    told = "2 of 4 differences to Fedavg_s could not be tested"
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.json"):
        assert told in text[name], name
    assert told.replace("_", r"\_") in text["leaderboard.tex"]
    assert "Separated: 2 of 4 differences (2 could not be tested)" in text["leaderboard.md"]
    assert json.loads(text["leaderboard.json"])["sections"][0]["untested"] == 2
    assert "could not be tested" not in render(whole, ["md"])["leaderboard.md"].decode()


def test_a_deleted_record_makes_its_row_incomplete_not_wrong(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0, 1])
    whole = {r.algorithm.name: r for r in page_of(toy, made, store).main.rows}
    store.path(f"k-{made[-1].setting}").unlink()
    rows = {r.algorithm.name: r for r in page_of(toy, made, store).main.rows}
    assert rows["fedavg_m"].section == "incomplete"
    assert rows["fedavg_m"].entries[0] == whole["fedavg_m"].entries[0]  # the other task keeps its number
    assert rows["fedavg_s"].section == "ranked"
    assert rows["fedavg_s"].entries[0].text == whole["fedavg_s"].entries[0].text


def test_several_dealings_have_tables_of_their_own(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0])
    content = toy.model_dump(exclude={"partition"}) | {"partitions": ["iid", {"dirichlet": {"alpha": 0.3}}]}
    two = Board.model_validate(content)
    assert [d.label for d in two.dealings] == ["iid", "dirichlet alpha 0.3"]
    from dataclasses import replace

    dealt = [replace(c, dealing="iid") for c in made]
    dealt += [replace(c, dealing="dirichlet alpha 0.3", setting="none") for c in made]
    page = page_of(two, dealt, store)
    assert [s.key for s in page.sections] == ["main", "main_2"]
    assert {r.section for r in page.sections[1].table.rows} == {"incomplete"}
    assert page.sections[0].table.rows[0].entries[0].value is not None
    build(two, dealt, store, tmp_path / "out")
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        assert {row["dealing"] for row in csv.DictReader(file)} == {"iid", "dirichlet alpha 0.3"}


def test_published_figures_beside_measured_ones_and_the_contradiction_marked(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text(
        "# Toy paper\n" + COLUMNS
        + "2,ecg_abnormal,precision,fedavg,single,plain,90.00\n2,ecg_abnormal,recall,fedavg,single,plain,80.00\n"
        + "2,ecg_abnormal,f1,fedavg,single,plain,84.71\n"  # 2 * 90 * 80 / 170 = 84.7059
        + "2,ecg_abnormal,precision,fedprox,single,plain,90.00\n2,ecg_abnormal,recall,fedprox,single,plain,80.00\n"
        + "2,ecg_abnormal,f1,fedprox,single,plain,85.71\n"
    )  # fmt: skip
    toy, made, store = judged(tmp_path / "r", [0])
    page = page_of(toy, made, store, Context(published=load_published(path)))
    (paper,) = page.papers
    assert paper.title == "Table 2 of Toy paper"
    assert [a.name for a in paper.algorithms] == ["fedavg_s", "fedprox_s"]
    task, metric, (first, second) = paper.rows[-1]
    assert (task, metric) == ("ecg_abnormal", "F1")
    assert not first.contradicted
    assert second.contradicted
    measured = page.sections[0].grid.mean("fedavg_s", "ecg_abnormal", "f1")
    assert first.text == f"84.71 / {100 * measured:.2f}"
    assert second.text.startswith("85.71† / ")
    assert "can't be compared number by number" in paper.warnings[0]
    assert "generated stand-in data" in paper.warnings[0]
    build(toy, made, store, tmp_path / "out", context=Context(published=load_published(path)))
    for name in ("md", "html", "tex", "json"):
        text = (tmp_path / "out" / f"leaderboard.{name}").read_text()
        assert "85.71" in text, name


def test_the_four_contradictions_of_the_published_tables():
    from pathlib import Path

    published = load_published(Path("leaderboards/published/fedmeki.csv"))
    assert len(published.percent) == 192
    places = {(t, task, a) for t, task, _, a in published.percent}
    assert {p for p in places if published.contradicted(*p)} == {
        ("2", "lung_opacity", "fedavg_s"), ("2", "covid19", "fedavg_s_fm"), ("2", "covid19", "fedprox_s"),
        ("2", "mortality", "fedavg_s_plus"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "lacks the column 'paper_table'"),
        (COLUMNS + "2,t,f1,fedavg,single,plain,high\n", "row 2 is not a published figure"),
        (COLUMNS + "2,t,f1,fedavg,single,plain,120\n", "120.0 is not a percentage"),
        (COLUMNS + "2,t,f1,fedavg,single,odd,12\n", "row 2"),
    ],
)
def test_bad_published_figures_are_one_sentence(tmp_path, text, says):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        load_published(path)


def test_latex_escapes_everything_and_has_one_table_per_section(tmp_path):
    evil = algorithm("evil", base=r"\input{/etc/passwd} 50% & $x$ #1_{~^}", sub="a_b", sup="<>")
    made = cells([evil], TASKS[:1], [0])
    toy = board(title=r"\write18{rm}", tasks=TASKS[:1], algorithms=["evil"])
    (path,) = build(toy, made, [record(made[0], {"auroc": 0.5})], tmp_path, ["tex"])
    text = path.read_text()
    assert r"\textbackslash{}input\{/etc/passwd\} 50\% \& \$x\$ \#1\_\{\textasciitilde{}\textasciicircum{}\}" in text
    assert r"\input{" not in text
    assert r"\write18" not in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    assert r"\toprule" in text
    assert r"\bottomrule" in text


def test_json_tells_the_statistics(filled, tmp_path):
    build(*filled, tmp_path, ["json"])
    (section,) = json.loads((tmp_path / "leaderboard.json").read_text())["sections"]
    assert section["reference"] == "fedavg_s"
    assert {c["test"] for c in section["comparisons"]} == {"swap"}
    assert set(section["ranks"]["fedavg_s"]) >= {"low", "high", "place", "mean_rank"}


def test_costs_rest_on_whole_seeds_and_pooling_has_no_traffic(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0, 1])
    whole = page_of(toy, made, store)
    before = {r.algorithm.name: r for r in whole.main.rows}
    gone = next(c for c in made if c.algorithm.name == "fedprox_s" and c.seed == 1)
    store.path(f"k-{gone.setting}").unlink()
    after = {r.algorithm.name: r for r in page_of(toy, made, store).main.rows}
    place = [c.key for c in whole.main.columns].index("mb_up")
    assert before["fedprox_s"].entries[place].text == "4.00"
    assert after["fedprox_s"].entries[place].text == "4.00"  # of the seed that is whole, not of one and a half
    assert before["central"].entries[place].text == "–"


def test_no_share_where_pooling_gains_nothing(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0])
    for cell in made:
        if cell.algorithm.name == "central" and cell.task == TASKS[1]:
            store.write(record(cell, {"auroc": 0.51, "f1": 0.5}))
    page = page_of(toy, made, store)
    (section,) = page.sections
    gain = 0.51 - section.grid.mean("majority", TASKS[1], "auroc")
    assert gain < 0.02  # of the drawn constant predictor; the seed is fixed
    assert section.analysis.without_gain == (TASKS[1],)
    assert all(s is None or s < 2 for s in section.analysis.shares.values())
    assert any("No share on lung_opacity" in note for note in page.main.notes)


def test_names_with_dollars_and_brackets_are_text_everywhere(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0])
    from dataclasses import replace

    odd = [replace(c, algorithm=replace(c.algorithm, base=f"[a] $x$ {c.algorithm.base} $y")) for c in made]
    toy = toy.model_copy(update={"title": "From $5_$ on"})
    for path in build(toy, odd, store, tmp_path / "out"):
        assert path.stat().st_size > 100
    assert "\n{}[a] \\$x\\$" in (tmp_path / "out" / "leaderboard.tex").read_text()
    with pytest.raises(InputError, match="can't be written"):
        build(toy, odd, store, tmp_path / "out" / "leaderboard.md")
