"""A task of every kind from raw files to a leaderboard, as a foreign package, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.evaluation.estimates import SCORING_VERSION
from fedmeki_bench.evaluation.predictions import read_predictions, read_text_predictions
from fedmeki_bench.records.store import RecordStore

pytestmark = pytest.mark.slow  # a minute and a half; what rules and views do with kinds is in the conformance suite

HERE = Path(__file__).parent
TASKS = ("shape_line", "shape_place", "shape_size", "shape_extras", "shape_grey")
MAIN = dict(zip(TASKS, ("auroc", "auroc_macro", "kappa_quadratic", "auroc_macro", "mae"), strict=True))


class Installed:
    """The package, declared by a distribution in a folder on the path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        facts = root / "plugins" / "shapes-1.0.dist-info"
        facts.mkdir(parents=True)
        (root / "plugins" / "shapes.py").write_bytes((HERE / "shapes.py").read_bytes())
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: shapes\nVersion: 1.0\n")
        points = ["[fedmeki_bench.datasets]", "shapes = shapes:Shapes", "[fedmeki_bench.tasks]"]
        points += [f"{name} = shapes:{name.removeprefix('shape_').capitalize()}" for name in TASKS]
        (facts / "entry_points.txt").write_text("\n".join(points) + "\n")

    def __call__(self, *args: str) -> str:
        return self.python("-m", "fedmeki_bench", *args)

    def python(self, *args: str) -> str:
        path = os.pathsep.join([str(self.root / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, *args], cwd=self.root, env=os.environ | {"PYTHONPATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Installed:
    from fedmeki_bench.foundation.tiny import tiny_folder
    from fedmeki_bench.foundation.tiny_config import TinyConfig

    root = tmp_path_factory.mktemp("kinds")
    found = Installed(root)
    found("synth", "shapes", "--out", "raw/shapes", "--size", "240", "--seed", "0")
    found("prepare", "shapes", "--raw", "raw/shapes", "--out", "data")
    small = TinyConfig(hidden=16, layers=1, heads=2, intermediate=32, vocabulary=300, steps=1, batch=2)
    foundation = tiny_folder(small, cache=root / "cache")
    board = root / "kinds.yaml"
    board.write_text(
        f"name: kinds\ntitle: Every kind\nsummary: A task of every kind.\nprofile: demo\nclients: 2\nseeds: [0]\n"
        f"tasks: [{', '.join(TASKS)}]\npartition: dirichlet\nmargins: {{mae: 5}}\n"
        "algorithms: [majority, fedavg_m, fedavg_m_fm]\n"
        f"options: {{rounds: 6, image_size: 32, stage.foundation: '{foundation}', stage.epochs: 1}}\n"
    )
    found("sweep", str(board), "--data", "data", "--results", "results", "--plain")
    return found


def records(bench: Installed):
    return list(RecordStore(bench.root / "results").all())


def record_of(bench: Installed, algorithm: str):
    (found,) = (r for r in records(bench) if r.algorithm == algorithm)
    return found


def test_cards_count_what_the_kind_has(bench):
    cards = {name: json.loads((bench.root / "data" / name / "card.json").read_text()) for name in TASKS}
    assert "labels" not in cards["shape_line"]
    assert cards["shape_line"]["kind"] == "classification"  # the word of schema 1
    assert set(cards["shape_place"]["splits"]["client"]["classes"]) == {"right", "lower left", "upper left"}
    extras = cards["shape_extras"]["splits"]["client"]
    assert extras["annotated"]["frame"] < extras["annotated"]["line"] == extras["samples"]
    samples = pd.read_parquet(bench.root / "data" / "shape_grey" / "samples.parquet")
    private = samples[samples["split"] == "client"]["label"]
    assert cards["shape_grey"]["labels"]["centre"] == pytest.approx(private.mean(), abs=1e-3)
    assert not {"negative", "mean"} & set(cards["shape_grey"]["splits"]["test"])


@pytest.mark.parametrize("task", TASKS)
def test_a_federation_learns_and_a_constant_is_a_constant(bench, task):
    found = {}
    for record in records(bench):
        for one in record.evaluations:
            if one.task == task and one.view in ("aggregated", "personal", "constant"):
                assert next(iter(one.metrics)) == MAIN[task]
                found[record.algorithm] = one.metrics[MAIN[task]].value
    nothing = {"auroc": 0.5, "auroc_macro": 0.5, "kappa_quadratic": 0.0}.get(MAIN[task])
    if nothing is not None:
        assert found["majority"] == pytest.approx(nothing)
        assert found["fedavg_m"] > nothing + 0.2
    else:
        assert found["fedavg_m"] < 0.8 * found["majority"]


def test_predictions_are_read_back_as_they_were_scored(bench):
    record = record_of(bench, "fedavg_m")
    for one in record.evaluations:
        said = read_predictions(bench.root / "results" / record.key / one.predictions, one.digest)
        wide = said.labels.how.classed
        assert said.models.shape == (1, one.n, *([len(said.labels.classes)] if wide else []))
        if said.labels.kind in ("multiclass", "ordinal"):
            assert np.allclose(said.score.sum(axis=1), 1)
    extras = next(e for e in record.evaluations if e.task == "shape_extras")
    label = read_predictions(bench.root / "results" / record.key / extras.predictions).label
    assert np.isnan(label[:, 1]).any()
    assert not np.isnan(label[:, 0]).any()


def test_answers_in_words_are_scored_in_every_kind(bench):
    record = record_of(bench, "fedavg_m_fm")
    said = {e.task: e for e in record.evaluations if e.view == "foundation"}
    assert set(said) == set(TASKS)
    for task, one in said.items():
        kept = read_text_predictions(bench.root / "results" / record.key / one.predictions, one.digest)
        assert (kept.score is None) == (task == "shape_grey")
        assert "unparsed" in one.metrics
        best = next(e for e in record.evaluations if e.task == task and e.view == "constant_answer")
        main = next(iter(best.metrics.values()))
        assert main.value is not None


def test_the_page_shows_them_and_rescoring_changes_nothing(bench):
    before = {r.key: r.evaluations for r in records(bench)}
    store = RecordStore(bench.root / "results")
    for record in records(bench):  # as if an older version had scored them
        versions = record.versions.model_copy(update={"scoring": record.versions.scoring - 1})
        store.write(record.model_copy(update={"versions": versions}))
    bench("rescore", "results")
    assert all(r.versions.scoring == SCORING_VERSION for r in records(bench))
    assert {r.key: r.evaluations for r in records(bench)} == before
    bench("leaderboard", "kinds.yaml", "--results", "results", "--out", "board")
    table = pd.read_csv(bench.root / "board" / "leaderboard.csv")
    shown = table[(table["metric"] == "mae") & (table["algorithm"] == "fedavg_m")]
    assert len(shown) == 1
    page = (bench.root / "board" / "leaderboard.md").read_text()
    assert "The margin of MAE is 5." in page
    for name in ("AUROC (macro)", "Kappa (quadratic)", "MAE"):
        assert name in page


def test_the_audit_reads_every_kind(bench):
    told = json.loads(bench("audit", "data", "--json"))
    assert json.dumps(told).count("shortcuts") >= 1


ASK = """
import sys
from fedmeki_bench.data.cohort import find
from fedmeki_bench.runs.kept import open_kept
kept = open_kept(sys.argv[1])
for task in ("shape_place", "shape_grey"):
    print([round(float(v), 6) for v in kept.scores(task, find("data", task).part("valid").take(range(2))).ravel()])
"""


def test_a_kept_model_knows_its_labels(bench):
    """Classes, and the centre of a number, are with the model: its scores need no cohort's card."""
    told = bench(
        "run", "fedavg_m", "--tasks", "shape_place,shape_grey", "--data", "data", "--results", "kept", "--keep-model",
        "-o", "rounds=1", "-o", "image_size=32", "--clients", "2", "--json",
    )  # fmt: skip
    key = json.loads(told)[0]["key"]
    card = json.loads((bench.root / "kept" / key / "model" / "model.json").read_text())
    assert card["tasks"]["shape_place"]["labels"]["classes"] == ["right", "lower left", "upper left"]
    assert card["tasks"]["shape_grey"]["labels"]["centre"] > 100
    places, greys = (json.loads(line) for line in bench.python("-c", ASK, f"kept/{key}").splitlines())
    assert len(places) == 6
    assert sum(places) == pytest.approx(2, abs=1e-4)
    assert all(60 < grey < 200 for grey in greys)  # about the mean after one round, in grey values
