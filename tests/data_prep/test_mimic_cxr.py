"""MIMIC-CXR with laboratory results: several images, a series and a text per study, each of which may be missing."""

from __future__ import annotations

import gzip
import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.mimic_cxr import MimicCxr, MimicCxrOptions
from fedmeki_bench.builtin.data_prep.mimic_cxr.layout import ITEMS, LABELS, LABS, METADATA, study_folder
from fedmeki_bench.builtin.data_prep.mimic_cxr.reports import indication
from fedmeki_bench.builtin.data_prep.mimic_cxr.synthetic import cases
from fedmeki_bench.builtin.tasks.study_findings import StudyFindings
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError

OPTIONS = MimicCxrOptions(image_size=32)
SIZE = 160


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    raw = tmp_path_factory.mktemp("mimic_cxr") / "raw"
    MimicCxr().synthesize(raw, size=SIZE, seed=0)
    return raw


@pytest.fixture
def raw(release, tmp_path):
    shutil.copytree(release, tmp_path / "raw")
    return tmp_path / "raw"


def cohort_of(raw):
    prepare(MimicCxr(), raw, raw.parent / "data", [StudyFindings()], OPTIONS, workers=1)
    return find(raw.parent / "data", "study_findings")


def test_every_study_has_the_images_and_results_that_were_written(raw):
    """Results by an independent count over the table: the median of each hour of the two days before."""
    cohort = cohort_of(raw)
    samples = cohort.samples().set_index("sample_id")
    events = pd.read_csv(raw / "hosp" / f"{LABS}.csv.gz", parse_dates=["charttime"])
    images, labs = cohort.array("image"), cohort.array("labs")
    missing = 0
    for case in cases(SIZE, 0):
        name = f"s{case.study}"
        mine = events[(events["subject_id"] == case.subject) & events["itemid"].isin(ITEMS)]
        before = (case.at - mine["charttime"]) / timedelta(hours=1)
        mine = mine.assign(hour=47 - np.floor(before))[(before >= 0) & (before < 48)]
        views = [view for view in case.views if view != "SWIMMERS"]
        if not views and mine.empty:
            missing += 1
            assert name not in samples.index
            continue
        row = samples.loc[name]
        assert (row["image_count"], row["labs_count"]) == (len(views), int(not mine.empty))
        if not mine.empty:
            wanted = np.full((48, len(ITEMS)), np.nan)
            for (hour, item), value in mine.groupby(["hour", "itemid"])["valuenum"].median().items():
                wanted[int(hour), list(ITEMS).index(item)] = value
            np.testing.assert_allclose(labs[row["labs_row"]], wanted, rtol=1e-6)
            assert np.nanmax(labs[row["labs_row"]]) < 99_999  # neither after the study nor long before it
    assert missing == cohort.card["rows"]["dropped"] > 0
    assert len(images) == samples["image_count"].sum()
    statistics = cohort.card["statistics"]["labs"]
    private = labs[samples.loc[(samples["split"] == "client") & (samples["labs_count"] > 0), "labs_row"]]
    np.testing.assert_allclose(statistics["median"], np.nanmedian(private.reshape(-1, len(ITEMS)), axis=0))


def test_labels_follow_the_table(raw):
    table = pd.read_csv(raw / f"{LABELS}.csv.gz").set_index("study_id")
    samples = cohort_of(raw).samples()
    for name, label in zip(samples["sample_id"], samples["label"], strict=True):
        row = table.loc[int(name[1:]), ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]]
        wanted = [None if value == -1 else float(value == 1) for value in row]
        assert [None if value is None or np.isnan(value) else value for value in label] == wanted


def test_the_question_holds_what_was_asked_and_nothing_that_was_found(raw):
    samples = cohort_of(raw).samples()
    told = samples["question"].str.startswith("Indication: ")
    assert 0.7 < told.mean() < 1
    assert not samples["question"].str.contains("effusion|edema|FINDINGS|IMPRESSION|As above").any()


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ("INDICATION:  Cough,\n  fever.\n\nFINDINGS:  Pneumonia.\n", "Cough, fever."),
        ("HISTORY: Fall\nIMPRESSION: none", "Fall"),
        ("REASON FOR EXAMINATION: <image> pain", "image> pain"),
        ("FINDINGS: effusion. INDICATION: none", ""),
        ("no heading at all, effusion", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_indications(tmp_path, report, said):
    path = tmp_path / "s1.txt"
    path.write_text(report)
    assert indication(path) == said
    assert indication(tmp_path / "none.txt") == ""


def packed(path, change):
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    with gzip.open(path, "wt") as stream:
        stream.write("\n".join(change(lines)) + "\n")


def test_bad_rows_and_files_are_dropped_with_a_reason(raw):
    first, second, third = [c for c in cases(SIZE, 0) if "LATERAL" in c.views and c.has_labs][:3]
    next((raw / "files" / study_folder(first.subject, first.study)).glob("*.jpg")).write_bytes(b"no picture")
    shutil.rmtree(raw / "files" / study_folder(second.subject, second.study))

    def worse(lines):
        head, *rows = lines
        rows = [row.replace(f"{third.subject},", "10x,", 1) if f",{third.study}," in row else row for row in rows]
        return [head, *rows]

    packed(raw / f"{LABELS}.csv.gz", worse)
    before = MimicCxr().table(raw, OPTIONS, drops := Drops())
    assert drops.counts == {"the table of images has no image of the study": 1}
    assert len(before) == SIZE - 1
    card = cohort_of(raw).card
    assert sorted(facts["n"] for reason, facts in card["dropped"].items() if "there" not in reason) == [1, 1, 1]
    assert sum(facts["n"] for facts in card["dropped"].values()) == card["rows"]["dropped"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (f"{METADATA}.csv.gz", f"lacks '{METADATA}.csv' or"),
        (f"hosp/{LABS}.csv.gz", f"lacks '{LABS}.csv' or '{LABS}.csv.gz'"),
    ],
)  # fmt: skip
def test_a_missing_table_is_one_sentence(raw, name, sentence):
    (raw / name).unlink()
    with pytest.raises(InputError, match=sentence):
        cohort_of(raw)
    assert not (raw.parent / "data").exists()


def test_a_cut_table_is_one_sentence(raw):
    path = raw / "hosp" / f"{LABS}.csv.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="the gzip file is cut"):
        cohort_of(raw)
    assert not list((raw.parent / "data").glob("study*"))


def test_studies_without_a_readable_time_have_no_results(raw):
    packed(raw / f"{METADATA}.csv.gz", lambda lines: [line.replace(".000", "x") for line in lines])
    cohort = cohort_of(raw)
    assert cohort.array("labs").shape[0] == 0
    assert any("no readable time" in note for note in cohort.card["notes"])
