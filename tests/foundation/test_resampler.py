"""The resampler: so many tokens whatever the encoder gives, read from those that are there alone."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench.foundation.projector import Projector
from fedmeki_bench.foundation.resampler import LAYERS, Resampler


def tokens(rows: int = 2, many: int = 7, width: int = 12) -> torch.Tensor:
    return torch.randn(rows, many, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("many", [1, 4, 198])
@pytest.mark.parametrize("width", [5, 12, 64])
def test_there_are_as_many_tokens_as_asked_for(many, width):
    projector = Projector(width, 32, seed=0, name="image", rms=0.5, latents=4)
    soft = projector(tokens(3, many, width))
    assert soft.shape == (3, 4, 32)
    torch.testing.assert_close(soft.square().mean(dim=-1).sqrt(), torch.full((3, 4), 0.5), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(soft[0, 0], soft[0, 1])
    assert not torch.allclose(soft[0], soft[1])


def test_without_latents_it_is_the_linear_layer_alone():
    assert {name for name, _ in Projector(12, 32, seed=0, name="image").named_parameters()} == {
        "linear.weight", "linear.bias"
    }  # fmt: skip
    plain, resampling = (Projector(12, 32, seed=0, name="image", latents=n) for n in (0, 4))
    assert torch.equal(plain.linear.weight, resampling.linear.weight)


def test_weights_come_from_seed_and_name():
    one, same, seed, name = (
        Resampler(12, 4, seed=s, name=n).state_dict() for s, n in ((0, "image"), (0, "image"), (1, "image"), (0, "x"))
    )
    torch.manual_seed(5)
    assert all(torch.equal(one[k], same[k]) for k in one)
    for other in (seed, name):
        assert all(not torch.equal(one[k], other[k]) for k in one if "norm" not in k)


def test_what_is_not_there_has_no_influence():
    resampler, some = Resampler(12, 4, seed=0, name="image"), tokens()
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]]).bool()
    noisy = some.clone()
    noisy[0, 3:] = float("nan")
    torch.testing.assert_close(resampler(noisy, mask)[:1], resampler(some[:1, :3]))
    torch.testing.assert_close(resampler(noisy, mask)[1:], resampler(some[1:]))


def test_a_modality_that_is_not_there_gives_no_tokens():
    projector = Projector(12, 32, seed=0, name="image", latents=3)
    mask = torch.tensor([[0] * 7, [0, 0, 1, 0, 0, 0, 0]]).bool()
    assert projector.mask(mask).tolist() == [[False] * 3, [True] * 3]
    assert projector(tokens(), mask).isfinite().all()


def test_it_equals_the_written_out_formula():
    """One head: attention over [e; x], then the feed-forward, each behind a norm and added (Alayrac et al., A.1.1)."""
    width, some = 5, tokens(1, 7, 5)
    resampler = Resampler(width, 4, seed=0, name="image")
    x = resampler.latents.unsqueeze(0)
    for layer in resampler.layers:
        own, read = layer.norm_latents(x), torch.cat([layer.norm_tokens(some), layer.norm_latents(x)], dim=1)
        attention = torch.nn.functional.scaled_dot_product_attention(
            layer.queries(own), layer.keys(read), layer.values(read)
        )
        x = x + layer.out(attention)
        x = x + layer.narrow(torch.nn.functional.gelu(layer.wide(layer.norm(x))))
    torch.testing.assert_close(resampler(some), resampler.norm(x))
    assert len(resampler.layers) == LAYERS


def test_heads_do_not_mix_before_the_output():
    """With eight heads, the values of one move nothing but what the output layer reads of that head."""
    resampler, some = Resampler(16, 2, seed=0, name="image"), tokens(1, 7, 16)
    layer, read = resampler.layers[0], []
    layer.out.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].clone()))
    resampler(some)
    with torch.no_grad():
        layer.values.weight[:2] += 1
    resampler(some)
    moved = (read[0] != read[1]).flatten(0, 1).any(dim=0)
    assert moved.tolist() == [True, True] + [False] * 14
