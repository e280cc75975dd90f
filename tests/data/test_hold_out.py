"""A site held out: nobody there is trained or selected on, and only the evaluation opens its split."""

import numpy as np
import pytest

import fedmeki_bench as fb
from fedmeki_bench.audit.checks import held_out_site
from fedmeki_bench.audit.reading import read
from fedmeki_bench.data.cohort import Cohort, TestSplitSealed
from fedmeki_bench.data.sealed import open_external, open_test
from fedmeki_bench.data.splits import SPLITS, assign, set_aside
from fedmeki_bench.errors import FedmekiError, InputError

GROUPS = [f"p{i // 2}" for i in range(80)]
SITES = ["B" if i in (3, 20, 21) else "A" for i in range(80)]


def test_whoever_has_a_sample_there_is_aside():
    """With all samples, those of other sites included; everyone else stays in the split that was drawn."""
    drawn = assign(GROUPS, mode="patient", seed=42, dataset="x")
    found = set_aside(drawn, GROUPS, SITES, "B")
    aside = {"p1", "p10"}
    assert all((split == "external") == (group in aside) for split, group in zip(found, GROUPS, strict=True))
    others = np.array([group not in aside for group in GROUPS])
    assert (found[others] == drawn[others]).all()
    assert set_aside(drawn, GROUPS, SITES, "") is drawn


def test_a_site_that_is_nobodys_or_everybodys_is_refused():
    """With the nearest name; nothing would be left to learn from where all are there."""
    drawn = assign(GROUPS, mode="patient", seed=42, dataset="x")
    with pytest.raises(InputError, match="hold_out=C: no sample is from there; known: A, B"):
        set_aside(drawn, GROUPS, SITES, "C")
    with pytest.raises(InputError, match="nothing is left"):
        set_aside(drawn, GROUPS, ["B"] * 80, "B")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two ECG cohorts of one release, with and without a site held out."""
    root = tmp_path_factory.mktemp("sites")
    fb.synth("ptbxl", root / "raw" / "ptbxl", size=80)
    fb.prepare("ptbxl", root / "raw" / "ptbxl", root / "plain")
    site = read(root / "plain", ["ecg_abnormal"])[0].samples["site"].value_counts().index[-1]
    fb.prepare("ptbxl", root / "raw" / "ptbxl", root / "data", options={"hold_out": site})
    return root, site


def test_cohorts_hold_the_site_apart(prepared):
    """Every task of the dataset agrees, the audit holds, the card says so, and the door is shut."""
    root, site = prepared
    for name in ("ecg_abnormal", "ecg_age"):
        cohort = Cohort.open(root / "data" / name)
        part = open_external(cohort)
        assert len(part) > 0
        assert site in set(part.sites)
        there = set(part.group_ids)
        for split in ("client", "valid", "public"):
            assert not there & set(cohort.part(split).group_ids)
            assert site not in set(cohort.part(split).sites)
        assert not there & set(open_test(cohort).group_ids)
        with pytest.raises(TestSplitSealed, match="external split"):
            cohort.part("external")
        assert cohort.card["options"]["hold_out"] == site
        assert cohort.card["splits"]["external"]["samples"] == len(part)
        assert any("held out" in note for note in cohort.card["notes"])
    (audited,) = read(root / "data", ["ecg_abnormal"])
    assert [f.level for f in held_out_site(audited)] == ["ok"]
    at = audited.samples.index[audited.samples["split"] == "external"][0]
    audited.samples.loc[at, "split"] = "client"
    assert [f.level for f in held_out_site(audited)] == ["leak"]


def test_without_the_option_cards_are_as_they_were(prepared):
    """The option is newer than cohorts that stand."""
    card = Cohort.open(prepared[0] / "plain" / "ecg_abnormal").card
    assert "hold_out" not in card["options"]
    assert set(card["splits"]) == set(SPLITS)


def test_rows_drawn_one_by_one_hold_nobody_out(prepared):
    """The published split leaves a site's patients everywhere."""
    root, site = prepared
    with pytest.raises(FedmekiError, match="hold_out needs split=patient"):
        fb.prepare("ptbxl", root / "raw" / "ptbxl", root / "no", options={"hold_out": site, "split": "published"})
