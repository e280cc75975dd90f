from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.data_prep.rsna.synthetic import write as write_rsna

REAL = Path(__file__).parents[2].parent / "shared" / "real"


@pytest.fixture(scope="session")
def real_ptbxl() -> Path:
    folder = REAL / "ptbxl"
    if not folder.is_dir():
        pytest.skip("the real PTB-XL records are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def _ptbxl(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "ptbxl"
    PtbXl().synthesize(folder, size=60, seed=0)
    return folder


@pytest.fixture(scope="session")
def _rsna(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "rsna"
    write_rsna(folder, size=60, seed=0, side=48)
    return folder


@pytest.fixture
def ptbxl(_ptbxl: Path, tmp_path: Path) -> Path:
    """A private copy of a synthetic PTB-XL of 60 records, to be damaged at will."""
    return Path(shutil.copytree(_ptbxl, tmp_path / "ptbxl"))


@pytest.fixture
def rsna(_rsna: Path, tmp_path: Path) -> Path:
    """A private copy of a synthetic RSNA of 60 images, to be damaged at will."""
    return Path(shutil.copytree(_rsna, tmp_path / "rsna"))
