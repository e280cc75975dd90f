"""PMC-CaseReport: questions with up to eight figures, and the task to answer them."""

from __future__ import annotations

import csv
import shutil

import pytest

from fedmeki_bench.builtin.data_prep.pmc_casereport import PmcCaseReport, PmcCaseReportOptions
from fedmeki_bench.builtin.data_prep.pmc_casereport.preparer import figure_names, shortened
from fedmeki_bench.builtin.data_prep.pmc_casereport.synthetic import write
from fedmeki_bench.builtin.tasks.rationale_pmc import RationalePmc
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError

SIZE = 150


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    raw = tmp_path_factory.mktemp("pmc") / "raw"
    write(raw, size=SIZE, seed=0, side=32)
    return raw


@pytest.fixture
def raw(release, tmp_path):
    shutil.copytree(release, tmp_path / "raw")
    return tmp_path / "raw"


def cohort_of(raw, **options):
    options = PmcCaseReportOptions(image_size=16, **options)
    prepare(PmcCaseReport(), raw, raw.parent / "data", [RationalePmc()], options, workers=1)
    return find(raw.parent / "data", "rationale_pmc")


def rows(raw, name="train.csv"):
    with (raw / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def rewrite(raw, table, name="train.csv"):
    with (raw / name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def test_every_question_arrives_with_its_figures(raw):
    samples = cohort_of(raw).samples().set_index("sample_id")
    assert len(samples) == SIZE
    for part in ("train", "test"):
        for position, item in enumerate(rows(raw, f"{part}.csv"), start=1):
            row = samples.loc[f"{part}-{position}"]
            figures = figure_names(item["img_ref"])
            assert row["image_count"] == len(figures)
            assert row["source"] == "|".join(f"{item['PMC_id']}_{figure}.jpg" for figure in figures)
            assert f"A: {row['answer']}" == item["answer"]
            assert row["question"].endswith(item["question"].removeprefix("Q: "))
            named = {c for c, there in zip(RationalePmc.meta.concepts, row["concepts"], strict=True) if there}
            words = {"haze": "ground glass opacity", "effusion": "pleural effusion"}
            words |= {"wide mediastinum": "enlarged cardiomediastinum"}
            said = {} if row["answer"] == "no finding" else row["answer"].replace(", so ", ", ").split(", ")
            assert named == {words.get(word, word) for word in said}
    assert set(samples["image_count"]) == {1, 2, 3, 4}
    split = samples.assign(article=samples["source"].str.partition("_")[0]).groupby("article")["split"].nunique()
    assert (split == 1).all()


def test_the_case_is_an_option(raw):
    plain = cohort_of(raw, context_sentences=0).samples()
    assert set(plain["question"]) <= {q.removeprefix("Q: ") for q in {row["question"] for row in rows(raw)}}
    assert cohort_of(raw).samples()["question"].str.startswith("A patient").all()


@pytest.mark.parametrize(
    ("sentences", "said"),
    [(0, ""), (1, "One."), (2, "One. Four!"), (3, "One. Three? Four!"), (9, "One. Two. Three? Four!")],
)  # fmt: skip
def test_long_cases_keep_their_first_and_last_sentences(sentences, said):
    assert shortened("One. Two.\n Three?  Four!", sentences) == said


def test_a_case_places_no_picture():
    assert "<" not in shortened("See <image 2> here.", 5)


@pytest.mark.parametrize("text", ["[", "{'a': 1}", "[1]", "('Fig1',)", "__import__('os')", "[" * 5000, "x" * 20_000])
def test_what_is_no_list_of_figures_is_dropped(text):
    with pytest.raises(Dropped):
        figure_names(text)


def test_figures_are_taken_once_and_in_order():
    assert figure_names(" ['Fig2', 'Fig1', 'Fig2'] ") == ("Fig2", "Fig1")
    assert figure_names("") == figure_names("[]") == ()


def test_bad_rows_and_figures_are_dropped_with_a_reason(raw):
    table = rows(raw)
    table[0]["PMC_id"] = "../PMC1"
    table[1]["img_ref"] = "Fig1"
    table[2]["img_ref"] = "['../../secret']"
    table[3]["answer"] = "A: "
    table[4]["img_ref"] = "[]"
    table[5]["img_ref"] = "['Fig99']"
    table[6]["img_ref"] = "['a|b']"
    rewrite(raw, table)
    card = cohort_of(raw).card
    assert {reason: facts["n"] for reason, facts in card["dropped"].items()} == {
        "PMC_id is not PMC and a number": 1,
        "img_ref is no list of figures": 1,
        "the file name points outside the dataset's folder": 1,
        "the question or its answer is blank": 1,
        "the image file is missing": 1,
        "img_ref names no figure": 1,
    }
    assert card["excluded"] == {"the question refers to no figure": 1}


def test_more_than_eight_figures_are_noted(raw):
    table = rows(raw)
    first = next((raw / "figures").glob(f"{table[0]['PMC_id']}_*.jpg"))
    for k in range(10):
        shutil.copy(first, raw / "figures" / f"{table[0]['PMC_id']}_More{k}.jpg")
    table[0]["img_ref"] = str([f"More{k}" for k in range(10)])
    rewrite(raw, table)
    cohort = cohort_of(raw)
    assert cohort.samples().set_index("sample_id").loc["train-1", "image_count"] == 8
    assert "1 questions refer to more than 8 figures, of which the first 8 are taken" in cohort.card["notes"]


def test_the_names_of_tables(raw):
    (raw / "train.csv").rename(raw / "casa_report_train.csv")
    before = len(cohort_of(raw).samples())
    assert before == SIZE
    shutil.copy(raw / "casa_report_train.csv", raw / "train.csv")
    with pytest.raises(InputError, match=r"has both train.csv and casa_report_train.csv"):
        cohort_of(raw)
    for name in ("train.csv", "casa_report_train.csv", "test.csv"):
        (raw / name).unlink()
    with pytest.raises(InputError, match=r"has neither 'train.csv' nor 'test.csv'"):
        cohort_of(raw)
    shutil.rmtree(raw / "figures")
    with pytest.raises(InputError, match="lacks 'figures'"):
        cohort_of(raw)
