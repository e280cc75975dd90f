"""Single streams of a run's seed: each moves what it names and nothing else."""

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.errors import InputError
from fedmeki_bench.runs.spec import specify
from fedmeki_bench.seeds import STREAMS, Seeds, derive


def spec(**options):
    """A run of FedAvg under seed 3."""
    (found,) = specify(resolve("fedavg_m"), ["ecg_abnormal"], seed=3, options=options)
    return found


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_stream_of_its_own_moves_its_purposes_alone(name):
    """All others draw as under the run's seed; the seed stays a whole number."""
    seeds = spec(**{f"seed.{name}": 8}).seeds
    assert seeds == 3
    for other, purposes in STREAMS.items():
        for purpose in purposes:
            assert derive(seeds, purpose, "x", 1) == derive(8 if other == name else 3, purpose, "x", 1)
    for purpose in ("sample", "rule", "bootstrap", "faults"):
        assert derive(seeds, purpose, 0) == derive(3, purpose, 0)


def test_runs_are_named_by_their_streams():
    """Without one the setting is what it was; with one it is another, and two values are two runs."""
    plain = spec()
    assert plain.seeds.own == {}
    assert "seed" not in plain.setting
    assert len({plain.setting, spec(**{"seed.init": 1}).setting, spec(**{"seed.init": 2}).setting}) == 3
    with pytest.raises(InputError, match=r"unknown option 'seed\.intit'; did you mean 'seed\.init'"):
        spec(**{"seed.intit": 1})


def test_seeds_survive_a_process_border():
    """Workers derive what the parent derives."""
    import pickle

    there = pickle.loads(pickle.dumps(Seeds(3, init=8)))
    assert derive(there, "init", "encoder.image") == derive(8, "init", "encoder.image")
