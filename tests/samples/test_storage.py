"""Samples with several arrays of a modality, or none: how they are stored, read, joined and audited."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.audit.near import blanks, near_duplicates, pools
from fedmeki_bench.audit.reading import read
from fedmeki_bench.conformance.paired_toys import EITHER, Patients, paired_cohort
from fedmeki_bench.conformance.toys import SAMPLES_EACH, cohorts
from fedmeki_bench.data.clients.assignment import assign
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.partition import Iid
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.contract import ArraySpec, Decoded, PreparerOptions
from fedmeki_bench.data.holdings import rows_of
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.seeds import generator

BEFORE = {
    "left": "17934f61679023db202095e8959d19ef0224f54c549110af39bdb9d8933dbb82",
    "fast": "5e7f023c7d7b60c85cf6d0d8bfa8879a8265c2e6c7ec765e4ec43441b551246d",
    "high": "9c4203bf81c1ce351d471e447056dec24d2af7a410380d37dc160fc34c75efee",
}
"""Hashes of cards whose samples have one array each, from before a sample could have several."""


def prepared(preparer, folder):
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    prepare(preparer, raw, folder / "data", [EITHER], PreparerOptions(), workers=1)
    return find(folder / "data", "either")


def test_one_array_per_sample_is_stored_as_ever():
    assert {name: cohorts()[name].card_hash for name in BEFORE} == BEFORE
    assert not any(name.endswith("_count") for name in cohorts()["left"].samples().columns)


def test_a_batch_holds_what_was_decoded():
    cohort = paired_cohort()
    part, samples = cohort.part("client"), cohort.samples().set_index("sample_id")
    batch = part.batch(range(len(part)))
    assert batch["image"].shape == (len(part), 2, 1, 32, 32)
    assert batch["signal"].shape == (len(part), 1, 2, 128)
    for k, name in enumerate(part.sample_ids):
        decoded = Patients().decode(cohort.path, samples.loc[name, "source"], PreparerOptions())
        for modality in ("image", "signal"):
            there = batch[f"{modality}_there"][k]
            assert there.sum() == len(decoded.of(modality)) == samples.loc[name, f"{modality}_count"]
            assert not batch[modality][k][~there].any()
            for stored, given in zip(batch[modality][k][there], decoded.of(modality), strict=True):
                np.testing.assert_array_equal(stored, given)


def test_the_card_says_how_many_samples_have_what():
    cohort = paired_cohort()
    samples = cohort.samples()
    for split, facts in cohort.card["splits"].items():
        mine = samples[samples["split"] == split]
        assert facts["present"] == {m: int((mine[f"{m}_count"] > 0).sum()) for m in ("image", "signal")}
    assert cohort.card["arrays"]["image"] | {"many": 2, "optional": True} == cohort.card["arrays"]["image"]
    assert cohort.many == {"image": 2, "signal": 1}
    rows = rows_of(samples, "image")
    assert sorted(set(rows)) == list(range(len(cohort.array("image"))))


class Odd(Patients):
    """Patients of whom one decodes to what the test says."""

    given: Decoded

    def decode(self, raw, source, options):
        return self.given if source.startswith("7:") else super().decode(raw, source, options)


def picture(value=1):
    return np.full((1, 32, 32), value, dtype=np.uint8)


def test_a_sample_with_nothing_at_all_is_dropped_with_a_reason(tmp_path):
    odd = Odd()
    odd.given = Decoded({"image": []})
    cohort = prepared(odd, tmp_path)
    assert "patients-007" not in set(cohort.samples()["sample_id"])
    ((reason, facts),) = cohort.card["dropped"].items()
    assert facts["n"] == 1
    assert "nothing of it is there: image, signal" in reason


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (Decoded({"image": [picture()] * 3}), "decoded 3 arrays of image from '7:.*' where its spec says at most 2"),
        (Decoded({"image": [picture()[0]]}), r"decoded uint8\(32, 32\) where its spec says uint8\(1, 32, 32\)"),
    ],
)  # fmt: skip
def test_arrays_that_the_spec_rules_out_end_it(tmp_path, given, sentence):
    odd = Odd()
    odd.given = given
    with pytest.raises(RunFailed, match=sentence):
        prepared(odd, tmp_path)
    assert not list((tmp_path / "data").glob("either"))


def test_a_modality_that_must_be_there_may_not_be_missing(tmp_path):
    class Strict(Patients):
        def arrays(self, options):
            spec = super().arrays(options)["signal"]
            return super().arrays(options) | {"signal": ArraySpec(spec.shape, spec.dtype, spec.scale, spec.unit)}

    with pytest.raises(RunFailed, match=r"decoded 0 arrays of signal from .* where its spec says 1 and not none"):
        prepared(Strict(), tmp_path)


@pytest.mark.parametrize(("column", "value"), [("image_count", 3), ("image_row", -1), ("image_row", 10**6)])
def test_a_sample_table_that_contradicts_the_card_is_refused(tmp_path, column, value):
    cohort = prepared(Patients(), tmp_path)
    table = pd.read_parquet(cohort.path / "samples.parquet")
    table.loc[3, column] = value
    table.to_parquet(cohort.path / "samples.parquet", index=False)
    damaged = type(cohort)(cohort.path, cohort.card)
    with pytest.raises(InputError, match="prepare the cohort again"):
        damaged._part(table.loc[3, "split"]).batch([0])


def test_near_identical_pictures_keep_patients_together_whichever_of_theirs_it_is(tmp_path):
    """The second picture of one patient is the first of another one."""

    class Twins(Patients):
        def decode(self, raw, source, options):
            number = int(source.split(":")[0])
            found = super().decode(raw, source, options)
            if number == 9:  # two pictures, and no signal
                first, second = generator(0, "conformance", "patients").integers(0, 2, (SAMPLES_EACH, 2))[13]
                other = super().decode(raw, f"13:{first}:{second}", options).of("image")
                return Decoded({"image": [found.of("image")[0], other[0]]})
            return found

    apart, joined = prepared(Patients(), tmp_path / "a"), prepared(Twins(), tmp_path / "b")
    assert "near_duplicates" not in apart.card
    assert joined.card["near_duplicates"]["pairs"] == 1
    samples = joined.samples().set_index("sample_id")
    assert samples.loc["patients-009", "group_id"] == samples.loc["patients-013", "group_id"]
    audited = read(tmp_path / "b" / "data")
    found = pools(audited)
    assert {finding.level for finding in near_duplicates(audited, found)} == {"ok"}
    assert blanks(audited, found) == []


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()


def test_a_client_without_a_modality_has_its_samples_without_it():
    cohort = paired_cohort()
    how = Availability(holds={"image": [0, 2], "signal": [0, 1]})
    held = assign({"either": cohort}, Iid(Iid.Params()), 3, 0, how)
    first, second, third = (parts["either"] for parts in held.parts)
    assert (first.lacking, second.lacking, third.lacking) == (frozenset(), {"image"}, {"signal"})
    assert not second.batch(range(len(second)))["image_there"].any()
    assert second.take([0]).lacking == {"image"}
    assert second.holding("signal") == len(second) > 0  # those with neither are left out
    assert held.digest != assign({"either": cohort}, Iid(Iid.Params()), 3, 0).digest
    with pytest.raises(InputError, match="no client of task 'either' holds image: give it to one of them"):
        assign({"either": cohort}, Iid(Iid.Params()), 3, 0, Availability(holds={"image": []}))
    with pytest.raises(InputError, match="every sample of cohort 'left' has image"):
        cohorts()["left"].part("client").hiding(["image"])
