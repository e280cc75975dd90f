"""Planned power against the share of differences that simulated boards find.

The population: 1 to 5 samples per patient, 40 % of patients positive, 8 rows; scores of unit variance, a quarter of it
training noise of every row and seed, of the rest 60 % common to all rows; of each part 60 % the patient's, 40 % the
sample's. ``spread`` is the SD of a row's true AUROC between seeds. Row 0 is the reference, AUROC 0.80; all others are
better by the same true difference.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from fedmeki_bench.statistics.crossed import Crossed, contrasts
from fedmeki_bench.statistics.influence import auroc_influence
from fedmeki_bench.statistics.power import (
    SEEDS,
    Variances,
    in_words,
    needed,
    power,
    smallest_difference,
    variances_of,
)

ROWS = 8
PAIRS = [(row, 0) for row in range(1, ROWS)]

TYPICAL = Variances(patients=9e-4, n_patients=41, seeds=4e-4, single=2e-4, rows=8, patients_df=20.0)


def part(rng, variance, group, shape=()):
    n = len(group)
    patients = rng.normal(size=(*shape, group.max() + 1))[..., group]
    return math.sqrt(0.6 * variance) * patients + math.sqrt(0.4 * variance) * rng.normal(size=(*shape, n))


def separation(auroc, spread):
    """Of the classes' means: average and SD between seeds that give this AUROC, with this SD between seeds."""
    z = norm.ppf(auroc)
    between = spread * math.sqrt(2) / norm.pdf(z)
    return z * math.sqrt(2 + between**2), between


def board(rng, patients, seeds, spread, difference):
    """The AUROCs of all rows and seeds of one drawn board."""
    positive = rng.random(patients) < 0.4
    positive[:4] = True, False, True, False
    group = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    labels = positive[group].astype(int)
    means, between = np.array([separation(0.80 + difference * (row > 0), spread) for row in range(ROWS)]).T
    means = means[:, None] + between[:, None] * rng.normal(size=(ROWS, seeds))
    scores = part(rng, 0.45, group) + part(rng, 0.30, group, (ROWS,))[:, None] + part(rng, 0.25, group, (ROWS, seeds))
    scores = scores + means[..., None] * labels
    values, influences = np.empty((ROWS, seeds)), np.empty((ROWS, seeds, patients))
    ranked = np.argsort(np.argsort(scores, axis=2), axis=2) + 1.0
    m, n = labels.sum(), (1 - labels).sum()
    values = ((ranked * labels).sum(axis=2) - m * (m + 1) / 2) / (m * n)
    for row in range(ROWS):
        for seed in range(seeds):
            influences[row, seed] = auroc_influence(labels, scores[row, seed], group, patients)
    return Crossed(values, influences, positive.astype(int), np.zeros(ROWS))


def share_found(patients, seeds, spread, difference, each, boards):
    rng = np.random.default_rng([patients, seeds, round(100 * spread), round(1000 * difference)])
    found = 0
    for _ in range(boards):
        c = contrasts(board(rng, patients, seeds, spread, difference), PAIRS)
        found += (np.abs(c.difference) > t.isf(each / 2, c.df) * c.se).sum()
    return found / boards / len(PAIRS)


def population(seeds, spread, difference):
    """True variances: between seeds by quadrature, over patients from a board so large that they are known."""
    large = variances_of(board(np.random.default_rng(0), 10_000, min(seeds, 4), 0.0, difference), PAIRS)
    if seeds == 1:
        return large
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    pure = 0.0
    for auroc in (0.80, 0.80 + difference):
        mean, between = separation(auroc, spread)
        values = norm.cdf((mean + between * nodes) / math.sqrt(2))
        pure += np.average(values**2, weights=weights) - np.average(values, weights=weights) ** 2
    return replace(large, seeds=pure + large.single)


def seeds_ignored(known):
    """The control: a plan that takes trained models for algorithms."""
    return replace(known, seeds=math.nan, single=0.0, rows=math.inf)


SETTINGS = [
    # patients, seeds, spread, difference, each
    (60, 3, 0.0, 0.08, 0.05),
    (60, 3, 0.03, 0.10, 0.05),
    (200, 3, 0.03, 0.12, 0.0073),
    (200, 5, 0.05, 0.09, 0.0073),
    (100, 10, 0.03, 0.09, 0.05),
    (400, 3, 0.05, 0.10, 0.05),
    (100, 1, 0.0, 0.08, 0.05),
]


@pytest.mark.slow
@pytest.mark.parametrize(("patients", "seeds", "spread", "difference", "each"), SETTINGS)
def test_planned_power_is_the_share_of_differences_found(patients, seeds, spread, difference, each):
    known = population(seeds, spread, difference)
    planned = power(known, difference, n_seeds=seeds, n_patients=patients, each=each)
    found = share_found(patients, seeds, spread, difference, each, 600)
    assert abs(planned - found) < 0.05, (planned, found)
    if seeds > 1 and spread:
        wrong = power(seeds_ignored(known), difference, n_seeds=1, n_patients=patients, each=each)
        assert wrong - found > 0.05, (wrong, found)


@pytest.mark.slow
def test_a_small_board_plans_a_large_one():
    """From 100 patients and 3 seeds: what 400 patients and 10 seeds will find, within a third either way."""
    rng = np.random.default_rng(5)
    asked = {"n_seeds": 10, "n_patients": 400, "each": 0.05}
    truth = smallest_difference(population(3, 0.03, 0.06), **asked)
    plans = [smallest_difference(variances_of(board(rng, 100, 3, 0.03, 0.06), PAIRS), **asked) for _ in range(300)]
    low, middle, high = np.quantile(plans, [0.05, 0.5, 0.95])
    said = f"true {truth:.4f}; planned: median {middle:.4f}, 90 % between {low:.4f} and {high:.4f}"
    assert abs(middle / truth - 1) < 0.1, said
    assert truth / 1.5 < low, said
    assert high < truth * 1.5, said


def test_with_infinite_degrees_of_freedom_it_is_the_normal_formula():
    known = Variances(patients=4e-4, n_patients=100, seeds=6e-4, single=0.0, rows=math.inf, patients_df=math.inf)
    se = math.sqrt(4e-4 / 2 + 6e-4 / 5)
    for difference in (0.0, 0.02, 0.05, 0.2):
        limit = norm.isf(0.01 / 2)
        expected = norm.sf(limit - difference / se) + norm.cdf(-limit - difference / se)
        found = power(known, difference, n_seeds=5, n_patients=200, each=0.01)
        assert found == pytest.approx(expected, abs=1e-12)
    plain = (norm.isf(0.005) + norm.isf(0.2)) * se
    assert smallest_difference(known, n_seeds=5, n_patients=200, each=0.01) == pytest.approx(plain, rel=1e-3)


def test_seeds_alone_are_a_t_test():
    """Without patients' variance, two rows and S seeds are a paired t test, whose power is tabulated.

    A standardised difference of 1.0 with 10 pairs at 0.05 is found with probability 0.803 (Cohen 1988).
    """
    known = Variances(patients=0.0, n_patients=50, seeds=1.0, single=0.0, rows=2, patients_df=10.0)
    assert power(known, 1.0, n_seeds=10, n_patients=50, each=0.05) == pytest.approx(0.803, abs=5e-4)
    assert needed(known, 1.0, each=0.05).seeds == 10


def test_patients_alone_scale_with_their_number():
    known = Variances(patients=1e-3, n_patients=50, seeds=math.nan, single=0.0, rows=math.inf, patients_df=math.inf)
    now = smallest_difference(known, n_seeds=1, n_patients=50, each=0.05)
    assert smallest_difference(known, n_seeds=1, n_patients=5000, each=0.05) == pytest.approx(now / 10)
    assert needed(known, now / 10, each=0.05).patients[1] == pytest.approx(5000, abs=1)
    assert needed(known, now / 10, each=0.05).seeds is None


def test_no_difference_is_found_at_the_level():
    assert power(TYPICAL, 0.0, n_seeds=3, n_patients=41, each=0.013) == pytest.approx(0.013)


@pytest.mark.parametrize("each", [0.05, 0.001, 1e-5])
def test_power_rises_with_everything_that_helps(each):
    base = {"n_seeds": 5, "n_patients": 100, "each": each}
    differences = [power(TYPICAL, d, **base) for d in np.geomspace(1e-5, 1e3, 200)]
    assert np.isfinite(differences).all()
    assert (np.diff(differences) >= -1e-9).all()
    assert differences[-1] == 1.0
    for name, values in {
        "n_seeds": range(2, 60),
        "n_patients": np.geomspace(20, 5000, 40),
        "each": [each, 0.1],
    }.items():
        found = [power(TYPICAL, 0.08, **base | {name: value}) for value in values]
        assert (np.diff(found) > -1e-9).all(), name
        assert found[-1] > found[0], name
    for name, values in {"patients": [1e-4, 1e-3, 1e-2], "seeds": [2e-4, 1e-3, 1e-2], "rows": [20, 8, 3]}.items():
        found = [power(replace(TYPICAL, **{name: value}), 0.08, **base) for value in values]
        assert (np.diff(found) < 0).all(), name


def test_what_is_needed_suffices_and_less_does_not():
    found = needed(TYPICAL, 0.03, each=0.01, power=0.9)
    assert list(found.patients) == list(SEEDS)
    for seeds, patients in found.patients.items():
        if patients is None:
            assert power(TYPICAL, 0.03, n_seeds=seeds, n_patients=1e7, each=0.01) < 0.9
        else:
            assert power(TYPICAL, 0.03, n_seeds=seeds, n_patients=patients, each=0.01) >= 0.9
            assert power(TYPICAL, 0.03, n_seeds=seeds, n_patients=patients - 1, each=0.01) < 0.9
    assert found.patients[3] is None
    assert found.patients[20] is not None
    easy = replace(TYPICAL, patients=1e-5)
    seeds = needed(easy, 0.03, each=0.01).seeds
    assert power(easy, 0.03, n_seeds=seeds, n_patients=41, each=0.01) >= 0.8
    assert power(easy, 0.03, n_seeds=seeds - 1, n_patients=41, each=0.01) < 0.8
    back = smallest_difference(easy, n_seeds=seeds, n_patients=41, each=0.01)
    assert power(easy, back, n_seeds=seeds, n_patients=41, each=0.01) == pytest.approx(0.8, abs=1e-6)


def test_what_patients_take_from_the_seeds_is_told_apart():
    """Training noise on single patients goes away with patients, the spread of the seeds does not."""
    noise, spread = replace(TYPICAL, single=TYPICAL.seeds), replace(TYPICAL, single=0.0)
    assert needed(noise, 0.005, each=0.05).patients[3] is not None
    assert needed(spread, 0.005, each=0.05).patients[3] is None


def test_the_variances_of_a_board_are_those_it_is_judged_by():
    drawn = board(np.random.default_rng(3), 80, 4, 0.03, 0.0)
    judged = contrasts(drawn, PAIRS)
    found = variances_of(drawn, PAIRS)
    assert found.patients == pytest.approx(np.median(judged.patients))
    assert found.seeds / 4 == pytest.approx(np.median(judged.se**2 - judged.patients))
    assert (found.rows, found.n_patients) == (ROWS, 80)
    assert 0 < found.single <= found.seeds
    one = Crossed(drawn.values[:, :1], drawn.influences[:, :1], drawn.strata, drawn.floor)
    trained = variances_of(one, PAIRS)
    assert trained.one_seed
    assert trained.patients == pytest.approx(np.median(contrasts(one, PAIRS).se ** 2))


def test_rows_that_are_the_same_do_not_make_a_board_look_sharp():
    drawn = board(np.random.default_rng(3), 80, 3, 0.03, 0.0)
    same = [0, 0, 0, 0, 0, 5]
    twice = Crossed(drawn.values[same], drawn.influences[same], drawn.strata, drawn.floor[same])
    found = variances_of(twice, [(row, 0) for row in range(1, 6)])
    assert found.patients == pytest.approx(contrasts(twice, [(5, 0)]).patients[0])


def test_a_board_whose_rows_are_all_the_same_finds_anything():
    drawn = board(np.random.default_rng(3), 80, 3, 0.03, 0.0)
    flat = Crossed(drawn.values[[0, 0]], drawn.influences[[0, 0]], drawn.strata, drawn.floor[[0, 0]])
    found = variances_of(flat, [(1, 0)])
    assert smallest_difference(found, n_seeds=3, n_patients=80, each=0.05) == pytest.approx(0.0, abs=1e-6)
    assert power(found, 0.01, n_seeds=3, n_patients=80, each=0.05) == 1.0


def test_words():
    assert in_words(TYPICAL, "AUROC", 0.02, n_seeds=3, each=0.01) == (
        "Resolution: with these 41 patients and 3 seeds, a true difference of 0.12 AUROC between two algorithms would "
        "be found 8 times in 10. To find 0.02 AUROC: 10 seeds and about 2,800 test patients."
    )
    one = replace(TYPICAL, seeds=math.nan, single=0.0, rows=math.inf)
    assert in_words(one, "AUROC", 0.01, n_seeds=1, each=0.01) == (
        "Resolution: with these 41 patients and 1 seed, a true difference of 0.11 AUROC between two trained "
        "models would be found 8 times in 10. To find 0.01 AUROC: about 4,400 test patients. One seed says nothing of "
        "how far training again would move them: run at least 3."
    )
    few = replace(one, patients=0.25, patients_df=1.0)
    assert "no true difference of AUROC between" in in_words(few, "AUROC", 0.01, n_seeds=1, each=0.01, largest=1.0)
    assert in_words(TYPICAL, "AUROC", 0.2, n_seeds=3, each=0.01).endswith("That is enough to find 0.2 AUROC.")
    assert "takes more than 20 seeds" in in_words(TYPICAL, "AUROC", 0.005, n_seeds=3, each=0.01)
    assert " seeds and these patients" in in_words(replace(TYPICAL, patients=1e-5), "AUROC", 0.02, n_seeds=3, each=0.01)


@pytest.mark.parametrize(
    ("variances", "asked", "said"),
    [
        (TYPICAL, {"n_seeds": 1}, "from two seeds on"),
        (replace(TYPICAL, seeds=math.nan), {"n_seeds": 3}, "one seed was trained"),
        (TYPICAL, {"each": 0.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(variances, asked, said):
    with pytest.raises(ValueError, match=said):
        power(variances, 0.1, **{"n_seeds": 3, "n_patients": 41, "each": 0.05} | asked)
    with pytest.raises(ValueError, match="above 0"):
        needed(TYPICAL, 0.0, each=0.05)
    with pytest.raises(ValueError, match="no two rows"):
        variances_of(board(np.random.default_rng(3), 20, 3, 0.0, 0.0), [])
