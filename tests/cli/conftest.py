"""Running the command line in this process: exit code, stdout, stderr."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def bench(capfd, monkeypatch, tmp_path):
    """``bench("list", "tasks")`` in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Ended:
        from fedmeki_bench.cli.main import main

        code = 0
        try:
            main([str(a) for a in args])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def whole(cohorts, tmp_path_factory):
    """The finished runs of a small board; tests of folders of results copy them."""
    from results_folders import BOARD

    import fedmeki_bench as fb

    results = tmp_path_factory.mktemp("whole") / "results"
    fb.sweep(BOARD, cohorts, results=results, jobs=1)
    return results
