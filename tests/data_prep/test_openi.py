"""Indiana University collection: XML reports with one or two pictures, and the task to write the report."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from fedmeki_bench.builtin.data_prep.openi import OpenI, OpenIOptions
from fedmeki_bench.builtin.data_prep.openi.reports import readable
from fedmeki_bench.builtin.data_prep.openi.synthetic import cases, write
from fedmeki_bench.builtin.tasks.report_openi import ReportOpenI
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.class_metrics import AUROC_MACRO
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.models.scoring import scores
from fedmeki_bench.models.training import schedule, train
from fedmeki_bench.profiles import profile

SIZE = 150
TASK = ReportOpenI.meta.name
# sign (or signs) -> concept, written anew here: what a report must name when its pictures show them
SHOWN = {
    "consolidation": {"patch"}, "ground glass opacity": {"haze"}, "pneumonia": {"patch", "haze"},
    "pleural effusion": {"level"}, "atelectasis": {"patch", "level"}, "enlarged cardiomediastinum": {"wide"},
    "edema": {"wide", "haze"}, "cardiomegaly": {"wide", "level"}, "granuloma": {"dot"}, "pneumothorax": {"air"},
    "degenerative change": {"steps"},
}  # fmt: skip


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    raw = tmp_path_factory.mktemp("openi") / "raw"
    write(raw, size=SIZE, seed=0, side=32)
    return raw


@pytest.fixture
def raw(release, tmp_path):
    shutil.copytree(release, tmp_path / "raw")
    return tmp_path / "raw"


def cohort_of(raw, **options):
    prepare(OpenI(), raw, raw.parent / "data", [ReportOpenI()], OpenIOptions(image_size=16, **options), workers=1)
    return find(raw.parent / "data", TASK)


def rows_of(raw, **options):
    drops = Drops()
    table = OpenI().table(raw, OpenIOptions(**options), drops)
    return table.set_index("sample_id"), drops


def test_every_report_arrives_with_its_pictures_and_its_findings(raw):
    cohort = cohort_of(raw)
    samples = cohort.samples().set_index("sample_id")
    wanted = {f"CXR{case.number}": case for case in cases(SIZE, 0) if case.pictures and case.has_findings}
    assert set(samples.index) == set(wanted)
    assert len(wanted) < SIZE
    for name, case in wanted.items():
        row = samples.loc[name]
        assert row["image_count"] == len(case.pictures)
        assert row["answer"] == case.findings
        named = {concept for concept, signs in SHOWN.items() if signs <= case.signs}
        named |= {"lung opacity"} if case.signs & {"patch", "haze"} else set()
        assert {c for c, there in zip(ReportOpenI.meta.concepts, row["concepts"], strict=True) if there} == named
    assert set(samples["image_count"]) == {1, 2}
    assert any("no patient ids" in note for note in cohort.card["notes"])
    assert set(cohort.card["excluded"]) == {
        "the report has no picture", "the report has no text in the section asked for (section=findings)",
    }  # fmt: skip


def test_nothing_of_the_report_is_in_the_question(raw):
    samples = cohort_of(raw).samples()
    assert (samples["question"].str.startswith("Indication: ")).mean() > 0.5
    words = "consolidation|effusion|opacity|mediastinum|clear|normal|acute|abnormal|XXXX"
    assert not samples["question"].str.contains(words, case=False).any()
    assert not samples["answer"].str.contains("XXXX").any()


def test_the_section_is_an_option(raw):
    table, _ = rows_of(raw, section="impression")
    assert set(table["report"]) <= {
        f"{a}{b}" for a in ("abnormal chest.", "no acute disease.") for b in ("", " Discussed with.")
    }
    both, _ = rows_of(raw, section="both")
    findings, _ = rows_of(raw)
    assert (both["report"] == (findings["findings"] + " " + table["report"]).str.strip()).all()
    questions = {ReportOpenI().question(t.iloc[0]).rpartition(". ")[2] for t in (table, both, findings)}
    assert len(questions) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("XXXX XXXX. Heart normal.", "Heart normal."),
        ("Compared to XXXX, no change. XXXX.", "Compared to, no change."),
        ("XXXX-year-old with cough", "year-old with cough"),
        ("Seen by Dr. XXXX.", "Seen by Dr."),
        ("1. Heart normal.\n 2. Lungs  clear.", "1. Heart normal. 2. Lungs clear."),
        ("A nodule of 1.2 cm.", "A nodule of 1.2 cm."),
        ("XXXX", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_anonymisation_left_is_taken_out(text, said):
    assert readable(text) == said


def test_bad_reports_and_pictures_are_dropped_with_a_reason(raw):
    with_two = [case for case in cases(SIZE, 0) if len(case.pictures) == 2 and case.has_findings]
    paths = [raw / "ecgen-radiology" / f"{case.number}.xml" for case in with_two]
    whole = paths[0].read_bytes()
    entity = b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    paths[0].write_bytes(whole[: len(whole) // 2])
    paths[1].write_bytes(paths[1].read_bytes().replace(b"<eCitation>", entity + b"<eCitation>"))
    paths[2].write_bytes(paths[2].read_text().encode("utf-16"))
    paths[3].write_bytes(paths[3].read_bytes() + b"<!-- " + b"x" * 1_000_000 + b" -->")
    paths[4].write_bytes(paths[4].read_bytes().replace(b"<uId", b"<other"))
    paths[5].write_bytes(paths[6].read_bytes())
    paths[7].write_text(paths[7].read_text().replace(with_two[7].pictures[0], "../../secret"))
    (raw / "images" / f"{with_two[8].pictures[1]}.png").unlink()
    (raw / "images" / f"{with_two[9].pictures[0]}.png").write_bytes(b"no picture")
    assert {reason: facts["n"] for reason, facts in cohort_of(raw).card["dropped"].items()} == {
        "the report is no valid XML (cut?)": 1,
        "the report declares a document type or entities, which no report needs": 1,
        "the report is not UTF-8 text": 1,
        "the report is implausibly large": 1,
        "the report has no uId": 1,
        "the id of the report occurs a second time": 1,
        "the file name points outside the dataset's folder": 1,
        "the image file is missing": 1,
        "the file is no PNG or JPEG picture": 1,
    }


@pytest.mark.parametrize("place", ["NLMCXR_png", ""])
def test_pictures_may_lie_elsewhere(raw, place):
    before = cohort_of(raw).array("image").copy()
    if place:
        (raw / "images").rename(raw / place)
    else:
        for path in (raw / "images").iterdir():
            path.rename(raw / path.name)
        (raw / "images").rmdir()
    np.testing.assert_array_equal(cohort_of(raw).array("image"), before)


def test_more_than_two_pictures_are_noted(raw):
    case = next(case for case in cases(SIZE, 0) if len(case.pictures) == 2 and case.has_findings)
    path = raw / "ecgen-radiology" / f"{case.number}.xml"
    path.write_text(path.read_text().replace("</eCitation>", '<parentImage id="CXR_third"/></eCitation>'))
    table, drops = rows_of(raw)
    assert table.loc[f"CXR{case.number}", "source"] == "|".join(case.pictures)
    assert "1 reports have more than 2 pictures, of which the first 2 are taken" in drops.notes


def test_wrong_folder(raw):
    for path in (raw / "ecgen-radiology").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="holds no XML file"):
        cohort_of(raw)
    (raw / "ecgen-radiology").rmdir()
    with pytest.raises(InputError, match="lacks 'ecgen-radiology'"):
        cohort_of(raw)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    OpenI().synthesize(folder / "raw", size=800, seed=0)
    prepare(OpenI(), folder / "raw", folder / "data", [ReportOpenI()], OpenIOptions(image_size=64), workers=1)
    return find(folder / "data", TASK)


def learnt(cohort, *, first_only=False, shuffled=False):
    """AUROC of each concept on ``valid``, of a model that clients' data train together."""
    settings = profile("demo")
    model = ClientModel(
        {TASK: ("image",)}, inputs_of([cohort], settings),
        {m: (choice.name, choice.params) for m, choice in settings.encoders.items()}, hidden={}, seed=0,
        labels={TASK: ReportOpenI.meta.learnt},
    )  # fmt: skip
    private, valid = cohort.part("client"), cohort.part("valid")
    if shuffled:
        wrong = private.learnt[np.random.default_rng(0).permutation(len(private))]
        private.__class__ = type("Shuffled", (type(private),), {"learnt": wrong})
    for part in (private, valid) if first_only else ():
        plain = part.batch

        def batch(index, plain=plain):
            found = plain(index)
            found["image_there"][:, 1] = False
            return found

        part.batch = batch
    steps = schedule({TASK: private}, epochs=16, batch_size=16, seed=0, stream=("x",))
    train(model, {TASK: private}, steps, settings, seed=0, stream=("x",), where="here")
    found = scores(model, TASK, valid)
    return {
        name: float(AUROC_MACRO(valid.learnt[:, [k]], found[:, [k]]))
        for k, name in enumerate(ReportOpenI.meta.concepts)
    }


@pytest.mark.slow
def test_clients_learn_the_findings_of_their_reports_from_both_pictures(large):
    both = learnt(large)
    assert np.mean(list(both.values())) > 0.75
    front = learnt(large, first_only=True)
    assert front["degenerative change"] < both["degenerative change"] - 0.1  # seen from the side alone
    assert np.mean(list(learnt(large, shuffled=True).values())) < 0.6
