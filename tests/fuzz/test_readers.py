"""Every reader of strangers' files: a value, or one sentence; never another error, a hang or a row lost in silence."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.data_prep.rsna import Rsna, RsnaOptions
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.data.raw.dicom_series import read_dicom_series
from fedmeki_bench.data.raw.images import grey_picture
from fedmeki_bench.data.raw.json_items import mapping, read_items, text, whole
from fedmeki_bench.data.raw.questions import question_rows
from fedmeki_bench.data.raw.tables import read_table
from fedmeki_bench.data.raw.volumes import read_nifti

from .mutation import CASES, changes, edits, explore, refused_in_words

TABLE = "patient,class,note\r\n" + "".join(f'p{i},{i % 2},"said ""x"", {i}"\r\n' for i in range(12))
ITEMS = [{"qid": i, "Question": f"Is it {i}?", "answer": "yes" if i % 2 else "no", "size": 1.5} for i in range(8)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("free", [False, True], ids=["changed", "free"])
def test_tables(folder, examples, free):
    path = folder / "t.csv"

    def check(value):
        path.write_bytes(value.encode("utf-8", "surrogatepass") if free else value(TABLE.encode()))
        with refused_in_words():
            table = read_table(path, ("patient", "class"))
            said = path.read_bytes().decode("utf-8-sig")
            if '"' not in said and "\r" not in said:
                assert len(table) == sum(bool(line) for line in said.split("\n")) - 1, "no row is lost in silence"
            assert all(isinstance(cell, str) for cell in table.to_numpy().ravel())

    header = st.text(max_size=300).map(lambda t: "patient,class\n" + t)
    explore(examples, header if free else edits())(check)


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["bytes", "values"])
def test_json_lists_of_questions(folder, examples, level):
    path = folder / "q.json"

    def read(item, part, number):
        return {"sample_id": str(whole(item.get("qid"), "qid")), "question": text(item, "question"),
                "answer": text(item, "answer", default="none")}  # fmt: skip

    def check(change):
        path.write_bytes(change(json.dumps(ITEMS).encode()) if level == "bytes" else json.dumps(change(ITEMS)).encode())
        with refused_in_words():
            items = read_items(path)
            drops = Drops()
            rows = question_rows([("train", path)], read, drops)
            assert drops.read == len(items) == len(rows) + drops.total, "read = kept + dropped"
            assert len({row["sample_id"] for row in rows}) == len(rows)
        for item in ITEMS:
            with refused_in_words():
                mapping(item)

    explore(examples, edits() if level == "bytes" else changes())(check)


def pictures() -> dict[str, bytes]:
    from PIL import Image

    grey = Image.fromarray(np.arange(24 * 20, dtype=np.uint8).reshape(24, 20))
    found = {}
    for name, mode, kind in (("grey.png", "L", "PNG"), ("palette.png", "P", "PNG"), ("deep.png", "I;16", "PNG"),
                             ("colour.jpg", "RGB", "JPEG")):  # fmt: skip
        made = io.BytesIO()
        grey.convert("I").convert(mode).save(made, kind) if mode == "I;16" else grey.convert(mode).save(made, kind)
        found[name] = made.getvalue()
    return found


@pytest.mark.parametrize("examples", CASES)
def test_pictures(folder, examples):
    whole_files = list(pictures().items())

    def check(number, change):
        name, data = whole_files[number % len(whole_files)]
        path = folder / name
        path.write_bytes(change(data))
        with refused_in_words():
            assert grey_picture(path).mode == "L"

    explore(examples, st.integers(0, 3), edits())(check)


@pytest.fixture(scope="module")
def raw(cohorts):
    return cohorts.parent / "raw"


@pytest.mark.parametrize("examples", CASES)
def test_dicom_files(raw, folder, examples):
    images = sorted((raw / "rsna" / "stage_2_train_images").iterdir())[:4]
    content = [path.read_bytes() for path in images]
    target = folder / "stage_2_train_images" / "x.dcm"
    target.parent.mkdir()

    def check(number, change):
        target.write_bytes(change(content[number]))
        with refused_in_words():
            found = Rsna().decode(folder, "x", RsnaOptions(image_size=16))
            assert found.arrays["image"].shape == (1, 16, 16)

    explore(examples, st.integers(0, len(content) - 1), edits())(check)


def small_nifti() -> bytes:
    import nibabel

    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([2.0, 2.0, 3.0, 1.0]))
    return image.to_bytes()


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["plain", "packed", "inside"])
def test_nifti_files(folder, examples, level):
    path, content = folder / ("a.nii" if level == "plain" else "a.nii.gz"), small_nifti()
    packed = gzip.compress(content, mtime=0)

    def check(change, frame):
        inside = gzip.compress(change(content), 1, mtime=0) if level == "inside" else change(packed)
        path.write_bytes(change(content) if level == "plain" else inside)
        with refused_in_words():
            found = read_nifti(path, (2, 3, 2), frame=frame)
            assert found.shape == (2, 3, 2)
            assert np.isfinite(found).all()

    explore(examples, edits(), st.sampled_from([None, 0, 1]))(check)


@pytest.mark.parametrize("examples", CASES)
def test_series_of_slices(folder, examples):
    from volumes.phantom import write_series

    paths = write_series(folder / "series")[:4]
    for path in (folder / "series").iterdir():
        if path not in paths:
            path.unlink()
    content = [path.read_bytes() for path in paths]

    def check(number, change):
        paths[number].write_bytes(change(content[number]))
        with refused_in_words():
            found = read_dicom_series(folder / "series", (2, 3, 2))
            assert found.shape == (2, 3, 2)
            assert np.isfinite(found).all()
        paths[number].write_bytes(content[number])

    explore(examples, st.integers(0, 3), edits())(check)


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("part", ["hea", "dat"])
def test_wfdb_records(raw, folder, examples, part):
    stem = raw / "ptbxl" / "records100" / "00000" / "00001_lr"
    content = {name: stem.with_suffix(f".{name}").read_bytes() for name in ("hea", "dat")}
    for name, data in content.items():
        (folder / f"00001_lr.{name}").write_bytes(data)

    def check(change):
        (folder / f"00001_lr.{part}").write_bytes(change(content[part]))
        with refused_in_words():
            found = PtbXl().decode(folder, "00001_lr", PtbXl.Options())
            assert found.arrays["signal"].shape == (12, 1000)

    explore(examples, edits())(check)


@pytest.mark.parametrize("examples", CASES)
def test_rows_of_ptbxl(raw, folder, examples):
    lines = (raw / "ptbxl" / "ptbxl_database.csv").read_bytes().split(b"\n")[:8]
    (folder / "records100").mkdir()

    def check(change):
        (folder / "ptbxl_database.csv").write_bytes(lines[0] + b"\n" + change(b"\n".join(lines[1:]) + b"\n"))
        with refused_in_words():
            drops = Drops()
            rows = PtbXl().table(folder, PtbXl.Options(), drops)
            assert drops.read == len(rows) + drops.total + drops.merged + sum(drops.left_out.values())

    explore(examples, edits())(check)


MIMIC = "ROW_ID,ICUSTAY_ID,ITEMID,CHARTTIME,VALUE,VALUENUM\n" + "".join(
    f'{i},{200 + i % 3},51,2100-01-01 0{i % 9}:00:00,"{i}.5",{i}.5\n' for i in range(30)
)


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["packed", pytest.param("text", marks=pytest.mark.slow)])
def test_packed_tables_of_mimic(folder, examples, level):
    import duckdb

    from fedmeki_bench.builtin.data_prep.mimic3.release import Release, reading

    packed = gzip.compress(MIMIC.encode(), mtime=0)
    base = duckdb.connect(config={"threads": 1})

    def check(change):
        data = change(packed) if level == "packed" else gzip.compress(change(MIMIC.encode()), 1, mtime=0)
        (folder / "CHARTEVENTS.csv.gz").write_bytes(data)
        with refused_in_words():
            table = Release(folder, {"CHARTEVENTS": ("icustay_id", "itemid")})["CHARTEVENTS"]
            with reading(table):
                base.execute(f"SELECT count(*), count(itemid) FROM {table.scan()}").fetchall()

    explore(examples, edits())(check)


@pytest.fixture
def cohort(cohorts, folder):
    """A small cohort whose card knows its files whatever they become."""
    import shutil

    shutil.copytree(cohorts / "ecg_abnormal", folder / "ecg_abnormal")
    return folder / "ecg_abnormal"


def use(path):
    cohort = Cohort.open(path)
    cohort.samples()
    for split in ("client", "valid", "public"):
        part = cohort.part(split)
        assert len(part.labels if part.labels is not None else part.answers) == len(part)
        if len(part):
            part.batch(range(min(3, len(part))))
    cohort.pseudonyms(["a"], "sample")


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["bytes", "values"])
def test_cards(cohort, examples, level):
    path = cohort / "card.json"
    card = json.loads(path.read_text())
    data = path.read_bytes()

    def check(change):
        path.write_bytes(change(data) if level == "bytes" else json.dumps(change(card)).encode())
        with refused_in_words():
            use(cohort)

    explore(examples, edits() if level == "bytes" else changes())(check)


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("name", ["samples.parquet", "signal.npy", "values"])
def test_files_of_cohorts(cohort, examples, name, monkeypatch):
    monkeypatch.setattr("fedmeki_bench.data.cohort.check_files", lambda folder, card: None)  # its digests see all
    path = cohort / ("samples.parquet" if name == "values" else name)
    data, table = path.read_bytes(), pd.read_parquet(cohort / "samples.parquet")

    def check(change):
        if name == "values":
            rows = change(table.head(20).to_dict("records"))
            try:
                pd.DataFrame(rows).to_parquet(path)
            except Exception:
                return  # what no Parquet file can hold
        else:
            path.write_bytes(change(data))
        with refused_in_words():
            use(cohort)

    explore(examples, changes() if name == "values" else edits())(check)
