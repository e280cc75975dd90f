"""Each deliberate mistake is caught by the clause that is meant for it, in words that name it."""

from __future__ import annotations

import dataclasses

import pytest

from fedmeki_bench import registry
from fedmeki_bench.builtin.tasks.covid19 import Covid19
from fedmeki_bench.conformance import KINDS, check, clauses

from . import wrong_datasets, wrong_encoders, wrong_pretexts, wrong_rules, wrong_stages, wrong_tasks

CASES = [
    *(("rules", cls, {}, clause, found) for cls, clause, found in wrong_rules.WRONG),
    *(("stages", cls, {}, clause, found) for cls, clause, found in wrong_stages.WRONG),
    *(("tasks", cls, options, clause, found) for cls, options, clause, found in wrong_tasks.WRONG),
    *(("datasets", cls, {}, clause, found) for cls, clause, found in wrong_datasets.WRONG),
    *(("encoders", cls, {}, clause, found) for cls, clause, found in wrong_encoders.WRONG),
    *(("pretexts", cls, {}, clause, found) for cls, clause, found in wrong_pretexts.WRONG),
]


@pytest.mark.parametrize(
    ("kind", "cls", "options", "clause", "found"), CASES, ids=[f"{k}-{c.__name__}-{n}" for k, c, _, n, _ in CASES]
)
def test_a_mistake_is_caught_by_its_clause(ask, kind, cls, options, clause, found):
    outcome = ask(cls, clause, kind=kind, **options)
    assert outcome.status == "failed", outcome
    assert found in outcome.found
    expected, happened, read = outcome.message.split("\n")
    assert expected.startswith("Expected: ")
    assert happened.startswith("Found: ")
    assert read.startswith("Read: docs/conformance.md#")


def test_every_clause_catches_a_mistake():
    caught = {(kind, clause) for kind, _, _, clause, _ in CASES}
    everything = {(kind, clause.name) for kind in KINDS for clause in clauses(kind)}
    assert everything - caught == {("tasks", "metrics")}  # it takes a metric that is wrong, see below


def test_a_metric_without_a_value_is_caught(ask, monkeypatch):
    load = registry.load

    def broken(kind, name):
        found = load(kind, name)
        if kind != "metrics" or name != "auroc":
            return found
        plain = type(found).__dataclass_fields__["undefined"].default
        return dataclasses.replace(
            found, function=lambda labels, scores, weights: scores[:1] * float("nan"), undefined=plain
        )

    monkeypatch.setattr(registry, "load", broken)
    outcome = ask(Covid19, "metrics", kind="tasks")
    assert outcome.found == "the metric 'auroc' of a perfect predictor is nan."


def test_a_good_preparer_passes_everything(ask):
    for clause in clauses("datasets"):
        outcome = ask(wrong_datasets.Visits, clause.name, kind="datasets")
        assert outcome.status == "passed", outcome


@pytest.mark.parametrize("cls", wrong_pretexts.GOOD)
def test_a_good_pretext_passes_everything(cls):
    assert {outcome.status for outcome in check(cls)} == {"passed"}


@pytest.mark.parametrize("cls", wrong_encoders.GOOD)
def test_a_good_encoder_passes_everything(cls):
    assert {o.clause: o.found for o in check(cls) if o.status == "failed"} == {}


@pytest.mark.parametrize(("cls", "clause"), [(cls, clause) for cls, clause, _ in wrong_encoders.WRONG])
def test_a_wrong_encoder_breaks_its_clause_and_no_other(cls, clause):
    assert {o.clause for o in check(cls) if o.status == "failed"} == {clause}


def test_an_encoder_of_a_modality_that_nobody_stores_is_undecided():
    other = type("Other", (wrong_encoders.Patches,), {"modality": "thermogram", "__doc__": "Reads warmth."})
    outcomes = check(other)
    assert {o.status for o in outcomes} == {"undecided"}
    assert outcomes[0].found == (
        "no installed dataset stores the modality 'thermogram': install the one that it is for and ask again"
    )
