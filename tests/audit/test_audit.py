"""The audit finds what is planted and stays quiet otherwise."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.audit.checks import run_all
from fedmeki_bench.audit.near import pairs, thumbnails
from fedmeki_bench.audit.page import render
from fedmeki_bench.audit.reading import read
from fedmeki_bench.cohort.card import SAMPLES
from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import InputError


@pytest.fixture
def data(cohorts, tmp_path):
    """A private copy, to damage."""
    shutil.copytree(cohorts, tmp_path / "data")
    return tmp_path / "data"


def change(data, task, edit):
    """Rewrite a cohort's sample table; the audit reads the table itself, sizes on the card are kept in step."""
    path = data / task / SAMPLES
    table = edit(pd.read_parquet(path))
    table.to_parquet(path, index=False)
    card = json.loads((data / task / "card.json").read_text())
    card["files"][SAMPLES] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
    (data / task / "card.json").write_text(json.dumps(card))


def leaks(data, check):
    return [f for f in run_all(read(data)) if f.level == "leak" and f.check == check]


def test_prepared_cohorts_are_clean(cohorts):
    assert not [f for f in run_all(read(cohorts)) if f.level == "leak"]


def test_a_patient_in_two_splits_is_found(data):
    def edit(table):
        test = table.index[table["split"] == "test"][0]
        client = table.index[table["split"] == "client"][0]
        table.loc[test, "group_id"] = table.loc[client, "group_id"]
        return table

    change(data, "ecg_abnormal", edit)
    (found,) = leaks(data, "groups")
    assert found.facts["shared"] == 1
    assert found.facts["test_samples_seen"] == 1


def test_identical_content_across_splits_is_found_with_an_example(data):
    def edit(table):
        test = table.index[table["split"] == "test"][0]
        client = table.index[table["split"] == "client"][0]
        table.loc[test, "digest"] = table.loc[client, "digest"]
        return table

    change(data, "lung_opacity", edit)
    (found,) = leaks(data, "identical")
    assert len(found.examples) == 1


def test_the_same_pictures_under_another_name_and_size_are_found(data):
    """What COVQU's Normal images are to RSNA: another source, other ids, another size, another compression."""
    shutil.copytree(data / "lung_opacity", data / "covid19")
    card = json.loads((data / "covid19" / "card.json").read_text())
    card |= {"task": "covid19", "dataset": "covqu", "registry": "covqu"}
    pictures = np.load(data / "lung_opacity" / "image.npy")
    small = pictures.reshape(len(pictures), 1, 32, 2, 32, 2).mean(axis=(3, 5))
    noisy = (small + np.random.default_rng(0).normal(0, 1.5, small.shape)).clip(0, 255).astype(np.uint8)
    np.save(data / "covid19" / "image.npy", noisy)
    card["files"]["image.npy"]["bytes"] = (data / "covid19" / "image.npy").stat().st_size
    card["arrays"]["image"]["shape"] = [1, 32, 32]
    (data / "covid19" / "card.json").write_text(json.dumps(card))

    def other(table):
        table["sample_id"] = [f"COVID-{i}" for i in range(len(table))]
        table["group_id"] = table["sample_id"]
        table["digest"] = [f"x{i}" for i in range(len(table))]
        table["split"] = np.random.default_rng(1).permutation(table["split"])
        return table

    change(data, "covid19", other)
    (found,) = leaks(data, "near across")
    assert found.facts["pairs"] == len(pd.read_parquet(data / "covid19" / SAMPLES))
    page = render(read(data), run_all(read(data)), {})
    assert page.count("data:image/png;base64,") >= 2 * len(found.examples)


def test_blocks_give_the_same_pairs_as_brute_force(monkeypatch):
    from fedmeki_bench.audit import near

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (60, 1, 50, 50)).astype(np.uint8)
    pictures[40:50] = pictures[5:15]
    small = thumbnails(pictures)
    whole = {(p.left, p.right) for p in pairs(small)}
    monkeypatch.setattr(near, "_BLOCK", 7)
    assert {(p.left, p.right) for p in pairs(small)} == whole == {(i, i + 35) for i in range(5, 15)}
    assert {(p.left, p.right) for p in pairs(small[:20], small[20:])} == {(i, i + 15) for i in range(5, 15)}


def test_thumbnails_are_box_means_and_flat_pictures_match_nothing():
    ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))[None, None]
    want = np.tile(np.arange(64).reshape(32, 2).mean(axis=1), 32)
    want = (want - want.mean()) / np.linalg.norm(want - want.mean())
    np.testing.assert_allclose(thumbnails(ramp)[0], want, rtol=1e-5, atol=1e-6)
    flat = np.full((2, 1, 64, 64), 7, np.uint8)
    assert not list(pairs(thumbnails(flat)))


def test_an_attribute_that_tells_the_label_is_noted(data):
    def edit(table):
        table["site"] = np.where(table["label"] == 1, "icu", "ward")
        return table

    change(data, "ecg_abnormal", edit)
    (found,) = [f for f in run_all(read(data)) if f.check == "shortcuts" and "ecg_abnormal" in f.cohorts]
    assert found.level == "note"
    assert found.facts["site"] == pytest.approx(1.0)


def test_names_are_escaped_on_the_page(data):
    change(data, "ecg_abnormal", lambda t: t.assign(site="<script>alert(1)</script>"))
    one = read(data)
    one[0].cohort.card["shortcuts"] = ["<script>x</script>"]
    page = render(one, run_all(one), {})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page


def test_no_cohort_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="prepare"):
        read(tmp_path)


def test_a_group_on_two_clients_is_found(cohorts):
    one = [a for a in read(cohorts) if a.name == "ecg_abnormal"]
    part = one[0].cohort.part("client")
    apart = [{"ecg_abnormal": part.take(range(0, 40))}, {"ecg_abnormal": part.take(range(40, len(part)))}]
    assert [f.level for f in run_all(one, parts=apart[:1]) if f.check == "clients"] == ["ok"]
    both = [{"ecg_abnormal": part}, {"ecg_abnormal": part.take([0])}]
    (found,) = [f for f in run_all(one, parts=both) if f.check == "clients"]
    assert found.level == "leak"
    assert found.facts["shared"] == 1
