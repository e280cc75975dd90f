"""A run that a plug-in's exception ended: which plug-in, where, and the whole traceback beside the record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.failures import TRACEBACK, pointer
from fedmeki_bench.runs.spec import specify

RULE = '''
from pathlib import Path

from fedmeki_bench.api import Rule


def inner(updates):
    return Path("healed").read_text() and list(updates)


class Ill(Rule):
    """Fails until a file is there."""

    def aggregate(self, server, updates):
        if not Path("healed").exists():
            raise KeyError("no such thing")
        super().aggregate(server, updates)
'''

ENCODER = '''
from torch import nn

from fedmeki_bench.api import Encoder


class Wrong(Encoder):
    """Multiplies matrices that do not fit."""

    modality = "signal"

    def __init__(self, stored, settings, **options):
        super().__init__()
        self.width = 4
        self.inner = nn.Linear(3, 4)

    def forward(self, inputs):
        return self.inner(inputs)
'''

FAST = {"rounds": 1, "local_epochs": 1}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name, cohorts, results, **options):
    (spec,) = specify(resolve(name), ["ecg_abnormal"], clients=2, options=FAST | options)
    return execute(spec, cohorts, RecordStore(results))


def test_the_record_names_the_plug_in_its_file_and_line(cohorts, here):
    (here / "ill.py").write_text(RULE)
    record = run("ill.py:Ill_s", cohorts, here / "r")
    line = RULE.splitlines().index('            raise KeyError("no such thing")') + 1
    assert record.error.message == (
        f"rule 'ill.py:Ill' failed in ill.py, line {line}, in aggregate: KeyError: 'no such thing'"
    )
    assert record.error.type == "KeyError"
    text = (here / "r" / record.key / TRACEBACK).read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert 'raise KeyError("no such thing")' in text
    assert text.endswith("KeyError: 'no such thing'\n")
    assert str(here) not in text
    # a later run that ends well takes it away
    (here / "healed").write_text("yes")
    assert run("ill.py:Ill_s", cohorts, here / "r").status == "ok"
    assert sorted(p.name for p in (here / "r" / record.key).iterdir()) == ["predictions", "record.json"]
    assert pointer(here / "r" / record.key) == ""


def test_an_error_below_a_plug_in_is_laid_at_its_door(cohorts, here):
    (here / "wrong.py").write_text(ENCODER)
    record = run("fedavg_s", cohorts, here / "r", encoders={"signal": "wrong.py:Wrong"})
    line = ENCODER.splitlines().index("        return self.inner(inputs)") + 1
    assert f"encoder 'wrong.py:Wrong' failed in wrong.py, line {line}, in forward: " in record.error.message


def test_an_error_that_is_a_sentence_leaves_no_traceback(cohorts, here):
    record = run("fedavg_s", cohorts, here / "r", lr=1e30, clip=1e30, optimizer="sgd")
    assert record.error.type == "Diverged"
    assert not (here / "r" / record.key / TRACEBACK).exists()


@pytest.mark.parametrize("command", ["run", pytest.param("sweep", marks=pytest.mark.slow)])
def test_the_command_says_where_the_traceback_is(cohorts, here, command):
    (here / "ill.py").write_text(RULE)
    (here / "b.yaml").write_text(
        "name: b\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [ecg_abnormal]\nalgorithms: ['ill.py:Ill_s']\n"
        "options: {rounds: 1, local_epochs: 1}\n"
    )
    args = {
        "run": ["run", "ill.py:Ill_s", "--tasks", "ecg_abnormal", "-o", "rounds=1", "-o", "local_epochs=1"],
        "sweep": ["sweep", "b.yaml", "--jobs", "1"],
    }[command]
    ended = subprocess.run(
        [sys.executable, "-m", "fedmeki_bench", *args, "--data", str(cohorts), "--results", "r", "--plain"], cwd=here,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 4
    (path,) = (here / "r").glob(f"*/{TRACEBACK}")
    assert f"(the whole traceback: {path.relative_to(here)})" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert json.loads((path.parent / "record.json").read_text())["status"] == "failed"


def test_a_plug_in_that_can_not_be_made_is_one_sentence(cohorts, here):
    (here / "shy.py").write_text(
        "from fedmeki_bench.api import Rule\n\n\nclass Shy(Rule):\n    def __init__(self, params):\n        1 / 0\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "fedmeki_bench", "run", "shy.py:Shy_s", "--data", str(cohorts), "--tasks",
         "ecg_abnormal"], cwd=here, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert "rule 'shy.py:Shy' can't be made: ZeroDivisionError in " in ended.stderr
    assert "shy.py, line 6" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not Path("results").exists()
