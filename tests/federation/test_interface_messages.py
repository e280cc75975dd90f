"""What rules send, keep and combine beyond FedAvg's messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.api import FlatTensors, Layout, Payload, Rule, Update
from fedmeki_bench.errors import RunFailed
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
