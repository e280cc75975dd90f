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


@pytest.fixture
def bench(capfd, monkeypatch, tmp_path):
    """``bench("check", "nothing")`` -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> tuple[int, str, str]:
        from fedmeki_bench.cli.main import main

        code = 0
        try:
            main([str(a) for a in args])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call
