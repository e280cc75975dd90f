"""Volumes in a model: shrunk by area, pictures of depth 1, blocks of a small volume, and runs that keep their names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.foundation.tiny import tiny_folder
from fedmeki_bench.foundation.tiny_config import TinyConfig
from fedmeki_bench.models.encoder import Input, Stored
from fedmeki_bench.models.encoders.volume import SmallVolumeEncoder, Vit3dEncoder
from fedmeki_bench.profiles import concerning, profile
from fedmeki_bench.runs.spec import specify

HERE = Path(__file__).parent
BOTH = pytest.mark.parametrize("cls", [SmallVolumeEncoder, Vit3dEncoder])


def taken(shape: tuple[int, ...], **settings) -> Input:
    chosen = profile("demo").model_copy(update=settings)
    return SmallVolumeEncoder.taken(Stored("scans", shape, 1 / 255), chosen)


def test_a_volume_is_shrunk_and_never_enlarged():
    assert taken((1, 64, 64, 64)) == Input((1, 16, 32, 32), 1 / 255)
    assert taken((1, 28, 28, 28)) == Input((1, 16, 28, 28), 1 / 255)
    assert taken((2, 8, 100, 8), volume_size=(8, 50, 50)) == Input((2, 8, 50, 8), 1 / 255)
    assert taken((1, 64, 64)) == Input((1, 1, 32, 32), 1 / 255)


@BOTH
def test_inputs_are_means_over_space(cls):
    array = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 64, 64)).astype(np.uint8)
    shape = taken(array.shape[1:])
    encoder = cls(shape.shape, cls.Params())
    x = encoder.to_input(array, shape, lengths=None, device=torch.device("cpu"))
    blocks = array.reshape(2, 1, 16, 2, 32, 2, 32, 2).mean(axis=(3, 5, 7)) / 255
    np.testing.assert_allclose(x.numpy(), blocks, atol=1e-6)
    pictures = array[:, :, 0]
    shape = taken(pictures.shape[1:])
    x = cls(shape.shape, cls.Params()).to_input(pictures, shape, lengths=None, device=torch.device("cpu"))
    np.testing.assert_allclose(
        x[:, :, 0].numpy(), pictures.reshape(2, 1, 32, 2, 32, 2).mean(axis=(3, 5)) / 255, atol=1e-6
    )


@BOTH
@pytest.mark.parametrize("shape", [(1, 16, 32, 32), (1, 16, 28, 28), (1, 1, 32, 32), (2, 5, 30, 9), (1, 1, 1, 1)])
def test_any_shape_becomes_tokens(cls, shape):
    torch.manual_seed(0)
    encoder = cls(shape, cls.Params(width=24)).eval()
    x = torch.rand(3, *shape)
    tokens = encoder(x)
    assert tokens.shape[::2] == (3, 24)
    torch.testing.assert_close(encoder.pooled(x), tokens.mean(dim=1))


def test_blocks_are_radfms_where_a_volume_is_large_enough():
    def tokens(shape: tuple[int, ...], **params) -> tuple[tuple[int, ...], int]:
        encoder = Vit3dEncoder(shape, Vit3dEncoder.Params(layers=1, **params))
        return tuple(encoder.blocks.kernel_size), len(encoder.place)

    assert tokens((1, *profile("paper").volume_size)) == ((4, 32, 32), 8 * 8 * 8)
    assert tokens((1, 64, 512, 512)) == ((4, 32, 32), 16 * 16 * 16)
    assert tokens((1, *profile("demo").volume_size)) == ((4, 8, 8), 4 * 4 * 4)
    assert tokens((1, 1, 256, 256)) == ((1, 32, 32), 64)
    assert tokens((1, 28, 28, 28)) == ((4, 7, 7), 7 * 4 * 4)
    assert tokens((1, 30, 33, 33), patch=(8, 8, 8)) == ((7, 8, 8), 5 * 5 * 5)
    for wrong in ({"width": 64}, {"patch": (0, 1, 1)}):
        with pytest.raises(ValidationError, match="multiple of the heads"):
            Vit3dEncoder.Params(**wrong)


def test_what_a_volume_lacks_to_whole_blocks_is_dark():
    encoder = Vit3dEncoder((1, 5, 9, 9), Vit3dEncoder.Params(layers=1, patch=(4, 4, 4))).eval()
    x = torch.rand(1, 1, 5, 9, 9)
    whole = torch.zeros(1, 1, 5, 10, 10)
    whole[..., :9, :9] = x
    assert encoder.margin == [0, 1, 1]
    encoder.margin, first = [0, 0, 0], encoder(x)
    torch.testing.assert_close(encoder(whole), first)


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_runs_without_volumes_know_nothing_of_them(name):
    """Their settings are those of before, whatever the profile says of volumes."""
    values = profile(name).model_dump(mode="json")
    told = concerning(values, ["image"])
    assert "volume_size" not in told
    assert set(told["encoders"]) == {"image", "signal", "clinical"}
    assert concerning(values, ["volume", "image"]) == values
    plain, *rest = (
        specify(resolve("fedavg_m"), ["ecg_abnormal"], profile_name=name, options=options)[0]
        for options in ({}, {"volume_size": [8, 8, 8]}, {"encoders": {"volume": "small_volume"}})
    )
    assert {one.setting for one in rest} == {plain.setting}
    assert plain.params["profile"] == told


class Installed:
    """The package of :mod:`scans`, declared by a distribution in a folder on the path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        facts = root / "plugins" / "scans-1.0.dist-info"
        facts.mkdir(parents=True)
        (root / "plugins" / "scans.py").write_bytes((HERE / "scans.py").read_bytes())
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: scans\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(
            "[fedmeki_bench.datasets]\nscans = scans:Scans\n[fedmeki_bench.tasks]\nscan_high = scans:High\n"
        )

    def __call__(self, *args: str) -> str:
        path = os.pathsep.join([str(self.root / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-m", "fedmeki_bench", *args], cwd=self.root, env=os.environ | {"PYTHONPATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.slow
def test_volumes_from_files_to_a_repeated_run(tmp_path):
    bench = Installed(tmp_path)
    bench("synth", "scans", "--out", "raw", "--size", "160", "--seed", "0")
    bench("prepare", "scans", "--raw", "raw", "--out", "data", "--plain")
    run = ("run", "--tasks", "scan_high", "--data", "data", "--results", "r", "--clients", "2", "--json")
    (record,) = json.loads(bench(*run, "fedavg_s", "-o", "rounds=5"))
    told = record["params"]["profile"]
    assert told["encoders"]["volume"] == {"name": "small_volume", "params": {}}
    assert told["volume_size"] == [16, 32, 32]
    assert record["evaluations"][0]["metrics"]["auroc"]["value"] > 0.9
    (other,) = json.loads(bench(*run, "fedavg_s", "-o", "rounds=5", "-o", "volume_size=[6, 12, 12]"))
    assert other["key"] != record["key"]
    small = "encoders={volume: {name: vit3d, params: {layers: 1, width: 24}}}"
    (third,) = json.loads(bench(*run, "fedavg_s", "-o", "rounds=1", "-o", small))
    assert third["key"] not in (record["key"], other["key"])
    tiny = TinyConfig(hidden=16, layers=1, heads=2, intermediate=32, vocabulary=300, steps=1, batch=2)
    foundation = tiny_folder(tiny, cache=tmp_path / "cache")
    options = ("-o", "rounds=1", "-o", "stage.epochs=1", "-o", f"stage.foundation={foundation}")
    (words,) = json.loads(bench(*run, "fedavg_m_fm", *options))
    assert any(e["view"] == "foundation" and e["task"] == "scan_high" for e in words["evaluations"])
    bench("reproduce", f"r/{record['key']}/record.json", "--data", "data")  # ends with 1 where a number differs
    assert {one["status"] for one in json.loads(bench("check", "scan_high", "--json"))} == {"passed"}
