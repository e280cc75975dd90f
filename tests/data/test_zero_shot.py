from __future__ import annotations

import json
from collections import Counter
from typing import ClassVar

import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.builtin.tasks.ectopic_beats import EctopicBeats
from fedmeki_bench.data.contract import ArraySpec, DatasetMeta, DatasetPreparer, Decoded
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.data.prepare.zero_shot import training_assignment
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.task import Clinical, Task, TaskMeta


def prepared(raw, out, tasks=(EcgAbnormal, EctopicBeats), **options):
    return prepare(PtbXl(), raw, out, [task() for task in tasks], PtbXl.Options(**options), workers=1)


def samples(cohort) -> pd.DataFrame:
    return pd.read_parquet(cohort.path / "samples.parquet")


@pytest.mark.parametrize("options", [{}, {"split_seed": 7}, {"split": "published"}])
def test_no_zero_shot_patient_was_trained_on(raw, tmp_path, options):
    trained, asked = prepared(raw, tmp_path, **options)
    seen = samples(trained)
    seen = set(seen["group_id"][seen["split"] != "test"])
    assert seen
    assert not seen & set(samples(asked)["group_id"])
    card = asked.card
    assert card["registry"] == "ptbxl"
    assert (card["zero_shot"], card["zero_shot_leak"]) == ("unseen", False)
    assert card["excluded"]["zero-shot: training on 'ptbxl' has seen this patient"] > 0
    assert card["rows"]["read"] == card["rows"]["kept"] + card["rows"]["excluded"]


def test_all_is_marked(raw, tmp_path):
    card = prepared(raw, tmp_path, [EctopicBeats], zero_shot="all")[0].card
    assert card["zero_shot_leak"] is True
    assert any(note.startswith("zero_shot=all: training on 'ptbxl' has seen") for note in card["notes"])
    assert card["rows"]["kept"] + card["rows"]["excluded"] == 120


def test_training_cohorts_do_not_know_the_option(raw, tmp_path):
    first = prepared(raw, tmp_path, [EcgAbnormal])[0]
    assert prepared(raw, tmp_path, [EcgAbnormal], zero_shot="all")[0].unchanged
    assert not {"zero_shot", "registry", "statistics", "official_split"} & set(first.card)


def test_a_group_in_several_splits_counts_as_seen():
    table = pd.DataFrame({"group_id": [f"g{k % 5}" for k in range(200)]})
    found = training_assignment(table, PtbXl.Options(split="published"), "toy")
    assert Counter(found.values()) == {"client": 5}
    found = training_assignment(pd.DataFrame({"group_id": [f"g{k}" for k in range(200)]}), PtbXl.Options(), "toy")
    assert Counter(found.values()) == {"client": 140, "valid": 20, "public": 20, "test": 20}


class Numbers(DatasetPreparer):
    """One value per sample; statistics tell the mean of what they are shown."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="numbers", version=1, title="", modalities=("lab",), grouping="patient", licence="", access="",
        citation="", url="", real_layout="nothing",
    )  # fmt: skip
    shown: ClassVar[list] = []
    wrong: ClassVar[bool] = False

    def sources(self, raw, options):
        return []

    def table(self, raw, options, drops):
        drops.read = 52
        drops.leave_out("not asked for")
        drops.leave_out("not asked for")
        ids = [str(k) for k in range(50)]
        return pd.DataFrame({"sample_id": ids, "group_id": ids, "site": "", "source": ids})

    def arrays(self, options):
        return {"lab": ArraySpec((1,), "float32")}

    def decode(self, raw, source, options):
        import numpy as np

        return Decoded({"lab": np.full(1, int(source), dtype=np.float32)})

    def registry(self, raw, table, options):
        return {str(k): "client" for k in range(50)}

    def statistics(self, arrays, samples):
        assert set(samples["split"]) == {"client"}
        values = arrays["lab"][samples["array_row"]]
        self.shown.append(sorted(values[:, 0].tolist()))
        return {"mean": float("nan") if self.wrong else float(values.mean()), "n": len(samples)}


def number_task(role: str) -> Task:
    class One(Task):
        meta = TaskMeta(
            name=role, version=1, title="", dataset="numbers", modalities=("lab",), kind="binary", role=role,
            clinical=Clinical("", "", ""), licence="", access="", citation="", grouping="patient",
        )  # fmt: skip

        def label(self, row):
            return int(row["sample_id"]) % 2

    return One()


def test_statistics_rest_on_the_client_split_alone(tmp_path, monkeypatch):
    Numbers.shown.clear()
    cohort = prepare(Numbers(), tmp_path, tmp_path / "out", [number_task("training")], Numbers.Options(), workers=1)[0]
    table = samples(cohort)
    mine = sorted(float(k) for k in table["sample_id"][table["split"] == "client"])
    assert Numbers.shown == [mine]
    told = json.loads((cohort.path / "card.json").read_text())["statistics"]
    assert told == {"mean": pytest.approx(sum(mine) / len(mine)), "n": len(mine)}
    assert cohort.card["excluded"] == {"not asked for": 2}
    assert cohort.card["rows"] == {"read": 52, "merged": 0, "kept": 50, "dropped": 0, "excluded": 2}
    monkeypatch.setattr(Numbers, "wrong", True)
    with pytest.raises(RunFailed, match="no finite JSON"):
        prepare(Numbers(), tmp_path, tmp_path / "two", [number_task("training")], Numbers.Options(), workers=1)


def test_nothing_unseen_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="50 x left out: zero-shot: training on 'numbers' has seen this patient"):
        prepare(Numbers(), tmp_path, tmp_path / "out", [number_task("zero_shot")], Numbers.Options(), workers=1)
    options = Numbers.Options(zero_shot="all")
    cohort = prepare(Numbers(), tmp_path, tmp_path / "out", [number_task("zero_shot")], options, workers=1)[0]
    assert "statistics" not in cohort.card
    assert any("has seen 50 of these" in note for note in cohort.card["notes"])


def test_card_and_audit_count_the_official_overlap_alike():
    """Three test groups: one that `train` holds, one that `valid` holds, one unseen. Both parts are learnt from."""
    from fedmeki_bench.data.prepare.official import official_overlap, shared_groups

    rows = [("a", "train"), ("a", "test"), ("b", "valid"), ("b", "test"), ("c", "test")]
    assert shared_groups(rows) == (3, 2)
    told = official_overlap(rows, dataset="d", seed=0, unit="image")["published"]
    assert (told["test_groups"], told["test_groups_in_train"]) == (3, 2)
