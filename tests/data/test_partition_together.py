"""Tasks of one dataset that take different samples: a patient is at one hospital for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.builtin.tasks.ecg_age import EcgAge
from fedmeki_bench.builtin.tasks.ecg_superclasses import EcgSuperclasses
from fedmeki_bench.data.clients.assignment import assign
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.partition import Iid, Partition
from fedmeki_bench.data.clients.skews import Dirichlet, Natural, Quantity
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.task import Exclude

NAMES = ("ecg_abnormal", "ecg_age", "ecg_superclasses")


class Few(EcgAbnormal):
    """The first records take part."""

    meta = replace(EcgAbnormal.meta, name="few")

    def label(self, row):
        return super().label(row) if int(row["sample_id"]) < 20 else Exclude("not asked")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    root = tmp_path_factory.mktemp("together")
    PtbXl().synthesize(root / "raw", size=200, seed=2)
    tasks = [EcgAbnormal(), EcgAge(), EcgSuperclasses(), Few()]
    prepare(PtbXl(), root / "raw", root / "data", tasks, PtbXl.Options(), workers=1)
    return {name: find(root / "data", name) for name in (*NAMES, "few")}


def torn(parts) -> int:
    """Groups that sit with more than one client."""
    owners: dict[str, set[int]] = {}
    for client, held in enumerate(parts):
        for part in held.values():
            for group in part.group_ids.tolist():
                owners.setdefault(group, set()).add(client)
    return sum(len(clients) > 1 for clients in owners.values())


def ids(parts, name):
    return [held[name].sample_ids.tolist() if name in held else [] for held in parts]


@pytest.mark.parametrize("how", [Iid(), Quantity(), Natural()])
def test_a_group_sits_with_one_client(several, how):
    cohorts = {name: several[name] for name in NAMES}
    together = assign(cohorts, how, 4, 0)
    assert torn(together.parts) == 0
    for name in NAMES:
        given = [sample for held in ids(together.parts, name) for sample in held]
        assert sorted(given) == sorted(cohorts[name].part("client").sample_ids)
    # control: each by itself tears patients apart
    alone = {name: assign({name: cohorts[name]}, how, 4, 0).parts for name in NAMES}
    if not isinstance(how, Natural):  # whole sites, the same whatever is left out
        assert torn([{n: alone[n][client][n] for n in NAMES} for client in range(4)]) > 20
    # ecg_abnormal takes every record, so the others change nothing for it
    assert ids(together.parts, "ecg_abnormal") == ids(alone["ecg_abnormal"], "ecg_abnormal")


def test_labels_decide_task_by_task(several):
    cohorts = {name: several[name] for name in NAMES}
    found = assign(cohorts, Dirichlet(), 3, 0)
    assert torn(found.parts) > 0
    for name in NAMES:
        assert ids(found.parts, name) == ids(assign({name: cohorts[name]}, Dirichlet(), 3, 0).parts, name)


class Reading(Partition):
    """A partition by somebody else that says nothing about labels."""

    name = "reading"

    def assign(self, part_groups, labels, sites, clients, rng):
        assert labels is not None
        return Iid().assign(part_groups, labels, sites, clients, rng)


def test_a_partition_that_may_read_labels_gets_them(several):
    assign({name: several[name] for name in NAMES}, Reading(), 3, 0)


def test_equal_samples_are_shared_out_as_ever(several):
    one = several["ecg_abnormal"]
    both = assign({"a": one, "b": one}, Iid(), 4, 0).parts
    assert ids(both, "a") == ids(both, "b") == ids(assign({"a": one}, Iid(), 4, 0).parts, "a")


def test_a_client_may_be_left_without_a_small_task(several):
    cohorts = {name: several[name] for name in ("ecg_abnormal", "few")}
    clients = len(set(several["few"].part("client").group_ids.tolist()))
    held = [assign(cohorts, Iid(), clients, seed).parts for seed in range(4)]
    assert any("few" not in one for parts in held for one in parts)
    assert all("ecg_abnormal" in one for parts in held for one in parts)
    with pytest.raises(InputError, match=r"cohort 'few' has \d+ groups in split 'client': too few for 40 clients"):
        assign(cohorts, Iid(), 40, 0)


def test_other_holders_are_other_hospitals(several):
    cohorts = {name: several[name] for name in NAMES}
    found = assign(cohorts, Iid(), 4, 0, Availability(holds={"signal": [1, 3]}))
    assert [bool(held) for held in found.parts] == [False, True, False, True]
    assert torn(found.parts) == 0
    sizes = [len(held["ecg_age"]) for held in found.parts if held]
    assert np.ptp(sizes) < 10
