from __future__ import annotations

import shutil

import pytest

from fedmeki_bench.builtin.data_prep.chexpert import Chexpert, ChexpertOptions
from fedmeki_bench.builtin.data_prep.chexpert.layout import FINDINGS
from fedmeki_bench.builtin.data_prep.chexpert.synthetic import write
from fedmeki_bench.builtin.tasks.atelectasis import Atelectasis
from fedmeki_bench.builtin.tasks.enlarged_cardiomediastinum import EnlargedCardiomediastinum
from fedmeki_bench.builtin.tasks.pleural_effusion import PleuralEffusion
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError

TASKS = (EnlargedCardiomediastinum, Atelectasis, PleuralEffusion)


def run(raw, out, tasks=TASKS, **options):
    options = ChexpertOptions(image_size=16, **options)
    return prepare(Chexpert(), raw, out, [task() for task in tasks], options, workers=1)


@pytest.fixture
def chexpert(tmp_path):
    write(tmp_path / "chexpert", size=40, seed=0, width=40, height=34)
    return tmp_path / "chexpert"


def lines(raw) -> list[list[str]]:
    return [line.split(",") for line in (raw / "valid.csv").read_text().splitlines()]


def rewrite(raw, rows) -> None:
    (raw / "valid.csv").write_text("".join(",".join(row) + "\n" for row in rows))


@pytest.mark.parametrize("task", TASKS)
def test_each_task_reads_its_own_column(task):
    row = dict.fromkeys(FINDINGS, "negative")
    assert task().label(row) == 0
    assert task().label(row | {task.column: "positive"}) == 1
    others = {name: "positive" for name in FINDINGS if name != task.column}
    assert task().label(row | others) == 0
    for value in ("uncertain", "blank"):
        assert task().label(row | {task.column: value}).reason == f"{task.column} is {value}"
    assert task.meta.role == "zero_shot"


def test_cards_count_their_own_columns(chexpert, tmp_path):
    header, *rows = lines(chexpert)
    for cohort, task in zip(run(chexpert, tmp_path / "out"), TASKS, strict=True):
        positives = sum(row[header.index(task.column)] == "1.0" for row in rows)
        test = cohort.card["splits"]["test"]
        assert (test["positive"], test["samples"]) == (positives, 40)
        assert cohort.card["groups"] == len({row[0].split("/")[2] for row in rows}) < 40
        assert set(cohort.card["sites"]) <= {"Frontal AP", "Frontal PA", "Lateral"}
        assert cohort.card["registry"] is None
    assert all(cohort.unchanged for cohort in run(chexpert, tmp_path / "out"))


@pytest.mark.parametrize("prefix", ["", "CheXpert-v1.0/", '"CheXpert-v1.0 batch 1 (validate & csv)/', "/data/x/"])
def test_any_prefix(chexpert, tmp_path, prefix):
    rows = lines(chexpert)
    for row in rows[1:]:
        row[0] = prefix + row[0].removeprefix("CheXpert-v1.0-small/") + ('"' if prefix.startswith('"') else "")
    rewrite(chexpert, rows)
    inner = tmp_path / "parent" / "CheXpert-v1.0"
    inner.parent.mkdir()
    shutil.move(chexpert, inner)
    assert run(inner.parent, tmp_path / "out", TASKS[:1])[0].card["rows"]["kept"] == 40


def test_uncertain_blank_and_views(chexpert, tmp_path):
    rows = lines(chexpert)
    at = rows[0].index("Pleural Effusion")
    rows[1][at], rows[2][at] = "-1.0", ""
    rewrite(chexpert, rows)
    lateral = sum(row[3] == "Lateral" for row in rows)
    cohorts = run(chexpert, tmp_path / "out")
    assert cohorts[2].card["excluded"] == {"Pleural Effusion is blank": 1, "Pleural Effusion is uncertain": 1}
    assert cohorts[1].card["rows"]["kept"] == 40
    card = run(chexpert, tmp_path / "out", TASKS[:1], views="frontal")[0].card
    assert card["excluded"] == {"lateral view (views=frontal)": lateral}
    assert "Lateral" not in card["sites"]
    assert lateral > 0


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("Path", "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg", "the path names no image of the valid"),
        ("Path", "valid/patient64541/../../x.jpg", "the path names no image|outside"),
        ("Path", "valid/patient99999/study1/view1_frontal.jpg", "the image file is missing"),
        ("Path", "CheXpert/valid/patient64541/study1/view1_frontal.jpg", "the image occurs a second time"),
        ("Frontal/Lateral", "Oblique", "the view is neither"),
        ("Atelectasis", "yes", "a finding is not a number"),
        ("Fracture", "2", "a finding is none of 1, 0, -1 and blank"),
    ],
)
def test_a_bad_row_is_counted(chexpert, tmp_path, column, value, reason):
    rows = lines(chexpert)
    rows[5][rows[0].index(column)] = value
    rewrite(chexpert, rows)
    card = run(chexpert, tmp_path / "out", TASKS[:1])[0].card
    (told,) = card["dropped"]
    assert any(told.startswith(start) or start in told for start in reason.split("|"))
    assert card["rows"] == {"read": 40, "merged": 0, "kept": 39, "dropped": 1, "excluded": 0}


def test_bad_tables(chexpert, tmp_path):
    whole = (chexpert / "valid.csv").read_text()
    for text, sentence in (
        (whole[:-200], "cut in mid-line|fields where"),
        (whole.replace(",", ";"), "separated by ';'"),
        (whole.replace("Atelectasis", "Atelektase", 1), "lacks the column 'Atelectasis'"),
    ):
        (chexpert / "valid.csv").write_text(text)
        with pytest.raises(InputError, match=sentence):
            run(chexpert, tmp_path / "out")
    with pytest.raises(InputError, match=r"lacks 'valid\.csv'"):
        run(tmp_path / "chexpert" / "valid", tmp_path / "out")
