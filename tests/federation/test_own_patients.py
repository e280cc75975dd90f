"""Personal models on the patients that would be their own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fedmeki_bench.algorithms import described, resolve
from fedmeki_bench.data.clients.own_patients import owners
from fedmeki_bench.errors import InputError, UsageError


class Part:
    def __init__(self, groups, sites, strata, split="client"):
        self.cohort, self.split = SimpleNamespace(name="t", dataset="d"), split
        self.group_ids = np.array([str(g) for g in groups], dtype=object)
        self.sites = np.array([str(s) for s in sites], dtype=object)
        self.strata = None if strata is None else np.array(strata)

    def __len__(self):
        return len(self.group_ids)


def test_a_site_that_one_client_holds_is_its_own():
    private = {0: Part(range(9), ["a"] * 9, [0, 1, 0] * 3), 2: Part(range(9, 18), ["b"] * 9, [0, 1, 1] * 3)}
    held_out = Part(range(100, 140), ["a", "b"] * 20, [0, 0, 1, 1] * 10, "test")
    assert owners(private, held_out, 0).tolist() == [0, 2] * 20


def test_label_skew_is_that_of_the_private_samples():
    """Client 0 holds 80 % of the negatives and 20 % of the positives; so of the held-out patients to within one."""
    private = {
        0: Part(range(100), ["a"] * 100, [0] * 80 + [1] * 20),
        1: Part(range(100, 200), ["a"] * 100, [1] * 80 + [0] * 20),
    }
    strata = np.array([0] * 50 + [1] * 50)
    owner = owners(private, Part(range(200, 300), ["a"] * 100, strata, "test"), 0)
    assert abs(((owner == 0) & (strata == 0)).sum() - 40) <= 1
    assert abs(((owner == 0) & (strata == 1)).sum() - 10) <= 1
    other = owners(private, Part(range(200, 300), ["a"] * 100, strata, "test"), 1)
    assert not np.array_equal(owner, other)
    assert np.array_equal(owner, owners(private, Part(range(200, 300), ["a"] * 100, strata, "test"), 0))


def test_groups_stay_whole_and_unknown_sites_and_labels_find_somebody():
    private = {0: Part([1, 2, 3], ["a"] * 3, None), 1: Part([4], ["a"], None)}
    owner = owners(private, Part([9, 9, 8, 8, 7, 7, 6, 6], ["z"] * 8, None, "test"), 0)
    assert (owner.reshape(4, 2) == owner.reshape(4, 2)[:, :1]).all()
    assert (owner == 0).sum() == 6
    with pytest.raises(InputError, match="no client holds samples of 't'"):
        owners({}, Part([1], ["a"], [0]), 0)


def test_a_row_may_name_its_view():
    row = resolve("ditto_m_own")
    assert (row.rule, row.stage, row.view, row.title) == ("ditto", "none", "own", "Ditto_m, own")
    assert resolve("ditto_m_plus_own").stage == "plus"
    assert resolve("ditto_m_aggregated").view == "aggregated"
    assert described("./mine.py:Mine_m_own").view == "own"
    with pytest.raises(UsageError, match="asks for the view own, but this algorithm leaves aggregated to be scored"):
        resolve("fedavg_m_own")


def test_a_global_model_has_the_same_value_and_a_personal_one_is_scored_at_home(build):
    from fedmeki_bench import registry
    from fedmeki_bench.evaluation.views import Aggregated, Own, Personal

    task = registry.load("tasks", "ecg_abnormal")()
    federation = build("ditto_s", ["ecg_abnormal"], rounds=1)
    for _ in federation.run():
        pass
    valid = federation.public["ecg_abnormal"]
    own, every = Own().predict(federation, task, valid), Personal().predict(federation, task, valid)
    private = {c.number: c.data["ecg_abnormal"] for c in federation.clients}
    owner = owners(private, valid, federation.seed)
    assert set(owner) == {0, 1, 2}
    np.testing.assert_allclose(own, every[owner, np.arange(len(valid))], rtol=1e-5)
    plain = build("fedavg_s", ["ecg_abnormal"], rounds=1)
    for _ in plain.run():
        pass
    np.testing.assert_allclose(Own().predict(plain, task, valid), Aggregated().predict(plain, task, valid), rtol=1e-5)
