"""LwF against a few lines of independent arithmetic, and where it is FedAvg bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.federation.curriculum import Curriculum
from fedmeki_bench.federation.loop import Federation

from .conftest import finish, under

ECG, LUNG, LATER = "ecg_abnormal", "lung_opacity", "lung_later"
SEQUENTIAL = {"regime": "sequential", "order": f"{LUNG},{ECG}", "rounds": 4}


@pytest.fixture
def two(cohorts: Path) -> Callable[..., Federation]:
    """Two tasks on the same pictures, one after another; the labels of the second are those of the first, turned."""
    from fedmeki_bench import registry
    from fedmeki_bench.api import Stage
    from fedmeki_bench.data.cohort import find
    from fedmeki_bench.data.mislabelled import Mislabelled
    from fedmeki_bench.federation.client import Client
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.inputs import inputs_of
    from fedmeki_bench.profiles import profile

    cohort: Cohort = find(cohorts, LUNG)

    def build(rule: str = "lwf", *, rehearsal: float = 0.0, folder: Path | None = None, **params: float) -> Federation:
        torch.set_num_threads(1)
        settings = profile("demo").model_copy(update={"rounds": 4, "local_epochs": 1, "lr": 0.01})
        model = ClientModel(
            {LUNG: ("image",), LATER: ("image",)}, inputs=inputs_of([cohort], settings),
            encoders={"image": ("small_image", {"width": 8})}, hidden={}, seed=0,
            labels=dict.fromkeys((LUNG, LATER), cohort.learnt),
        )  # fmt: skip
        whole, clients = cohort.part("client"), []
        for number in range(3):
            mine = whole.take(np.arange(number, len(whole), 3))
            clients.append(Client(number, {LUNG: mine, LATER: Mislabelled.of(mine, np.ones(len(mine), bool))}))
        cls = registry.load("rules", rule)
        return Federation(
            model, cls(cls.Params(**params)), Stage(), clients, {}, settings, seed=0, folder=folder,
            curriculum=Curriculum((LUNG, LATER), (2, 2), rehearsal),
        )  # fmt: skip

    return build


@pytest.mark.parametrize("options", [{}, {"weight": 0.0, **SEQUENTIAL}, SEQUENTIAL], ids=["joint", "weight 0", "alone"])
def test_it_is_fedavg_where_nothing_can_be_forgotten(build, options):
    """Without a curriculum, without weight, and where the tasks share no modality."""
    plain = {name: value for name, value in options.items() if name != "weight"}
    lwf, fedavg = build("lwf_m", [ECG, LUNG], **options), build("fedavg_m", [ECG, LUNG], **plain)
    assert torch.equal(finish(lwf), finish(fedavg))
    assert [r.bytes_down for r in lwf.history] == [r.bytes_down for r in fedavg.history]


def test_its_term_is_the_cross_entropy_with_the_old_outputs_softened(two):
    weight, t = 0.7, 1.5
    federation = two(weight=weight, temperature=t)
    terms, rule = [], federation.rule
    plain = rule.local_loss

    def watched(loss, outputs, params, received, ctx):
        found = plain(loss, outputs, params, received, ctx)
        added = float((found - loss).detach())
        if ctx.round < 2:
            assert found is loss, "there is nothing to forget in the first phase"
            return found
        x = ctx.batch.inputs
        before = ctx.model.functional(old, LUNG, x).logits.detach().double().numpy()
        head = {name: value for name, value in old.items() if name.startswith("decoder")}
        now = ctx.model.functional(head, LUNG, x, training=True).logits.detach().double().numpy()
        p, q = (1 / (1 + np.exp(-z / t)) for z in (before, now))
        wanted = weight * float(np.mean(-p * np.log(q) - (1 - p) * np.log(1 - q)))
        other = weight * float(np.mean(-q * np.log(p) - (1 - q) * np.log(1 - p)))
        terms.append((added, wanted, other))
        return found

    rule.local_loss = watched
    federation.round(0), federation.round(1)
    old = federation.server.model.clone()  # of the end of the first phase, in both rounds of the second
    federation.round(2), federation.round(3)
    added, wanted, other = map(np.array, zip(*terms, strict=True))
    np.testing.assert_allclose(added, wanted, rtol=1e-5)
    assert np.abs(added - other).max() > 1e-4, "the control: the two distributions exchanged"


def test_a_round_is_a_recomputation_by_hand(two):
    """The gradient reaches the encoder through the old decoder, which stands still."""
    federation = two(weight=2.0)
    for number in range(2):
        federation.round(number)
    server, model = federation.server, federation.model
    start, before = server.model.clone(), server.model.segment(f"decoder.{LUNG}").clone()
    federation._portions.begin(server, federation.at_server, {}, 2)
    ctx = federation.context(0, 2)
    received = federation.rule.broadcast(server, 0, ctx.units)
    ctx.load(received)
    training = ctx.training(federation.rule, received)
    batch = next(iter(training.batches()))
    training.step(batch)
    got = model.grads.segment("encoder.image", trained_only=True).clone()

    leaves = {name: start[name].clone().requires_grad_(name in model.parameters_of(LATER)) for name in start}
    own = model.functional(leaves, LATER, batch.inputs, training=True).logits
    kept = model.functional(leaves, LUNG, batch.inputs, training=True).logits
    old = model.functional(start, LUNG, batch.inputs).logits.detach()
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    loss = bce(own, batch.labels) + 2.0 * bce(kept / 2, torch.sigmoid(old / 2))
    names = list(model.parameters_of(LATER))
    grads = torch.autograd.grad(loss, [leaves[n] for n in names])
    norm = torch.sqrt(sum(g.square().sum() for g in grads))
    scale = min(1.0, federation.settings.clip / (float(norm) + 1e-6))
    wanted = torch.cat([g.flatten() * scale for n, g in zip(names, grads, strict=True) if n.startswith("encoder")])
    torch.testing.assert_close(got[: len(wanted)], wanted, rtol=1e-3, atol=1e-5)
    federation.round(2)
    assert torch.equal(server.model.segment(f"decoder.{LUNG}"), before)


def test_the_old_model_goes_down_in_later_phases_and_counts(two):
    federation = two()
    finish(federation)
    model = federation.server.model
    size = {unit: model.restrict([unit]).nbytes for unit in model.units}
    own, old = size["encoder.image"] + size[f"decoder.{LATER}"], size["encoder.image"] + size[f"decoder.{LUNG}"]
    assert [r.bytes_down for r in federation.history] == [3 * old, 3 * old, 3 * (own + old), 3 * (own + old)]
    assert [r.bytes_up for r in federation.history] == [3 * old, 3 * old, 3 * own, 3 * own]


@pytest.mark.slow
def test_it_forgets_less_than_fedavg(two):
    """The labels of the second task are those of the first, turned: what one learns, the other must unlearn."""

    def drift(federation: Federation) -> float:
        """How far the first task's outputs on its own samples move in the second phase."""
        rounds = federation.run()
        next(rounds), next(rounds)
        ctx = federation.at_server
        part = federation.clients[0].data[LUNG]
        before = ctx.logits(LUNG, part, federation.server.model)
        list(rounds)
        return float((ctx.logits(LUNG, part, federation.server.model) - before).square().mean())

    assert drift(two(weight=20.0)) < 0.75 * drift(two("fedavg"))


@pytest.mark.slow
@pytest.mark.parametrize("rehearsal", [0.0, 0.5])
def test_killed_in_the_second_phase_it_remembers_the_old_model(two, tmp_path, rehearsal):
    whole, cut, again = (two(rehearsal=rehearsal, folder=tmp_path / name) for name in "abb")
    finish(whole)
    rounds = cut.run()
    for _ in range(3):
        next(rounds)
    rounds.close()
    assert again.resume() == 3
    finish(again)
    assert torch.equal(again.server.model.flat, whole.server.model.flat)


@pytest.mark.slow
def test_under_another_rule_the_same_federation_has_no_phases(two):
    assert under(two(), two().rule).curriculum is None
