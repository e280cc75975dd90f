"""One installed package: nobody's folders of the names tasks, baselines and data_prep get in its way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def foreign(tmp_path):
    """A working folder with packages of all three names, none of them ours."""
    for name in ("tasks", "baselines", "data_prep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('foreign {name}')\n")
    return tmp_path


@pytest.mark.parametrize("kind", ["tasks", "rules", "stages", "datasets", "algorithms"])
def test_a_folder_of_the_same_name_changes_nothing(kind, foreign):
    done = subprocess.run(
        [sys.executable, "-m", "fedmeki_bench", "list", kind], cwd=foreign, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "problem" not in done.stdout.splitlines()[0]
    assert "foreign" not in done.stdout


def test_built_in_plug_ins_are_loaded_from_the_repository(foreign):
    code = "from fedmeki_bench import registry; print(registry.load('tasks', 'ecg_abnormal').__module__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=foreign, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fedmeki_bench.builtin.tasks.ecg_abnormal", done.stderr


def test_every_board_of_the_repository_goes_into_the_wheel():
    text = (ROOT / "pyproject.toml").read_text()
    boards = sorted(path.name for path in (ROOT / "leaderboards").glob("*.yaml"))
    assert boards
    for name in boards:
        assert f'"leaderboards/{name}" = "fedmeki_bench/boards/built_in/{name}"' in text, name
