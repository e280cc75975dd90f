from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from asah_data import ASAH
from scipy.stats import ttest_rel
from statsmodels.stats.oneway import anova_oneway

from fedmeki_bench.evaluation.metrics import AUROC
from fedmeki_bench.statistics.crossed import Crossed, combined, contrasts, seed_variances, stacked
from fedmeki_bench.statistics.influence import auroc_influence


def crossed(values, influences, strata=None, floor=None):
    values, influences = np.asarray(values, dtype=float), np.asarray(influences, dtype=float)
    strata = np.zeros(influences.shape[2], dtype=int) if strata is None else np.asarray(strata)
    return Crossed(values, influences, strata, np.zeros(len(values)) if floor is None else np.asarray(floor))


def drawn(rows=5, seeds=3, patients=40, seed=0):
    """Rows whose seeds agree on part of what patients contribute, in two strata."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(rows, 1, patients))
    influences = (shared + rng.normal(size=(rows, seeds, patients))) / 100
    return crossed(rng.normal(0.8, 0.03, (rows, seeds)), influences, (np.arange(patients) % 4 == 0).astype(int))


def silent(values):
    """Rows on patients who contribute nothing."""
    return crossed(values, np.zeros((*np.shape(values), 12)))


def test_one_seed_is_the_test_of_two_models_on_their_patients():
    y, a, b = np.array(ASAH).T
    each = np.arange(len(y))
    influences = [[auroc_influence(y, s, each, len(y))] for s in (a, b)]
    found = contrasts(crossed([[AUROC(y, a)], [AUROC(y, b)]], influences, y.astype(int)), [(0, 1)])
    apart = influences[0][0] - influences[1][0]
    assert found.se[0] ** 2 == pytest.approx(apart @ apart, rel=1e-12)
    assert found.patients[0] == pytest.approx(apart @ apart, rel=1e-12)
    assert found.difference[0] / found.se[0] == pytest.approx(2.209, abs=5e-4)  # pROC's documented z


def test_degrees_of_freedom_of_patients_are_those_of_welch():
    rng = np.random.default_rng(0)
    groups = [rng.normal(scale=1, size=12), rng.normal(scale=4, size=30)]
    influence = np.concatenate(
        [math.sqrt(n / (n - 1)) * (g - g.mean()) / n for g in groups if (n := len(g))],
    )
    data = crossed([[0.8], [0.7]], [[influence], [np.zeros(42)]], np.repeat([0, 1], [12, 30]))
    found = contrasts(data, [(0, 1)])
    welch = anova_oneway(groups, use_var="unequal", welch_correction=False)
    assert found.df[0] == pytest.approx(welch.df_denom)
    assert found.se[0] ** 2 == pytest.approx(sum(g.var(ddof=1) / len(g) for g in groups))


def test_without_patients_it_is_the_analysis_of_variance_of_rows_by_seeds():
    rng = np.random.default_rng(1)
    rows, seeds = 6, 4
    values = 0.8 + 0.02 * rng.normal(size=(rows, seeds)) + 0.05 * rng.normal(size=seeds)
    total = ((values - values.mean()) ** 2).sum()
    of_rows = seeds * ((values.mean(axis=1) - values.mean()) ** 2).sum()
    of_seeds = rows * ((values.mean(axis=0) - values.mean()) ** 2).sum()
    error = (total - of_rows - of_seeds) / ((rows - 1) * (seeds - 1))
    found = contrasts(silent(values), [(0, 1), (2, 5)])
    assert found.se**2 == pytest.approx(np.full(2, 2 * error / seeds))
    assert found.df == pytest.approx(np.full(2, (rows - 1) * (seeds - 1)))
    assert (found.patients == 0).all()
    # what is common to all rows of a seed is no part of it
    again = contrasts(silent(values + 100 * np.arange(seeds)), [(0, 1)])
    assert again.se[0] == pytest.approx(found.se[0])


def test_two_rows_alone_have_the_paired_t_test_over_seeds():
    values = np.random.default_rng(9).normal(size=(2, 5))
    found = contrasts(silent(values), [(0, 1)])
    expected = ttest_rel(*values)
    assert found.difference[0] / found.se[0] == pytest.approx(expected.statistic)
    assert found.df[0] == pytest.approx(4)


def test_patients_count_as_far_as_the_seeds_agree_on_them():
    rng = np.random.default_rng(2)
    values = np.full((2, 3), 0.8)
    one = rng.normal(size=(2, 1, 30))
    agreed = contrasts(crossed(values, np.repeat(one, 3, axis=1)), [(0, 1)])
    apart = one[0, 0] - one[1, 0]
    assert agreed.patients[0] == pytest.approx(apart @ apart)
    assert agreed.se[0] ** 2 == pytest.approx(apart @ apart)  # and not a third of it
    alone = np.zeros((2, 3, 30))
    for s in range(3):
        alone[:, s, 10 * s : 10 * s + 10] = rng.normal(size=(2, 10))  # every seed on patients of its own
    assert contrasts(crossed(values, alone), [(0, 1)]).patients[0] == pytest.approx(0, abs=1e-15)


def test_the_patients_part_is_the_mean_product_of_two_seeds():
    data = drawn()
    data.influences[:, 0, :7] = 0  # patients that the first seed's test split lacks
    apart = data.influences[0] - data.influences[3]
    products = [apart[s] @ apart[t] for s in range(3) for t in range(3) if s != t]
    found = contrasts(data, [(0, 3)])
    assert found.patients[0] == pytest.approx(np.mean(products))
    variance, _ = seed_variances(data.values)
    assert found.se[0] ** 2 == pytest.approx(np.mean(products) + (variance[0] + variance[3]) / 3)


def test_a_negative_covariance_of_seeds_is_none():
    influence = np.random.default_rng(3).normal(size=20)
    data = crossed([[0.8, 0.82], [0.7, 0.69]], [[influence, -influence], np.zeros((2, 20))])
    found = contrasts(data, [(0, 1)])
    assert found.patients[0] == 0
    variance, _ = seed_variances(data.values)
    assert found.se[0] ** 2 == pytest.approx(variance.sum() / 2)


def test_a_row_that_scatters_ten_times_as_much_keeps_its_own_variance():
    rng = np.random.default_rng(4)
    values = 0.01 * rng.normal(size=(7, 3)) + 0.03 * rng.normal(size=3)
    calm, df = seed_variances(values)
    assert calm == pytest.approx(np.full(7, calm[0]))
    assert df == pytest.approx(np.full(7, 6 * 2))
    wild = 10 * np.array([-0.01, 0.0, 0.01])
    variance, df = seed_variances(np.vstack([values, wild]))
    assert df.tolist() == [6 * 2] * 7 + [2]
    assert variance[:7] == pytest.approx(calm)  # as if it weren't there
    assert variance[7] == pytest.approx(wild.var(ddof=1), rel=0.5)
    assert variance[7] > 20 * calm[0]


def test_rows_that_do_not_move_have_no_variance_and_do_not_dilute_the_others():
    rng = np.random.default_rng(5)
    moving = rng.normal(size=(4, 3))
    values = np.vstack([moving, np.full((2, 3), 0.5)])
    variance, df = seed_variances(values)
    assert variance[:4] == pytest.approx(seed_variances(moving)[0])
    assert (df[:4] == 6).all()
    assert (variance[4:] == 0).all()
    found = contrasts(silent(values), [(4, 5), (0, 4)])
    assert found.se[0] == 0
    assert found.se[1] ** 2 == pytest.approx(variance[0] / 3)


def test_a_single_row_that_moves_has_its_plain_variance():
    values = np.array([[0.1, 0.4, 0.3], [0.5, 0.5, 0.5]])
    variance, df = seed_variances(values)
    assert variance == pytest.approx([values[0].var(ddof=1), 0])
    assert df.tolist() == [2, math.inf]
    assert (seed_variances(values[:, :1])[0] == 0).all()  # one seed


@pytest.mark.parametrize("seeds", [1, 3])
def test_tasks_on_the_same_patients_count_once_and_on_others_twice(seeds):
    one = drawn(seeds=seeds)
    pairs = [(0, 1), (2, 4)]
    names = [f"p{i}" for i in range(40)]
    others = [f"q{i}" for i in range(40)]
    alone = contrasts(one, pairs)
    same = contrasts(combined([one, one], [names, names], [0.5, 0.5]), pairs)
    for part in ("difference", "se", "df", "patients", "correlation"):
        assert getattr(same, part) == pytest.approx(getattr(alone, part)), part
    apart = contrasts(combined([one, one], [names, others], [0.5, 0.5]), pairs)
    assert apart.patients == pytest.approx(alone.patients / 2)
    assert apart.difference == pytest.approx(alone.difference)
    half = contrasts(combined([one, one], [names, names[:20] + others[:20]], [0.5, 0.5]), pairs)
    assert (half.patients > apart.patients).all()
    assert (half.patients < same.patients).all()


def test_values_and_floors_of_tasks_add_up_by_their_weights():
    one = crossed([[0.8], [0.6]], np.zeros((2, 1, 4)), floor=[0.04, 0.0])
    other = crossed([[0.4], [0.2]], np.zeros((2, 1, 4)), floor=[0.0, 0.01])
    both = combined([one, other], [list("abcd"), list("efgh")], [0.75, 0.25])
    assert both.values.tolist() == pytest.approx(np.array([[0.7], [0.5]]))
    assert both.floor == pytest.approx([0.75**2 * 0.04, 0.25**2 * 0.01])
    assert contrasts(both, [(0, 1)]).se[0] ** 2 == pytest.approx(both.floor.sum())


def test_a_patient_of_several_tasks_keeps_the_stratum_of_the_first():
    one, other = (crossed([[0.8]], np.ones((1, 1, 2)), strata=strata) for strata in ([1, 0], [0, 1]))
    assert combined([one, other], [list("ab"), list("bc")], [0.5, 0.5]).strata.tolist() == [1, 0, 3]
    apart = combined([one, other], [list("ab"), list("cd")], [0.5, 0.5])
    assert apart.strata.tolist() == [1, 0, 2, 3]


def test_a_family_of_several_tables_is_uncorrelated_between_them():
    blocks = [contrasts(drawn(seed=s), [(0, 1), (0, 2), (3, 4)][: 3 - s]) for s in (0, 1)]
    found = stacked(blocks)
    assert found.correlation.shape == (5, 5)
    assert (found.correlation[:3, 3:] == 0).all()
    assert found.correlation[:3, :3] == pytest.approx(blocks[0].correlation)
    assert found.correlation[3:, 3:] == pytest.approx(blocks[1].correlation)
    assert found.se == pytest.approx(np.concatenate([b.se for b in blocks]))
    assert found.df == pytest.approx(np.concatenate([b.df for b in blocks]))


@pytest.mark.parametrize("of", ["patients", "seeds"])
def test_equal_comparisons_with_one_reference_are_correlated_by_a_half(of):
    pairs = [(row, 0) for row in range(1, 8)]
    if of == "patients":
        data = crossed(np.zeros((8, 1)), np.eye(8)[:, None])
    else:
        data = silent(np.random.default_rng(7).normal(size=(8, 3)))
    expected = np.full((7, 7), 0.5)
    np.fill_diagonal(expected, 1.0)
    assert contrasts(data, pairs).correlation == pytest.approx(expected)
    # the other way round, and with a pair that shares no row with the first
    turned = contrasts(data, [(1, 0), (0, 2), (3, 4)]).correlation
    assert turned == pytest.approx(np.array([[1, -0.5, 0], [-0.5, 1, 0], [0, 0, 1]]), abs=1e-12)


def test_no_order_matters():
    data = drawn(seed=7)
    rng = np.random.default_rng(8)
    rows, seeds, patients = (rng.permutation(n) for n in data.influences.shape)
    mixed = Crossed(
        data.values[rows][:, seeds],
        data.influences[rows][:, seeds][:, :, patients],
        data.strata[patients],
        data.floor[rows],
    )
    place = np.argsort(rows)
    pairs = [(0, 1), (2, 1), (4, 3)]
    before, after = contrasts(data, pairs), contrasts(mixed, [(int(place[a]), int(place[b])) for a, b in pairs])
    for part in ("difference", "se", "df", "patients", "correlation"):
        assert getattr(after, part) == pytest.approx(getattr(before, part)), part


def test_a_pair_turned_round_is_its_negative():
    one, other = (contrasts(drawn(), [pair]) for pair in ((0, 1), (1, 0)))
    assert one.difference[0] == -other.difference[0]
    assert (one.se[0], one.df[0]) == pytest.approx((other.se[0], other.df[0]))


def test_rows_kept_apart_neither_hide_each_other_nor_widen_the_others():
    rng = np.random.default_rng(6)
    calm = 0.01 * rng.normal(size=(4, 3)) + 0.03 * rng.normal(size=3)
    broken = 0.2 * rng.normal(size=(2, 3))
    values, apart = np.vstack([calm, broken]), np.array([False] * 4 + [True] * 2)
    variance, df = seed_variances(values, apart)
    alone, alone_df = seed_variances(calm)
    assert variance[:4] == pytest.approx(alone)
    assert df[:4] == pytest.approx(alone_df)
    assert variance[4:] == pytest.approx(broken.var(axis=1, ddof=1))
    assert (df[4:] == 2).all()
    assert seed_variances(values)[0][0] > 5 * alone[0]  # the control: two of them hide each other from the test
    found = contrasts(replace(silent(values), apart=apart), [(0, 1), (0, 4)])
    assert found.se[0] ** 2 == pytest.approx(2 * alone[0] / 3)
    assert found.se[1] ** 2 == pytest.approx((alone[0] + broken[0].var(ddof=1)) / 3)
