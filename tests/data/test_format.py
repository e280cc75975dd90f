from __future__ import annotations

import ast
import copy
import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedmeki_bench.data.cohort import Cohort, TestSplitSealed, find
from fedmeki_bench.data.sealed import open_test
from fedmeki_bench.errors import InputError

ROOT = Path(__file__).parents[2]


def test_parts(data):
    cohort = find(data, "ecg_abnormal")
    assert (cohort.name, cohort.dataset, cohort.kind.name, cohort.synthetic) == (
        "ecg_abnormal", "ptbxl", "binary", True,
    )  # fmt: skip
    cohort.verify()
    parts = [cohort.part("client"), cohort.part("valid"), cohort.part("public"), open_test(cohort)]
    assert sum(map(len, parts)) == 120
    for k, one in enumerate(parts):
        for other in parts[k + 1 :]:
            assert not set(one.group_ids) & set(other.group_ids)
    client = parts[0]
    assert client.labels.dtype == np.float32
    assert set(client.labels) == {0.0, 1.0}
    assert set(client.answers) == {"yes", "no"}
    assert client.questions[0] == "is there any abnormality"
    batch = client.batch([5, 0, 5])["signal"]
    assert batch.shape == (3, *cohort.arrays["signal"].shape)
    assert batch.dtype == np.int16
    assert batch.flags.writeable
    np.testing.assert_array_equal(batch[0], batch[2])
    taken = client.take([5, 0])
    assert list(taken.sample_ids) == [client.sample_ids[5], client.sample_ids[0]]
    np.testing.assert_array_equal(taken.batch([0])["signal"], batch[:1])
    assert cohort.card_hash == Cohort.open(cohort.path).card_hash


def test_the_test_split_is_sealed(data):
    with pytest.raises(TestSplitSealed, match="evaluation only"):
        find(data, "ecg_abnormal").part("test")
    with pytest.raises(InputError, match=r"did you mean 'valid'"):
        find(data, "ecg_abnormal").part("vald")


def imports(path: Path) -> set[str]:
    """Names of the modules, and of what is taken from them, that a file imports."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def test_importing_stays_light():
    code = (
        "import sys\n"
        "from fedmeki_bench.builtin.data_prep import ptbxl, rsna\n"
        "from fedmeki_bench.builtin.tasks import ecg_abnormal, lung_opacity\n"
        "import fedmeki_bench.data.contract, fedmeki_bench.data.prepare.prepare, fedmeki_bench.data.cohort\n"
        "import fedmeki_bench.data.clients.partition\n"
        "heavy = {'torch','pandas','numpy','wfdb','pydicom','PIL','pyarrow'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_missing_cohort_names_the_command(data, tmp_path):
    with pytest.raises(InputError, match=r"prepared there: ecg_abnormal\).*fedmeki-bench prepare rsna --raw"):
        find(data, "lung_opacity", dataset="rsna")
    with pytest.raises(InputError, match="prepared there: nothing"):
        find(tmp_path / "nowhere", "lung_opacity")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "signal.npy").unlink(), "'signal.npy' is missing"),
        (lambda f: (f / "signal.npy").write_bytes(b"x"), "has 1 bytes where its card says"),
        (lambda f: (f / "card.json").unlink(), "there is no card.json"),
        (lambda f: (f / "card.json").write_text("{"), "is damaged"),
        (lambda f: (f / "card.json").write_text("[]"), "has schema 'list'"),
        (lambda f: (f / "card.json").write_text('{"schema": 1}'), "is damaged"),
        (lambda f: (f / "card.json").write_text('{"schema": 99}'), "has schema 99, this version reads 1"),
    ],
)
def test_damaged_cohorts(data, tmp_path, damage, sentence):
    folder = Path(shutil.copytree(data / "ecg_abnormal", tmp_path / "c"))
    damage(folder)
    with pytest.raises(InputError, match=sentence):
        Cohort.open(folder)


@pytest.mark.parametrize("name", ["signal.npy", "samples.parquet", "ids.key"])
def test_a_flipped_bit_is_found_when_the_cohort_is_opened(data, tmp_path, name):
    folder = Path(shutil.copytree(data / "ecg_abnormal", tmp_path / "c"))
    assert Cohort.open(folder).name == "ecg_abnormal"
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} was changed after it was prepared"):
        Cohort.open(folder)


def test_an_unchanged_file_is_read_once(data, tmp_path, monkeypatch):
    """Control: without the memory, or after a touch, it is read again."""
    from fedmeki_bench import digests

    monkeypatch.setenv("FEDMEKI_BENCH_CACHE", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(data / "ecg_abnormal", tmp_path / "c"))
    monkeypatch.setattr(digests, "_SETTLED", -1.0)
    read = []
    monkeypatch.setattr(
        digests, "file_digest", lambda path, known=digests.file_digest: read.append(path) or known(path)
    )
    Cohort.open(folder)
    assert len(read) == 3
    Cohort.open(folder)
    assert len(read) == 3
    (folder / "signal.npy").touch()
    Cohort.open(folder)
    assert len(read) == 4


def test_an_array_exchanged_together_with_its_hash_is_found_by_verify(data, tmp_path):
    """The hashes of files are no part of the card's own: the values' are."""
    folder = Path(shutil.copytree(data / "ecg_abnormal", tmp_path / "c"))
    known = Cohort.open(folder).card_hash
    path = folder / "signal.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["files"]["signal.npy"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    cohort = Cohort.open(folder)
    assert cohort.card_hash == known
    with pytest.raises(InputError, match=r"signal\.npy is not what the card describes"):
        cohort.verify()


def test_pseudonyms_pair_within_a_release_and_tell_nothing(cohorts, tmp_path):
    one, two = (find(cohorts, name) for name in ("ecg_abnormal", "lung_opacity"))
    ids = ["p1", "p2", "p1"]
    first = one.pseudonyms(ids, "group")
    assert first[0] == first[2] != first[1]
    assert not set(first) & set(one.pseudonyms(ids, "sample")), "a sample and a patient of one name stay apart"
    assert not set(first) & set(two.pseudonyms(ids, "group")), "each dataset has a key of its own"
    folder = Path(shutil.copytree(cohorts / "ecg_abnormal", tmp_path / "c"))
    assert list(Cohort.open(folder).pseudonyms(ids, "group")) == list(first), "wherever the cohort lies"


def test_a_part_travels_to_another_process_without_its_arrays(data):
    part = find(data, "ecg_abnormal").part("client")
    expected = part.batch([1])["signal"]
    text = pickle.dumps(part)
    assert len(text) < 200_000
    np.testing.assert_array_equal(pickle.loads(text).batch([1])["signal"], expected)
    assert copy.copy(part.cohort).name == "ecg_abnormal"


def test_card_is_strict_json(data):
    text = (data / "ecg_abnormal" / "card.json").read_text()

    def refuse(name):
        raise AssertionError(name)

    json.loads(text, parse_constant=refuse)
    assert str(data) not in text
