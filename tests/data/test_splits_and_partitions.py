from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmeki_bench.data.clients.partition import Iid, Partition, partition
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.splits import SPLITS, assign
from fedmeki_bench.errors import InputError, RunFailed


def groups_of(sizes: list[int]) -> list[str]:
    return [f"g{k}" for k, size in enumerate(sizes) for _ in range(size)]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=80), st.integers(0, 5))
def test_groups_never_cross_splits_and_row_order_has_no_influence(sizes, seed):
    groups = groups_of(sizes)
    split = assign(groups, mode="patient", seed=seed, dataset="d")
    assert set(split) <= set(SPLITS)
    found = dict(zip(groups, split, strict=True))
    assert all(found[g] == s for g, s in zip(groups, split, strict=True))
    backwards = assign(groups[::-1], mode="patient", seed=seed, dataset="d")[::-1]
    assert list(backwards) == list(split)


def test_shares_are_seven_one_one_one():
    groups = groups_of([1, 2, 3] * 300)
    split = assign(groups, mode="patient", seed=42, dataset="d")
    shares = [np.mean(split == name) for name in SPLITS]
    assert np.abs(np.subtract(shares, [0.7, 0.1, 0.1, 0.1])).max() < 0.01
    rows = assign(groups, mode="published", seed=42, dataset="d")
    assert [int((rows == name).sum()) for name in SPLITS] == [1260, 180, 180, 180]
    assert len({(g, s) for g, s in zip(groups, rows, strict=True)}) > len(set(groups))
    assert list(assign(groups, mode="patient", seed=43, dataset="d")) != list(split)
    assert list(assign(groups, mode="patient", seed=42, dataset="e")) != list(split)


@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(0, 3))
def test_iid_covers_each_sample_once_and_keeps_groups(part_of, clients, seed):
    assigned = partition(part_of, Iid(), clients, seed)
    assert np.array_equal(np.sort(np.concatenate(assigned)), np.arange(len(part_of)))
    groups = [set(part_of.group_ids[index]) for index in assigned]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert max(map(len, assigned)) - min(map(len, assigned)) <= 3
    assert all(np.array_equal(a, b) for a, b in zip(assigned, partition(part_of, Iid(), clients, seed), strict=True))


@pytest.fixture(scope="module")
def part_of(data):
    return find(data, "ecg_abnormal").part("client")


def test_seeds_differ(part_of):
    a, b = partition(part_of, Iid(), 4, 0), partition(part_of, Iid(), 4, 1)
    assert any(not np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_too_many_or_too_few_clients(part_of):
    with pytest.raises(InputError, match=r"groups in split 'client': too few for 1000 clients"):
        partition(part_of, Iid(), 1000, 0)
    with pytest.raises(InputError, match="cannot be 0"):
        partition(part_of, Iid(), 0, 0)


class Broken(Partition):
    name = "broken"

    def __init__(self, deal):
        super().__init__()
        self.deal = deal

    def assign(self, part_groups, labels, sites, clients, rng):
        return self.deal(len(part_groups), part_groups)


def test_bad_plugins_are_caught(part_of):
    n = len(part_of)
    for deal, error, sentence in (
        (lambda n, g: [np.arange(n)], RunFailed, "1 clients instead of 2"),
        (lambda n, g: [np.arange(n), np.arange(1)], RunFailed, "exactly once"),
        (lambda n, g: [np.arange(n), np.arange(0)], InputError, "without a sample"),
        (lambda n, g: [np.arange(0, n, 2), np.arange(1, n, 2)], RunFailed, "on two clients"),
    ):
        with pytest.raises(error, match=sentence):
            partition(part_of, Broken(deal), 2, 0)
    assert n == len(part_of)
