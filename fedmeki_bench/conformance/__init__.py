"""The conformance suite: what holds for every rule, stage, task, dataset preparer and encoder, checked on any of them.

``fedmeki-bench check PLUGIN`` runs it; in one's own tests three lines do::

    from fedmeki_bench.conformance import as_pytest

    test_conformance = as_pytest("my_package.my_rule:MyRule", kind="rules")

What each clause asks for, and why, stands in ``docs/conformance.md``.
"""

from fedmeki_bench.conformance.clause import Clause, NotApplicable, Outcome, Undecided, Violation, run
from fedmeki_bench.conformance.pytesting import as_pytest
from fedmeki_bench.conformance.subject import Subject, find
from fedmeki_bench.conformance.suite import KINDS, check, clauses

__all__ = [
    "KINDS", "Clause", "NotApplicable", "Outcome", "Subject", "Undecided", "Violation", "as_pytest", "check", "clauses",
    "find", "run",
]  # fmt: skip
