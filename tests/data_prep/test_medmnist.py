from __future__ import annotations

import io
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

import fedmeki_bench as fb
from fedmeki_bench import registry
from fedmeki_bench.builtin.data_prep.medmnist import MedMnistOptions
from fedmeki_bench.builtin.data_prep.medmnist.layout import read_labels
from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from tests.data_prep.test_damaged_files import damaged

TASKS = [name for name in registry.names("tasks") if name.startswith("medmnist_")]
KINDS = {
    "medmnist_chest": "multilabel", "medmnist_breast": "binary", "medmnist_pneumonia": "binary",
    "medmnist_retina": "ordinal", "medmnist_nodule3d": "binary", "medmnist_adrenal3d": "binary",
    "medmnist_vessel3d": "binary", "medmnist_synapse3d": "binary",
}  # fmt: skip


def parts_of(name: str):
    """The task and the preparer of its set."""
    task = registry.load("tasks", name)()
    return task, registry.load("datasets", task.meta.dataset)()


def run(name, raw, out, **options):
    task, preparer = parts_of(name)
    return prepare(preparer, raw, out, [task], preparer.Options(**options), workers=1)[0]


@pytest.fixture(scope="module")
def _release(tmp_path_factory):
    """Four sets of four kinds in one folder, as the package medmnist downloads them."""
    root = tmp_path_factory.mktemp("raw")
    for name in ("medmnist_blood", "medmnist_chest", "medmnist_retina", "medmnist_breast"):
        parts_of(name)[1].synthesize(root, size=120, seed=0)
    return root


@pytest.fixture
def release(_release, tmp_path) -> Path:
    return Path(shutil.copytree(_release, tmp_path / "release"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_there_are_twelve_on_pictures_and_six_on_volumes_each_on_a_set_of_its_own():
    found = {name: parts_of(name) for name in TASKS}
    modalities = [task.meta.modalities for task, _ in found.values()]
    assert (modalities.count(("image",)), modalities.count(("volume",))) == (12, 6)
    assert len({task.meta.dataset for task, _ in found.values()}) == 18
    for name, (task, preparer) in found.items():
        assert task.meta.kind == KINDS.get(name, "multiclass")
        assert task.meta.grouping == preparer.meta.grouping == "image"
        assert task.meta.licence == preparer.meta.licence
        outcomes = preparer.facts.columns if task.meta.kind == "multilabel" else preparer.facts.values
        assert len(task.meta.classes) == (0 if task.meta.kind == "binary" else outcomes)
        assert task.meta.modalities == preparer.meta.modalities == tuple(preparer.arrays(preparer.Options()))
        assert any(
            "no patients are told" in s or "slices of one CT" in s or "organs of one CT" in s
            for s in preparer.shortcuts
        )


@pytest.mark.parametrize("name", ["medmnist_blood", "medmnist_chest", "medmnist_retina", "medmnist_breast"])
def test_a_cohort_holds_what_the_file_holds(release, tmp_path, name):
    cohort = run(name, release, tmp_path / "out")
    task, preparer = parts_of(name)
    file = arrays(release / f"{preparer.meta.name}.npz")
    table = pd.read_parquet(cohort.path / "samples.parquet")
    stored = np.load(cohort.path / "image.npy")
    assert cohort.card["rows"] == {"read": 120, "merged": 0, "kept": 120, "dropped": 0, "excluded": 0}
    for part, official in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = table[table["official_split"] == official]
        assert len(rows) == len(file[f"{part}_labels"])
        for (_, row), label, picture in zip(
            rows.iterrows(), file[f"{part}_labels"], file[f"{part}_images"], strict=True
        ):
            told = row["label"].tolist() if task.meta.kind == "multilabel" else [row["label"]]
            assert told == ([1 - label[0]] if name == "medmnist_breast" else label.tolist())
            grey = picture if picture.ndim == 2 else picture @ (0.299, 0.587, 0.114)  # ITU-R 601
            nearest = (np.arange(64) * 28 + 14) // 64
            assert np.abs(stored[row["array_row"], 0] - grey[np.ix_(nearest, nearest)]).max() <= 1
    if task.meta.classes:
        counts = {name: sum(s["classes"][name] for s in cohort.card["splits"].values()) for name in task.meta.classes}
        labels = np.concatenate([file[f"{part}_labels"] for part in ("train", "val", "test")])
        wanted = labels.sum(axis=0) if task.meta.kind == "multilabel" else np.bincount(labels[:, 0])
        assert list(counts.values()) == wanted.tolist()
    noted = any("stored as grey levels" in note for note in cohort.card["notes"])
    assert noted == (preparer.facts.channels == 3)
    assert run(name, release, tmp_path / "out").unchanged


def test_identical_pictures_are_one_group_and_stay_on_one_side(release, tmp_path):
    path = release / "breastmnist.npz"
    file = arrays(path)
    file["test_images"][:] = file["train_images"][: len(file["test_images"])]
    np.savez_compressed(path, **file)
    cohort = run("medmnist_breast", release, tmp_path / "out")
    table = pd.read_parquet(cohort.path / "samples.parquet")
    twins = table.groupby("digest")
    assert (twins["sample_id"].nunique() > 1).sum() >= len(file["test_images"])
    assert (twins["group_id"].nunique() == 1).all()
    assert (twins["split"].nunique() == 1).all()
    published = cohort.card["official_split"]["published"]
    assert published["share_of_test_groups_in_train"] == 1


def test_colours_are_kept_when_asked_for(release, tmp_path):
    cohort = run("medmnist_blood", release, tmp_path / "out", colour="rgb", image_size=28)
    file = arrays(release / "bloodmnist.npz")
    table = pd.read_parquet(cohort.path / "samples.parquet")
    stored = np.load(cohort.path / "image.npy")
    row = table[table["sample_id"] == "val-0000003"].iloc[0]
    assert np.array_equal(stored[row["array_row"]], file["val_images"][3].transpose(2, 0, 1))
    assert cohort.card["arrays"]["image"]["shape"] == [3, 28, 28]
    assert not any("grey" in note for note in cohort.card["notes"])
    grey = run("medmnist_breast", release, tmp_path / "out", colour="rgb", image_size=28)
    stored = np.load(grey.path / "image.npy")
    assert np.array_equal(stored[:, 0], stored[:, 2])


def test_larger_pictures_lie_in_a_file_of_their_own(release, tmp_path):
    with pytest.raises(InputError, match=r"lacks 'breastmnist_64\.npz'; dataset 'breastmnist' expects .*pixels=64"):
        run("medmnist_breast", release, tmp_path / "out", pixels=64)
    file = arrays(release / "breastmnist.npz")
    grown = {k: v.repeat(3, 1).repeat(3, 2)[:, :64, :64] if k.endswith("images") else v for k, v in file.items()}
    np.savez(release / "breastmnist_64.npz", **grown)  # not compressed
    card = run("medmnist_breast", release, tmp_path / "out", pixels=64).card
    assert card["rows"]["kept"] == 120
    np.savez(release / "breastmnist_64.npz", **file)
    with pytest.raises(InputError, match=r"'train_images' is uint8 of shape \(84, 28, 28\), not uint8 \(n, 64, 64\)"):
        run("medmnist_breast", release, tmp_path / "out", pixels=64)


def test_a_set_that_is_not_there_says_so_and_the_others_go_on(release, tmp_path):
    (release / "chestmnist.npz").unlink()
    with pytest.raises(InputError, match=r"lacks 'chestmnist\.npz'"):
        run("medmnist_chest", release, tmp_path / "out")
    assert run("medmnist_retina", release, tmp_path / "out").card["rows"]["kept"] == 120


def test_other_sets_in_the_folder_change_nothing(release, tmp_path):
    before = run("medmnist_retina", release, tmp_path / "one").card_hash
    (release / "chestmnist.npz").unlink()
    assert run("medmnist_retina", release, tmp_path / "two").card_hash == before


class Surprise:
    def __reduce__(self):
        return print, ("code from a file was run",)


def replaced(**changes):
    """Save a file with some arrays in the place of others; None leaves one out."""

    def change(path: Path) -> None:
        file = arrays(path) | changes
        np.savez(path, **{name: value for name, value in file.items() if value is not None})

    return change


def rezipped(name: str, content: bytes):
    """Save a file with other bytes in the place of one array."""

    def change(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in (members | {f"{name}.npy": content}).items():
                archive.writestr(member, data)

    return change


def header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "no .npz or is damaged"),
        (lambda path: path.write_bytes(b""), "no .npz or is damaged"),
        (replaced(val_images=None), "lacks the array 'val_images'"),
        (replaced(test_labels=None), "lacks the array 'test_labels'"),
        (replaced(train_labels=np.zeros((3, 1), np.uint8)), "the part train has 84 pictures and 3 labels"),
        (replaced(train_labels=np.zeros((84, 2), np.uint8)), r"'train_labels' is uint8 of shape \(84, 2\), not whole"),
        (replaced(train_labels=np.zeros((84, 1))), "'train_labels' is float64"),
        (replaced(train_images=np.zeros((84, 28, 28, 3), np.uint8)), r"not uint8 \(n, 28, 28\)"),
        (replaced(train_images=np.zeros((84, 28, 28), np.int64)), "'train_images' is int64"),
        (replaced(train_images=np.array([Surprise()] * 84, dtype=object)), "an array of object"),
        (replaced(train_images=np.zeros((0, 28, 28), np.uint8)), "an array of uint8"),
        (rezipped("train_images", header((84, 28, 28)) + b"x" * 1000), "'train_images' ends after 1 of 84 pictures"),
        (rezipped("train_images", header((10**12, 28, 28))), "'train_images' can't be read"),
        (rezipped("train_labels", header((10**12, 1))), "'train_labels' can't be read"),
        (rezipped("train_labels", header((84, 1))), "'train_labels' is truncated"),
        (rezipped("train_images", b"\x93NUMPY\x09\x00"), "version"),
        (rezipped("train_images", b"\x93NUMPY\x01\x00\x10\x00{'descr': ('\n('  "), "its header"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(release, tmp_path, capfd, change, says):
    path = release / "breastmnist.npz"
    change(path)
    with pytest.raises(InputError, match=says) as error:
        run("medmnist_breast", release, tmp_path / "out")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "code from a file was run" not in capfd.readouterr().out
    assert not (tmp_path / "out" / "medmnist_breast").exists()


def test_labels_that_are_none_of_the_sets_are_dropped(release, tmp_path):
    labels = arrays(release / "retinamnist.npz")["train_labels"]
    labels[:2] = 9
    replaced(train_labels=labels)(release / "retinamnist.npz")
    card = run("medmnist_retina", release, tmp_path / "out").card
    assert card["dropped"] == {
        "the label is none of the set's": {"n": 2, "examples": ["train-0000000", "train-0000001"]}
    }


@pytest.mark.parametrize("seed", range(2))
def test_files_damaged_at_random(release, tmp_path, seed):
    rng = random.Random(seed)
    path = release / "breastmnist.npz"
    whole = path.read_bytes()
    _, preparer = parts_of("medmnist_breast")
    told = []
    for _ in range(60):
        path.write_bytes(damaged(whole, rng) if rng.random() < 0.5 else damaged(whole[::-1], rng)[::-1])
        try:
            run("medmnist_breast", release, tmp_path / "out")
        except InputError as error:
            told.append(str(error))
    assert told
    assert not any("\n" in sentence for sentence in told)
    for name in ("test/0000001", "test/9999999", "../breastmnist.npz", "train/1", "", "other/0000000"):
        try:
            found = preparer.decode(release, name, MedMnistOptions(image_size=16))
        except Dropped:
            continue
        assert found.arrays["image"].shape == (1, 16, 16)


@pytest.mark.parametrize("name", ["medmnist_blood", "medmnist_chest", "medmnist_retina", "medmnist_breast"])
def test_metrics_are_those_of_the_packages_evaluator(release, name):
    """Its AUC is the mean over classes or findings, its ACC that of the likeliest class or of yes at 0.5."""
    task, preparer = parts_of(name)
    labels = read_labels(release / f"{preparer.meta.name}.npz", "test", preparer.facts)
    own = np.array([task.label({"label": tuple(label)}) for label in labels])
    rng = np.random.default_rng(0)
    if task.meta.kind == "binary":
        scores = rng.random(len(own))
        wanted = {"auroc": roc_auc_score(own, scores), "accuracy": accuracy_score(own, scores > 0.5)}
    else:
        scores = rng.dirichlet(np.ones(len(task.meta.classes)), len(own))
        several = task.meta.kind == "multilabel"
        columns = own.T if several else [own == k for k in range(scores.shape[1])]
        wanted = {"auroc_macro": np.mean([roc_auc_score(c, s) for c, s in zip(columns, scores.T, strict=True)])}
        if not several:
            wanted["top1"] = accuracy_score(own, scores.argmax(axis=1))
    for metric, value in wanted.items():
        assert registry.load("metrics", metric)(own, scores) == pytest.approx(value, abs=1e-12)


@pytest.mark.slow
def test_the_stand_ins_can_be_learnt(tmp_path):
    data, least = tmp_path / "data", {"medmnist_blood": 0.95, "medmnist_chest": 0.7, "medmnist_retina": 0.5}
    for name in least:
        task, preparer = parts_of(name)
        raw = tmp_path / "raw" / name
        raw.mkdir(parents=True)
        preparer.synthesize(raw, size=400, seed=0)
        prepare(preparer, raw, data, [task], MedMnistOptions(), workers=1)
    found: dict[str, dict[str, float]] = {}
    for algorithm in ("fedavg_s", "majority"):
        for record in fb.run(algorithm, data, results=tmp_path / "results"):
            for one in record.evaluations:
                main = registry.load("tasks", one.task).meta.metrics[0]
                found.setdefault(algorithm, {})[one.task] = one.metrics[main].value
    for name, value in least.items():
        assert found["fedavg_s"][name] >= value
        assert found["majority"][name] <= 0.5
