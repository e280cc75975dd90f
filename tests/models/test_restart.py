"""The stream that a step's dropout draws from is torch's own, at a thousandth of the price."""

from __future__ import annotations

import sys
import traceback

import torch

from fedmeki_bench import seeds


def test_it_is_the_stream_of_manual_seed():
    for seed in (0, seeds.derive(3, "dropout"), 2**63 - 1):
        torch.manual_seed(seed)
        wanted = torch.rand(7), torch.nn.functional.dropout(torch.ones(50), 0.5)
        torch.rand(3)
        seeds.restart(torch.device("cpu"), seed)
        assert torch.equal(torch.rand(7), wanted[0])
        assert torch.equal(torch.nn.functional.dropout(torch.ones(50), 0.5), wanted[1])


def test_no_call_stack_is_written_down(monkeypatch):
    written = []
    monkeypatch.setattr(traceback, "format_stack", lambda *args: written.append(sys._getframe(1).f_code.co_name) or [])
    seeds.restart(torch.device("cpu"), 1)
    assert not written
    if not torch.cuda.is_initialized():
        torch.manual_seed(1)
        assert written  # the control
