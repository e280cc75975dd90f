"""The analysis ``scaling``: planted laws are read off a board's records, and what holds none is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from board_fakes import record

from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.boards.loading import board_from
from fedmeki_bench.evaluation.predictions import Predictions, predictions_path, write_predictions
from fedmeki_bench.leaderboard.build import page_of, render
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.studies.curves import LABELS, PARAMETERS
from fedmeki_bench.leaderboard.studies.scaling import scaling
from fedmeki_bench.records.record import AssignmentCounts, Pretraining
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.rows import resolve_rows
from fedmeki_bench.seeds import generator

LABELLED, WIDTHS, PATIENTS = [1.0, 0.3, 0.1, 0.03], [16, 32, 64], 300
TASK = "lung_opacity"


def planted(share):
    """A law of accuracy in labelled patients, of which there are 1000."""
    return 0.05 + 0.8 * (1000 * share) ** -0.5


def made(store, board, *, law=planted, lacking=(), accuracy=None, change=lambda record, options: None):
    """Cells of every point, with predictions that are wrong as often as the law says, or each pretext's accuracy."""
    (row,) = resolve_rows(board, load=False)
    cells = []
    for number, point in enumerate(board.points):
        options = dict(point.settings)
        for seed in point.seeds:
            cell = Cell(row.shown, TASK, seed, f"s-{number}-{seed}", partition=point.label)
            cells.append(cell)
            if number in lacking:
                continue
            share, width = options.get("labelled", 1.0), options.get("encoders.image.width", 16)
            rng = generator(seed, "made", str(share), width, str(options.get("pretrain")))
            labels = generator(0, "labels").integers(0, 2, PATIENTS)
            wrong = rng.random(PATIENTS) < law(share)
            if accuracy is not None:
                wrong = np.arange(PATIENTS) >= round(accuracy[options.get("pretrain")] * PATIENTS)
            score = np.where(wrong, 1 - labels, labels) * 0.8 + 0.1
            said = Predictions(
                np.array([f"s{i}" for i in range(PATIENTS)]), np.array([f"p{i}" for i in range(PATIENTS)]),
                np.array(["A"] * PATIENTS), labels, score,
            )  # fmt: skip
            value = float(1 - wrong.mean())
            found = record(cell, {"accuracy": (value, value - 0.02, value + 0.02)})
            found.assignment = AssignmentCounts(digest="d", counts={TASK: [{"n": 9, "groups": round(500 * share)}] * 2})
            found.cost.parameters, found.cost.bytes_up = 1000 * width**2, 4 * width**2
            found.cost.seconds = 10.0 * width
            found.params = {"profile": {"local_steps": 8, "local_epochs": 2}}
            if "pretrain" in options:
                found.pretraining = Pretraining(key="k", pretext=options["pretrain"], seconds=100.0, bytes_up=5_000_000)
            change(found, options)
            path = predictions_path(store.folder(found.key), "aggregated", TASK)
            write_predictions(path, said)
            found.evaluations[0].predictions = f"predictions/{path.name}"
            store.write(found)
    return cells


def board(**more):
    axes = {
        "seed": [0, 1], "width": [{"encoders.image.width": w} for w in WIDTHS], "labelled": LABELLED,
        "pretraining": [{}, {"pretrain": "simclr"}],
    }  # fmt: skip
    return board_from(
        {
            "name": "b", "profile": "demo", "tasks": [TASK], "algorithms": ["fedavg_s"], "design": "factorial",
            "analysis": ["scaling"], "axes": axes,
        }
        | more
    )  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("scaling")
    store = RecordStore(root / "results")
    asked = board()
    cells = made(store, asked)
    page = page_of(asked, cells, store)
    return page.studies[0], page


def test_planted_laws_are_read_off_the_board(study):
    """Six curves over labels, each with the planted exponent in its interval or about; none over three widths."""
    found, _ = study
    curves = found.content["curves"]
    over = {kind: [c for c in curves if c["over"] == kind] for kind in (LABELS, PARAMETERS)}
    assert len(over[LABELS]) == 6
    assert len(over[PARAMETERS]) == 8
    assert all(c["sizes"] == [30, 100, 300, 1000] for c in over[LABELS])
    held = [c["law"]["exponent_interval"][0] <= 0.5 <= c["law"]["exponent_interval"][1] for c in over[LABELS]]
    assert sum(held) >= 5
    assert all("3 sizes" in c["reason"] and c["law"] is None and c["slope"] is not None for c in over[PARAMETERS])
    assert found.verdict[0].startswith("With more labelled patients, errors fall in 6 of 6 comparisons")
    assert "none could be fitted: 3 sizes" in " ".join(found.verdict)
    assert "of 12 settings" in found.verdict[-1]


def test_cost_holds_pre_training_and_what_is_beaten_is_not_on_the_front(study):
    found, _ = study
    tables = {table.key: table for table in found.tables}
    assert set(tables) == {"scaling_laws", "scaling_costs", "scaling_front"}
    rows = {row.name: [entry.text for entry in row.entries] for row in tables["scaling_costs"].rows}
    started = next(name for name in rows if "labelled 1.0, pretrain" in name and "parameters" in name)
    assert rows[started][0] == "260.0 to 740.0"
    alone = next(name for name in rows if "labelled 1.0, from scratch" in name and "parameters" in name)
    assert rows[alone][:2] == ["160.0 to 640.0", "1.41"]  # twice the width is four times the parameters
    assert any("equal steps, 8" in note for note in found.notes)
    assert all(row.entries[0].value < 100 for row in tables["scaling_front"].rows)


def test_pictures_and_pages_show_it(study):
    found, page = study
    pictures = found.draw()
    assert [picture.title for picture in pictures] == ["Error over labelled patients", "Error over parameters"]
    assert "equal steps" in pictures[0].caption
    assert [p.svg for p in pictures] == [p.svg for p in found.draw()], "the same bytes again"
    files = render(page, ("md", "html", "tex"))
    text = {name.rpartition(".")[2]: str(content) for name, content in files.items()}
    assert "With more labelled patients" in text["md"]
    assert "Error over labelled patients" in text["html"]
    assert "Slope as published" in text["tex"]


@pytest.mark.slow
def test_without_effect_or_with_gaps_it_says_so(tmp_path):
    """Constant errors: no scaling seen in most; runs that are not done: no curve from them."""
    store = RecordStore(tmp_path / "results")
    asked = board()
    flat = page_of(asked, made(store, asked, law=lambda share: 0.25), store).studies[0]
    seen = [c["law"] for c in flat.content["curves"] if c["law"]]
    assert sum(law["exponent_interval"][0] <= 0 <= law["exponent_interval"][1] for law in seen) >= 5
    other = RecordStore(tmp_path / "gaps")
    gaps = page_of(asked, made(other, asked, lacking=range(1, 48)), other).studies[0]
    assert gaps.verdict[0].startswith("Nothing here says")
    assert gaps.tables == () or gaps.tables[0].key == "scaling_front"


def test_every_pretext_is_compared_with_scratch(tmp_path):
    store = RecordStore(tmp_path / "results")
    pretexts = [{}, {"pretrain": "simclr"}, {"pretrain": "mae"}]
    asked = board(axes={"pretraining": pretexts, "labelled": [1.0, 0.3]}, seeds=[0])
    cells = made(store, asked, accuracy={None: 0.8, "simclr": 0.7, "mae": 0.85})
    *_, simclr, mae = page_of(asked, cells, store).studies[0].verdict
    assert "(simclr), the metric is better in 0 of 2 settings, by -0.100 in the mean" in simclr
    assert "(mae), the metric is better in 2 of 2 settings, by +0.050 in the mean" in mae


def test_moved_one_at_a_time_settings_are_compared_on_the_seeds_they_share(tmp_path):
    store = RecordStore(tmp_path / "results")
    asked = board(design="one_at_a_time", axes={"seed": [0, 1], "labelled": LABELLED})
    found = page_of(asked, made(store, asked), store).studies[0]
    (curve,) = found.content["curves"]
    assert curve["sizes"] == [30, 100, 300, 1000]
    alone = RecordStore(tmp_path / "alone")
    one = board(axes={"labelled": LABELLED}, seeds=[0])
    (same,) = page_of(one, made(alone, one), alone).studies[0].content["curves"]
    assert curve["errors"] == same["errors"], "the base's other seed takes no part"


@pytest.mark.parametrize("lacks", ["labels", "parameters"])
def test_settings_without_a_size_are_on_no_curve_over_it(tmp_path, lacks):
    def change(record, options):
        if options.get("labelled") == 0.1:
            if lacks == "labels":
                record.assignment = None
            else:
                record.cost.parameters = 0

    store = RecordStore(tmp_path / "results")
    asked = board(axes={"width": [{"encoders.image.width": w} for w in WIDTHS], "labelled": LABELLED}, seeds=[0])
    found = page_of(asked, made(store, asked, change=change), store).studies[0]
    curves = found.content["curves"]
    assert all(min(curve["sizes"]) > 0 for curve in curves)
    assert {len(c["sizes"]) for c in curves if c["over"] == LABELS} == {3 if lacks == "labels" else 4}
    assert any("3 settings have no count of" in note for note in found.notes)
    assert found.draw()


def test_of_a_metric_where_less_is_better_the_lowest_is_on_the_front_and_no_law_is_fitted(tmp_path):
    store = RecordStore(tmp_path / "results")
    asked = board(axes={"labelled": LABELLED, "pretraining": [{}, {"pretrain": "mae"}]}, seeds=[0])
    cells = made(store, asked, accuracy={None: 0.8, "mae": 0.6})
    up = page_of(asked, cells, store)
    assert "better in 0 of 4" in up.studies[0].verdict[-1]
    less = replace(up.facts.metrics["accuracy"], direction="lower", range=(0.0, 100.0))
    down = scaling(replace(up, facts=replace(up.facts, metrics={"accuracy": less})), Context())
    assert "better in 4 of 4 settings, by +0.200" in down.verdict[-1]
    assert all(c["law"] is None and c["errors"] == [] and c["slope"] is None for c in down.content["curves"])
    assert all("1 less it is no error" in c["reason"] for c in down.content["curves"])
    assert down.draw() == []
    (front,) = [table for table in down.tables if table.key == "scaling_front"]
    assert "0.600" in {row.entries[2].text for row in front.rows}
