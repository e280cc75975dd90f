"""How much data clients have and use: nested shares of their patients, the same for pooled training."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fedmeki_bench import algorithms
from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.builtin.tasks.ecg_age import EcgAge
from fedmeki_bench.data.clients.assignment import assign
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.partition import Iid
from fedmeki_bench.data.clients.skews import Dirichlet
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.runs.assemble import assignment
from fedmeki_bench.runs.deal import identity_of
from fedmeki_bench.runs.resolved import resolve
from fedmeki_bench.runs.spec import specify

NAMES = ("ecg_abnormal", "ecg_age")
CLIENTS = 4


@pytest.fixture(scope="module")
def cohorts_of_two(tmp_path_factory):
    root = tmp_path_factory.mktemp("fraction")
    PtbXl().synthesize(root / "raw", size=200, seed=2)
    prepare(PtbXl(), root / "raw", root / "data", [EcgAbnormal(), EcgAge()], PtbXl.Options(), workers=1)
    return {name: find(root / "data", name) for name in NAMES}


def groups(held, name):
    return set(held[name].group_ids.tolist()) if name in held else set()


@pytest.mark.parametrize("how", [Iid(), Dirichlet()])
def test_shares_of_every_client_are_nested_whole_patients(cohorts_of_two, how):
    """10 % within 30 % within all, per client, by whole patients; the sizes are as asked for."""
    found = [assign(cohorts_of_two, how, CLIENTS, 0, Availability(fraction=f)) for f in (0.1, 0.3, 1.0)]
    assert found[-1].digest == assign(cohorts_of_two, how, CLIENTS, 0).digest, "at 1 everything is as it was"
    assert len({one.digest for one in found}) == 3
    for small, large in pairwise(found):
        for less, more, all_of_it in zip(small.parts, large.parts, found[-1].parts, strict=True):
            for name in NAMES:
                assert groups(less, name) <= groups(more, name)
                mine = groups(less, name)
                whole = {s for s, g in zip(all_of_it[name].sample_ids, all_of_it[name].group_ids, strict=True)
                         if g in mine}  # fmt: skip
                assert set(less[name].sample_ids if name in less else ()) == whole
    for held, of in zip(found[1].parts, found[-1].parts, strict=True):
        share = len(groups(held, NAMES[0])) / len(groups(of, NAMES[0]))
        assert 0.3 <= share <= 0.3 + 1 / len(groups(of, NAMES[0]))


def test_tasks_of_a_dataset_keep_the_same_patients(cohorts_of_two):
    """What a client has of a patient it has for all tasks; control: other orders per task tear them apart."""
    held = assign(cohorts_of_two, Iid(), CLIENTS, 0, Availability(fraction=0.3)).parts
    everything = assign(cohorts_of_two, Iid(), CLIENTS, 0).parts
    for mine, all_of_it in zip(held, everything, strict=True):
        kept = groups(mine, "ecg_abnormal") | groups(mine, "ecg_age")
        for name in NAMES:
            assert groups(mine, name) == kept & groups(all_of_it, name)
    other = assign(cohorts_of_two, Iid(), CLIENTS, 1, Availability(fraction=0.3)).parts
    assert any(groups(a, "ecg_age") != groups(b, "ecg_age") for a, b in zip(held, other, strict=True))


def test_labelled_patients_are_the_first_of_those_there(cohorts_of_two):
    """Training on the labelled tenth is training on a tenth: the same patients, the same digest."""
    tenth = assign(cohorts_of_two, Iid(), CLIENTS, 0, Availability(fraction=0.1))
    assert assign(cohorts_of_two, Iid(), CLIENTS, 0, Availability(labelled=0.1)).digest == tenth.digest
    both = assign(cohorts_of_two, Iid(), CLIENTS, 0, Availability(fraction=0.5, labelled=0.2))
    assert both.digest == tenth.digest


def specs(algorithm, **options):
    return specify(algorithms.resolve(algorithm), list(NAMES), clients=CLIENTS, partition="dirichlet", options=options)


def test_pooled_training_has_what_the_clients_have_together(cohorts_of_two):
    """The union under the same partition; control: a share drawn from the pool is another set of patients."""
    alone = zip(
        NAMES, specs("fedavg_s", fraction=0.2, alpha=0.3), specs("central", fraction=0.2, alpha=0.3), strict=True
    )
    for name, spec, pool in alone:
        cohort = {name: cohorts_of_two[name]}
        clients = assignment(spec, resolve(spec), cohort).parts
        (united,) = assignment(pool, resolve(pool), cohort).parts
        drawn = assign(cohort, Iid(), 1, 0, Availability(fraction=0.2)).parts[0]
        theirs = set().union(*(held[name].sample_ids for held in clients))
        assert set(united[name].sample_ids) == theirs
        assert set(drawn[name].sample_ids) != theirs
        assert pool.clients == 1
    assert pool.setting != specs("central", fraction=0.2, alpha=3.0)[1].setting, "who has what decides"


def test_at_one_nothing_is_renamed():
    """The options at their defaults leave keys, deals and pooled runs as they were; below 1 they are other runs."""
    for name in ("fedavg_m", "central"):
        usual, said = specs(name)[0], specs(name, fraction=1.0, labelled=1.0)[0]
        assert usual.setting == said.setting
        assert "pooled" not in usual.params
        assert len({usual.setting, specs(name, fraction=0.3)[0].setting, specs(name, labelled=0.3)[0].setting}) == 3
    assert "fraction" not in identity_of(specs("fedavg_m")[0])["availability"]
    assert identity_of(specs("fedavg_m", fraction=0.3)[0])["availability"]["fraction"] == 0.3


def test_a_share_beyond_its_range_is_refused(cohorts_of_two):
    for wrong in (0.0, 1.5, "much"):
        with pytest.raises(InputError, match="fraction"):
            specs("fedavg_m", fraction=wrong)
    assert all(held for held in assign(cohorts_of_two, Iid(), CLIENTS, 0, Availability(fraction=1e-6)).parts)
