"""How many seeds and patients find a difference: the judgement of :mod:`~fedmeki_bench.statistics.crossed`, foreseen.

With S seeds and G patients the variance of a difference is c + s²/S. c comes from patients and shrinks as 1/G. s²
between seeds has two parts: one that shrinks as 1/G too, because every training errs on other patients, and one that no
number of patients takes away. The first is the influences' variance of a single seed less c, so the board that is there
tells both apart. A difference is found if its t, with Satterthwaite's degrees of freedom, is beyond the level at which
the board judges each difference; with a true difference that t follows the noncentral t distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.statistics.crossed import Crossed, contrasts, seed_variances

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.floating[Any]]

SEEDS = (3, 5, 10, 20)
"""Numbers of seeds for which :func:`needed` says how many patients it takes."""

MOST_SEEDS, MOST_PATIENTS = 999, 10_000_000
"""Beyond these nothing is planned."""

_NORMAL_DF = 1e5
"""From so many degrees of freedom on, Student's t is taken for the normal distribution."""


@dataclass(frozen=True, slots=True)
class Variances:
    """What a typical difference of two rows of a board varies by.

    Attributes:
        patients: variance that all seeds share through their patients (c), at ``n_patients``; with one seed the whole
            variance over patients of these two trained models.
        n_patients: of the board.
        seeds: variance of the difference between seeds (the sum of both rows' s²); NaN where one seed was trained.
        single: the part of ``seeds`` that comes from how every training errs on single patients, at ``n_patients``.
        rows: number whose seeds' variance is pooled: it has (rows - 1)(S - 1) degrees of freedom.
        patients_df: degrees of freedom of ``patients``, at ``n_patients``.
    """

    patients: float
    n_patients: int
    seeds: float
    single: float
    rows: float
    patients_df: float

    @property
    def one_seed(self) -> bool:
        """Whether nothing is known of seeds, so that only trained models can be planned for, not algorithms."""
        return math.isnan(self.seeds)


@dataclass(frozen=True, slots=True)
class Needed:
    """What finds a difference with the wanted power.

    Attributes:
        seeds: at the board's own patients; None where not even ``MOST_SEEDS`` do.
        patients: number of seeds -> patients, no fewer than the board has; None where not even ``MOST_PATIENTS`` do.
            Of a board with one seed the only entry is one seed, and speaks of trained models.
    """

    seeds: int | None
    patients: dict[int, int | None]


def variances_of(data: Crossed, pairs: Sequence[tuple[int, int]]) -> Variances:
    """Of the typical pair: medians over those that differ at all.

    The floor of a row at the end of its range counts as variance over patients. It falls faster than that when patients
    become more, so what is planned from it errs on the safe side.

    Args:
        data: rows on one task, or on the mean over several.
        pairs: first and second row of each difference.

    Raises:
        ValueError: no pair, or no finite variance.
    """
    import numpy as np

    if not pairs:
        raise ValueError("there are no two rows to compare")
    first, second = (np.array([pair[i] for pair in pairs], dtype=int) for i in (0, 1))
    found = contrasts(data, pairs)
    apart = data.influences[first] - data.influences[second]
    within = (apart**2).sum(axis=2).mean(axis=1) + data.floor[first] + data.floor[second]
    variance, df = seed_variances(data.values, data.apart)
    n_seeds = data.values.shape[1]
    seeds = variance[first] + variance[second]
    total = found.patients + seeds / n_seeds
    kept = total > 0 if (total > 0).any() else np.ones(len(pairs), dtype=bool)  # rows that are the same tell nothing
    if not np.isfinite(total[kept]).all():
        raise ValueError("the variance of a difference is undefined")
    patients, one = float(np.median(found.patients[kept])), n_seeds == 1
    between = math.nan if one else float(np.median(seeds[kept]))
    single = 0.0 if one else min(max(float(np.median(within[kept])) - patients, 0.0), between)
    pooled = np.minimum(df[first], df[second])[kept]
    moving = pooled[np.isfinite(pooled)]
    rows = math.inf if one or not len(moving) else 1 + float(np.median(moving)) / (n_seeds - 1)
    # the mean over seeds taken for a single one: what is left of the degrees of freedom is the patients'
    values, influences = (part.mean(axis=1, keepdims=True) for part in (data.values, data.influences))
    mean = Crossed(values, influences, data.strata, data.floor, data.apart)
    patients_df = float(np.median(contrasts(mean, pairs).df[kept]))
    return Variances(patients, data.influences.shape[2], between, single, rows, patients_df)


def power(variances: Variances, difference: float, *, n_seeds: int, n_patients: float, each: float) -> float:
    """Probability that a true difference is found by a two-sided test at level ``each``.

    The variances are taken for those of the whole population. They are estimates, from few seeds rough ones.

    Args:
        variances: of a typical difference.
        difference: the true one, in the metric's units.
        n_seeds: number of seeds; 1 for trained models, if the board has one seed.
        n_patients: number of test patients of the same kind.
        each: level at which a single difference is judged, see :class:`~fedmeki_bench.statistics.maxt.Family`.

    Raises:
        ValueError: several seeds of a board with one seed, one of a board with several, or a level outside (0, 1).
    """
    return float(_power(variances, difference, n_seeds, n_patients, each))


def smallest_difference(
    variances: Variances, *, n_seeds: int, n_patients: float, each: float, power: float = 0.8
) -> float:
    """The smallest true difference that is found with probability ``power``; arguments as of :func:`power`."""
    from scipy.optimize import brentq

    if not each < power < 1:
        raise ValueError(f"the power is between the level {each} and 1, got {power}")
    se, _ = _se_and_df(variances, n_seeds, n_patients, each)
    if se == 0:
        return 0.0
    high = 1.0

    def lacking(ratio: float) -> float:
        return float(_power(variances, ratio * float(se), n_seeds, n_patients, each)) - power

    while lacking(high) < 0:
        high *= 2
    return float(se) * float(brentq(lacking, 0.0, high, xtol=1e-9))


def needed(variances: Variances, difference: float, *, each: float, power: float = 0.8) -> Needed:
    """Seeds at the board's own patients, and patients at 3, 5, 10 and 20 seeds, that find a true difference.

    Args:
        variances: of a typical difference.
        difference: the true one, in the metric's units, above 0.
        each: level at which a single difference is judged.
        power: wanted probability to find it.

    Raises:
        ValueError: a difference of 0 or below.
    """
    import numpy as np

    if not difference > 0:
        raise ValueError(f"a difference to find is above 0, got {difference}")
    if variances.one_seed:
        return Needed(None, {1: _patients(variances, difference, 1, each, power)})
    seeds = np.arange(min(SEEDS), MOST_SEEDS + 1)
    enough = _power(variances, difference, seeds, variances.n_patients, each) >= power
    return Needed(
        int(seeds[enough.argmax()]) if enough.any() else None,
        {n_seeds: _patients(variances, difference, n_seeds, each, power) for n_seeds in SEEDS},
    )


def _patients(variances: Variances, difference: float, n_seeds: int, each: float, power: float) -> int | None:
    """The fewest patients that suffice, but no fewer than there are: of smaller test sets these variances say nothing.

    Where patients are many, what is left of the variance is the seeds', whose degrees of freedom are few: the power
    need not rise with every patient, so the first place where it suffices is looked for along the whole way.
    """
    import numpy as np

    ladder = np.geomspace(variances.n_patients, max(MOST_PATIENTS, variances.n_patients), 400).round()
    enough = _power(variances, difference, n_seeds, ladder, each) >= power
    if not enough.any():
        return None
    at = int(enough.argmax())
    low, high = int(ladder[max(0, at - 1)]), int(ladder[at])
    while high - low > 1:
        middle = (low + high) // 2
        if _power(variances, difference, n_seeds, middle, each) >= power:
            high = middle
        else:
            low = middle
    return high


def _se_and_df(variances: Variances, n_seeds: ArrayLike, n_patients: ArrayLike, each: float) -> tuple[Floats, Floats]:
    """Standard error of the mean difference over seeds, and its degrees of freedom."""
    import numpy as np

    seeds, more = np.asarray(n_seeds, dtype=float), np.asarray(n_patients, dtype=float) / variances.n_patients
    if not 0 < each < 1:
        raise ValueError(f"a level is between 0 and 1, got {each}")
    if variances.one_seed and (seeds != 1).any():
        raise ValueError("one seed was trained: nothing is known of how far another would move the difference")
    if not variances.one_seed and (seeds < 2).any():
        raise ValueError("algorithms are judged from two seeds on")
    patients, patients_df = variances.patients / more, np.maximum(variances.patients_df * more, 1.0)
    if variances.one_seed:
        return np.sqrt(patients), patients_df
    between = (variances.seeds - variances.single + variances.single / more) / seeds
    seeds_df = np.maximum(variances.rows - 1, 1.0) * (seeds - 1)
    spread = patients**2 / patients_df + between**2 / seeds_df
    total = patients + between
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(spread > 0, total**2 / spread, math.inf)
    return np.sqrt(total), np.maximum(df, 1.0)


def _power(variances: Variances, difference: float, n_seeds: ArrayLike, n_patients: ArrayLike, each: float) -> Floats:
    """:func:`power` for many numbers of seeds or patients at once."""
    import numpy as np
    from scipy.stats import nct, norm, t

    se, df = np.broadcast_arrays(*_se_and_df(variances, n_seeds, n_patients, each))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(se > 0, abs(difference) / se, math.inf if difference else 0.0)
    limit = t.isf(each / 2, df)
    normal = norm.sf(limit - ratio) + norm.cdf(-limit - ratio)
    # so far beyond the limit that the noncentral t is 1 to all digits, or not computed at all
    plain = (df >= _NORMAL_DF) | ~np.isfinite(ratio) | (ratio == 0)
    sure = ratio > 4 * limit + 40
    few, shift = np.where(plain, 10.0, df), np.where(plain | sure, 1.0, ratio)
    # found with the wrong sign: from 3 on too rare to count, and there scipy may answer NaN
    wrong = np.where(shift < 3, nct.cdf(-limit, few, np.minimum(shift, 3.0)), 0.0)
    student = nct.sf(limit, few, shift) + wrong
    found: Floats = np.where(plain, np.where(ratio == 0, each, normal), np.where(sure, 1.0, student))
    return np.clip(found, 0.0, 1.0)


def in_words(
    variances: Variances, metric: str, difference: float, *, n_seeds: int, each: float, power: float = 0.8,
    largest: float = math.inf,
) -> str:  # fmt: skip
    """What the board finds, and what it would take to find ``difference``, for a reader without statistics.

    Args:
        variances: of a typical difference.
        metric: its title, e.g. AUROC.
        difference: the one that is wanted.
        n_seeds: of the board.
        each: level at which a single difference is judged.
        power: probability that counts as found.
        largest: difference that the metric can have.
    """
    n_patients = variances.n_patients
    now = smallest_difference(variances, n_seeds=n_seeds, n_patients=n_patients, each=each, power=power)
    tenths = 10 * power
    often = f"{tenths:.0f} times in 10" if math.isclose(tenths, round(tenths)) else f"{100 * power:.3g} times in 100"
    what = "two trained models" if variances.one_seed else "two algorithms"
    size = f"{n_patients} patients and {n_seeds} seed{'s' * (n_seeds != 1)}"
    which = f"a true difference of {now:.2g}" if now <= largest else "no true difference of"
    said = f"with these {size}, {which} {metric} between {what} would be found {often}."
    return f"Resolution: {said} {_to_find(variances, metric, difference, now, each, power)}"


def _to_find(variances: Variances, metric: str, difference: float, now: float, each: float, power: float) -> str:
    what = f"{difference:g} {metric}"
    found = needed(variances, difference, each=each, power=power)
    caveat = "One seed says nothing of how far training again would move them: run at least 3."
    if now <= difference:
        return f"That is enough to find {what}." + f" {caveat}" * variances.one_seed
    if variances.one_seed:
        (patients,) = found.patients.values()
        size = "more patients than can be had" if patients is None else f"about {round_up(patients)} test patients"
        return f"To find {what}: {size}. {caveat}"
    able = {s: p for s, p in found.patients.items() if p is not None}
    if not able:
        return f"To find {what} takes more than {max(SEEDS)} seeds, whatever the number of patients."
    # the fewest seeds beyond which more of them no longer save half of the patients
    seeds = min(s for s, p in able.items() if p <= 2 * min(able.values()))
    ways = [f"{seeds} seeds and about {round_up(able[seeds])} test patients"]
    if found.seeds is not None:
        ways = [f"{found.seeds} seeds and these patients"] + ways * (seeds < found.seeds)
    return f"To find {what}: {', or '.join(ways)}."


def round_up(patients: int) -> str:
    """Two digits that count: a plan for exactly 3,137 patients would promise what it can't keep."""
    unit = 10 ** max(0, len(str(patients)) - 2)
    return f"{math.ceil(patients / unit) * unit:,}"
