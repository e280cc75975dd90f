"""Whole updates side by side: which units and clients make a stack, and what else the server knows for such rules."""

from __future__ import annotations

import torch

from fedmeki_bench.api import Rule
from fedmeki_bench.federation.stacks import connected

from .conftest import PUBLISHED_ECG, under

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
ENCODER, DECODER = "encoder.signal", "decoder.ecg_abnormal"


def test_units_are_grouped_by_the_tasks_that_share_them(build):
    assert connected([("a", "x"), ("b", "y"), ("a", "z"), ("c", "b")]) == (frozenset("axz"), frozenset("byc"))
    assert connected([("a", "x"), ("b", "y"), ("a", "b")]) == (frozenset("axby"),)
    groups = build("fedavg_m", ECG + LUNG).server.groups
    assert set(groups) == {frozenset({ENCODER, DECODER}), frozenset({"encoder.image", "decoder.lung_opacity"})}


def test_a_stack_is_what_the_same_clients_say_about_units_that_belong_together(build):
    class Last(Rule):
        """The model of the last client that has one."""

        def aggregate(self, server, updates):
            def last(stack):
                assert stack.models.shape == (len(stack.clients), len(stack.start.flat))
                seen.append((stack.clients, stack.start.units, [round(float(s), 3) for s in stack.shares]))
                return stack.models[-1]

            server.combine(updates, last)

    seen, kept = [], {}
    federation = under(build("fedavg_m", ECG + LUNG, weighting="uniform", **PUBLISHED_ECG), Last())
    federation.clients[2].data = {"ecg_abnormal": federation.clients[2].data["ecg_abnormal"]}
    execute = federation.engine.execute

    def watched(rule, contexts, send, work):
        for update in execute(rule, contexts, send, work):
            kept.update({unit: update.model.segment(unit).clone() for unit in update.model.units})
            yield update

    federation.engine.execute = watched
    federation.round(0)
    assert sorted(seen) == [
        ((0, 1), ("encoder.image", "decoder.lung_opacity"), [0.5, 0.5]),
        ((0, 1, 2), (ENCODER, DECODER), [0.333, 0.333, 0.333]),
    ]
    for unit, want in kept.items():
        assert torch.equal(federation.server.model.segment(unit), want)  # statistics, too


def test_how_many_clients_are_drawn_is_known_before_they_are(build):
    for participation, count in ((1.0, 4), (0.5, 2), (0.01, 1)):
        federation = build("fedavg_s", ECG, clients=4, participation=participation)
        assert federation.server.drawn == len(federation.sampled(0)) == count


def test_which_tensors_are_variances(build):
    layout = build("fedavg_s", ECG, **PUBLISHED_ECG).server.model.layout
    found = {entry.name.rpartition(".")[2] for entry in layout.entries.values() if entry.variance}
    assert found == {"running_var"}
