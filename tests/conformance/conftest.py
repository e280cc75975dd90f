"""Asking one clause of one plug-in."""

from __future__ import annotations

import pytest

from fedmeki_bench.conformance import Outcome, clauses, find


@pytest.fixture
def ask():
    """``ask(Rule, "resumes", kind="rules")`` -> the outcome of that clause alone."""

    def one(plugin, clause: str, *, kind: str, **options) -> Outcome:
        (chosen,) = [c for c in clauses(kind) if c.name == clause]
        return chosen.run(find(plugin, kind, options))

    return one
