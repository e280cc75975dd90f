"""Shares of patients: nested, whole patients, never empty."""

from itertools import pairwise

import numpy as np
import pytest

from fedmeki_bench.data.clients.shares import rows_of_share
from fedmeki_bench.seeds import generator

GROUPS = np.array(["c", "a", "b", "a", "d", "b", "e", "c", "f", "g", "h", "i", "j"])


def test_shares_are_nested_and_hold_whole_patients() -> None:
    """Of one stream the smaller share lies in the larger, and no patient is cut."""
    found = [set(rows_of_share(GROUPS, share, generator(0, "share"))) for share in (0.1, 0.3, 0.75, 1.0)]
    assert all(small < large for small, large in pairwise(found))
    assert found[-1] == set(range(len(GROUPS)))
    for rows in found:
        kept = set(GROUPS[sorted(rows)])
        assert rows == {i for i, group in enumerate(GROUPS) if group in kept}
    assert [len(set(GROUPS[sorted(rows)])) for rows in found] == [1, 3, 8, 10]


def test_streams_differ_and_nobody_is_left_with_nothing() -> None:
    """Another stream keeps others; the smallest share keeps one patient; a share beyond (0, 1] is refused."""
    draws = {tuple(rows_of_share(GROUPS, 0.3, generator(seed, "share"))) for seed in range(5)}
    assert len(draws) > 1
    assert len(set(GROUPS[rows_of_share(GROUPS, 1e-6, generator(0, "share"))])) == 1
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match="share of the patients"):
            rows_of_share(GROUPS, share, generator(0, "share"))
