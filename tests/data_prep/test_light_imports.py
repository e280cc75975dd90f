from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREPARERS = (
    "ptbxl", "rsna", "covqu", "chexpert", "vqa_rad", "slake", "ecg_qa", "nih14", "medmnist", "openi", "pmc_casereport",
)  # fmt: skip


def test_preparers_and_tasks_load_nothing_heavy():
    tasks = [path.stem for path in sorted((ROOT / "tasks").glob("*.py")) if path.stem != "__init__"]
    names = [f"data_prep.{name}" for name in PREPARERS] + [f"tasks.{name}" for name in tasks]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'pandas', 'numpy', 'PIL', 'pyarrow', 'wfdb', 'pydicom', 'duckdb'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
