"""Clients that tune the foundation model themselves: what is trained, what travels, and what the rules do with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.api import Rule
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.evaluation.view import Answers, view
from fedmeki_bench.foundation import own_answers
from fedmeki_bench.models.training import schedule, train
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify

from .conftest import finish, interrupted

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
TASKS = {name: registry.load("tasks", name)() for name in (*ECG, *LUNG)}


@pytest.fixture
def tuned(build, barely):
    def make(rule, tasks=ECG, **options):
        return build(f"{rule}_m_tuned", tasks, foundation=barely, dropout=0.1, **options)

    return make


def weights(federation):
    return {n: p.clone() for n, p in federation.model.injected.language.model.named_parameters()}


def test_what_is_trained_and_sent_is_encoder_projector_and_lora_and_never_f(tuned):
    federation = tuned("fedavg")
    units = federation.server.model.units
    assert units == ("encoder.signal", "projector.signal", "adapter.A", "adapter.B")
    before, start = weights(federation), federation.server.model.clone()
    done = federation.round(0)
    assert done.bytes_up == done.bytes_down == 3 * start.nbytes
    assert all(torch.equal(before[n], p) for n, p in weights(federation).items())
    for unit in units:
        assert not torch.equal(federation.server.model.segment(unit), start.segment(unit)), unit
    assert done.loss is not None


def test_a_step_follows_the_loss_of_the_answers(tuned):
    """The gradient on the flat buffer is that of the injected model's own next-token loss."""
    federation = tuned("fedavg")
    model, part = federation.model, federation.clients[0].data["ecg_abnormal"]
    model.eval()
    batch = model.batch("ecg_abnormal", part, np.arange(4), torch.from_numpy(part.targets))
    with torch.no_grad():
        model.values.segment("adapter.B").add_(0.01)
    model.grads.flat.zero_()
    loss = model.loss(model("ecg_abnormal", batch.inputs), batch)
    loss.backward()
    prompts = [TASKS["ecg_abnormal"].prompt(q) for q in part.questions[:4]]
    losses, tokens = model.injected.losses(
        model, TASKS["ecg_abnormal"], batch.inputs, prompts, [str(a) for a in part.answers[:4]]
    )
    torch.testing.assert_close(loss, losses.sum() / tokens.sum())
    for unit in federation.server.model.units:
        assert float(model.grads.segment(unit, trained_only=True).abs().sum()) > 0, unit
    direction = model.grads.flat.clone()
    along = 1e-3 / float(direction.norm())
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            model.values.flat.add_(direction, alpha=sign * along)
            values.append(float(model.loss(model("ecg_abnormal", batch.inputs), batch)))
            model.values.flat.add_(direction, alpha=-sign * along)
    assert (values[0] - values[1]) / (2 * along) == pytest.approx(float(direction.square().sum()), rel=0.02)


def test_one_client_is_plain_training(tuned):
    federation, other = tuned("fedavg", clients=1), tuned("fedavg", clients=1)
    for number in range(federation.rounds):
        stream = ("client", 0, "round", number)
        steps = schedule(other.clients[0].data, epochs=1, batch_size=16, seed=0, stream=stream)
        train(other.model, other.clients[0].data, steps, other.settings, seed=0, stream=stream, where="here")
    assert torch.equal(finish(federation), other.model.values.flat)


def test_other_weights_are_evaluated_without_a_trace(tuned):
    federation = tuned("fedavg")
    ctx = federation.context(0, 0)
    received = federation.rule.broadcast(federation.server, 0, ctx.units)
    ctx.load(received)
    part = ctx.data["ecg_abnormal"]
    batch = federation.model.batch("ecg_abnormal", part, np.arange(4), torch.from_numpy(part.targets))
    before = federation.model.values.flat.clone()
    other = {n: v + 0.05 for n, v in received.items()}
    there = float(ctx.loss(other, batch, training=False).detach())
    assert there != pytest.approx(float(ctx.loss({}, batch, training=False).detach()), abs=1e-4)
    assert torch.equal(federation.model.values.flat, before)
    with torch.no_grad():
        for name, value in other.items():
            federation.model.values[name].copy_(value)
        federation.model.eval()
        here = float(federation.model.loss(federation.model("ecg_abnormal", batch.inputs), batch))
    assert there == pytest.approx(here, rel=1e-5)


def test_ffa_lora_averages_the_product_and_sends_no_a(tuned):
    """The mean of B_i A over clients with one A is (mean of B_i) A; with A_i of their own it is not."""
    products = {}
    for rule in ("ffa_lora", "fedavg"):
        federation = tuned(rule, lr=0.02)
        layer = next(iter(federation.model.injected.adapters.low_rank))
        a, b = f"adapter.A.{layer}", f"adapter.B.{layer}"
        start, kept = federation.server.model[a].clone(), []
        aggregate = federation.rule.aggregate

        def watched(server, updates, a=a, b=b, start=start, kept=kept, aggregate=aggregate):
            def passing():
                for update in updates:
                    mine = update.model.get(a, start)
                    kept.append(update.share["adapter.B"] * (update.model[b] @ mine))
                    yield update

            aggregate(server, passing())

        federation.rule.aggregate = watched
        done = federation.round(0)
        model = federation.server.model
        products[rule] = float((sum(kept) - model[b] @ model[a]).norm() / sum(kept).norm())
        sent = model.restrict(federation.context(0, 0).units)
        assert done.bytes_up == 3 * sent.nbytes
        assert torch.equal(model[a], start) == (rule == "ffa_lora")
        assert ("adapter.A" in sent.units) == (rule == "fedavg")
    assert products["ffa_lora"] < 1e-5 < 1e-3 < products["fedavg"]


def test_fedsa_lora_keeps_b_at_home_and_is_scored_there(tuned):
    federation = tuned("fedsa_lora", lr=0.02)
    done = federation.round(0)
    model = federation.server.model
    assert float(model.segment("adapter.B").abs().sum()) == 0.0
    assert done.bytes_up == 3 * 4 * sum(e.size for e in model.layout.entries.values() if e.unit != "adapter.B")
    own = [client.local.segment("adapter.B") for client in federation.clients]
    assert not torch.equal(own[0], own[1])
    part = federation.public["ecg_abnormal"]
    said = view("foundation_own").predict(federation, TASKS["ecg_abnormal"], part)
    assert isinstance(said, Answers)
    assert len(said.text) == len(said.parsed) == len(said.scores) == len(part)


def test_where_no_client_has_a_model_of_its_own_both_views_say_the_same(tuned):
    federation = tuned("fedavg")
    federation.round(0)
    part = federation.public["ecg_abnormal"]
    one, own = (view(n).predict(federation, TASKS["ecg_abnormal"], part) for n in ("foundation", "foundation_own"))
    assert one.text == own.text
    np.testing.assert_allclose(one.scores, own.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", ["fedsa_lora", "ffa_lora"])
def test_resumed_to_the_same_bits(tuned, tmp_path, rule):
    whole, again = interrupted(lambda folder: tuned(rule, ECG + LUNG, folder=folder), tmp_path)
    assert torch.equal(whole.server.model.flat, again.server.model.flat)
    for one, other in zip(whole.clients, again.clients, strict=True):
        assert (one.local is None) == (other.local is None)
        assert one.local is None or torch.equal(one.local.flat, other.local.flat)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", ["fedprox", "scaffold", "fednova", "fedadam", "feddyn", "ditto", "fedbn", "fedbuff", "local"]
)
def test_every_rule_trains_adapters(tuned, rule):
    federation = tuned(rule, rounds=2)
    finish(federation)
    assert all(torch.isfinite(torch.tensor(r.loss)) for r in federation.history)
    name = "foundation_own" if "personal" in federation.rule.views else "foundation"
    said = view(name).predict(federation, TASKS["ecg_abnormal"], federation.public["ecg_abnormal"])
    assert np.isfinite(said.scores).all()


def test_gradients_of_a_rule_reach_the_adapters(tuned):
    class Still(Rule):
        def correct_gradients(self, grads, params, received, ctx):
            assert any(name.startswith("adapter.B.") for name in grads)
            for gradient in grads.values():
                gradient.zero_()

    federation = tuned("fedavg")
    federation.rule = federation.engine.rule = Still()
    before = federation.server.model.clone()
    federation.round(0)
    for unit in ("projector.signal", "adapter.A", "adapter.B"):
        torch.testing.assert_close(federation.server.model.segment(unit), before.segment(unit), rtol=1e-6, atol=1e-7)


def factors(federation, update):
    """Layer -> what a client of unequal rank adds to the weight, (out, in)."""
    names = [n.removeprefix("adapter.A.") for n in update.extra if n.startswith("adapter.A.")]
    return {n: update.extra[f"adapter.B.{n}"] @ update.extra[f"adapter.A.{n}"] for n in names}


@pytest.mark.parametrize("rule", ["flex_lora", "het_lora"])
def test_clients_of_smaller_rank_get_train_and_send_less(tuned, rule):
    federation = tuned(rule, ranks=(4, 2, 1), rank=4, lr=0.02)
    sent, update = {}, federation.rule.client_update

    def watched(ctx, received):
        done = update(ctx, received)
        sent[ctx.client] = done
        for _, a, b in ((n, ctx.model.values[n], ctx.model.values[n.replace(".A.", ".B.")])
                        for n in ctx.model.values if n.startswith("adapter.A.")):  # fmt: skip
            rank = (4, 2, 1)[ctx.client]
            assert not a[rank:].any()
            assert not b[:, rank:].any()
            assert a[:rank].any()
        return done

    federation.rule.client_update = watched
    federation.round(0)
    federation.round(1)
    sizes = [sum(t.numel() for t in sent[c].extra.values()) for c in range(3)]
    assert sizes[0] == 2 * sizes[1] == 4 * sizes[2]
    assert all("adapter.A" not in done.model.units for done in sent.values())


def test_flex_lora_is_the_mean_of_the_products_as_far_as_its_rank_goes(tuned):
    """With room for all ranks it is exact; cut, no other matrix of that rank is nearer (Eckart and Young)."""
    for ranks, exact in (((2, 1, 1), True), ((4, 4, 4), False)):
        federation = tuned("flex_lora", ranks=ranks, rank=4, lr=0.02)
        want, aggregate = {}, federation.rule.aggregate

        def watched(server, updates, want=want, federation=federation, aggregate=aggregate):
            def passing():
                for update in updates:
                    for name, product in factors(federation, update).items():
                        want[name] = want.get(name, 0.0) + update.share["adapter.B"] * product
                    yield update

            aggregate(server, passing())

        federation.rule.aggregate = watched
        federation.round(0)
        model = federation.server.model
        for name, product in want.items():
            got = model[f"adapter.B.{name}"] @ model[f"adapter.A.{name}"]
            singular = torch.linalg.svdvals(product.double())
            best = float(singular[4:].square().sum().sqrt())
            off = float((got - product).double().norm())
            assert off <= best + 1e-4 * float(singular[0])
            if exact:
                assert best < 1e-5 * float(singular[0])


def test_het_lora_weighs_by_the_size_of_the_product(tuned):
    federation = tuned("het_lora", ranks=(4, 2, 1), rank=4, lr=0.02, weighting="uniform")
    kept, aggregate = [], federation.rule.aggregate

    def watched(server, updates):
        def passing():
            for update in updates:
                kept.append(update)
                yield update

        aggregate(server, passing())

    federation.rule.aggregate = watched
    federation.round(0)
    sizes = [sum(float(p.square().sum()) for p in factors(federation, u).values()) ** 0.5 for u in kept]
    name = next(n for n in federation.server.model if n.startswith("adapter.B."))
    want = torch.zeros_like(federation.server.model[name])
    for size, update in zip(sizes, kept, strict=True):
        part = update.extra[name]
        want[:, : part.shape[1]] += size / sum(sizes) * part
    torch.testing.assert_close(federation.server.model[name], want)
    assert max(sizes) > 1.05 * min(sizes)


def test_a_rule_about_adapters_says_which_variant_it_has():
    assert resolve("ffa_lora_m_tuned").title == "FFA-LoRA_m^T"
    with pytest.raises(UsageError, match="the rule ffa_lora is about the stage tuned; use ffa_lora_m_tuned"):
        resolve("ffa_lora_m")


def absorbed(build, barely, **options):
    return build("flora_m_absorbed", ECG, foundation=barely, rank=4, dropout=0.0, lr=0.02, **options)


def test_flora_adds_the_mean_of_the_clients_products_to_f(build, barely):
    """Exactly, where averaged factors have cross terms; the stacks of earlier rounds reach who was not there."""
    federation = absorbed(build, barely, clients=4, participation=0.5, rounds=3)
    want, aggregate = {}, federation.rule.aggregate

    def watched(server, updates):
        def passing():
            for update in updates:
                for name, product in factors(federation, update).items():
                    want[name] = want.get(name, 0.0) + update.share["adapter.B"] * product
                yield update

        aggregate(server, passing())

    federation.rule.aggregate = watched
    before = weights(federation)
    finish(federation)
    model = federation.server.model
    for name, product in want.items():
        torch.testing.assert_close(model[f"adapter.W.{name}"], product, rtol=1e-4, atol=1e-6)
    assert not model.segment("adapter.B").any()
    assert all(torch.equal(before[n], p) for n, p in weights(federation).items())
    stacks = federation.server.memory["stacks"][:2]  # what there was when the clients of the last round began to train
    name = next(iter(want))
    merged = sum(stack[f"adapter.B.{name}"] @ stack[f"adapter.A.{name}"] for stack in stacks)
    seldom = [c for c in federation.sampled(2) if c not in federation.sampled(1)]
    for client in federation.sampled(2):
        torch.testing.assert_close(federation.clients[client].memory["W"][f"adapter.W.{name}"], merged)
    assert seldom  # one of them missed a round, and has its stack all the same


def test_an_absorbed_adapter_says_what_the_adapter_said(build, barely):
    federation = absorbed(build, barely, clients=1, rounds=1)
    model, part = federation.model, federation.clients[0].data["ecg_abnormal"]
    ctx = federation.context(0, 0)
    federation.rule.client_update(ctx, federation.rule.broadcast(federation.server, 0, ctx.units))
    trained = ctx.logits("ecg_abnormal", part)
    for layer, a in [(n.removeprefix("adapter.A."), v) for n, v in model.values.items() if n.startswith("adapter.A.")]:
        with torch.no_grad():
            model.values[f"adapter.W.{layer}"].copy_(model.values[f"adapter.B.{layer}"] @ a)
            model.values[f"adapter.B.{layer}"].zero_()
    torch.testing.assert_close(ctx.logits("ecg_abnormal", part), trained, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        model.values.segment("adapter.W").zero_()
    assert not torch.allclose(ctx.logits("ecg_abnormal", part), trained, rtol=1e-3, atol=1e-4)


def test_f_as_it_was_knows_nothing_of_what_was_absorbed(build, barely, monkeypatch):
    monkeypatch.setattr(own_answers, "_read", lambda entry: None)  # asked both times
    federation = absorbed(build, barely, rounds=1)
    part = federation.public["ecg_abnormal"]
    before = view("foundation_before").predict(federation, TASKS["ecg_abnormal"], part)
    finish(federation)
    after = view("foundation_before").predict(federation, TASKS["ecg_abnormal"], part)
    np.testing.assert_array_equal(before.scores, after.scores)


def test_flora_resumes_with_its_stacks(build, barely, tmp_path):
    whole, again = interrupted(lambda folder: absorbed(build, barely, folder=folder, rounds=3), tmp_path)
    assert torch.equal(whole.server.model.flat, again.server.model.flat)
    assert [r.bytes_down for r in whole.history] == [r.bytes_down for r in again.history]
    assert whole.history[1].bytes_down > whole.history[0].bytes_down


def test_what_clients_tuned_is_not_kept_and_that_is_said_before_training(cohorts, tmp_path):
    (spec,) = specify(resolve("fedavg_m_tuned"), ECG, clients=2, seed=0, options={"rounds": 1})
    with pytest.raises(InputError, match="what the stage tuned leaves can't be kept: run without --keep-model"):
        execute(spec, cohorts, RecordStore(tmp_path / "results"), keep_model=True)
    assert not (tmp_path / "results").exists()


def test_valid_is_watched_by_the_likelihood_of_the_candidates(cohorts, barely, tmp_path):
    options = {"rounds": 2, "local_epochs": 1, "foundation": barely}
    (spec,) = specify(resolve("fedavg_m_tuned"), ECG, clients=2, seed=0, options=options)
    record = execute(spec, cohorts, RecordStore(tmp_path))
    assert record.status == "ok"
    watched = [r.valid["ecg_abnormal"] for r in record.history]
    assert len(watched) == 2
    assert all(0.0 <= value <= 1.0 for value in watched)
