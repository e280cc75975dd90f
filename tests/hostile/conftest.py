"""A small world with two finished runs, to be made hostile, and every command over it under one judge."""

from __future__ import annotations

import json
import re
import shutil
import signal
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BOARD = """\
name: small
profile: demo
seeds: [0]
clients: 2
tasks: [ecg_abnormal]
algorithms: [majority, fedavg_s]
options: {rounds: 1, local_epochs: 1}
"""

CODES = (0, 1, 2, 3, 4, 130)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # what rich itself writes under FORCE_COLOR


class Endless(BaseException):
    """A command waits for ever; no reader takes this for a damaged file."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """A command that waits for ever, e.g. for the other end of a pipe, fails."""

    def ring(number, frame):
        raise Endless(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def hidden(text: str) -> list[str]:
    """Characters that could change what a terminal or a reader sees."""
    return sorted({c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")})


@dataclass
class Ended:
    code: int
    out: str
    err: str


Bench = Callable[..., Ended]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of the many cases of one test every third is quick; `make slow` has the others, which differ little."""
    seen: dict[tuple[object, str], int] = {}
    for item in items:
        if item.path.parent == Path(__file__).parent and hasattr(item, "callspec"):
            key = (item.path, item.originalname)
            seen[key] = seen.get(key, 0) + 1
            if seen[key] % 3 != 1:
                item.add_marker(pytest.mark.slow)


@pytest.fixture
def bench(capfd, monkeypatch, tmp_path) -> Bench:
    """``bench("list", "tasks")``: ends in time, with a documented code, one sentence and no hidden character.

    An exception that the command line does not know escapes and fails the test.
    """
    monkeypatch.chdir(tmp_path)

    def call(*args: object, codes: tuple[int, ...] = CODES, colours: bool = False) -> Ended:
        from fedmeki_bench.cli.main import main

        code = 0
        capfd.readouterr()
        with within(40):
            try:
                main([str(a) for a in args])
            except SystemExit as end:
                code = int(end.code or 0)
        found = capfd.readouterr()
        out = _COLOURS.sub("", found.out) if colours else found.out
        assert code in codes, (args, code, found.err)
        assert not hidden(out + found.err), (args, hidden(out + found.err))
        assert "Traceback" not in out + found.err
        if code not in (0, 2):
            said = [line for line in found.err.strip().splitlines() if not line.startswith("go on with: ")]
            assert said[-1].startswith("error: "), found.err
        return Ended(code, out, found.err)

    return call


@pytest.fixture(scope="session")
def finished(cohorts, tmp_path_factory) -> Path:
    """A results folder with two runs, and the board they belong to."""
    from fedmeki_bench.cli.main import main

    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(BOARD)
    main(["sweep", str(folder / "small.yaml"), "--data", str(cohorts), "--results", str(folder / "results"), "--plain",
          "--jobs", "1"])  # fmt: skip
    return folder


class World:
    """A copy of the finished world in a test's own folder."""

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.data, self.results, self.board = root, data, root / "results", root / "small.yaml"

    def record(self, algorithm: str = "fedavg_s") -> dict:
        """The content of the finished record of a row."""
        for path in sorted(self.results.glob("*/record.json")):
            content = json.loads(path.read_text())
            if content["algorithm"] == algorithm and path.parent.name == content["key"]:
                return content
        raise AssertionError(algorithm)

    def write(self, content: dict, key: str | None = None) -> Path:
        """A record with a right digest in the folder of its key; with ``key``, beside the one it was made from."""
        from fedmeki_bench.records.record import content_digest

        old = content["key"]
        content = {**content, "key": key or old}
        if key and not (self.results / key).exists():
            shutil.copytree(self.results / old, self.results / key)
        content["digest"] = content_digest(content)
        path = self.results / content["key"] / "record.json"
        path.write_bytes(json.dumps(content).encode())
        return path


@pytest.fixture
def world(finished, cohorts, tmp_path) -> World:
    shutil.copytree(finished / "results", tmp_path / "results")
    shutil.copy(finished / "small.yaml", tmp_path / "small.yaml")
    return World(tmp_path, cohorts)
