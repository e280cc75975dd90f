"""The optimisers over flat segments give torch's bits."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench.models.optimiser import _PIECE, optimiser
from fedmeki_bench.profiles import profile


def theirs(values, grads, settings, lr):
    parameter = torch.nn.Parameter(values)
    parameter.grad = grads
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[settings.optimizer]
    own = {"momentum": settings.momentum} if settings.momentum else {}
    return kind([parameter], lr=lr, weight_decay=settings.weight_decay, **own)


@pytest.mark.parametrize("size", [1, 7, _PIECE, 2 * _PIECE + 13])
@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": "adam"},
        {"optimizer": "adam", "weight_decay": 0.01},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
    ],
    ids=str,
)
def test_the_steps_are_torchs_bit_for_bit(size, changed):
    settings = profile("demo").model_copy(update={"weight_decay": 0.0, "momentum": 0.0} | changed)
    random = torch.Generator().manual_seed(0)
    ours = torch.randn(size, generator=random)
    start = ours.clone()
    other = ours.clone()
    grads = torch.zeros(size)
    one, two = optimiser(ours, grads, settings, 0.01), theirs(other, grads, settings, 0.01)
    for number in range(5):
        grads.copy_(torch.randn(size, generator=random) * 10.0 ** (number - 2))
        before = grads.clone()
        one.step()
        assert torch.equal(grads, before)  # rules and clipping own the gradients
        two.step()
        assert torch.equal(ours.view(torch.int32), other.view(torch.int32)), number
    assert not torch.equal(ours, start)


def test_a_missing_bias_correction_would_be_seen():
    """The control: what the comparison above says of an Adam without it."""
    settings = profile("demo").model_copy(update={"optimizer": "adam"})
    values, grads = torch.randn(100), torch.randn(100)
    other = values.clone()
    one, two = optimiser(values, grads, settings, 0.01), theirs(other, grads, settings, 0.01)
    one.count = 10**6
    one.step(), two.step()
    assert not torch.equal(values, other)
