"""What a page says about its numbers: differences, places, groups, targets, published figures."""

from __future__ import annotations

import csv
import json

import pytest
from board_fakes import TASKS, algorithm, board, cells, judged, record

from fedmeki_bench.boards.board import Board
from fedmeki_bench.errors import InputError
from fedmeki_bench.leaderboard.build import build, page_of, render
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.published import load_published

COLUMNS = "paper_table,task,metric,aggregation,scope,stage,percent\n"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    return judged(tmp_path_factory.mktemp("judged") / "results", [0, 1, 2])


def test_the_weak_row_is_worse_and_the_equal_one_is_undecided(filled):
    (section,) = page_of(*filled).sections
    analysis = section.analysis
    primary = {c.algorithm: c for c in analysis.primary}
    assert set(primary) == {"fedprox_s", "fedavg_m"}  # neither bounds nor the reference
    weak, equal = primary["fedavg_m"], primary["fedprox_s"]
    assert weak.word == "worse"
    assert weak.low < weak.difference < weak.high < 0
    assert weak.seeds == 3
    assert weak.patients == 60  # both tasks are put to the same sixty
    assert weak.adjusted >= weak.p
    assert equal.word == "undecided"
    assert equal.low < 0 < equal.high
    per_task = {(c.algorithm, c.task): c for c in analysis.per_task}
    assert set(per_task) == {(a, t) for a in primary for t in TASKS}
    for task in TASKS:
        assert per_task["fedavg_m", task].word == "worse"
        assert per_task["fedprox_s", task].word == "not tested"  # its mean is not decided
    by_hand = [per_task["fedavg_m", task].difference for task in TASKS]
    assert weak.difference == pytest.approx(sum(by_hand) / 2, abs=1e-12)


def test_bounds_are_asked_the_declared_questions(filled):
    toy, made, store = filled
    (section,) = page_of(*filled).sections
    asked = {(a.found.algorithm, a.found.against): a for a in section.analysis.questions}
    assert set(asked) == {(name, "central") for name in ("fedavg_s", "fedprox_s", "fedavg_m")}
    assert asked["fedavg_m", "central"].answer == "no"
    assert {a.question for a in asked.values()} == {"not_worse"}
    declared = toy.model_copy(update={"questions": {"majority": "better"}})
    (section,) = page_of(declared, made, store).sections
    answers = {a.found.algorithm: a.answer for a in section.analysis.questions}
    assert answers["fedavg_s"] == "yes"
    assert "Better than Majority?" in [c.header for c in section.differences.columns]
    assert "2 of 3 are shown to be better than Majority" in " ".join(section.verdict)


def test_one_seed_speaks_of_trained_models_alone(tmp_path):
    page = page_of(*judged(tmp_path / "r", [0], TASKS[:1]))
    (section,) = page.sections
    assert section.analysis.per_task == ()  # the one task is the primary family
    assert {c.task for c in section.analysis.primary} == {TASKS[0]}
    assert section.verdict[0].startswith("Of these models, trained once each, ")
    assert "not of the algorithms" in dict(section.differences.definitions)["One seed"]
    (three,) = page_of(*judged(tmp_path / "three", [0, 1, 2], TASKS[:1])).sections
    assert "trained once" not in " ".join(three.verdict)


def test_places_verdict_front_and_resolution(filled):
    page = page_of(*filled)
    (section,) = page.sections
    analysis = section.analysis
    assert set(analysis.places) == {"fedavg_s", "fedprox_s", "fedavg_m"}
    assert (analysis.places["fedavg_m"].low, analysis.places["fedavg_m"].high) == (3, 3)
    assert set(analysis.best) == {"fedavg_s", "fedprox_s"}
    assert len(analysis.front) == 1  # equal bytes: only the best remains
    said = " ".join(section.verdict)
    assert "worse than Fedavg_s: Fedavg_m" in said
    assert "one of 2" in said
    assert "Resolution: with these 60 patients and 3 seeds" in said
    assert analysis.cohorts == (tuple(TASKS),)
    assert any("share theirs, and count as one" in note for note in page.main.notes)
    order = [r.algorithm.name for r in page.main.rows if r.section == "ranked"]
    assert [analysis.places[name].place for name in order] == [1, 2, 3]  # order and place depend on one statistic
    assert render(page, ["md"])["leaderboard.md"].decode().index("What was found") < 600


def test_the_same_predictions_under_two_names_count_once(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0, 1, 2])
    before = {c.algorithm: c for c in page_of(toy, made, store).sections[0].analysis.primary}
    for cell in made:
        if cell.algorithm.name == "fedprox_s":  # now one training under two names
            own, other = (store.folder(f"k-{n}-{cell.task}-{cell.seed}") for n in ("fedprox_s", "fedavg_m"))
            path = f"predictions/aggregated.{cell.task}.parquet"
            (own / path).write_bytes((other / path).read_bytes())
            found = next(r for r in store.all() if r.setting == f"fedavg_m-{cell.task}-{cell.seed}")
            values = {name: v.value for name, v in found.evaluations[0].metrics.items()}
            made_again = record(cell, values)
            made_again.evaluations[0].predictions = path
            store.write(made_again)
    page = page_of(toy, made, store)
    analysis = page.sections[0].analysis
    after = {c.algorithm: c for c in analysis.primary}
    assert analysis.twins == {"fedavg_m": "fedprox_s"}
    assert after["fedavg_m"].low == after["fedprox_s"].low
    assert after["fedavg_m"].each > before["fedavg_m"].each  # a smaller family than with two rows
    assert any("counted once" in note for note in page.sections[0].differences.notes)


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
    shown = len(TASKS) + 1
    for one, other in zip(after.main.rows, before.main.rows, strict=True):
        assert one.entries[:shown] == other.entries[:shown]
    # the lost row might be the best: there are no places without it
    assert before.sections[0].analysis.places
    assert not after.sections[0].analysis.places
    assert "The best" not in " ".join(after.sections[0].verdict)
    (one,) = [c for c in after.sections[0].analysis.per_task if (c.algorithm, c.task) == ("fedprox_s", TASKS[0])]
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
    told = "2 of 4 differences to {} could not be found"
    for name, written in {"md": "Fedavg<sub>s</sub>", "html": "Fedavg<sub>s</sub>", "json": "Fedavg_s",
                          "tex": r"{}Fedavg\textsubscript{s}"}.items():  # fmt: skip
        assert told.format(written) in text[f"leaderboard.{name}"], name
    assert json.loads(text["leaderboard.json"])["sections"][0]["uncompared"] == 2
    assert "could not be found" not in render(whole, ["md"])["leaderboard.md"].decode()


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
    assert [d.label for d in two.federations] == ["iid", "dirichlet alpha 0.3"]
    from dataclasses import replace

    split = [replace(c, partition="iid") for c in made]
    split += [replace(c, partition="dirichlet alpha 0.3", setting="none") for c in made]
    page = page_of(two, split, store)
    assert [s.key for s in page.sections] == ["main", "main_2"]
    assert {r.section for r in page.sections[1].table.rows} == {"incomplete"}
    assert page.sections[0].table.rows[0].entries[0].value is not None
    build(two, split, store, tmp_path / "out")
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        assert {row["partition"] for row in csv.DictReader(file)} == {"iid", "dirichlet alpha 0.3"}


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
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2  # the costs do not fit beside this name
    assert r"\toprule" in text
    assert r"\bottomrule" in text


def test_json_tells_the_statistics(filled, tmp_path):
    build(*filled, tmp_path, ["json"])
    (section,) = json.loads((tmp_path / "leaderboard.json").read_text())["sections"]
    assert section["reference"] == "fedavg_s"
    assert {c["word"] for c in section["primary"]} == {"worse", "undecided"}
    assert set(section["primary"][0]) >= {"difference", "low", "high", "p", "adjusted", "margin", "against"}
    assert section["places"]["fedavg_m"] == {"place": 3, "low": 3, "high": 3}
    assert section["verdict"]


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


def test_an_odd_bound_or_an_unfinished_reference_empties_nothing_without_a_word(tmp_path):
    from dataclasses import replace as changed

    import numpy as np

    from fedmeki_bench.evaluation.predictions import read_predictions, write_predictions

    toy, made, store = judged(tmp_path / "r", [0])
    path = store.folder(f"k-majority-{TASKS[0]}-0") / "predictions" / f"aggregated.{TASKS[0]}.parquet"
    path = next(path.parent.glob("*.parquet"))
    write_predictions(path, changed(read_predictions(path), sample_id=np.array([f"x{i}" for i in range(60)])))
    analysis = page_of(toy, made, store).sections[0].analysis
    assert {c.algorithm for c in analysis.primary if c.difference is not None} == {"fedprox_s", "fedavg_m"}
    # of three declared seeds one is finished: the page speaks of trained models
    three = toy.model_copy(update={"seeds": [0, 1, 2]})
    (section,) = page_of(three, made, store).sections
    assert section.verdict[0].startswith("Of these models, trained once each")


def test_a_reference_that_is_a_bound_is_asked_once(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0, 1, 2])
    analysis = page_of(toy.model_copy(update={"reference": "central"}), made, store).sections[0].analysis
    assert [c.algorithm for c in analysis.primary] == ["fedavg_s", "fedprox_s", "fedavg_m"]
    assert analysis.questions == ()


def test_the_only_competitor_still_hears_what_the_bounds_say(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0, 1, 2])
    alone = [c for c in made if c.algorithm.name in ("majority", "central", "fedavg_s")]
    board_of_one = toy.model_copy(update={"algorithms": ["majority", "central", "fedavg_s"]})
    (section,) = page_of(board_of_one, alone, store).sections
    assert "within 0.01 AUROC of Central" in " ".join(section.verdict)
    assert [c.key for c in section.differences.columns] == ["central"]
