"""``new``: what it writes is whole, clean, and refused where it would do harm."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.skeletons import KINDS, write
from fedmeki_bench.task import Exclude

ROWS = [{"age": a, "sex": s} for a, s in ((None, "male"), (30.0, "female"), (50.0, ""), (70.0, "male"))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_skeleton_is_whole_and_clean(kind, tmp_path):
    files = {
        p.relative_to(tmp_path / "some_name").as_posix(): p.read_text() for p in write(kind, "some_name", tmp_path)
    }
    assert {"pyproject.toml", "README.md", "some_name.py", "tests/test_some_name.py"} <= set(files)
    assert f'[project.entry-points."fedmeki_bench.{KINDS[kind]}"]' in files["pyproject.toml"]
    assert "class SomeName(" in files["some_name.py"]
    assert not any("{{" in text or "NAME" in text for text in files.values())
    for command in (["check", "--select", "E,F,I,B,UP"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", tmp_path / "some_name"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["some_name"]


@pytest.mark.parametrize("name", ["9a", "My", "a-b", "../a", "class", "a/b", ""])
def test_a_bad_name_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="can't name a rule"):
        write("rule", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_or_shadowed(tmp_path):
    with pytest.raises(UsageError, match="already a plug-in 'fedavg' among the rules"):
        write("stage", "fedavg", tmp_path)
    write("rule", "mine", tmp_path)
    with pytest.raises(InputError, match="exists; choose another name"):
        write("rule", "mine", tmp_path)
    with pytest.raises(UsageError, match="unknown dataset 'ptbx'; did you mean 'ptbxl'"):
        write("task", "asks", tmp_path, dataset="ptbx")


@pytest.mark.parametrize("labels", registry.names("kinds"))
def test_a_task_of_every_kind_is_whole_clean_and_answers_its_rows(labels, tmp_path, monkeypatch):
    write("task", "some_task", tmp_path, labels=labels)
    for command in (["check", "--select", "E,F,I,B,UP"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", tmp_path / "some_task"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    task = registry.load("tasks", f"{tmp_path / 'some_task' / 'some_task.py'}:SomeTask")()
    spec = task.meta.labels
    assert spec.kind == labels
    told = [task.label(row) if spec.how.labelled else task.answer(row) for row in ROWS]
    assert all(isinstance(one, Exclude) for one in told[:1])
    assert not spec.how.labelled or not any(spec.how.problem(one, spec) for one in told[1:])
    assert [task.parse(task.answer(row)) for row in ROWS[1:]].count(None) == 0
    with pytest.raises(UsageError, match="unknown kind 'binari'"):
        write("task", "other", tmp_path, labels="binari")
