"""The analysis ``continual`` on planted numbers: measures by hand, references, cautions, and pictures."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from board_fakes import TASKS, algorithm, board, record

from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.evaluation.metrics import BUILT_IN
from fedmeki_bench.evaluation.predictions import Predictions, predictions_path, write_predictions
from fedmeki_bench.leaderboard.build import page_of, render
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.reading import reader
from fedmeki_bench.leaderboard.studies.continual import _lost
from fedmeki_bench.leaderboard.studies.courses import courses_of, measure
from fedmeki_bench.records.record import CohortRef, Evaluation, RoundRecord
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.continual import Estimate

A, B = TASKS
SEEDS = [0, 1, 2]
REGIMES = [
    {"regime": "joint"}, {"regime": "sequential"}, {"regime": "sequential", "rehearsal": 0.1},
    {"regime": "sequential", "rehearsal": 0.1, "rehearse_at": "server"},
]  # fmt: skip
NEW, LEARNT, LOST, KEPT = 0.0, 3.0, 0.3, 2.2
"""How well a task is told apart: before it is learnt, after, forgotten, and rehearsed."""


def strengths(order, rehearsal):
    """(phase, task) -> strength; the untrained model is 0."""
    first, second = order
    left = KEPT if rehearsal else LOST
    return {(0, first): NEW, (0, second): NEW, (1, first): LEARNT, (1, second): 0.2, (2, first): left, (2, second): 2.8}


def said(store, key, view, task, seed, strength, phase=None, split="test"):
    """Predictions of 60 patients and their evaluation; the noise is the patient's, and a little the seed's."""
    patients = generator(0, "patients", task, split)
    labels = patients.integers(0, 2, 60)
    noise = patients.normal(size=60) + 0.3 * generator(seed, "noise", task, split, str(phase)).normal(size=60)
    logits = strength * (labels - 0.5) + noise
    ids = [np.array([f"{split}{what}{i}" for i in range(60)]) for what in "sp"]
    found = Predictions(*ids, np.array(["A"] * 60), labels, 1 / (1 + np.exp(-logits)))
    path = predictions_path(store.folder(key), view, task, phase=None if phase is None else (phase, split))
    digest = write_predictions(path, found)
    value = float(BUILT_IN["auroc"](labels, found.score))
    return Evaluation(
        view=view, task=task, split=split, n=60, groups=60, metrics={"auroc": {"value": value}},
        predictions=f"predictions/{path.name}", digest=digest, phase=phase,
    )  # fmt: skip


def trained(store, cell, how, order, *, tasks=TASKS):
    """The record of one training."""
    sequential = how["regime"] == "sequential"
    made = record(cell, {"auroc": 0.5})
    made.tasks, made.versions.tasks = list(tasks), dict.fromkeys(tasks, 1)
    made.cohorts = [CohortRef(name=task, task=task, card="c0ffee", synthetic=True) for task in tasks]
    at_client = how.get("rehearsal") if how.get("rehearse_at") != "server" else 0.0
    at = strengths(order, at_client)
    view = cell.algorithm.view
    if sequential:
        made.params["curriculum"] = {"rehearsal": 0.0, "rehearse_at": "clients"} | how | {"order": list(order)}
        made.phases = [
            said(store, made.key, view, task, cell.seed, strength, phase, split)
            for (phase, task), strength in at.items()
            for split in ("valid", "test")
            if (phase, split) != (2, "test")
        ]
    end = {task: at[2, task] if sequential else 2.9 for task in tasks}
    made.evaluations = [said(store, made.key, view, task, cell.seed, end[task]) for task in tasks]
    made.history = [
        RoundRecord(round=n, loss=0.5, valid=dict.fromkeys(tasks, 0.6 + 0.01 * n)) for n in range(8)
    ]  # fmt: skip
    store.write(made)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board of two orders and four regimes, its cells and its records."""
    store = RecordStore(tmp_path_factory.mktemp("continual"))
    toy = board(
        algorithms=["fedavg_s", "fedavg_m"], seeds=SEEDS, reference="fedavg_m", analysis=["continual"],
        axes={"regime": REGIMES, "order": [{"order": f"{A},{B}"}, {"order": f"{B},{A}"}]}, design="factorial",
    )  # fmt: skip
    cells = []
    for point in toy.points:
        settings = dict(point.settings)
        order = tuple(settings.pop("order").split(","))
        for seed in SEEDS:
            name = (
                "joint"
                if settings["regime"] == "joint"
                else f"{'-'.join(order)}-{'-'.join(map(str, settings.values()))}"
            )
            own = [Cell(algorithm("fedavg_m"), task, seed, f"m-{name}-{seed}", partition=point.label) for task in TASKS]
            trained(store, own[0], settings, order)
            cells += own
            for task in TASKS:
                alone = Cell(algorithm("fedavg_s"), task, seed, f"s-{task}-{seed}", partition=point.label)
                trained(store, alone, {"regime": "joint"}, order, tasks=[task])
                cells.append(alone)
    return toy, cells, store


@pytest.fixture(scope="module")
def study(made):
    (found,) = page_of(*made).studies
    return found


def courses(study):
    return {(one["regime"], one["order"][0]): one for one in study.content["courses"]}


def test_measures_are_those_of_the_predictions(made, study):
    _, _, store = made
    found = courses(study)
    assert set(found) == {
        (regime, first) for regime in ("sequential", "rehearsing 10 % at the clients", "rehearsing 10 % at the server")
        for first in TASKS
    }  # fmt: skip
    by_hand: dict[str, list[float]] = {}
    for seed in SEEDS:
        one = store.load(f"k-m-{A}-{B}-sequential-{seed}")
        joint = store.load(f"k-m-joint-{seed}")
        r = {(e.phase, e.task): e.metrics["auroc"].value for e in one.phases if e.split == "test"}
        end, beside = ({e.task: e.metrics["auroc"].value for e in run.evaluations} for run in (one, joint))
        for name, value in {
            "accuracy": (end[A] + end[B]) / 2, "forgetting": r[1, A] - end[A], "backward": end[A] - r[1, A],
            "forward": r[1, B] - r[0, B], "gap to joint": (end[A] + end[B] - beside[A] - beside[B]) / 2,
        }.items():  # fmt: skip
            by_hand.setdefault(name, []).append(value)
    measures = found["sequential", A]["measures"]
    for name, values in by_hand.items():
        value, low, high = measures[name]
        assert value == pytest.approx(fmean(values)), name
        assert low < value < high
    assert measures["forgetting"][0] > 0.3


def test_rehearsal_is_compared_on_the_same_patients(study):
    found = courses(study)
    for first in TASKS:
        plain = found["sequential", first]["measures"]
        helped = found["rehearsing 10 % at the clients", first]["measures"]
        value, low, _ = helped["avoided"]
        assert value == pytest.approx(plain["forgetting"][0] - helped["forgetting"][0])
        assert low > 0
        assert "avoided" not in plain
        server = found["rehearsing 10 % at the server", first]["measures"]
        assert "avoided" not in server, "without a stage the server rehearses nothing: the predictions are the same"
        assert server["forgetting"] == plain["forgetting"]


def test_the_first_sentence_says_what_was_lost_and_what_helps(study):
    assert study.verdict[0].startswith(
        "Taught ecg_abnormal first and then lung_opacity, the model of Fedavg_m lost 0.4"
    )
    assert "when each hospital trained again on 10 % of its earlier patients, 0." in study.verdict[0]


def test_a_loss_that_chance_explains_is_not_called_one():
    assert _lost(Estimate(0.1, -0.2, 0.4)).startswith("is not shown to have lost anything of what it had learnt before")
    assert _lost(Estimate(0.3, 0.1, 0.5)) == (
        "lost 0.30 of its score on what it had learnt before (95 % interval 0.10 to 0.50)"
    )
    assert _lost(Estimate(-0.3, -0.5, -0.1)).startswith("got better by 0.30")


def test_the_page_says_what_can_not_be_seen_and_what_is_kept_where(made, study):
    said = " ".join(study.notes)
    assert "short phases show nothing" in said
    assert "Phases have 4 rounds here" in said
    assert "their own rows of earlier tasks on their own disks, which are never sent" in said
    assert "At the server, public samples alone" in said
    assert "another rule's tasks alone" not in said, "fedavg_m has a row of its own rule"
    titled = page_of(*made, Context(tasks=_metas())).studies[0]
    assert "Abnormal ECG" in titled.verdict[0] or "ECG" in titled.verdict[0]
    assert any("share none, so that nothing is forgotten there by construction, and a 0 is no result" in note
               for note in titled.notes)  # fmt: skip


def _metas():
    from fedmeki_bench import registry

    return {task: registry.load("tasks", task).meta for task in TASKS}


def test_scores_after_every_phase_stand_in_a_table(made, study):
    toy, cells, store = made
    measures, matrix = study.tables
    assert matrix.heat
    assert len(matrix.rows) == 6 * 3
    assert [row.name.rpartition(": ")[2] for row in matrix.rows[:3]] == [
        "untrained", "after ecg_abnormal", "after lung_opacity"
    ]  # fmt: skip
    shown = render(page_of(toy, cells, store), ("md", "json", "html", "tex"))
    assert "Kept, forgotten, carried over" in shown["leaderboard.md"].decode()
    page = shown["leaderboard.html"].decode()
    assert "continual-1" in page
    assert "continual-2" in page
    assert len(measures.rows) == 6


def test_pictures_have_a_panel_per_task_and_shade_its_own_phase(study):
    pictures = study.draw()
    assert [p.choice for p in pictures] == ["ecg_abnormal → lung_opacity", "lung_opacity → ecg_abnormal"]
    assert all(p.svg.count("rounds") >= 2 for p in pictures)
    assert "rehearsing 10 %" in pictures[0].svg


def test_without_predictions_it_says_so(made):
    from fedmeki_bench.leaderboard.collect import collect
    from fedmeki_bench.leaderboard.page import make_page

    toy, cells, store = made
    (found,) = make_page(toy, collect(cells, store.all())).studies
    assert "can't be said here: the predictions are not at hand" in found.verdict[0]


@pytest.mark.parametrize("wrong", [
    {"rehearse_at": "home"}, {"order": ["other", "tasks"]}, {"order": "a"}, {"rehearsal": "much"}, {"rehearsal": 7},
])  # fmt: skip
def test_a_record_whose_curriculum_makes_no_sense_is_left_out(made, wrong):
    toy, cells, store = made
    records = []
    for one in store.all():
        if one.params.get("curriculum", {}).get("rehearsal"):
            one = one.model_copy(update={"params": {"curriculum": one.params["curriculum"] | wrong}})
        records.append(one)
    (found,) = page_of(toy, cells, records, Context(read=reader(store.folder))).studies
    assert {one["regime"] for one in found.content["courses"]} == {"sequential"}


def test_a_run_that_was_not_finished_leaves_the_others_to_compare(made):
    toy, cells, store = made
    kept = [c for c in cells if not (c.seed == 2 and c.setting.startswith("m-"))]
    (found,) = page_of(toy, kept, store).studies
    assert all(one["measures"] for one in found.content["courses"])
    assert found.content["seeds"] == [0, 1]
    said = (
        "All numbers are over seeds 0 and 1: no training in phases has finished more of the board's seeds 0, 1 and 2."
    )
    assert all(said in table.notes[0] for table in found.tables)
    none = [c for c in cells if "sequential" not in c.setting]
    (found,) = page_of(toy, none, store).studies
    assert "no finished training has its tasks one after another" in found.verdict[0]


def test_a_course_that_lacks_a_seed_is_left_out_and_takes_none_from_the_others(made, study):
    toy, cells, store = made
    late = f"m-{A}-{B}-sequential-0.1-2"
    kept = [c for c in cells if c.setting not in (late, "m-joint-1")]
    assert len(kept) < len(cells)
    (found,) = page_of(toy, kept, store).studies
    assert found.content["seeds"] == SEEDS
    whole, partial = courses(study), courses(found)
    out = partial.pop(("rehearsing 10 % at the clients", A))
    assert out["why"] == "seed 2 is not finished"
    assert not out["measures"]
    for key, one in partial.items():
        for what in ("accuracy", "forgetting", "backward"):
            assert one["measures"][what][0] == pytest.approx(whole[key]["measures"][what][0]), key
        assert "gap to joint" not in one["measures"]
        assert one["lacking"] == {"gap to joint": "of Fedavg_m, joint, seed 1 is not finished"}
        assert "gap to specialised" in one["measures"]
    measures, matrix = found.tables
    assert any("is left out: seed 2 is not finished." in note for note in measures.notes)
    assert len(measures.rows) == 5
    assert len(matrix.rows) == 5 * 3


@pytest.mark.parametrize("lacking", [None, f"m-{A}-{B}-sequential-0.1-2"])
def test_measures_follow_from_the_table_of_r(made, lacking):
    toy, cells, store = made
    (found,) = page_of(toy, [c for c in cells if c.setting != lacking], store).studies
    measures, matrix = found.tables
    r = {row.name: [entry.value for entry in row.entries] for row in matrix.rows}
    tasks = [column.key for column in matrix.columns]
    for row in measures.rows:
        (own,) = [c for c in found.content["courses"] if _row_of(c) == row.name]
        first, second = own["order"]
        phases = [r[f"{row.name.replace(': ', ', ')}: {when}"] for when in ("untrained", f"after {first}",
                                                                            f"after {second}")]  # fmt: skip
        shown = dict(zip((c.key for c in measures.columns), row.entries, strict=True))
        lost = phases[1][tasks.index(first)] - phases[2][tasks.index(first)]
        assert shown["forgetting"].value == pytest.approx(lost)
        assert shown["accuracy"].value == pytest.approx(fmean(phases[2]))


def _row_of(course):
    return f"Fedavg_m, {course['regime']}: {' → '.join(course['order'])}"


def test_one_seed_gives_intervals_over_patients_alone(made):
    toy, cells, store = made
    (found,) = page_of(toy, [c for c in cells if c.seed == 1], store).studies
    assert found.content["seeds"] == [1]
    assert "All of this is over seed 1 alone, and the intervals over patients alone." in found.verdict
    said = " ".join([*found.verdict, *found.notes])
    assert "over patients alone, as there is one seed" in said
    assert "patients and seeds" not in said


@pytest.mark.parametrize("wrong", ["joint", "specialised"])
def test_there_is_no_gap_to_a_training_of_other_rounds(made, wrong):
    toy, cells, store = made
    records = []
    for one in store.all():
        if one.key.startswith("k-m-joint" if wrong == "joint" else "k-s-"):
            one = one.model_copy(update={"history": one.history[:6]})
        records.append(one)
    (found,) = page_of(toy, cells, records, Context(read=reader(store.folder))).studies
    own, other = ("gap to joint", "gap to specialised") if wrong == "joint" else ("gap to specialised", "gap to joint")
    name = "Fedavg_m, joint" if wrong == "joint" else "Fedavg_s, specialised"
    for one in found.content["courses"]:
        assert own not in one["measures"]
        assert other in one["measures"]
        assert one["lacking"] == {own: f"{name} was trained for 6 rounds, this one for 8"}
    assert any(f"has no {own}: {name} was trained for 6" in note for note in found.tables[0].notes)


def test_different_main_metrics_are_not_averaged_and_a_lower_one_keeps_its_sign(made):
    toy, cells, store = made
    page = page_of(toy, cells, store)
    found = courses_of(toy, page.collected.outcomes)
    read = reader(store.folder)
    mixed = measure(found, page.facts, {A: "auroc", B: "auprc"}, read)
    assert all(not one.found and "different main metrics, AUROC and AUPRC" in one.why for one in mixed)
    higher = measure(found, page.facts, dict.fromkeys(TASKS, "auroc"), read)
    turned = replace(page.facts.metrics["auroc"], direction="lower")
    facts = replace(page.facts, metrics={**page.facts.metrics, "auroc": turned})
    lower = measure(found, facts, dict.fromkeys(TASKS, "auroc"), read)
    for one, other in zip(higher, lower, strict=True):
        up, down = one.found["accuracy"], other.found["accuracy"]
        assert (down.value, down.low, down.high) == pytest.approx((up.value, up.low, up.high))
        for what in ("forgetting", "backward", "gap to joint"):
            assert other.found[what].value == pytest.approx(-one.found[what].value)


def test_without_a_finished_seed_there_is_nothing_to_show(made):
    toy, cells, store = made
    kept = [c for c in cells if not (c.setting.startswith("m-") and c.task == B)]
    (found,) = page_of(toy, kept, store).studies
    assert found.verdict == ("Whether a model forgets what it has learnt can't be said here: no seed is finished.",)
    assert found.tables == ()
    assert list(found.draw()) == []
