"""Repeating a record: any difference that is not rounding ends with 1, and code it names is asked for first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmeki_bench.evaluation.predictions import read_predictions, write_predictions
from fedmeki_bench.records.store import RecordStore

from .conftest import RULE


@pytest.fixture
def repeat(distribution, cohorts):
    key, _, _ = distribution.run("fedavg_s", cohorts)
    store = RecordStore(distribution.out / "results")

    def again(change=None, *, keep: bool = True):
        """Repeat the record after a change of its predictions' scores."""
        record = store.load(key)
        (evaluation,) = record.evaluations
        path = store.folder(key) / evaluation.predictions
        if change is not None:
            found = read_predictions(path)
            evaluation.digest = write_predictions(path, replace(found, score=change(found.score)))
            store.write(record)
        if not keep:
            path.unlink()
        return distribution.bench("reproduce", f"results/{key}", "--data", cohorts)

    return again


@pytest.mark.slow
def test_the_same_predictions_are_identical_even_if_the_file_is_gone(repeat):
    for keep in (True, False):
        ended = repeat(keep=keep)
        assert ended.returncode == 0, ended.stderr
        assert "predictions: identical" in ended.stdout


@pytest.mark.slow
def test_rounding_is_called_rounding(repeat):
    ended = repeat(lambda score: np.nextafter(score, 2))
    assert ended.returncode == 0, ended.stderr
    assert "predictions: equal up to rounding (at most " in ended.stdout


@pytest.mark.slow
def test_a_difference_that_is_not_rounding_ends_with_1(repeat):
    """One score moves, no rank does: every metric of ranks stays as it is, and yet it is another model."""
    ended = repeat(lambda score: score + np.where(np.arange(len(score)) == score.argmax(), 1e-4, 0))
    assert ended.returncode == 1
    assert "different for aggregated of ecg_abnormal, by up to 0.0001" in ended.stderr + ended.stdout


@pytest.mark.slow
def test_other_predictions_that_are_gone_are_no_agreement(repeat):
    ended = repeat(lambda score: score + 1e-4, keep=False)
    assert ended.returncode == 1
    assert "whose own can't be read" in ended.stderr


@pytest.mark.slow
def test_code_that_a_record_names_is_run_only_on_trust(distribution, cohorts):
    marker = distribution.out / "ran"
    distribution.write("../out/fade.py", RULE.format(imports=f"open({str(marker)!r}, 'a').write('x')", factor="1.0"))
    key, _, _ = distribution.run("fade.py:Fade_s", cohorts)
    marker.unlink()
    refused = distribution.bench("reproduce", f"results/{key}", "--data", cohorts)
    assert refused.returncode == 2
    assert "would run the Python file fade.py; look at it, then say --trust" in refused.stderr
    assert not marker.exists()
    trusted = distribution.bench("reproduce", f"results/{key}", "--data", cohorts, "--trust")
    assert trusted.returncode == 0, trusted.stderr
    assert marker.exists()
