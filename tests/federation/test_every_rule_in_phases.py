"""Every built-in rule trains tasks one after another, and its views score all of them after every phase."""

from __future__ import annotations

import numpy as np
import pytest

from fedmeki_bench import registry
from fedmeki_bench.conformance import toys
from fedmeki_bench.conformance.worlds import MULTI, build, finish, scores, views
from fedmeki_bench.federation.curriculum import Curriculum
from fedmeki_bench.federation.loop import Federation

QUICK = ["scaffold", "fedadam", "ditto", "fedmd", "perfedavg", "lwf"]
RULES = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in registry.names("rules")
    if not registry.load("rules", name).needs_stage and registry.load("rules", name).trains and name != "fedbuff"
]  # fmt: skip


def phased(name: str, curriculum: Curriculum) -> Federation:
    """The conformance suite's four tasks, two of which share an encoder, a round each."""
    f = build(registry.load("rules", name)(), MULTI, rounds=len(MULTI))
    return Federation(
        f.model, f.rule, f.stage, f.clients, f.public, f.settings, seed=0, tasks=f.at_server.tasks,
        curriculum=curriculum,
    )  # fmt: skip


@pytest.mark.parametrize("rehearsal", [pytest.param(0.0, marks=pytest.mark.slow), 0.5])
@pytest.mark.parametrize("name", RULES)
def test_every_rule_trains_one_task_after_another(name, rehearsal):
    federation = phased(name, Curriculum(MULTI, (1,) * len(MULTI), rehearsal))
    finish(federation)
    assert len(federation.history) == len(MULTI)
    assert np.isfinite(federation.server.model.flat.numpy()).all()
    for task in MULTI:
        part = toys.cohorts()[task].part("valid")
        for view in views(federation):
            assert np.isfinite(scores(federation, view, toys.TASKS[task], part)).all()
