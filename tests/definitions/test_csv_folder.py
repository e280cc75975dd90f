"""A folder of your own on a board without a line of Python: a table, the files that it names, at will task.yaml."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import yaml

from fedmeki_bench import registry
from fedmeki_bench.builtin.data_prep.csv_folder import CsvFolder, CsvOptions
from fedmeki_bench.data.cohort import find
from fedmeki_bench.definitions.defined_task import declare, defined_task
from fedmeki_bench.definitions.definition import Definition
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.workflow import data as workflow

SIDE = 32


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(registry, "_DECLARED", {})


def folder(place, rows, definition=None, *, files=("image", "image 2")):
    """A folder with these rows; files that it names are noisy pictures."""
    from PIL import Image

    place.mkdir()
    rng = np.random.default_rng(0)
    for name in {row[c] for row in rows for c in files if row.get(c)}:
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(place / name)
    with (place / "table.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    if definition is not None:
        (place / "task.yaml").write_text(yaml.safe_dump(definition))
    return place


def prepared(place, **options):
    options = {"image_size": SIDE, **options}
    (done,) = workflow.prepare("csv", place, place.parent / "data", options=options, workers=1)
    return find(place.parent / "data", done.name)


def numbered(n, **columns):
    """n rows, each with a picture of its own."""
    return [
        {"image": f"{k}.png"} | {name: value(k) if callable(value) else value for name, value in columns.items()}
        for k in range(n)
    ]


def test_a_table_of_files_and_labels_is_enough(tmp_path):
    rows = numbered(20, label=lambda k: ["benign", "Malignant", "unclear"][k % 3])
    cohort = prepared(folder(tmp_path / "my lesions", rows))
    assert (cohort.name, cohort.labels.kind) == ("my_lesions", "multiclass")
    assert cohort.labels.classes == ("Malignant", "benign", "unclear")
    notes = " ".join(cohort.card["notes"])
    for said in (
        "called my_lesions after its folder",
        "kind is multiclass",
        "not stated: who, when",
        "patients are not",
    ):
        assert said in notes
    samples = cohort.samples()
    assert [cohort.labels.classes[k] for k in samples["label"]] == [row["label"] for row in rows]
    assert cohort.card["definition"]["classes"] == ["Malignant", "benign", "unclear"]


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("label", ["yes", "no"], "binary"),
        ("label", ["1", "0"], "binary"),
        ("label", ["1.5", "2.25", "-3"], "regression"),
        ("label", ["a", "b"], "multiclass"),
        ("label: edema", ["1", "0", ""], "multilabel"),
        ("answer", ["left lung", "none at all"], "generation"),
    ],
)  # fmt: skip
def test_the_kind_follows_from_the_labels(tmp_path, column, values, kind):
    rows = numbered(12, **{column: lambda k: values[k % len(values)]})
    if column.startswith("label:"):
        for k, row in enumerate(rows):
            row["label: pleural effusion"] = str(k % 2)
    cohort = prepared(folder(tmp_path / "x", rows))
    assert cohort.labels.kind == kind
    assert cohort.role == ("zero_shot" if kind == "generation" else "training")
    if kind == "multilabel":
        assert cohort.labels.classes == ("edema", "pleural effusion")
        stored = np.array([list(label) for label in cohort.samples()["label"]], dtype=float)
        assert np.isnan(stored[2, 0])  # blank: not annotated
        assert stored[:2].tolist() == [[1, 0], [0, 1]]


def test_two_views_a_missing_one_and_a_text(tmp_path):
    rows = numbered(16, patient=lambda k: f"p{k // 2}", label=lambda k: k % 2, text=lambda k: f"note {k}" * (k % 3 > 0))
    for k, row in enumerate(rows):
        row["image 2"] = f"{k}-side.png" if k % 2 else ""
        row["image"] = row["image"] if k % 5 else ""
    cohort = prepared(folder(tmp_path / "views", rows, {"name": "views", "question": "is it there"}))
    samples = cohort.samples().set_index("sample_id")
    assert cohort.card["arrays"]["image"]["many"] == 2
    dropped = {reason: facts["n"] for reason, facts in cohort.card["dropped"].items()}
    assert dropped == {"nothing of it is there: image": 2}
    assert samples.loc["row-2", "image_count"] == 2
    assert samples.loc["row-6", "image_count"] == 1
    assert samples.loc["row-3", "question"] == "note 2 is it there"
    assert samples.loc["row-4", "question"] == "is it there"
    assert samples.loc["row-3", "group_id"] == samples.loc["row-4", "group_id"]


BAD = numbered(6, label=lambda k: k % 2)


@pytest.mark.parametrize(
    ("rows", "definition", "sentence"),
    [
        ([*BAD[:-1], BAD[-1] | {"label": "perhaps"}], {"kind": "binary"},
         r"table.csv, row 6: the label is 'perhaps'; expected is 1 or 0"),
        (numbered(4, label="c"), {"kind": "multiclass", "classes": ["a", "b"]},
         r"row 1: the label is 'c'; expected is one of a, b"),
        (numbered(4, label="edema; gout"), {"kind": "multilabel", "classes": ["edema"]},
         r"row 1: the label is 'edema; gout'; expected is one of edema"),
        (numbered(4, label="nan"), {"kind": "regression"}, "row 1: the label is 'nan'; expected is a finite number"),
        (numbered(4, label=lambda k: k), None, "labels are the whole numbers 0, 1, 2, 3: say in task.yaml"),
        (BAD, {"kind": "binry"}, "unknown kind 'binry'; did you mean 'binary'"),
        (BAD, {"titel": "x"}, "unknown field 'titel'; did you mean 'title'"),
        (BAD, {"classes": ["a", "b"], "kind": "binary"}, "a task of kind binary has no classes"),
        (BAD, {"modalities": ["signal"]}, "names the modality 'signal', of which the table has no column"),
        (BAD, {"name": "Ärzte"}, "name"),
        (BAD, ["a", "list"], "has to hold 'field: value' lines"),
        ([row | {"weight": 3} for row in BAD], None, "has the column 'weight'; known are sample, patient"),
        ([{"label": 1}], None, "names no files: a column 'image' or"),
        ([{"image": "0.png"}], None, "has no column 'label', 'label: NAME' or 'answer'"),
        (BAD, {"kind": "generation"}, "has answers and no labels, so clients can't train on it: role zero_shot"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence_and_nothing_is_written(tmp_path, rows, definition, sentence):
    with pytest.raises(InputError, match=sentence):
        prepared(folder(tmp_path / "bad", rows, definition))
    assert not [entry for entry in (tmp_path / "data").glob("*") if entry.is_dir()]


def test_bad_files_are_dropped_with_a_reason(tmp_path):
    rows = numbered(12, label=lambda k: k % 2)
    rows[3]["image"] = "../secret.png"
    rows[5]["image"] = "missing.png"
    place = folder(tmp_path / "x", [*rows])
    (place / "missing.png").unlink()
    (place / "7.png").write_bytes((place / "7.png").read_bytes()[:60])
    card = prepared(place).card
    assert {reason: facts["n"] for reason, facts in card["dropped"].items()} == {
        "the file name points outside the dataset's folder": 1,
        "the image file is missing": 1,
        "the picture is truncated or damaged": 1,
    }


def test_a_signal_is_a_wfdb_record(tmp_path):
    import wfdb

    place = tmp_path / "ecg"
    rows = [{"sample": k, "signal": f"r{k}", "label": k % 2} for k in range(6)]
    folder(place, rows, files=())
    rng = np.random.default_rng(1)
    signals = {k: rng.normal(0, 0.5, (260 if k != 4 else 100, 2)) for k in range(6)}
    for k, values in signals.items():
        wfdb.wrsamp(f"r{k}", 100, ["mV"] * 2, ["I", "II"], p_signal=values, fmt=["16"] * 2, write_dir=str(place))
    cohort = prepared(place, signal_channels=2, signal_seconds=2.5)
    assert list(cohort.card["dropped"]) == ["the record is shorter than 2.5 s (-o signal_seconds)"]
    samples = cohort.samples()
    for name, row in zip(samples["sample_id"], samples["array_row"], strict=True):
        np.testing.assert_allclose(cohort.array("signal")[row], signals[int(name)][:250].T, atol=1e-3)


def test_a_volume_is_a_nifti_file_or_a_series(tmp_path):
    import nibabel

    place = tmp_path / "scans"
    rows = [{"volume": f"v{k}.nii.gz", "label": k % 2} for k in range(6)]
    folder(place, rows, files=())
    for k in range(6):
        values = np.zeros((8, 8, 6), dtype=np.float32)
        values[:4] = 100 + k
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), place / f"v{k}.nii.gz")
    (place / "v3.nii.gz").write_bytes((place / "v3.nii.gz").read_bytes()[:80])
    (place / "v4.nii.gz").unlink()
    (place / "v4.nii.gz").mkdir()
    cohort = prepared(place, volume_size=[3, 4, 4], window=[0, 200])
    assert cohort.array("volume").shape == (4, 1, 3, 4, 4)
    grey = cohort.array("volume")[0, 0]
    assert {int(value) for value in np.unique(grey)} == {0, round(100 / 200 * 255)}
    assert sum(facts["n"] for facts in cohort.card["dropped"].values()) == 2


def test_a_definition_is_known_from_card_and_record_alone(tmp_path):
    prepared(folder(tmp_path / "x", BAD, {"name": "known_by_card", "title": "T"}))
    with pytest.raises(UsageError, match="unknown task 'known_by_card'"):
        registry.load("tasks", "known_by_card")
    look_in(tmp_path / "data")
    task = registry.load("tasks", "known_by_card")()
    assert task.meta.title == "T"
    assert "known_by_card" in registry.names("tasks")
    registry._DECLARED.clear()
    record = {"cohorts": [{"definition": dict(task.definition)}]}
    (tmp_path / "results" / "k").mkdir(parents=True)
    (tmp_path / "results" / "k" / "record.json").write_text(json.dumps(record))
    look_in(tmp_path / "results", tmp_path / "nowhere", None)
    assert registry.load("tasks", "known_by_card") is type(task)


def test_a_definition_that_was_edited_counts_from_the_next_preparation_on(tmp_path):
    """Older records say otherwise, whichever folder is looked into first; without the data the latest record counts."""

    def record(name, title, started):
        place = tmp_path / "results" / name
        place.mkdir(parents=True)
        definition = Definition(name="edited", kind="binary", title=title).as_json()
        told = {"started": started, "cohorts": [{"definition": definition}, {}]}
        (place / "record.json").write_text(json.dumps(told))

    record("b", "older", "2026-01-01T00:00:00Z")
    record("a", "newer", "2026-02-01T00:00:00Z")
    look_in(tmp_path / "results")
    assert registry.load("tasks", "edited").meta.title == "newer"
    prepared(folder(tmp_path / "x", BAD, {"name": "edited", "title": "newest"}))
    for places in (("results", "data"), ("data", "results")):
        look_in(*(tmp_path / place for place in places))
        assert registry.load("tasks", "edited").meta.title == "newest"


def test_two_definitions_of_one_name_are_refused(tmp_path):
    declare(Definition(name="twice", kind="binary").as_json(), "here")
    declare(Definition(name="twice", kind="binary").as_json(), "there")
    with pytest.raises(UsageError, match="there: the task 'twice' is defined twice, and differently"):
        declare(Definition(name="twice", kind="binary", title="other").as_json(), "there")
    with pytest.raises(UsageError, match="the task 'ecg_abnormal' is installed: choose another name"):
        declare(Definition(name="ecg_abnormal", kind="binary").as_json(), "x")


def test_prompts_say_what_is_shown_and_name_the_classes():
    task = defined_task(
        Definition(name="t", kind="multiclass", classes=("a", "b"), shown="a scan", question="which is it")
    )()
    assert task.prompt("which is it") == "Above is a scan. Of a, b: which is it"
    assert defined_task(Definition(name="u", kind="binary"))().prompt("is it") == "is it"


@pytest.mark.slow
def test_from_a_folder_of_pictures_to_a_board(bench, tmp_path):
    """Worker processes know the task from the cohorts, the board from the records, without the data."""
    CsvFolder().synthesize(tmp_path / "raw", size=200, seed=0)
    bench("prepare", "csv", "--raw", "raw", "--out", "data", "-o", "image_size=64")
    rows = {"tasks": ["own_opacity"], "algorithms": ["majority", "fedavg_m"], "seeds": [0], "profile": "demo"}
    board = {"name": "mine", **rows, "options": {"rounds": 2}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(board))
    swept = bench("sweep", "mine.yaml", "--data", "data", "--results", "r", "--jobs", "2", "--plain")
    assert swept.code == 0, swept.err
    shutil.rmtree(tmp_path / "data")
    shown = bench("leaderboard", "mine.yaml", "--results", "r", "--out", "out")
    assert shown.code == 0, shown.err
    page = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "Lung opacity in a folder of your own" in page
    assert CsvOptions().image_size == 224


def test_list_tasks_knows_what_a_folder_defines(bench, tmp_path):
    CsvFolder().synthesize(tmp_path / "raw", size=40, seed=0)
    bench("prepare", "csv", "--raw", "raw", "--out", "data", "-o", "image_size=32")
    listed = json.loads(bench("list", "tasks", "--data", "data", "--json").out)
    assert {row["name"]: row["cohort"] for row in listed}["own_opacity"] == "prepared"
