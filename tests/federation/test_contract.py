"""What the loop enforces on rules: read-only payloads, finite models, memory that can be saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import seeds
from fedmeki_bench.api import Rule
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation import checkpoint
from fedmeki_bench.models.batch import Batch
from fedmeki_bench.models.flat import FlatTensors, Layout
from fedmeki_bench.models.training import Diverged

ECG = ["ecg_abnormal"]


def test_a_rule_that_writes_into_what_it_received_is_refused(build):
    class Careless(Rule):
        def client_update(self, ctx, received):
            received["decoder.ecg_abnormal.bias"].add_(1.0)
            return super().client_update(ctx, received)

    federation = build("fedavg_s", ECG)
    federation.rule = federation.engine.rule = Careless()
    with pytest.raises(RunFailed, match="rule Careless changed what client 0 received in round 1"):
        federation.round(0)


def test_training_does_not_reach_into_the_global_model(build):
    federation = build("fedavg_s", ECG)
    before = federation.server.model.flat.clone()
    ctx = federation.context(0, 0)
    federation.rule.client_update(ctx, federation.rule.broadcast(federation.server, ctx.client, ctx.units))
    assert torch.equal(federation.server.model.flat, before)


def test_divergence_names_round_and_client(build):
    federation = build("fedavg_s", ECG, lr=1e30, clip=1e30, optimizer="sgd")
    with pytest.raises(Diverged, match="in round 1 at client 0"):
        federation.round(0)


def test_gradient_hook_reaches_the_step(build):
    class Still(Rule):
        def correct_gradients(self, grads, params, received, ctx):
            assert set(grads) == set(params)
            for gradient in grads.values():
                gradient.zero_()

    federation = build("fedavg_s", ECG)
    federation.rule = federation.engine.rule = Still()
    before = federation.server.model.clone()
    federation.round(0)
    for unit in before.units:  # batch-norm statistics move without gradients
        after = federation.server.model.segment(unit, trained_only=True)
        torch.testing.assert_close(after, before.segment(unit, trained_only=True), rtol=1e-6, atol=1e-7)


def evaluating(federation, seen=None, **options):
    """The federation under a rule whose loss evaluates the received model and is otherwise FedAvg's."""

    class Looks(Rule):
        def local_loss(self, loss, outputs, params, received, ctx):
            other = ctx.forward(received, ctx.batch, **options)
            if seen is not None:
                seen.append((other.logits.detach(), outputs.logits.detach()))
            return loss

    federation.rule = federation.engine.rule = Looks()
    return federation


def test_other_weights_can_be_evaluated_inside_the_loss(build):
    seen = []
    evaluating(build("fedavg_s", ECG), seen, training=True).round(0)
    first, later = seen[0], seen[1]
    torch.testing.assert_close(first[0], first[1])  # before the first step the two sets of weights are the same
    assert not torch.equal(later[0], later[1])


def test_other_weights_are_evaluated_as_a_model_is_scored(build):
    seen = []
    federation = evaluating(build("fedavg_s", ECG), seen)
    federation.round(0)
    start = build("fedavg_s", ECG)
    ctx = start.context(0, 0)
    part = ctx.data["ecg_abnormal"]
    order = seeds.generator(0, "batches", "ecg_abnormal", "client", 0, "round", 0, 0).permutation(len(part))
    inputs = start.model.to_inputs(part.batch(order[:16]))
    torch.testing.assert_close(seen[0][0], start.model.eval()("ecg_abnormal", inputs).logits)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("tasks", [ECG, ["lung_opacity"]])
def test_evaluating_other_weights_changes_nothing(build, training, tasks):
    """Batch-norm statistics, dropout masks and what was received stay as they are, so FedAvg stays FedAvg."""
    plain, looking = build("fedavg_s", tasks), build("fedavg_s", tasks)
    evaluating(looking, **({"training": True} if training else {}))
    received = []
    send = looking.rule.broadcast
    looking.rule.broadcast = lambda *where: received.append(send(*where)) or received[-1]
    sent = looking.server.model.flat.clone()
    plain.round(0)
    looking.round(0)
    assert torch.equal(looking.server.model.flat, plain.server.model.flat)
    assert all(torch.equal(p.model.flat, sent) for p in received)


def test_the_random_stream_of_a_rule_is_its_own(build):
    federation = build("fedavg_s", ECG)
    ctx = federation.context(0, 0)
    dropping = torch.nn.Dropout(0.5)
    federation.model.encoders["signal"].register_forward_pre_hook(lambda module, x: (dropping(x[0]),))
    part = ctx.data["ecg_abnormal"]
    batch = Batch("ecg_abnormal", federation.model.to_inputs(part.batch(range(4))), torch.zeros(4))
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    ctx.forward(federation.rule.broadcast(federation.server, ctx.client, ctx.units), batch, training=True)
    assert torch.equal(torch.rand(3), want)


def test_what_was_received_is_guarded_by_value(build):
    """Batch norm writes its statistics without raising a version counter: only the values tell."""

    class Stale(Rule):
        def client_update(self, ctx, received):
            update = super().client_update(ctx, received)
            names = [n for n in received if n.endswith("running_mean")]
            mean, var = received[names[0]], received[names[0].replace("mean", "var")]
            version = received.model.flat._version
            x = torch.randn(8, len(mean), 4)
            torch.nn.functional.batch_norm(x, mean, var, training=True)
            assert received.model.flat._version == version
            return update

    federation = build("fedavg_s", ECG)
    federation.rule = federation.engine.rule = Stale()
    with pytest.raises(RunFailed, match="rule Stale changed what client 0 received in round 1"):
        federation.round(0)


def test_numbers_received_are_guarded_too(build):
    class Counts(Rule):
        def broadcast(self, server, client, units):
            payload = super().broadcast(server, client, units)
            payload.numbers["t"] = 1.0
            return payload

        def client_update(self, ctx, received):
            received.numbers["t"] += 1
            return super().client_update(ctx, received)

    federation = build("fedavg_s", ECG)
    federation.rule = federation.engine.rule = Counts()
    with pytest.raises(RunFailed, match="rule Counts changed what client 0 received"):
        federation.round(0)


def test_memory_round_trips_through_a_checkpoint(tmp_path):
    layout = Layout.build({"a": [("a.w", (2, 3), True), ("a.m", (2,), False)], "b": [("b.w", (4,), True)]})
    part = FlatTensors(layout, torch.arange(layout.size, dtype=torch.float32)).restrict(["a"], buffers=False)
    state = {"flat": part, "nested": {"x": [1, 2.5, "text", None, True]}, "tensor": torch.ones(2)}
    checkpoint.save(tmp_path, state)
    back = checkpoint.load(tmp_path, layout)
    assert torch.equal(back["flat"].flat, part.flat)
    assert back["flat"].layout is part.layout
    assert back["nested"] == state["nested"]


def test_any_tensors_can_be_left_out_saved_and_put_back(tmp_path):
    layout = Layout.build(
        {"a": [("a.w", (2, 3), True), ("a.n", (3,), True), ("a.v", (2,), True), ("a.m", (2,), False)],
         "b": [("b.w", (4,), True)]}, batch_norm={"a.n", "a.m"},
    )  # fmt: skip
    whole = FlatTensors(layout, torch.arange(layout.size, dtype=torch.float32))
    part = whole.restrict(["a", "b"], without=["a.n", "b.w"])
    assert list(part) == ["a.w", "a.v", "a.m"]
    assert part.units == ("a",)  # nothing is left of b
    assert part.nbytes == 4 * (6 + 2 + 2)
    assert all(torch.equal(part[n], whole[n]) for n in part)
    assert [e.name for e in part.layout.entries.values() if e.batch_norm] == ["a.m"]
    checkpoint.save(tmp_path, {"part": part, "nothing": whole.restrict([])})
    back = checkpoint.load(tmp_path, layout)
    assert back["part"].layout is part.layout
    assert torch.equal(back["part"].flat, part.flat)
    assert len(back["nothing"]) == 0
    other = whole.zeros()
    other.load(part)
    assert all(torch.equal(other[n], whole[n] if n in part else torch.zeros_like(whole[n])) for n in whole)
    assert torch.equal((part - whole).flat, torch.zeros(part.layout.size))
    with pytest.raises(ValueError, match="do not match"):
        whole - part
    with pytest.raises(KeyError, match=r"a\.n"):
        part.load(whole)


def test_memory_that_cannot_be_saved_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match="not set"):
        checkpoint.save(tmp_path, {"bad": {1, 2}})


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    layout = Layout.build({"a": [("a.w", (2,), True)]})
    checkpoint.save(tmp_path, {"x": torch.ones(100)})
    file = tmp_path / checkpoint.FILE
    file.write_bytes(file.read_bytes()[:-80])
    with pytest.raises(RunFailed, match="run again with --fresh"):
        checkpoint.load(tmp_path, layout)


def test_a_checkpoint_of_another_layout_says_what_to_do(tmp_path):
    layout = Layout.build({"a": [("a.w", (2,), True)]})
    checkpoint.save(tmp_path, {"x": FlatTensors(layout)})
    with pytest.raises(RunFailed, match="run again with --fresh"):
        checkpoint.load(tmp_path, Layout.build({"a": [("a.w", (3,), True)]}))


def test_no_pickle_is_executed(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("owned").write_text, ("x",))

    (tmp_path / checkpoint.FILE).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RunFailed):
        checkpoint.load(tmp_path, Layout.build({}))
    assert not (tmp_path / "owned").exists()


def test_every_flipped_bit_of_a_checkpoint_is_seen(tmp_path):
    layout = Layout.build({"a": [("a.w", (64,), True)]})
    checkpoint.save(tmp_path, {"x": FlatTensors(layout), "history": [{"round": 0, "loss": 0.5}]})
    file = tmp_path / checkpoint.FILE
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(content), 300, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(changed)
        with pytest.raises(RunFailed, match="--fresh"):
            checkpoint.load(tmp_path, layout)
    file.write_bytes(content)
    assert checkpoint.load(tmp_path, layout) is not None
