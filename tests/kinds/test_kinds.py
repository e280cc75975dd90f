"""Each kind by itself: labels to disk and back, answers read back, loss and scores against torch and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedmeki_bench import registry
from fedmeki_bench.errors import UsageError
from fedmeki_bench.kinds.kind import LabelSpec, kind
from fedmeki_bench.task import Clinical, TaskMeta

SPECS = {
    "binary": LabelSpec("binary"),
    "multiclass": LabelSpec("multiclass", ("ct", "ct angiography", "x-ray")),
    "ordinal": LabelSpec("ordinal", ("mild", "moderate", "severe")),
    "multilabel": LabelSpec("multilabel", ("edema", "pleural effusion", "mass")),
    "regression": LabelSpec("regression", unit="years", centre=50.0, spread=10.0),
}
LABELS = {
    "binary": [1, 0, 1],
    "multiclass": [0, 2, 1],
    "ordinal": [2, 0, 1],
    "multilabel": [(1, 0, None), (0, 0, 0), (None, 1, 1)],
    "regression": [57.0, 49.5, 88.0],
}
WRONG = {
    "binary": [2, "yes", None, 0.5],
    "multiclass": [3, -1, "ct", 1.0, True],
    "ordinal": [3, None, 0.5],
    "multilabel": [(1, 0), "edema", (1, 0, 2), 1, (None, None, None)],
    "regression": [math.nan, "57", None, math.inf],
}


def test_every_kind_is_tried_here():
    assert {*SPECS, "generation"} == set(registry.names("kinds"))


@pytest.mark.parametrize("name", SPECS)
def test_labels_survive_the_way_to_disk_and_words(name):
    spec, how = SPECS[name], SPECS[name].how
    for wrong in WRONG[name]:
        assert how.problem(wrong, spec), wrong
    assert not any(how.problem(one, spec) for one in LABELS[name])
    labels = how.read(list(how.column(LABELS[name])), spec)
    assert len(labels) == 3
    assert [how.words(a, spec) for a in how.gold(labels, spec)] == [how.words(b, spec) for b in LABELS[name]]
    assert LabelSpec.from_json(name, spec.as_json()) == spec
    for label in LABELS[name]:
        read = how.parse(how.words(label, spec), spec)
        assert how.words(read, spec) == how.words(label, spec)
    assert how.strata(labels, spec).dtype == np.int64


@pytest.mark.parametrize("name", SPECS)
def test_a_damaged_column_is_refused(name):
    with pytest.raises(ValueError, match="label"):
        SPECS[name].how.read(
            {"regression": [math.nan]}.get(name, [[7, 7, 7]] if name == "multilabel" else [7]), SPECS[name]
        )


@pytest.mark.parametrize("name", SPECS)
def test_answers_as_scores_are_perfect_or_wrong(name):
    """Gold answers in the form of scores are without error; unparsed ones are as wrong as can be."""
    spec, how = SPECS[name], SPECS[name].how
    labels = how.read(list(how.column(LABELS[name])), spec)
    right = how.decided(how.gold(labels, spec).tolist(), labels, spec)
    silent = how.decided([None] * 3, labels, spec)
    assert right.shape[1:] == silent.shape[1:] == ((len(spec.classes),) if how.classed else ())
    main = {"binary": "accuracy", "multilabel": "f1_micro", "regression": "mae"}.get(name, "top1")
    metric = registry.load("metrics", main)
    assert metric(labels, right) == (0 if main == "mae" else 1)
    assert metric(labels, silent) == (pytest.approx(np.mean([31.0, 38.5, 38.5])) if main == "mae" else 0)


READ = {
    "binary": {"Yes.": 1, "no\n": 0, "yes no": None, "yesterday": None, "": None},
    "multiclass": {"CT": 0, "a CT angiography": 1, "x-ray.": 2, "CT or X-ray": None, "not CT": None, "mri": None},
    "ordinal": {"Moderate": 1, "mild to moderate": None, "": None},
    "multilabel": {
        "edema, mass": (1, 0, 1), "None.": (0, 0, 0), "Pleural effusion": (0, 1, 0), "no edema": None, "": None,
        "none, edema": None, "effusion": None,
    },
    "regression": {"57": 57.0, "57.5 years": 57.5, "-3": -3.0, "57 or 58": None, "old": None, "v2": None},
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_answers_are_read_strictly(name):
    assert {text: SPECS[name].how.parse(text, SPECS[name]) for text in READ[name]} == READ[name]


def test_losses_and_scores_are_the_textbooks():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(6, 3))).float()
    classes = torch.tensor([0, 1, 2, 2, 1, 0])
    how = kind("multiclass")
    assert torch.equal(how.loss(logits, classes), functional.cross_entropy(logits, classes))
    assert np.allclose(how.scores(logits, SPECS["multiclass"]).sum(axis=1), 1)
    assert torch.equal(
        kind("binary").loss(logits[:, 0], torch.ones(6)),
        functional.binary_cross_entropy_with_logits(logits[:, 0], torch.ones(6)),
    )
    spec = SPECS["regression"]
    targets = spec.how.targets(np.array([60.0, 40.0], dtype=np.float32), spec)
    assert targets.tolist() == [1.0, -1.0]
    assert spec.how.scores(torch.tensor([1.0, -1.0]), spec).tolist() == [60.0, 40.0]
    assert float(spec.how.loss(torch.zeros(2), torch.from_numpy(targets))) == 1.0


def test_what_is_not_annotated_moves_nothing():
    how = kind("multilabel")
    targets = torch.tensor([[1.0, math.nan, 0.0], [math.nan, math.nan, math.nan]])
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = how.loss(logits, targets)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2))
    assert (logits.grad == 0).tolist() == [[False, True, False], [True, True, True]]
    assert how.loss(torch.zeros(1, 3), torch.full((1, 3), math.nan)) == 0  # a batch without any annotation


def test_levels_are_probabilities_and_learn_their_order():
    how, spec = kind("ordinal"), SPECS["ordinal"]
    wild = torch.tensor([[-2.0, 3.0], [4.0, -4.0]])  # more likely above level 2 than above level 1: never negative
    found = how.scores(wild, spec)
    assert (found >= 0).all()
    assert np.allclose(found.sum(axis=1), 1)
    assert found[1].argmax() == 1
    near, far = torch.tensor([[4.0, -4.0]]), torch.tensor([[-4.0, -4.0]])
    assert how.loss(near, torch.tensor([2])) < how.loss(far, torch.tensor([2]))  # a level off is better than two


def test_the_statistics_of_a_number_are_those_of_its_labels():
    how = kind("regression")
    described = how.described(np.array([40.0, 60.0], dtype=np.float32), LabelSpec("regression"))
    assert (described.centre, described.spread) == (50.0, 10.0)
    assert how.described(np.array([40.0, 40.0], dtype=np.float32), LabelSpec("regression")).spread == 1.0
    assert how.described(np.empty(0, dtype=np.float32), LabelSpec("regression")) == LabelSpec("regression")


def test_strata_of_findings_go_by_the_rarest():
    spec = SPECS["multilabel"]
    labels = spec.how.read([[1, 1, 0], [1, 0, 0], [1, 0, None], [0, 0, 0]], spec)
    assert spec.how.strata(labels, spec).tolist() == [2, 1, 1, 0]
    assert spec.how.counts(labels, spec) == {
        "classes": {"edema": 3, "pleural effusion": 1, "mass": 0},
        "annotated": {"edema": 4, "pleural effusion": 4, "mass": 3},
    }


def meta(**changed):
    told = {
        "name": "t", "version": 1, "title": "T", "dataset": "d", "modalities": ("image",), "kind": "multiclass",
        "role": "training", "clinical": Clinical("What?", "", ""), "licence": "", "access": "", "citation": "",
        "grouping": "patient", "classes": ("a", "b"),
    }  # fmt: skip
    return TaskMeta(**(told | changed))


def test_a_task_is_told_at_once_what_its_kind_lacks():
    assert meta().metrics == kind("multiclass").metrics
    assert meta(metrics=("top1",)).metrics == ("top1",)
    with pytest.raises(UsageError, match="unknown kind 'multiclas'; did you mean 'multiclass'"):
        meta(kind="multiclas")
    with pytest.raises(ValueError, match="needs 2 or more different classes, has 1"):
        meta(classes=("a",))
    with pytest.raises(ValueError, match="different classes, has 2"):
        meta(classes=("a", "a"))
    with pytest.raises(ValueError, match="names classes, and the kind has none"):
        meta(kind="binary")


def test_info_knows_what_list_lists():
    from fedmeki_bench.cli.show import describe

    for group in ("kinds", "views", "encoders", "partitions"):
        for name in registry.names(group):
            assert group[:-1] in describe(name), name
    assert describe("ordinal")["kind"]["metrics"][0] == "kappa_quadratic"
    assert describe("mae")["metric"]["kinds"] == ("regression",)
