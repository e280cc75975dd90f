from __future__ import annotations

from pathlib import Path

import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.data.prepare.prepare import prepare


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "ptbxl"
    PtbXl().synthesize(folder, size=120, seed=3)
    return folder


@pytest.fixture(scope="session")
def data(raw: Path, tmp_path_factory) -> Path:
    """A data folder with one prepared cohort; not to be changed."""
    folder = tmp_path_factory.mktemp("data")
    prepare(PtbXl(), raw, folder, [EcgAbnormal()], PtbXl.Options(), workers=1)
    return folder
