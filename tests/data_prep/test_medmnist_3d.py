"""The sets of volumes of MedMNIST; what they share with those of pictures is tried in ``test_medmnist``."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fedmeki_bench as fb
from fedmeki_bench import registry
from fedmeki_bench.builtin.data_prep.medmnist import MedMnist3DOptions
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import parse_options
from tests.data_prep.test_medmnist import arrays, header, parts_of, replaced, rezipped, run

SIZE = 60


@pytest.fixture(scope="module")
def _release(tmp_path_factory):
    """Three sets in one folder: eleven classes, three classes, and yes or no."""
    root = tmp_path_factory.mktemp("raw")
    for name in ("medmnist_organ3d", "medmnist_fracture3d", "medmnist_vessel3d"):
        parts_of(name)[1].synthesize(root, size=SIZE, seed=0)
    return root


@pytest.fixture
def release(_release, tmp_path) -> Path:
    return Path(shutil.copytree(_release, tmp_path / "release"))


@pytest.mark.parametrize("name", ["medmnist_organ3d", "medmnist_fracture3d", "medmnist_vessel3d"])
def test_a_cohort_holds_the_volumes_as_the_file_does(release, tmp_path, name):
    cohort = run(name, release, tmp_path / "out")
    _, preparer = parts_of(name)
    file = arrays(release / f"{preparer.meta.name}.npz")
    assert file["train_images"].shape == (42, 28, 28, 28)
    assert file["train_images"].dtype == file["train_labels"].dtype == np.uint8
    assert file["train_labels"].shape == (42, 1)
    table = pd.read_parquet(cohort.path / "samples.parquet")
    stored = np.load(cohort.path / "volume.npy")
    assert stored.shape == (SIZE, 1, 28, 28, 28)
    assert cohort.card["rows"] == {"read": SIZE, "merged": 0, "kept": SIZE, "dropped": 0, "excluded": 0}
    for part, official in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = table[table["official_split"] == official]
        assert rows["label"].tolist() == file[f"{part}_labels"][:, 0].tolist()
        assert np.array_equal(stored[rows["array_row"], 0], file[f"{part}_images"])
    assert run(name, release, tmp_path / "out").unchanged


@pytest.mark.parametrize(
    ("name", "zero", "one"),
    [
        ("medmnist_organ3d", "liver", "kidney-right"),
        ("medmnist_nodule3d", "no", "yes"),
        ("medmnist_adrenal3d", "no", "yes"),
        ("medmnist_fracture3d", "buckle rib fracture", "nondisplaced rib fracture"),
        ("medmnist_vessel3d", "no", "yes"),
        ("medmnist_synapse3d", "no", "yes"),
    ],
)
def test_numbers_of_the_file_mean_what_the_package_says(name, zero, one):
    """medmnist 3.0.2: 1 is malignant, hyperplasia, aneurysm, excitatory; organs have an order of their own."""
    task, preparer = parts_of(name)
    assert [task.answer({"label": (value,)}) for value in (0, 1)] == [zero, one]
    assert (
        preparer.facts.samples
        == {
            "medmnist_organ3d": 971 + 161 + 610,
            "medmnist_nodule3d": 1158 + 165 + 310,
            "medmnist_adrenal3d": 1188 + 98 + 298,
            "medmnist_fracture3d": 1027 + 103 + 240,
            "medmnist_vessel3d": 1335 + 191 + 382,
            "medmnist_synapse3d": 1230 + 177 + 352,
        }[name]
    )


def test_a_part_of_a_set_is_named_as_one():
    _, preparer = parts_of("medmnist_vessel3d")
    table = pd.DataFrame()
    for rows, wanted in ((1908, ""), (60, ", 60 volumes instead of 1908 (a part of it?)")):
        table.attrs["rows_read"] = rows
        assert preparer.release(Path("raw"), table) == f"MedMNIST v2, vesselmnist3d{wanted}"


def test_identical_volumes_are_one_group_and_nearly_identical_ones_are_not(release, tmp_path):
    path = release / "vesselmnist3d.npz"
    file = arrays(path)
    n = len(file["test_images"])
    file["test_images"][:] = file["train_images"][:n]
    file["test_images"][0, 27, 27, 27] ^= 1  # the last voxel counts, too
    np.savez_compressed(path, **file)
    cohort = run("medmnist_vessel3d", release, tmp_path / "out")
    table = pd.read_parquet(cohort.path / "samples.parquet").set_index("sample_id")
    for k in range(n):
        pair = table.loc[[f"train-{k:07d}", f"test-{k:07d}"]]
        assert pair["group_id"].nunique() == (2 if k == 0 else 1)
        assert k == 0 or pair["split"].nunique() == 1


def test_larger_volumes_lie_in_a_file_of_their_own(release, tmp_path):
    with pytest.raises(InputError, match=r"lacks 'vesselmnist3d_64\.npz'; dataset 'vesselmnist3d' expects .*pixels=64"):
        run("medmnist_vessel3d", release, tmp_path / "out", pixels=64)
    file = arrays(release / "vesselmnist3d.npz")
    np.savez(release / "vesselmnist3d_64.npz", **file)
    with pytest.raises(InputError, match=r"of shape \(42, 28, 28, 28\), not uint8 \(n, 64, 64, 64\)"):
        run("medmnist_vessel3d", release, tmp_path / "out", pixels=64)
    few = {name: value[:8] for name, value in file.items()}
    grown = {
        k: v.repeat(3, 1).repeat(3, 2).repeat(3, 3)[:, :64, :64, :64] if v.ndim == 4 else v for k, v in few.items()
    }
    np.savez(release / "vesselmnist3d_64.npz", **grown)
    cohort = run("medmnist_vessel3d", release, tmp_path / "out", pixels=64)
    assert cohort.card["arrays"]["volume"]["shape"] == [1, 64, 64, 64]
    with pytest.raises(InputError, match="'pixels' cannot be 128: input should be 28 or 64"):
        parse_options(MedMnist3DOptions, {"pixels": 128})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "no .npz or is damaged"),
        (replaced(val_images=None), "lacks the array 'val_images'"),
        (replaced(test_labels=None), "lacks the array 'test_labels'"),
        (replaced(train_labels=np.zeros((3, 1), np.uint8)), "the part train has 42 volumes and 3 labels"),
        (replaced(train_labels=np.zeros((42, 2), np.uint8)), r"of shape \(42, 2\), not whole numbers \(n, 1\)"),
        (replaced(train_images=np.zeros((42, 28, 28), np.uint8)), r"\(42, 28, 28\), not uint8 \(n, 28, 28, 28\)"),
        (replaced(train_images=np.zeros((42, 28, 28, 3), np.uint8)), r"not uint8 \(n, 28, 28, 28\)"),
        (replaced(train_images=np.zeros((42, 28, 28, 28, 1), np.uint8)), r"not uint8 \(n, 28, 28, 28\)"),
        (replaced(train_images=np.zeros((42, 28, 28, 28), np.float32)), "'train_images' is float32"),
        (rezipped("train_images", header((42, 28, 28, 28)) + b"x" * 30_000), "ends after 1 of 42 volumes"),
        (rezipped("train_images", header((10**12, 28, 28, 28))), "'train_images' can't be read"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(release, tmp_path, change, says):
    path = release / "vesselmnist3d.npz"
    change(path)
    with pytest.raises(InputError, match=says) as error:
        run("medmnist_vessel3d", release, tmp_path / "out")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "medmnist_vessel3d").exists()


def test_labels_that_are_none_of_the_sets_are_dropped(release, tmp_path):
    labels = arrays(release / "fracturemnist3d.npz")["train_labels"]
    labels[:2] = 3  # segmental fractures are not in the set
    replaced(train_labels=labels)(release / "fracturemnist3d.npz")
    card = run("medmnist_fracture3d", release, tmp_path / "out").card
    assert card["dropped"] == {
        "the label is none of the set's": {"n": 2, "examples": ["train-0000000", "train-0000001"]}
    }


def trained(algorithm: str, data: Path, results: Path) -> dict[str, float]:
    """The main metric of each task."""
    found = {}
    for record in fb.run(algorithm, data, results=results):
        for one in record.evaluations:
            found[one.task] = one.metrics[registry.load("tasks", one.task).meta.metrics[0]].value
    return found


@pytest.mark.slow
def test_the_stand_ins_can_be_learnt_and_shuffled_labels_cannot(tmp_path):
    least = {"medmnist_organ3d": 0.9, "medmnist_vessel3d": 0.9}
    for name in least:
        task, preparer = parts_of(name)
        for labels in ("own", "shuffled"):
            raw = tmp_path / labels / name
            raw.mkdir(parents=True)
            preparer.synthesize(raw, size=400, seed=0)
            if labels == "shuffled":
                path, rng = raw / f"{preparer.meta.name}.npz", np.random.default_rng(1)
                file = arrays(path)
                told = {key: rng.permutation(value) for key, value in file.items() if key.endswith("labels")}
                np.savez_compressed(path, **(file | told))
            prepare(preparer, raw, tmp_path / "data" / labels, [task], MedMnist3DOptions(), workers=1)
    own = trained("fedavg_s", tmp_path / "data" / "own", tmp_path / "results")
    shuffled = trained("fedavg_s", tmp_path / "data" / "shuffled", tmp_path / "results")
    constant = trained("majority", tmp_path / "data" / "own", tmp_path / "results")
    for name, value in least.items():
        assert own[name] >= value
        assert shuffled[name] < value - 0.2
        assert constant[name] <= 0.5
