"""What the client model makes of several arrays of a modality, and of none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from fedmeki_bench.conformance.paired_toys import EITHER, paired_cohort
from fedmeki_bench.conformance.worlds import build, finish
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Encoder
from fedmeki_bench.models.fusion import pooled_over
from fedmeki_bench.models.training import schedule, train

TASK = EITHER.meta.name


class Plain(Encoder):
    """Passes its input on as one token."""

    modality, width = "image", 3

    def forward(self, x):
        return x.unsqueeze(1)


def bag(*rows):
    """One sample with these arrays."""
    return torch.tensor(rows), torch.ones(1, len(rows), dtype=torch.bool)


def test_the_order_of_arrays_changes_no_bit():
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).tolist()
    sums, found = set(), set()
    for order in itertools.permutations(rows):
        x, present = bag(*order)
        found.add(tuple(pooled_over(Plain(), x, present, None)[0].tolist()))
        sums.add(tuple(sum(x[1:], x[0]).tolist()))  # the control: a plain sum depends on the order
    assert len(found) == 1
    assert len(sums) > 1


def test_the_mean_is_over_what_is_there():
    x = torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [-7.0, 0.0, 9.0]], requires_grad=True)
    present = torch.tensor([[True, True], [False, False], [True, False]])
    absent = torch.nn.Parameter(torch.tensor([10.0, 20.0, 30.0]))
    pooled = pooled_over(Plain(), x, present, absent)
    assert pooled.tolist() == [[2.0, 3.0, 4.0], [10.0, 20.0, 30.0], [-7.0, 0.0, 9.0]]
    pooled.sum().backward()
    assert absent.grad.tolist() == [1.0, 1.0, 1.0]
    assert x.grad.tolist() == [[0.5] * 3, [0.5] * 3, [1.0] * 3]


@pytest.fixture
def federation():
    return build(Rule(), (TASK,))


def numbered(part, *, image: int, signal: int):
    """The samples of a part with so many arrays."""
    samples = part.cohort.samples()
    chosen = (samples["image_count"] == image) & (samples["signal_count"] == signal)
    return part.take([k for k, row in enumerate(part.rows) if chosen[row]])


def test_arrays_that_are_not_there_say_nothing(federation):
    model = federation.model.eval()
    part = numbered(paired_cohort().part("client"), image=1, signal=0)
    batch = part.batch(range(4))
    noisy = {name: value.copy() for name, value in batch.items()}
    noisy["image"][:, 1] = 255
    noisy["signal"][:] = 1000
    with torch.no_grad():
        one, other = (model(TASK, model.to_inputs(b)).logits for b in (batch, noisy))
        alone = torch.stack([model(TASK, model.to_inputs(part.batch([k]))).logits[0] for k in range(4)])
    assert torch.equal(one, other)
    torch.testing.assert_close(one, alone, rtol=1e-5, atol=1e-6)


def test_a_step_leaves_the_encoder_of_an_absent_modality_alone(federation):
    """Its bits, its optimiser, its count of steps; the learned vector moves in its stead."""
    model = federation.model
    part = numbered(paired_cohort().part("client"), image=1, signal=0)
    assert part.lacking == {"signal"}
    before = model.values.clone()
    steps = schedule({TASK: part}, epochs=2, batch_size=4, seed=0, stream=("x",))
    done = train(model, {TASK: part}, steps, federation.settings, seed=0, stream=("x",), where="here")
    moved = {name for name in before if not torch.equal(before[name], model.values[name])}
    assert not [name for name in moved if name.startswith("encoder.signal")]
    assert f"decoder.{TASK}.absent.signal" in moved
    assert f"decoder.{TASK}.absent.image" not in moved
    assert set(done.unit_steps) == {"encoder.image", f"decoder.{TASK}"}


def test_a_client_sends_no_encoder_that_it_does_not_train(federation):
    client = federation.clients[1]
    client.data = {TASK: client.data[TASK].hiding(["image"])}
    ctx = federation.context(1, 0)
    assert ctx.units == ("encoder.signal", f"decoder.{TASK}")
    finish(federation)
    assert federation.server.holders == {"encoder.image": 2, "encoder.signal": 3, f"decoder.{TASK}": 3}
    counts = federation.context(0, 0).samples
    batch = ctx.data[TASK].batch(range(len(ctx.data[TASK])))
    assert batch["signal_there"].all()
    assert counts["encoder.image"] < counts[f"decoder.{TASK}"]


def test_features_of_each_modality_are_told_apart(federation):
    """A picture moves its own columns and no others; where there is none they hold the decoder's learned vector."""
    model, part = federation.model, paired_cohort().part("client")
    columns, hidden = model.columns(TASK), part.hiding(["signal"])
    assert columns == {"image": slice(0, 8), "signal": slice(8, 16)}
    ctx = federation.context(0, 0)
    with torch.no_grad():
        model.values[f"decoder.{TASK}.absent.signal"].copy_(torch.arange(8.0))
    (features, _), (without, _) = ctx.features(TASK, part), ctx.features(TASK, hidden)
    left = part.having("image")
    assert len(hidden) == left.sum() == part.holding("image") < len(part)
    assert torch.equal(without[:, columns["signal"]], torch.arange(8.0).expand(len(hidden), 8))
    torch.testing.assert_close(without[:, columns["image"]], features[torch.from_numpy(left)][:, columns["image"]])
    absent = (features[:, columns["signal"]] == torch.arange(8.0)).all(dim=1).numpy()
    assert (absent == ~part.having("signal")).all()
    assert 0 < absent.sum() < len(part)
    assert not hidden.having("signal").any()
    assert build(Rule(), ("left",)).public["left"].having("image").all()


def test_a_task_of_text_alone_is_refused():
    with pytest.raises(InputError, match="task 'notes' reads text alone"):
        ClientModel({"notes": ("text",)}, {}, {}, hidden={}, seed=0)


def test_decoders_of_tasks_that_never_lack_anything_are_as_ever(federation):
    plain = build(Rule(), ("left",)).model
    assert {n.removeprefix("decoder.left.") for n in plain.values if n.startswith("decoder")} == {"weight", "bias"}
    own = {n.removeprefix(f"decoder.{TASK}.") for n in federation.model.values if n.startswith("decoder")}
    assert own == {"head.weight", "head.bias", "absent.image", "absent.signal"}
    assert np.isfinite(federation.model.values.flat.numpy()).all()
