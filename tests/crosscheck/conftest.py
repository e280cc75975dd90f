"""Comparisons run in float64, so that rounding can't hide a difference, and are listed when all are done."""

from __future__ import annotations

import random

import pytest
import torch

_ROWS: list[tuple[str, str, str, str, str]] = []


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    """Weights, losses and features in float64; the project would round losses and features to float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    random.seed(0)  # PFLlib and FL-bench shuffle the order in which they add models up
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor.to(torch.get_default_dtype()))
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def found():
    """Takes a row of the table: rule, peer, what was compared, the gap."""

    def take(rule, peer, what, gap):
        _ROWS.append((rule, peer, what, f"{gap.largest:.1e}", f"{gap.relative:.1e}"))
        return gap

    return take


def pytest_terminal_summary(terminalreporter):
    """The table as it stands on the page."""
    if _ROWS:
        terminalreporter.write_line("| rule | peer | compared | largest | relative |\n|---|---|---|---|---|")
        for row in _ROWS:
            terminalreporter.write_line(f"| {' | '.join(row)} |")
