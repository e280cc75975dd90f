"""Messages as bytes: what goes in comes out, nothing travels that is not counted, and damage is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation import wire
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.models.flat import FlatTensors, Layout

MODEL = Layout.build(
    {
        "encoder.signal": [("encoder.signal.a", (3, 5), True), ("encoder.signal.running_var", (3,), False)],
        "decoder.task": [("decoder.task.w", (7,), True)],
    },
    batch_norm={"encoder.signal.running_var"},
)
FREE = Layout.build({"prototypes": [("prototypes.p", (2, 3), True)]})


def vector(layout: Layout) -> FlatTensors:
    return FlatTensors(layout, torch.randn(layout.size, generator=torch.Generator().manual_seed(0)))


def test_everything_comes_back_as_it_was():
    part = vector(MODEL).restrict(["encoder.signal"], without={"encoder.signal.a"})
    told = {
        "whole": vector(MODEL), "part": part, "free": vector(FREE), "codes": torch.tensor([[1, 2]], dtype=torch.int8),
        "scalar": torch.tensor(3.5, dtype=torch.float64), "array": np.arange(4.0), "none": None, "nan": math.nan,
        "texts": ["ä", 'quoted "\\'], "numbers": [1, 2.5, True], "empty": torch.zeros(0),
    }  # fmt: skip
    again = wire.unpack(wire.pack(told, [MODEL]), [MODEL])
    for name in ("whole", "part", "free"):
        assert list(again[name]) == list(told[name])
        assert all(torch.equal(again[name][each], told[name][each]) for each in told[name])
        assert again[name].layout == told[name].layout
    assert again["whole"].layout is MODEL
    for name in ("codes", "scalar", "empty"):
        assert torch.equal(again[name], told[name])
        assert again[name].dtype == told[name].dtype
    assert np.array_equal(again["array"], told["array"])
    assert math.isnan(again["nan"])
    assert (again["none"], again["texts"], again["numbers"]) == (None, told["texts"], told["numbers"])


def test_a_vector_costs_its_tensors_and_a_stated_overhead():
    """Padding between units does not travel; what a message says beside its tensors stays under half a kilobyte."""
    large = Layout.build({f"unit{k}": [(f"unit{k}.w{i}", (17,), True) for i in range(40)] for k in range(5)})
    values = vector(large)
    assert values.flat.numel() * 4 > values.nbytes  # there is padding
    overhead = len(wire.pack({"payload": wire.payload_to(Payload(values))}, [large])) - values.nbytes
    assert 0 < overhead < 512
    stranger = len(wire.pack({"payload": wire.payload_to(Payload(values))})) - values.nbytes
    assert stranger > 512  # the control: a layout that the other side does not know is told in full


def test_an_update_carries_what_the_client_says_and_nothing_that_the_loop_adds():
    update = Update(
        3, model=vector(MODEL), samples={"decoder.task": 5}, reports={"drift": 0.5}, numbers={"n": 1.0}, loss=0.25,
        steps=7, extra={"c": vector(MODEL)},
    )  # fmt: skip
    update.share, update.staleness = {"decoder.task": 0.5}, 2
    again = wire.update_from(wire.unpack(wire.pack(wire.update_to(update), [MODEL]), [MODEL]))
    assert (again.client, again.samples, again.reports, again.loss, again.steps) == (
        3, {"decoder.task": 5}, {"drift": 0.5}, 0.25, 7,
    )  # fmt: skip
    assert again.share == {}
    assert again.staleness == 0
    assert again.nbytes == update.nbytes


@pytest.mark.parametrize("damage", [lambda m: m[:-1], lambda m: m[:20], lambda m: b"", lambda m: b"x" * 100])
def test_a_damaged_message_is_refused_in_a_sentence(damage):
    with pytest.raises(RunFailed, match=r"can't be read|cut off"):
        wire.unpack(damage(wire.pack({"model": vector(MODEL)}, [MODEL])), [MODEL])


def test_a_vector_of_another_model_is_refused():
    with pytest.raises(RunFailed, match="another model"):
        wire.unpack(wire.pack({"model": vector(MODEL)}, [MODEL]), [FREE])
