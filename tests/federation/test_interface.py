"""What rules are given beyond FedAvg's loop: each part does what it says, and a rule that needs it stays short."""

from __future__ import annotations

import gc

import pytest
import torch

from fedmeki_bench.api import Rule
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.models.training import Training

from .conftest import PUBLISHED_ECG, finish, under

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
ENCODER, DECODER = "encoder.signal", "decoder.ecg_abnormal"
SGD = {"optimizer": "sgd", "lr": 0.05}


def client(federation, number=0, round=0):
    ctx = federation.context(number, round)
    received = federation.rule.broadcast(federation.server, ctx.client, ctx.units)
    ctx.load(received)
    return ctx, received


# ---- a step


class Twice(Rule):
    """FedAvg whose loss is computed a second time, under the same weights, and thrown away."""

    def step(self, ctx, params, batch, received):
        loss = super().step(ctx, params, batch, received)
        again = ctx.loss(params, batch)
        torch.testing.assert_close(loss, again)  # the same batch statistics and dropout masks
        ctx.loss(received, batch)
        return loss


@pytest.mark.parametrize("options", [PUBLISHED_ECG, {}])
def test_a_loss_under_other_weights_has_no_side_effects(build, options):
    plain = build("fedavg_m", ECG, **options)
    assert torch.equal(finish(under(build("fedavg_m", ECG, **options), Twice())), finish(plain))


def test_a_step_may_replace_the_loss_altogether(build):
    """FedSAM's gradient is that of the perturbed weights; with rho 0 it is FedAvg's."""

    class Sharp(Rule):
        rho = 0.0

        def step(self, ctx, params, batch, received):
            loss = super().step(ctx, params, batch, received)
            gradients = dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))
            norm = torch.stack([g.norm() for g in gradients.values()]).norm()
            return ctx.loss({n: p + self.rho * gradients[n] / norm for n, p in params.items()}, batch)

    flat, sharp = Sharp(), Sharp()
    sharp.rho = 0.5
    plain = finish(build("fedavg_s", ECG, **SGD))
    torch.testing.assert_close(finish(under(build("fedavg_s", ECG, **SGD), flat)), plain, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(finish(under(build("fedavg_s", ECG, **SGD), sharp)), plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("how", [{"momentum": 0.9, "weight_decay": 0.1}, {}])
def test_only_the_chosen_units_move(build, how):
    federation = build("fedavg_s", ECG, **PUBLISHED_ECG, **SGD, **how)
    ctx, received = client(federation)
    before = federation.model.values.clone()
    ctx.train(Rule(), received, units=[DECODER])
    assert torch.equal(federation.model.values.segment(ENCODER), before.segment(ENCODER))  # statistics too
    assert not torch.equal(federation.model.values.segment(DECODER), before.segment(DECODER))
    assert set(ctx.steps) == {DECODER}
    ctx.train(Rule(), received)
    assert not torch.equal(federation.model.values.segment(ENCODER), before.segment(ENCODER))
    assert ctx.steps[DECODER] == 2 * ctx.steps[ENCODER]


def test_steps_taken_one_by_one_are_those_of_train(build):
    one, other = build("fedavg_s", ECG), build("fedavg_s", ECG)
    ctx, received = client(one)
    ctx.train(Rule(), received, epochs=2)
    theirs, received = client(other)
    training = theirs.training(Rule(), received)
    for batch in training.batches(2):
        training.step(batch)
    theirs.trained(training)
    assert torch.equal(one.model.values.flat, other.model.values.flat)
    assert (ctx.update().loss, ctx.update().steps) == (theirs.update().loss, theirs.update().steps)


def test_several_steps_on_a_batch_and_a_learning_rate_of_its_own(build):
    federation = build("fedavg_s", ECG, **SGD)
    ctx, received = client(federation)
    once = ctx.train(Rule(), received)
    assert ctx.train(Rule(), received, steps_per_batch=3).steps == 3 * once.steps
    moved = []
    for lr in (0.05, 0.005):
        ctx, received = client(federation)
        ctx.train(Rule(), received, lr=lr)
        moved.append(float((federation.model.values - federation.server.model).restrict([DECODER]).flat.norm()))
    assert moved[1] < 0.3 * moved[0]


def test_momentum_and_decay_are_torchs(build):
    federation = build("fedavg_s", ECG, clip=1e9, momentum=0.9, lr_decay=0.5, **SGD)
    ctx, received = client(federation, round=1)
    weight = {n: p.clone() for n, p in federation.model.parameters_of("ecg_abnormal").items()}
    speed: dict = {}

    class Seen(Rule):
        def correct_gradients(self, grads, params, received, ctx):
            for name, g in grads.items():
                speed[name] = g.clone() if name not in speed else 0.9 * speed[name] + g
                weight[name] -= 0.05 * 0.5 * speed[name]

    with torch.no_grad():
        ctx.train(Seen(), received)
    for name, p in federation.model.parameters_of("ecg_abnormal").items():
        torch.testing.assert_close(p.detach(), weight[name].detach(), rtol=1e-4, atol=1e-6)


def test_momentum_is_sgds(build):
    with pytest.raises(
        InputError, match="options of profile demo: momentum is a setting of optimizer=sgd, not of adam"
    ):
        build("fedavg_s", ECG, momentum=0.9)


# ---- looking at data


def test_evaluation_and_features_of_a_clients_data(build):
    federation = build("fedavg_s", ECG)
    ctx, received = client(federation)
    before = federation.model.values.flat.clone()
    found = ctx.evaluate(ctx.data)["ecg_abnormal"]
    part = ctx.data["ecg_abnormal"]
    features, labels = ctx.features("ecg_abnormal", part)
    decoder = federation.model.decoders["ecg_abnormal"]
    logits = decoder(features).squeeze(-1)
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert found.samples == len(part) == len(features)
    assert found.loss == pytest.approx(float(want.detach()), rel=1e-5)
    torch.testing.assert_close(ctx.logits("ecg_abnormal", part), logits.detach())
    other = {n: v + 0.1 for n, v in received.items()}
    assert ctx.evaluate(ctx.data, other)["ecg_abnormal"].loss != pytest.approx(found.loss)
    assert torch.equal(federation.model.values.flat, before)


def test_the_gradient_of_a_clients_loss(build):
    """Along it, the loss as a model is scored falls as finite differences say; nothing else changes."""
    federation = build("fedavg_m", ECG + LUNG)
    ctx, received = client(federation)
    before, slope = federation.model.values.clone(), ctx.gradient(ctx.data)
    assert torch.equal(before.flat, federation.model.values.flat)
    assert list(slope) == [entry.name for entry in before.layout.entries.values() if entry.trained]

    def loss(step):
        moved = {name: received[name] + step * slope[name] for name in slope}
        return sum(task.loss for task in ctx.evaluate(ctx.data, moved).values())

    squared = float(slope.flat.double().square().sum())
    step = 1e-2 / squared**0.5
    assert (loss(step) - loss(-step)) / (2 * step) == pytest.approx(squared, rel=1e-2)
    assert ctx.gradient({"ecg_abnormal": ctx.data["ecg_abnormal"]}).units == (ENCODER, DECODER)


def test_generators_belong_to_a_place_a_round_and_a_name(build):
    federation = build("fedavg_s", ECG)

    def drawn(ctx, *stream):
        return torch.randn(3, generator=ctx.generator(*stream)).tolist()

    first = drawn(client(federation)[0], "mask")
    assert first == drawn(client(federation)[0], "mask")
    others = [client(federation, 1)[0], client(federation, 0, 1)[0], federation.server]
    assert all(drawn(other, "mask") != first for other in others)
    assert drawn(client(federation)[0], "noise") != first


def test_public_samples_are_for_rules_that_say_so(build):
    class Distils(Rule):
        uses_public = True

    federation = build("fedavg_s", ECG)
    assert client(federation)[0].public == {}
    assert set(client(under(federation, Distils()))[0].public) == {"ecg_abnormal"}


# ---- selection


class Greedy(Rule):
    """The clients of largest loss."""

    def select(self, server, candidates, drawn, ask):
        answers = list(ask(candidates))
        server.report("asked", len(answers))
        return sorted((a.client for a in answers), key=lambda c: -answers[c].numbers["loss"])[: len(drawn)]


def test_a_rule_selects_after_asking_and_every_byte_counts(build):
    federation = under(build("fedavg_s", ECG, clients=4, participation=0.5), Greedy())
    losses = {c: federation.context(c, 0).evaluate(federation.clients[c].data)["ecg_abnormal"].loss for c in range(4)}
    done = federation.round(0)
    assert done.clients == sorted(sorted(losses, key=lambda c: -losses[c])[:2])
    model = federation.server.model.nbytes
    assert (done.bytes_down, done.bytes_up) == (6 * model, 2 * model + 4 * 2 * 8)
    assert done.reports == {"asked": 4.0}


def test_the_server_knows_how_many_samples_clients_have(build):
    federation = build("fedavg_m", ECG + LUNG)
    federation.clients[1].data = {}
    federation.clients[2].data = {"ecg_abnormal": federation.clients[2].data["ecg_abnormal"]}
    federation.round(0)
    both = federation.clients[0].data
    assert federation.server.sizes == {
        0: len(both["ecg_abnormal"]) + len(both["lung_opacity"]), 2: len(federation.clients[2].data["ecg_abnormal"])
    }  # fmt: skip


def test_a_resumed_federation_stands_where_it_stood(build, tmp_path):
    whole, again = (build("fedavg_s", ECG, folder=tmp_path) for _ in range(2))
    finish(whole)
    again.resume()
    assert again.server.round == again.at_server.round == whole.server.round == whole.at_server.round == 1


def test_a_selection_that_can_not_be_is_refused(build):
    class Twice(Rule):
        def select(self, server, candidates, drawn, ask):
            return [0, 0]

    with pytest.raises(RunFailed, match=r"rule Twice selects the clients \[0, 0\] in round 1; numbers from 0 to 2"):
        under(build("fedavg_s", ECG), Twice()).round(0)


def test_all_is_sent_before_the_first_update_is_taken_in(build):
    class Eager(Rule):
        """Writes into the global model while the round is under way."""

        def aggregate(self, server, updates):
            for update in updates:
                server.model.load(update.model)

    sent = []

    class Watched(Eager):
        def client_update(self, ctx, received):
            sent.append(received.model.flat.clone())
            return super().client_update(ctx, received)

    under(build("fedavg_s", ECG), Watched()).round(0)
    assert all(torch.equal(sent[0], other) for other in sent)


def test_what_clients_have_in_common_is_sent_once_in_memory(build):
    federation = build("fedavg_s", ECG)
    with federation.server.sharing():
        one, other = (federation.server.outgoing((ENCODER, DECODER)) for _ in range(2))
    assert one is other
    assert federation.server.outgoing((ENCODER, DECODER)) is not one


# ---- memory


class Counting(Rule):
    """FedAvg that looks, whenever an update comes, at what of the clients' training is still alive."""

    def __init__(self):
        super().__init__()
        self.seen, self.kept = [], []

    def client_update(self, ctx, received):
        self.kept.append(ctx)  # as the loop does, which holds all contexts of a round
        return super().client_update(ctx, received)

    def aggregate(self, server, updates):
        def looked_at():
            for update in updates:
                alive = sum(type(thing) is Training for thing in gc.get_objects())
                self.seen.append((alive, sum(ctx.batch is not None for ctx in self.kept)))
                yield update

        super().aggregate(server, looked_at())


def test_a_clients_moments_and_samples_go_when_its_turn_is_over(build):
    """Without the garbage collector, which would come late: no cycle may hold what is of the model's size."""
    gc.collect()
    gc.disable()
    try:
        rule = Counting()
        next(under(build("fedavg_s", ECG, clients=5), rule).run())
    finally:
        gc.enable()
    assert rule.seen == [(0, 0)] * 5
    made = build("fedavg_s", ECG)
    held = Training(made.model, {}, made.settings, seed=0, stream=("x",), where="here")
    assert sum(type(thing) is Training for thing in gc.get_objects()) == 1  # the control: one would be seen
    del held
