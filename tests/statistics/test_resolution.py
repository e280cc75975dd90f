from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from fedmeki_bench.statistics import resolution, sign_flip


def test_published_figures():
    # Demšar 2006, table 5: q of Nemenyi's test at 0.05 is 1.960 for 2 classifiers, 2.343 for 3 and 3.164 for 10.
    for k, q in ((2, 1.960), (3, 2.343), (10, 3.164)):
        assert resolution(k, 6, 1).critical_difference == pytest.approx(q * (k * (k + 1) / 36) ** 0.5, abs=2e-3)
    many = resolution(17, 8, 5)
    assert many.critical_difference == pytest.approx(8.7, abs=0.05)
    assert many.task_p == pytest.approx(0.0078, abs=5e-5)
    assert many.task_p_holm == pytest.approx(0.125)
    assert resolution(5, 8, 1).critical_difference == pytest.approx(2.2, abs=0.05)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_smallest_p_is_what_the_tests_give_when_all_signs_agree(n):
    differences = [0.1 * (i + 1) for i in range(n)]
    assert resolution(2, n, n).task_p == resolution(2, n, n).seed_p == sign_flip(differences).p
    assert wilcoxon(differences, method="exact").pvalue == pytest.approx(resolution(2, n, 1).task_p)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ((1, 4, 3), ["nothing to compare"]),
        ((2, 1, 1), ["1 task and 2 algorithms", "no two mean ranks can differ", "p = 1, so none"]),
        ((23, 4, 3), ["only if at least 17.3 of at most 22", "p = 0.125, so none can be significant"]),
        ((17, 8, 5), ["8.7 of at most 16", "p = 0.00781, or 0.125 after Holm over 16", "so none of these"]),
        ((2, 6, 5), ["p = 0.0312."]),
        ((23, 12, 3), ["10.0 of at most 22", "0.0107 after Holm over 22 comparisons with a reference."]),
    ],
)
def test_the_sentence_says_what_the_numbers_say(grid, words):
    sentence = resolution(*grid).sentence
    assert all(word in sentence for word in words), sentence


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 20), st.integers(1, 10))
def test_a_claim_of_no_significance_is_true(algorithms, tasks, seeds):
    found = resolution(algorithms, tasks, seeds)
    if algorithms > 1:
        assert ("no two mean ranks" in found.sentence) == (found.critical_difference >= algorithms - 1)
        assert ("so none" in found.sentence) == (found.task_p_holm > 0.05 + 1e-9)


def test_more_tasks_resolve_more():
    assert resolution(10, 40, 1).critical_difference == pytest.approx(resolution(10, 10, 1).critical_difference / 2)


@pytest.mark.parametrize("bad", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (2, 2, 2, 1.0)])
def test_an_empty_grid_is_refused(bad):
    with pytest.raises(ValueError, match="at least one"):
        resolution(*bad)
