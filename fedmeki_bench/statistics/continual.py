"""What a model whose tasks follow one another keeps, forgets and carries over, with intervals over patients and seeds.

R[i, j] is the score on task j when i phases are over; R[0] is the untrained model's. With T tasks in the order of their
phases, and all sums over the T - 1 tasks that are meant:

- accuracy: the mean over tasks of R[T, j];
- forgetting: the mean over all tasks but the last of max over l in 1..T-1 of R[l, j], less R[T, j] (Chaudhry et al.,
  "Riemannian Walk for Incremental Learning", ECCV 2018);
- backward transfer: the mean over all tasks but the last of R[T, j] - R[j, j]; forward transfer: the mean over all tasks
  but the first of R[j - 1, j] - R[0, j] (Lopez-Paz and Ranzato, "Gradient Episodic Memory", NeurIPS 2017, who set a
  random classifier's score in the place of R[0, j]).

All of these are sums of cells with fixed weights, once it is settled at which phase a task stood best; so the influence of
a patient on a measure is the same sum of the patient's influences on the cells, and models are compared on the same
patients. That the best phase is chosen by the same patients makes forgetting a little larger than it is, where there are
more than two tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.statistics.crossed import Contrasts, Crossed, combined, contrasts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

ACCURACY, FORGETTING, BACKWARD, FORWARD = MEASURES = ("accuracy", "forgetting", "backward", "forward")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure, the mean over seeds, with its 95 % interval over patients and seeds; of one seed, over patients."""

    value: float
    low: float
    high: float


def weights_of(r: Floats) -> dict[str, Floats]:
    """Measure -> the weight of every cell, (T + 1, T), so that the measure is the weighted sum of the cells.

    With a single task nothing can be forgotten or carried over: all weights but those of the accuracy are 0.

    Args:
        r: (T + 1, T), higher is better, tasks in the order of their phases.
    """
    import numpy as np

    t = r.shape[1]
    found = {name: np.zeros_like(r, dtype=float) for name in MEASURES}
    found[ACCURACY][t] = 1 / t
    for j in range(t - 1):
        best = 1 + int(np.argmax(r[1:t, j]))
        for name, before in ((FORGETTING, best), (BACKWARD, j + 1)):
            sign = 1.0 if name == FORGETTING else -1.0
            found[name][before, j] += sign / (t - 1)
            found[name][t, j] -= sign / (t - 1)
        found[FORWARD][j + 1, j + 1] += 1 / (t - 1)
        found[FORWARD][0, j + 1] -= 1 / (t - 1)
    return found


def measures(r: Floats) -> dict[str, float]:
    """Every measure of one training, from R."""
    return {name: float((weights * r).sum()) for name, weights in weights_of(r).items()}


def measured(
    tables: Sequence[Crossed], patients: Sequence[Sequence[str]], weights: Sequence[Floats]
) -> Crossed:  # fmt: skip
    """Measures as rows on the same seeds and patients, ready to be estimated and compared.

    Args:
        tables: per task the K states of models that were scored: values (K, S), influences (K, S, patients).
        patients: per task their names; a patient of several tasks counts once.
        weights: per measure (tasks, K, S): of every task, state and seed.
    """
    import numpy as np

    every = np.stack(list(weights))
    parts = [
        Crossed(
            np.einsum("mks,ks->ms", every[:, j], table.values),
            np.einsum("mks,ksp->msp", every[:, j], table.influences),
            table.strata,
            (every[:, j] ** 2).mean(axis=2) @ table.floor,
        )
        for j, table in enumerate(tables)
    ]
    return combined(parts, patients, [1.0] * len(parts))


def estimates(data: Crossed, *, level: float = 0.95) -> list[Estimate]:
    """Each measure with its interval.

    The variance is that of a difference in :mod:`~fedmeki_bench.statistics.crossed`, from a row that is 0 for all
    patients and seeds; every row scatters by itself, because what all rows of a seed share does not cancel here.
    """
    import numpy as np

    n = len(data.values)
    with_zero = Crossed(
        np.concatenate([data.values, np.zeros((1, *data.values.shape[1:]))]),
        np.concatenate([data.influences, np.zeros((1, *data.influences.shape[1:]))]),
        data.strata,
        np.append(data.floor, 0.0),
        np.ones(n + 1, dtype=bool),
    )
    return _intervals(contrasts(with_zero, [(row, n) for row in range(n)]), level)


def differences(data: Crossed, pairs: Sequence[tuple[int, int]], *, level: float = 0.95) -> list[Estimate]:
    """First less second measure of each pair, on the same patients and seeds; none for no pair."""
    return _intervals(contrasts(data, pairs), level) if pairs else []


def _intervals(found: Contrasts, level: float) -> list[Estimate]:
    from scipy.stats import t

    half = t.ppf(0.5 + level / 2, found.df) * found.se
    return [
        Estimate(float(value), float(value - by), float(value + by))
        for value, by in zip(found.difference, half, strict=True)
    ]


def placed(weights: Mapping[str, Floats], states: Sequence[int], count: int) -> dict[str, Floats]:
    """The weights of one training's cells among all states that were scored, (tasks, count), by measure.

    Args:
        weights: as :func:`weights_of` gives them.
        states: of every number of phases that are over, which state that is.
        count: how many states there are.
    """
    import numpy as np

    found: dict[str, Floats] = {}
    for name, own in weights.items():
        found[name] = np.zeros((own.shape[1], count))
        for phase, state in enumerate(states):
            found[name][:, state] += own[phase]
    return found
