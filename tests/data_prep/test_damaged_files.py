"""Files damaged at random are decoded or dropped with a reason; nothing else ever escapes."""

from __future__ import annotations

import random

import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.data_prep.rsna import Rsna, RsnaOptions
from fedmeki_bench.data.contract import Dropped


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, taken out or put in, mostly near the start, where headers are."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) if rng.random() < 0.3 else min(len(out), 700))
        how = rng.random()
        if how < 0.5:
            out[at] = rng.randrange(256)
        elif how < 0.7:
            del out[at : at + rng.randint(1, 9)]
        elif how < 0.9:
            out[at:at] = bytes(rng.choices(b"0123456789.-/() xmV\n", k=rng.randint(1, 4)))
        else:
            out = out[: max(at, 1)]
    return bytes(out)


@pytest.mark.parametrize("seed", range(2))
def test_wfdb_headers(ptbxl, seed):
    rng = random.Random(seed)
    path = ptbxl / "records100" / "00000" / "00001_lr.hea"
    whole = path.read_bytes()
    for _ in range(100):
        path.write_bytes(damaged(whole, rng))
        try:
            found = PtbXl().decode(ptbxl, "records100/00000/00001_lr", PtbXl.Options())
        except Dropped:
            continue
        assert found.arrays["signal"].shape == (12, 1000)


@pytest.mark.parametrize("seed", range(2))
def test_dicom_files(rsna, seed):
    rng = random.Random(seed)
    for path in sorted((rsna / "stage_2_train_images").iterdir())[:10]:
        whole = path.read_bytes()
        for _ in range(20):
            path.write_bytes(damaged(whole, rng))
            try:
                found = Rsna().decode(rsna, path.stem, RsnaOptions(image_size=16))
            except Dropped:
                continue
            assert found.arrays["image"].shape == (1, 16, 16)
