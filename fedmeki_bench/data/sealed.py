"""The door to the test split. Only the package fedmeki_bench.evaluation may import it; a test checks that."""

from __future__ import annotations

from fedmeki_bench.data.cohort import Cohort, CohortPart


def open_test(cohort: Cohort) -> CohortPart:
    """The test samples of ``cohort``. Nothing is selected, tuned or stopped by them."""
    return cohort._part("test")
