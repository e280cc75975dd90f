from __future__ import annotations

import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ectopic_beats import EctopicBeats
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.task import Exclude


@pytest.mark.parametrize("text", ["1ES", "VES", "SVES", "ves", "VES1,alles", "2 ses in II", "ES,ALLES"])
def test_positive(text):
    assert EctopicBeats().label({"extra_beats": text}) == 1


@pytest.mark.parametrize("text", ["", "  "])
def test_blank_is_negative(text):
    assert EctopicBeats().label({"extra_beats": text}) == 0


@pytest.mark.parametrize("text", ["1,alles", "2,V1", "alles", "ALLES", "Alles,3"])
def test_no_type_is_left_out(text):
    assert EctopicBeats().label({"extra_beats": text}) == Exclude("extra_beats names no type of beat")


def test_real_records(real_ptbxl, tmp_path):
    cards = {
        mode: prepare(PtbXl(), real_ptbxl, tmp_path, [EctopicBeats()], PtbXl.Options(zero_shot=mode), workers=1)[0].card
        for mode in ("all", "unseen")
    }
    assert cards["all"]["splits"]["test"] == {"samples": 500, "groups": 466, "negative": 471, "positive": 29}
    unseen = cards["unseen"]
    assert unseen["rows"]["kept"] + unseen["rows"]["excluded"] == 500
    assert 0 < unseen["rows"]["kept"] < 80
