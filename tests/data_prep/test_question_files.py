"""Question files damaged at random: one sentence, or every item accounted for; nothing else ever escapes."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedmeki_bench.builtin.data_prep.ecg_qa import EcgQa
from fedmeki_bench.builtin.data_prep.ecg_qa.layout import STAND_IN
from fedmeki_bench.builtin.data_prep.slake import Slake
from fedmeki_bench.builtin.data_prep.vqa_rad import VqaRad
from fedmeki_bench.builtin.tasks.ecg_noise import EcgNoise
from fedmeki_bench.builtin.tasks.medvqa import MedVqa
from fedmeki_bench.builtin.tasks.medvqa_slake import MedVqaSlake
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError

CASES = {
    "vqa_rad": (VqaRad, MedVqa, "trainset.json", {"image_size": 16}),
    "slake": (Slake, MedVqaSlake, "test.json", {"image_size": 16}),
    "ecg_qa": (EcgQa, EcgNoise, "ptbxl/template/train/0.json", {"zero_shot": "all"}),
}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
steps = st.lists(
    st.tuples(st.sampled_from(["set", "drop", "replace", "cut", "byte"]), st.integers(0, 10_000), values),
    min_size=1,
    max_size=5,
)


def damaged(items: list, edits: list) -> bytes:
    items, cut, byte = [dict(item) for item in items], None, None
    for how, number, value in edits:
        at = number % len(items)
        if how == "replace" or not isinstance(items[at], dict):
            items[at] = value
        elif how in {"set", "drop"} and items[at]:
            key = sorted(items[at])[number // len(items) % len(items[at])]
            items[at] = {k: v for k, v in items[at].items() if k != key} | ({key: value} if how == "set" else {})
        elif how == "cut":
            cut = number
        elif how == "byte":
            byte = number
    data = json.dumps(items).encode()
    if byte is not None:
        data = data[: byte % len(data)] + bytes([byte % 256]) + data[byte % len(data) + 1 :]
    return data if cut is None else data[: cut % len(data)]


@pytest.fixture(scope="session", params=list(CASES))
def case(request, tmp_path_factory):
    preparer, task, name, options = CASES[request.param]
    raw = tmp_path_factory.mktemp("questions") / request.param
    preparer().synthesize(raw, size=24, seed=0)
    items = json.loads((raw / name).read_text())[:6]
    for path in raw.rglob("*.json"):
        if STAND_IN not in path.parts and path.name != "SYNTHETIC.json" and path != raw / name:
            path.write_text("[]")
    return preparer(), task(), raw, raw / name, preparer.Options(**options), items


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits=steps)
def test_any_file_is_read_refused_or_counted(case, tmp_path, edits):
    preparer, task, raw, path, options, items = case
    path.write_bytes(damaged(items, edits))
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    try:
        cohort = prepare(preparer, raw, out, [task], options, workers=1)[0]
    except InputError as error:
        told = str(error)
    else:
        rows = cohort.card["rows"]
        assert rows["read"] == rows["kept"] + rows["dropped"] + rows["excluded"] + rows["merged"] > 0
        return
    assert "\n" not in told
    assert not (out / task.meta.name).exists()
