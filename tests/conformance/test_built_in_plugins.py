"""The built-in plug-ins keep every clause; those that take long, or are like another one, are slow tests."""

from __future__ import annotations

import pytest

from fedmeki_bench import registry
from fedmeki_bench.conformance import as_pytest, check

QUICK = {
    "rules": {
        "majority",
        "public",
    },
    "stages": {"none", "plus"},
    "tasks": {
        "ecg_abnormal",
        "ecg_age",
        "ecg_noise",
        "ecg_superclasses",
        "ectopic_beats",
        "medvqa",
        "medvqa_slake",
        "mortality",
    },
    "datasets": {"covqu", "ecg_qa", "ptbxl", "rsna", "slake", "vqa_rad"},
    "encoders": {"clinical", "published_signal", "small_image", "small_signal", "small_volume", "vit_nano"},
    "pretexts": {"mae", "simclr"},
}
CASES = [
    pytest.param(kind, name, marks=() if name in quick else pytest.mark.slow, id=f"{kind}-{name}")
    for kind, quick in QUICK.items()
    for name in registry.names(kind)
    if registry.find(kind, name).origin.startswith("fedmeki-bench") and not (kind == "rules" and name == "fedavg")
]

test_fedavg = as_pytest("fedavg", kind="rules")


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_it_keeps_every_clause(kind, name):
    outcomes = check(name, kind)
    failed = {outcome.clause: outcome.message for outcome in outcomes if outcome.status == "failed"}
    assert failed == {}
    assert any(outcome.status == "passed" for outcome in outcomes)
