"""What rules are given beyond FedAvg's loop: each part does what it says, and a rule that needs it stays short."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.api import FlatTensors, Layout, Payload, Rule, Update
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.evaluation.views import Personal

from .conftest import PUBLISHED_ECG, finish, interrupted, under

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


# ---- what travels and what is kept


class Codes(Rule):
    """Sends tensors of several types, and keeps a vector of its own layout."""

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        own = FlatTensors(Layout.build({"mine": [("mine.centre", (2, 3), True)]}))
        own.flat.add_(ctx.client + 1.0)
        ctx.memory["own"] = own
        update.extra |= {"codes": torch.ones(10, dtype=torch.int8), "places": torch.ones(4, dtype=torch.int32)}
        ctx.report("drift", ctx.client)
        return update

    def aggregate(self, server, updates):
        updates = list(updates)
        server.memory["codes"] = updates[-1].extra["codes"]
        super().aggregate(server, iter(updates))


def test_tensors_of_any_type_are_counted_by_their_size(build):
    federation = under(build("fedavg_s", ECG), Codes())
    done = federation.round(0)
    assert done.bytes_up - done.bytes_down == 3 * (10 * 1 + 4 * 4)
    assert done.reports == {"drift": 1.0}  # the mean over clients 0, 1 and 2; it is not sent


def test_a_vector_of_its_own_layout_survives_the_checkpoint(build, tmp_path):
    whole, again = interrupted(lambda folder: under(build("fedavg_s", ECG, folder=folder), Codes()), tmp_path)
    assert torch.equal(whole.server.model.flat, again.server.model.flat)
    own = again.clients[1].memory["own"]
    assert own["mine.centre"].shape == (2, 3)
    assert float(own.flat.sum()) == 12.0
    assert again.server.memory["codes"].dtype == torch.int8
    assert again.history[0].reports == whole.history[0].reports


def test_a_rule_may_not_write_into_a_tensor_it_received(build):
    class Careless(Rule):
        def broadcast(self, server, client, units):
            payload = super().broadcast(server, client, units)
            payload.extra["centres"] = torch.zeros(3, dtype=torch.bfloat16)
            return payload

        def client_update(self, ctx, received):
            received.extra["centres"].add_(1.0)
            return super().client_update(ctx, received)

    with pytest.raises(RunFailed, match="changed what client 0 received"):
        under(build("fedavg_s", ECG), Careless()).round(0)


def test_personal_copies_are_kept_loaded_and_scored(build, tmp_path):
    class Own(Rule):
        views = ("personal",)

        def client_update(self, ctx, received):
            ctx.load_personal(received)
            ctx.train(self, received)
            ctx.keep_personal()
            return ctx.update()

    whole, again = interrupted(lambda folder: under(build("fedavg_s", ECG, folder=folder), Own()), tmp_path)
    alone = build("local_s", ECG)
    finish(alone)
    for one, other, lonely in zip(whole.clients, again.clients, alone.clients, strict=True):
        for unit in (ENCODER, DECODER):
            assert torch.equal(one.personal["personal"][unit].flat, other.personal["personal"][unit].flat)
            assert torch.equal(one.personal["personal"][unit].flat, lonely.personal["personal"][unit].flat)


def test_a_rule_may_train_a_personal_model_when_it_is_asked_for(build):
    """Also where whoever asks takes no gradients, as scoring does."""

    class Tuned(Rule):
        views = ("personal",)

        def personal(self, ctx, received):
            own = ctx.model.values.restrict(ctx.units)
            loss = ctx.loss({}, next(iter(ctx.training(self, received).batches())), training=False)
            own[f"{DECODER}.bias"].sub_(torch.autograd.grad(loss, ctx.model.decoders["ecg_abnormal"].bias)[0])
            return own

    federation = under(build("fedavg_s", ECG), Tuned())
    ctx = federation.context(0, 0)
    with torch.no_grad():
        federation.load_personal(ctx)
        assert not torch.is_grad_enabled()
    assert not torch.equal(federation.model.values.segment(DECODER), federation.server.model.segment(DECODER))


def test_a_personal_model_is_asked_for_task_by_task(build):
    class Asked(Rule):
        def personal(self, ctx, received):
            asked.append((ctx.client, *ctx.data, *ctx.units))

    asked = []
    federation = under(build("fedavg_m", ECG + LUNG), Asked())
    federation.clients[1].data = {}
    Personal().predict(federation, registry.load("tasks", "ecg_abnormal")(), federation.public["ecg_abnormal"])
    assert asked == [(client, "ecg_abnormal", ENCODER, DECODER) for client in (0, 2)]


# ---- combining


def test_rules_on_differences_leave_statistics_to_the_core(build):
    """A step of ten times the mean change: statistics are the clients' mean all the same."""

    class Far(Rule):
        def aggregate(self, server, updates):
            server.apply(server.mean_change(updates), 10.0)

    class Each(Rule):
        def aggregate(self, server, updates):
            step = server.model.zeros(buffers=False)
            for update in server.changes(updates):
                for unit, share in update.share.items():
                    step.segment(unit).add_(update.change.segment(unit), alpha=10 * share)
            server.apply(step)

    plain, far, each = (build("fedavg_s", ECG, rounds=1, **PUBLISHED_ECG) for _ in range(3))
    start = plain.server.model.clone()
    far, each = under(far, Far()), under(each, Each())
    for federation in (plain, far, each):
        finish(federation)
    for name in start.buffers():
        assert torch.equal(far.server.model[name], plain.server.model[name])
        assert torch.equal(each.server.model[name], plain.server.model[name])
    for unit in start.units:
        moved = [f.server.model.segment(unit, trained_only=True) - start.segment(unit, trained_only=True)
                 for f in (plain, far, each)]  # fmt: skip
        torch.testing.assert_close(moved[1], 10 * moved[0], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(moved[2], 10 * moved[0], rtol=1e-3, atol=1e-5)


def test_weights_of_all_clients_are_known_beside_those_of_the_round(build):
    federation = build("fedavg_s", ECG, clients=4, participation=0.5)
    seen = []

    class Watched(Rule):
        def aggregate(self, server, updates):
            seen.extend(updates)

    federation = under(federation, Watched())
    federation.round(0)
    every = [len(c.data["ecg_abnormal"]) for c in federation.clients]
    assert federation.server.weights[DECODER] == sum(every)
    assert sum(u.share[DECODER] for u in seen) == pytest.approx(1.0)
    for update in seen:
        assert update.total_share[DECODER] == pytest.approx(every[update.client] / sum(every))


def test_the_server_may_distil_on_public_data(build):
    """The server learns what the clients answer on average; nothing else teaches it."""

    class Distils(Rule):
        def aggregate(self, server, updates):
            teachers = [update.model for update in updates]
            ctx = server.computing

            def loss(params, batch):
                with torch.no_grad():
                    wanted = torch.stack([ctx.forward(t, batch).logits for t in teachers]).mean(dim=0)
                return (ctx.outputs(batch)[1].logits - wanted).square().mean()

            before = server.model
            tuned, done = ctx.fine_tune(before, ctx.public, epochs=3, loss=loss)
            server.model.load(tuned)
            server.report("distance", done.loss)

    federation = under(build("fedavg_s", ECG, rounds=1), Distils())
    start = federation.server.model.flat.clone()
    (done,) = list(federation.run())
    assert np.isfinite(done.reports["distance"])
    assert not torch.equal(federation.server.model.flat, start)
    assert finish(under(build("fedavg_s", ECG, rounds=1), Distils())).equal(federation.server.model.flat)


def test_a_server_alone_has_nothing_to_compute_with():
    from fedmeki_bench.federation.server import Server

    server = Server(FlatTensors(Layout.build({"a": [("a.w", (2,), True)]})), 1)
    with pytest.raises(RuntimeError, match="belongs to no federation"):
        server.generator("x")


def test_halves_of_a_batch(build):
    ctx, received = client(build("fedavg_s", ECG))
    training = ctx.training(Rule(), received)
    batch = next(iter(training.batches()))
    first, second = batch.halves()
    assert torch.equal(torch.cat([first.labels, second.labels]), batch.labels)
    assert torch.equal(torch.cat([first.inputs["signal"], second.inputs["signal"]]), batch.inputs["signal"])
    alone = type(batch)(batch.task, {m: x[:1] for m, x in batch.inputs.items()}, batch.labels[:1])
    assert all(len(half.labels) == 1 for half in alone.halves())


def test_an_update_without_a_model_is_combined_by_nobody(build):
    class Silent(Rule):
        def broadcast(self, server, client, units):
            return Payload()

        def client_update(self, ctx, received):
            return Update(ctx.client)

        def aggregate(self, server, updates):
            server.apply(server.mean_change(updates))

    federation = build("fedavg_s", ECG, rounds=1)
    start = federation.server.model.flat.clone()
    assert torch.equal(finish(under(federation, Silent())), start)
