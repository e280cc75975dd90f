"""Partitions beyond iid, and modality availability."""

from __future__ import annotations

import numpy as np
import pytest

from fedmeki_bench.data.clients.assignment import assign
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.partition import Iid
from fedmeki_bench.data.clients.skews import Dirichlet, Natural, Quantity
from fedmeki_bench.data.cohort import find
from fedmeki_bench.errors import InputError

RNG_SEED = 7


def sample_set(n=400, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, n // 2, n)).astype(str)
    site_of = {g: rng.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1]) for g in np.unique(groups)}
    label_of = {g: rng.random() < 0.4 for g in np.unique(groups)}
    labels = np.array([label_of[g] for g in groups], dtype=np.float32)
    return groups, labels, np.array([site_of[g] for g in groups])


@pytest.mark.parametrize("how", [Iid(), Dirichlet(), Dirichlet(Dirichlet.Params(alpha=0.01)), Quantity(), Natural()])
@pytest.mark.parametrize("clients", [1, 2, 5, 12])
def test_each_sample_once_and_groups_whole(how, clients):
    groups, labels, sites = sample_set()
    assigned = how.assign(groups, labels, sites, clients, np.random.default_rng(RNG_SEED))
    assert np.array_equal(np.sort(np.concatenate(assigned)), np.arange(len(groups)))
    assert all(len(index) for index in assigned)
    owners = [set(groups[index]) for index in assigned]
    assert sum(len(o) for o in owners) == len(set(groups))


def test_small_alpha_skews_labels_and_large_alpha_does_not():
    groups, labels, sites = sample_set(2000)

    def spread(alpha):
        how = Dirichlet(Dirichlet.Params(alpha=alpha))
        assigned = how.assign(groups, labels, sites, 5, np.random.default_rng(RNG_SEED))
        return np.std([labels[index].mean() for index in assigned])

    assert spread(0.1) > 0.25 > 0.05 > spread(1000)


def test_quantity_skews_sizes_not_labels():
    groups, labels, sites = sample_set(4000)
    how = Quantity(Quantity.Params(alpha=0.3))
    assigned = how.assign(groups, labels, sites, 5, np.random.default_rng(RNG_SEED))
    sizes = [len(index) for index in assigned]
    assert max(sizes) > 3 * min(sizes)
    assert all(abs(labels[index].mean() - labels.mean()) < 0.15 for index in assigned if len(index) > 100)


def test_natural_keeps_sites_together():
    groups, labels, sites = sample_set()
    two = Natural().assign(groups, labels, sites, 2, np.random.default_rng(0))
    assert [sorted(set(sites[i])) for i in two] == [["a"], ["b", "c"]]
    five = Natural().assign(groups, labels, sites, 5, np.random.default_rng(0))
    assert all(len(set(sites[i])) == 1 for i in five)
    assert sorted(set(sites[i]).pop() for i in five) == ["a", "a", "a", "b", "c"]


def test_natural_needs_two_sites():
    groups, labels, _ = sample_set()
    with pytest.raises(InputError, match="at least two sites"):
        Natural().assign(groups, labels, np.full(len(groups), "x"), 3, np.random.default_rng(0))


def test_everything_available_is_the_plain_partition(cohorts):
    both = {task: find(cohorts, task) for task in ("ecg_abnormal", "lung_opacity")}
    plain = assign(both, Iid(), 3, 0)
    named = assign(both, Iid(), 3, 0, Availability(holds={"image": [0, 1, 2]}))
    assert plain.digest == named.digest
    assert assign(both, Iid(), 3, 1).digest != plain.digest


def test_a_matrix_says_who_holds_what_and_loses_nothing(cohorts):
    both = {task: find(cohorts, task) for task in ("ecg_abnormal", "lung_opacity")}
    assigned = assign(both, Iid(), 4, 0, Availability(holds={"image": [1, 3], "signal": [0]}))
    assert [sorted(held) for held in assigned.parts] == [["ecg_abnormal"], ["lung_opacity"], [], ["lung_opacity"]]
    for task, cohort in both.items():
        ids = [i for held in assigned.parts if task in held for i in held[task].sample_ids]
        assert sorted(ids) == sorted(cohort.part("client").sample_ids)


def test_missing_rate_keeps_one_client_per_modality():
    for seed in range(50):
        assert Availability(missing_rate=0.99).holders(["image"], 3, seed)
    held = [len(Availability(missing_rate=0.5).holders(["image"], 10, s)) for s in range(200)]
    assert 4.5 < np.mean(held) < 5.5


@pytest.mark.parametrize(
    ("holds", "says"), [({"image": [9]}, "clients are 0 to 2"), ({"image": []}, "no client holds image")]
)
def test_an_impossible_matrix_is_refused(holds, says):
    with pytest.raises(InputError, match=says):
        Availability(holds=holds).holders(["image"], 3, 0)
