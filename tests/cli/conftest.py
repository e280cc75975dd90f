"""Running the command line in this process: exit code, stdout, stderr."""

from __future__ import annotations

import shutil
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


@pytest.fixture
def halves(whole, tmp_path):
    """Two folders that hold a sweep's runs between them, and the keys."""
    from results_folders import split

    return tmp_path / "a", tmp_path / "b", split(whole, tmp_path / "a", tmp_path / "b")


@pytest.fixture
def twice(whole, tmp_path):
    """Two folders that both hold one run of a rule that trains, and its key."""
    import fedmeki_bench as fb

    key = next(r.key for r in fb.records(whole) if r.algorithm == "fedavg_s")
    for name in "ab":
        shutil.copytree(whole / key, tmp_path / name / key)
    return tmp_path / "a", tmp_path / "b", key
