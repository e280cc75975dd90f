"""The arithmetic of `benchmarks/hospitals.py`, against figures worked out by hand and by the adapters' own counting."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def hospitals(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("hospitals")


def test_a_lora_has_the_numbers_that_adapters_count(hospitals):
    from fedmeki_bench.foundation.memory import adapter_parameters

    assert hospitals.lora(8) == 4_194_304
    counted = adapter_parameters(hospitals.LLAMA_7B, rank=8, targets="attention")
    assert counted.attention == hospitals.lora(8, matrices=4) != hospitals.lora(8)
    every = adapter_parameters(hospitals.LLAMA_7B, rank=8)
    assert 0.5 * every.total < hospitals.adapter_parameters_of_b() < 0.6 * every.total  # the head has more rows


def test_a_round_goes_down_and_up_and_hospitals_share_the_servers_link(hospitals):
    row = hospitals.Travels("", 1_000_000, 4)
    assert row.seconds(1e8) == pytest.approx(0.64)
    assert row.seconds(1e9, 100) == pytest.approx(6.4)
    assert (hospitals.spoken(2.71), hospitals.spoken(120), hospitals.spoken(7200)) == ("2.7 s", "2 min", "2.0 h")
