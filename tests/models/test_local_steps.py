"""Equal steps: every client takes so many of each task, however much it holds."""

from __future__ import annotations

from fedmeki_bench.conformance import toys
from fedmeki_bench.conformance.worlds import profile
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.models.training import Training


def taken(sizes, **settings):
    """Task -> how many steps, and how many samples of it were seen at least once."""
    chosen = profile(**settings)
    cohorts = {name: toys.cohorts()[name] for name in sizes}
    encoders = {m: (choice.name, choice.params) for m, choice in chosen.encoders.items()}
    model = ClientModel(
        {name: tuple(cohort.arrays) for name, cohort in cohorts.items()}, inputs_of(cohorts.values(), chosen), encoders,
        hidden={}, seed=0,
    )  # fmt: skip
    data = {name: cohorts[name].part("client").take(range(n)) for name, n in sizes.items()}
    training = Training(model, data, chosen, seed=0, stream=("a",), where="here")
    steps, seen = dict.fromkeys(sizes, 0), {name: set() for name in sizes}
    for batch in training.batches(chosen.local_epochs):
        steps[batch.task] += 1
        seen[batch.task] |= set(batch.index.tolist())
    return steps, {name: len(found) for name, found in seen.items()}


def test_steps_do_not_depend_on_how_much_there_is():
    sizes = {"left": 5, "fast": 100}
    assert taken(sizes, batch_size=10, local_epochs=2)[0] == {"left": 2, "fast": 20}, "the control: by epochs they do"
    steps, seen = taken(sizes, batch_size=10, local_epochs=2, local_steps=7)
    assert steps == {"left": 7, "fast": 7}
    assert seen == {"left": 5, "fast": 70}
    assert taken(sizes, batch_size=10, local_steps=25)[0] == {"left": 25, "fast": 25}
