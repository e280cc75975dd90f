"""The gate follows the paper's formula; the ablations ignore what they should; projectors keep soft tokens in size."""

from __future__ import annotations

import math

import pytest
import torch

from fedmeki_bench.models.foundation.gate import Gate, UniformGate
from fedmeki_bench.models.foundation.projector import Projector


def texts():
    stream = torch.Generator().manual_seed(3)
    return torch.randn(5, 16, generator=stream), torch.randn(7, 16, generator=stream)


def test_the_gate_is_the_papers_formula():
    gate = Gate(16, 12, dim=8, seed=1)
    m, t = texts()
    attention = torch.softmax((m @ gate.W_q.weight.T) @ (t @ gate.W_k.weight.T).T / math.sqrt(8), dim=1)
    beta = attention @ (t @ gate.W_v.weight.T)
    alpha = torch.softmax(gate.mlp(beta.mean(0)), dim=0)
    torch.testing.assert_close(gate(m, t), alpha)
    assert alpha.shape == (12,)
    assert alpha.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(("use_task", "use_modality"), [(True, True), (False, True), (True, False)])
def test_ablations_ignore_the_missing_text_and_everything_learns(use_task, use_modality):
    gate = Gate(16, 4, dim=8, use_task=use_task, use_modality=use_modality)
    m, t = texts()
    changed_task = not torch.equal(gate(m, t), gate(m, t.flip(1)))
    changed_modality = not torch.equal(gate(m, t), gate(m.flip(1), t))
    assert changed_task == use_task
    # with a single constant for the task the attention has one place to look at: the modality cannot matter either
    assert changed_modality == (use_modality and use_task)
    gate(m, t).square().sum().backward()
    assert all(p.grad is not None for p in gate.parameters())


def test_the_start_depends_on_the_seed_alone():
    m, t = texts()
    assert torch.equal(Gate(16, 4, seed=2)(m, t), Gate(16, 4, seed=2)(m, t))
    assert not torch.equal(Gate(16, 4, seed=2)(m, t), Gate(16, 4, seed=3)(m, t))


def test_the_gate_reads_embeddings_of_any_float_type():
    m, t = texts()
    assert Gate(16, 4)(m.bfloat16(), t.bfloat16()).dtype == torch.float32


def test_the_uniform_gate_is_one_over_p_and_has_nothing_to_learn():
    gate = UniformGate(4)
    assert gate(*texts()).tolist() == [0.25] * 4
    assert not list(gate.parameters())


def test_projector_without_rms_is_the_bare_linear_layer():
    projector = Projector(6, 16, seed=0, name="image")
    x = torch.randn(2, 3, 6)
    assert torch.equal(projector(x), projector.linear(x))


def test_projector_with_rms_gives_soft_tokens_of_that_size():
    projector = Projector(6, 16, seed=0, name="image", rms=0.02)
    soft = projector(torch.randn(2, 3, 6) * 100)
    torch.testing.assert_close(soft.square().mean(-1).sqrt(), torch.full((2, 3), 0.02))


def test_projectors_start_from_seed_and_name():
    same, again, other = (Projector(6, 16, seed=0, name=n).linear.weight for n in ("image", "image", "signal"))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
