"""What a gate can and can't do: the terms it is trained for, what it reads, and the oracle that bounds it."""

from __future__ import annotations

import math

import pytest
import torch

from fedmeki_bench.evaluation.foundation_facts import gate_facts
from fedmeki_bench.foundation.choices import InjectionTraining
from fedmeki_bench.foundation.gate import Gate, OracleGate, load_balance, mutual_information
from fedmeki_bench.foundation.training import OPTIMISERS


def test_mutual_information_is_nothing_for_equal_gates_and_log_t_for_one_expert_each():
    assert float(mutual_information(torch.full((5, 4), 0.25))) == pytest.approx(0, abs=1e-6)
    assert float(mutual_information(torch.tensor([[0.7, 0.3]] * 3))) == pytest.approx(0, abs=1e-6)
    assert float(mutual_information(torch.eye(4))) == pytest.approx(math.log(4))
    assert float(mutual_information(torch.eye(2).repeat(3, 1))) == pytest.approx(math.log(2))


def test_load_balance_is_one_when_even_and_p_when_all_go_to_one_expert():
    assert float(load_balance(torch.eye(4))) == pytest.approx(1)
    assert float(load_balance(torch.eye(4)[[0] * 5])) == pytest.approx(4)


def test_the_routing_term_alone_separates_descriptions_that_differ():
    torch.manual_seed(0)
    texts = [torch.randn(6, 32) * 0.05 + 0.3 for _ in range(4)]  # alike but for a small part, as descriptions are
    modality = torch.randn(3, 32)
    centre = torch.full((32,), 0.3)
    apart = {}
    for reads in (None, centre):
        gate = Gate(32, 4, dim=16, centre=reads)
        optimiser = torch.optim.AdamW(gate.parameters(), lr=2e-3)
        for _ in range(76):
            loss = -mutual_information(torch.stack([gate(modality, text) for text in texts]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        apart[reads is None] = float(-loss.detach())
    assert apart[False] > 0.9  # at most log 4 = 1.386
    assert apart[True] < 0.3  # the control: read as embedded, the texts look the same for longer


def test_top_k_keeps_the_k_largest_weights_in_proportion():
    modality, task = torch.randn(2, 16), torch.randn(5, 16)
    every, two = Gate(16, 6, dim=8, seed=3), Gate(16, 6, dim=8, seed=3, top_k=2)
    full, kept = every(modality, task), two(modality, task)
    assert int((kept > 0).sum()) == 2
    assert float(kept.detach().sum()) == pytest.approx(1)
    largest = full.topk(2)
    torch.testing.assert_close(kept[largest.indices], largest.values / largest.values.sum())


def test_the_oracle_gives_each_context_an_expert_and_strangers_all_of_them():
    gate = OracleGate(3, ["surgery", "ward", "ward"])
    here = torch.device("cpu")
    assert gate.of("surgery", here).tolist() == [1, 0, 0]
    assert gate.of("ward", here).tolist() == [0, 1, 0]
    assert gate.of("home", here).tolist() == pytest.approx([1 / 3] * 3)
    assert not list(gate.parameters())


@pytest.mark.parametrize(("optimizer", "kept"), [("adamw", (0.99, 1.0)), ("adam", (0.0, 0.05))])
def test_what_gets_no_gradient_keeps_its_size_with_the_default_and_not_with_coupled_decay(optimizer, kept):
    how = InjectionTraining(optimizer=optimizer)
    weight = torch.nn.Parameter(torch.full((10,), 0.05))
    steps = OPTIMISERS[how.optimizer](
        [weight], lr=how.lr, betas=how.betas, eps=how.eps, weight_decay=how.weight_decay
    )  # fmt: skip
    for _ in range(200):
        weight.grad = torch.zeros_like(weight)
        steps.step()
    share = float(weight.detach().abs().mean()) / 0.05
    assert kept[0] <= share <= kept[1], share
    assert InjectionTraining().optimizer == "adamw"


def test_how_far_the_gates_of_tasks_lie_apart_by_hand():
    facts = gate_facts({"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.0, 1.0]})
    assert (facts.distance, facts.largest_distance) == (pytest.approx(4 / 3, abs=1e-6), 2.0)
    assert facts.overlap == pytest.approx(1 / 3, abs=1e-6)
    assert facts.load == pytest.approx([1 / 3, 2 / 3], abs=1e-6)
    assert facts.experts == pytest.approx(3 / 2 ** (2 / 3), abs=1e-4)
    assert gate_facts({"a": [0.5, 0.5]}) is None
    assert gate_facts({"a": [1.0], "b": [1.0]}) is None
