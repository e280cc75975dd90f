"""Plug-ins of a distribution of its own, as `pip install -e` leaves them, without pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

RULE = '''"""A rule."""
from fedmeki_bench.api import Rule
{imports}

class Fade(Rule):
    """Gradients times a factor."""

    def correct_gradients(self, grads, params, received, ctx):
        """Scale."""
        for grad in grads.values():
            grad.mul_({factor})
'''


@dataclass
class Distribution:
    """A folder on PYTHONPATH with modules and the metadata that declares them."""

    root: Path
    out: Path

    def declare(self, **groups: dict[str, str]) -> None:
        info = self.root / "fade-0.1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fade\nVersion: 0.1\n")
        text = ""
        for group, points in groups.items():
            text += f"[fedmeki_bench.{group}]\n" + "".join(f"{n} = {t}\n" for n, t in points.items())
        (info / "entry_points.txt").write_text(text)

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def bench(self, *args: object) -> subprocess.CompletedProcess[str]:
        """The command line in a process of its own, which sees the distribution."""
        path = os.pathsep.join([str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, "-m", "fedmeki_bench", *map(str, args)], cwd=self.out, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": path}, timeout=180,
        )  # fmt: skip

    def run(self, algorithm: str, data: Path, *options: str) -> tuple[str, float, str]:
        """Key, AUROC and what was said on stderr."""
        ended = self.bench(
            "run", algorithm, "--tasks", "ecg_abnormal", "--data", data, "--clients", 2, "--json",
            "-o", "rounds=1", "-o", "local_epochs=1", *options,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        (record,) = json.loads(ended.stdout)
        return record["key"], record["evaluations"][0]["metrics"]["auroc"]["value"], ended.stderr


@pytest.fixture
def distribution(tmp_path: Path) -> Distribution:
    (tmp_path / "fade").mkdir()
    (tmp_path / "out").mkdir()
    return Distribution(tmp_path / "fade", tmp_path / "out")
