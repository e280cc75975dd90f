"""The audit finds what is planted and stays quiet otherwise."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.audit.checks import run_all
from fedmeki_bench.audit.page import render
from fedmeki_bench.audit.reading import read
from fedmeki_bench.data.card import SAMPLES
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
    for name in card["files"]:
        file = data / task / name
        card["files"][name] = {"bytes": file.stat().st_size, "sha256": file_digest(file)}
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


@pytest.mark.slow
def test_the_same_pictures_under_another_name_and_size_are_found(data):
    """What COVQU's Normal images are to RSNA: another source, other ids, another size, another compression."""
    shutil.copytree(data / "lung_opacity", data / "covid19")
    card = json.loads((data / "covid19" / "card.json").read_text())
    card |= {"task": "covid19", "dataset": "covqu", "registry": "covqu"}
    pictures = np.load(data / "lung_opacity" / "image.npy")
    small = pictures.reshape(len(pictures), 1, 32, 2, 32, 2).mean(axis=(3, 5))
    noisy = (small + np.random.default_rng(0).normal(0, 1.5, small.shape)).clip(0, 255).astype(np.uint8)
    np.save(data / "covid19" / "image.npy", noisy)
    array = data / "covid19" / "image.npy"
    card["files"]["image.npy"] = {"bytes": array.stat().st_size, "sha256": file_digest(array)}
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


def test_an_attribute_that_tells_the_label_is_noted(data):
    def edit(table):
        table["site"] = np.where(table["label"] == 1, "icu", "ward")
        return table

    change(data, "ecg_abnormal", edit)
    (found,) = [f for f in run_all(read(data)) if f.check == "shortcuts" and "ecg_abnormal" in f.cohorts]
    assert found.level == "note"
    assert found.facts["site"] == pytest.approx(1.0)
    assert found.facts["n"] == 23
    assert found.facts["intervals"]["site"] == [pytest.approx(0.747, abs=0.005), 1.0]
    assert "on 23 samples of" in found.text


@pytest.mark.parametrize("holders", ["pppqqq", "ppprrp"])
def test_a_strong_value_on_few_samples_is_no_note(data, holders):
    """The interval of a handful of patients reaches down to chance, or there is none: the number says nothing yet."""

    def edit(table):
        kept = pd.concat([table[table["split"] == "client"], table[table["split"] == "valid"].head(6)])
        kept["site"] = "a"
        valid = kept["split"] == "valid"
        kept.loc[kept["label"] == 1, "site"] = "b"
        kept.loc[valid, "group_id"] = list(holders)
        kept.loc[valid, "label"] = np.array([1, 1, 0, 0, 0, 1], np.int8)
        kept.loc[valid, "site"] = ["b", "b", "a", "a", "a", "a"]
        return kept.reset_index(drop=True)

    change(data, "ecg_abnormal", edit)
    (found,) = [f for f in run_all(read(data), near=False) if f.check == "shortcuts" and "ecg_abnormal" in f.cohorts]
    assert found.facts["site"] > 0.75
    assert found.facts["n"] == 6
    assert found.level == "ok"
    assert "nan" not in found.text
    assert ("[no interval]" in found.text) == (holders == "ppprrp")  # one patient has all the positives


def test_one_sources_content_in_two_tasks_is_found(data):
    """The same recording learnt from in one task and tested in another of the same source, under another patient."""
    shutil.copytree(data / "ecg_abnormal", data / "ectopic_beats")
    card = json.loads((data / "ectopic_beats" / "card.json").read_text())
    card |= {"task": "ectopic_beats", "role": "validation", "registry": "ptbxl"}
    (data / "ectopic_beats" / "card.json").write_text(json.dumps(card))
    learnt = pd.read_parquet(data / "ecg_abnormal" / SAMPLES).query("split == 'client'")

    def edit(table):
        kept = table[table["sample_id"].isin(learnt["sample_id"].head(3))].copy()
        return kept.assign(group_id=[f"other{k}" for k in range(len(kept))], split="test").reset_index(drop=True)

    change(data, "ectopic_beats", edit)
    (found,) = leaks(data, "identical across")
    assert found.facts["trained_here_tested_there"] == 3


def test_nearly_the_same_signals_in_two_splits_are_found_and_drawn(data):
    signals = np.load(data / "ecg_abnormal" / "signal.npy")
    table = pd.read_parquet(data / "ecg_abnormal" / SAMPLES)
    a, b = (int(table.loc[table["split"] == s, "array_row"].iloc[0]) for s in ("client", "test"))
    signals[b] = signals[a]
    signals[b, 0, 500] += 1  # one sample by one microvolt
    np.save(data / "ecg_abnormal" / "signal.npy", signals)
    change(data, "ecg_abnormal", lambda table: table)
    (found,) = leaks(data, "near")
    assert found.facts == {"pairs": 1, "crossing_splits": 1}
    one = read(data)
    page = render(one, run_all(one), {})
    assert page.count("<polyline") == 6
    assert "prefers-color-scheme:dark" in page


def test_flat_recordings_are_counted_and_are_no_copies(data):
    signals = np.load(data / "ecg_abnormal" / "signal.npy")
    signals[:3] = 0
    np.save(data / "ecg_abnormal" / "signal.npy", signals)

    def edit(table):
        table.loc[table["array_row"] < 3, "digest"] = "flat"
        return table

    change(data, "ecg_abnormal", edit)
    findings = run_all(read(data))
    (found,) = [f for f in findings if f.check == "blank"]
    assert found.facts["blank"] == 1  # one content, three times
    assert "are flat" in found.text
    assert not [f for f in findings if f.level == "leak"]


def test_a_zero_shot_cohort_without_a_class_is_noted(data):
    card = json.loads((data / "ecg_abnormal" / "card.json").read_text())
    card |= {"role": "validation", "zero_shot": "unseen"}
    (data / "ecg_abnormal" / "card.json").write_text(json.dumps(card))
    change(data, "ecg_abnormal", lambda t: t.assign(label=np.int8(0), split="test"))
    (found,) = [f for f in run_all(read(data), near=False) if f.check == "classes"]
    assert found.level == "note"
    assert "zero_shot=all" in found.text


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
