"""The door to the test split and to a held-out site. Only fedmeki_bench.evaluation imports it, as a test checks."""

from __future__ import annotations

from fedmeki_bench.data.cohort import Cohort, CohortPart
from fedmeki_bench.data.splits import EXTERNAL


def open_test(cohort: Cohort) -> CohortPart:
    """The test samples of ``cohort``. Nothing is selected, tuned or stopped by them."""
    return cohort._part("test")


def open_external(cohort: Cohort) -> CohortPart:
    """The samples of the site that was held out when ``cohort`` was prepared; empty if none was."""
    return cohort._part(EXTERNAL)
