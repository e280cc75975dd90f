from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.predictions import (
    Predictions,
    TextPredictions,
    predictions_path,
    read_predictions,
    read_text_predictions,
    write_predictions,
    write_text_predictions,
)


def made(clients=None, n=6):
    rng = np.random.default_rng(0)
    ids = np.array([f"s{i}" for i in range(n)])
    shape = n if clients is None else (clients, n)
    return Predictions(ids, np.array([f"p{i // 2}" for i in range(n)]), ids, np.arange(n) % 2, rng.random(shape))


@pytest.mark.parametrize("clients", [None, 1, 3])
def test_round_trip_and_same_bytes(tmp_path, clients):
    path = predictions_path(tmp_path, "personal", "ecg_abnormal")
    assert path == tmp_path / "predictions" / "personal.ecg_abnormal.parquet"
    write_predictions(path, made(clients))
    first = path.read_bytes()
    found = read_predictions(path)
    for name in ("sample_id", "group_id", "site", "label", "score"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made(clients), name))
    write_predictions(path, made(clients))
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_names_are_confined():
    with pytest.raises(InputError, match="file name"):
        predictions_path(Path(), "../../x", "t")


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="predictions are missing"):
        read_predictions(tmp_path / "none.parquet")
    (tmp_path / "x.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="cannot read"):
        read_predictions(tmp_path / "x.parquet")
    good = made()
    bad = Predictions(good.sample_id, good.group_id[:3], good.site, good.label, good.score)
    with pytest.raises(InputError, match="differ in length"):
        write_predictions(tmp_path / "y.parquet", bad)


def spoken(gold, parsed, score=None, answer=("Yes.", "", "no or yes\nÄ")):
    ids = ["s0", "s1", "s2"]
    return TextPredictions(ids, ["p0", "p0", "p1"], ["a", "a", "b"], gold, list(answer), parsed, score)


@pytest.mark.parametrize(
    "made",
    [
        spoken(np.array([1, 0, 1]), [1, None, None], np.array([0.9, 0.2, 0.5])),
        spoken([1, 0, 1], [None, None, None]),
        spoken(["left lung", "mri", "none"], ["Yes.", None, "no or yes"]),
    ],
)
def test_text_round_trip_and_same_bytes(tmp_path, made):
    path = tmp_path / "foundation.t.parquet"
    write_text_predictions(path, made)
    first = path.read_bytes()
    found = read_text_predictions(path)
    for name in ("sample_id", "group_id", "site", "gold", "answer", "parsed"):
        assert list(getattr(found, name)) == list(getattr(made, name)), name
    assert (found.score is None) == (made.score is None)
    write_text_predictions(path, found)
    assert path.read_bytes() == first
    if made.score is not None:
        np.testing.assert_array_equal(read_predictions(path).score, made.score)
    else:
        with pytest.raises(InputError, match="lack the column"):
            read_predictions(path)


def test_bad_text_files(tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(InputError, match="differ in length"):
        write_text_predictions(path, spoken(["a", "b"], [None, None, None]))
    with pytest.raises(InputError, match="throughout"):
        write_text_predictions(path, spoken([0, 1, 0], [1, "maybe", None]))
    write_predictions(path, made())
    with pytest.raises(InputError, match="lack the column 'answer'"):
        read_text_predictions(path)
