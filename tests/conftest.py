"""Fixtures that several packages' tests share: small synthetic cohorts, prepared once per worker."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory) -> Path:
    """A data folder with ecg_abnormal (120 records) and lung_opacity (130 images at 64 px)."""
    from fedmeki_bench import registry
    from fedmeki_bench.data.prepare.prepare import prepare

    root = tmp_path_factory.mktemp("synthetic")
    for dataset, task, size, options in (
        ("ptbxl", "ecg_abnormal", 120, {}),
        ("rsna", "lung_opacity", 130, {"image_size": 64}),
    ):
        preparer = registry.load("datasets", dataset)()
        raw = root / "raw" / dataset
        raw.mkdir(parents=True)
        preparer.synthesize(raw, size=size, seed=0)
        chosen = preparer.Options(**options)
        prepare(preparer, raw, root / "data", [registry.load("tasks", task)()], chosen, workers=1)
    return root / "data"
