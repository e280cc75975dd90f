"""The clauses as tests of one's own package: one test per clause, whose failure is the clause's three sentences."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from fedmeki_bench.conformance.clause import Clause
from fedmeki_bench.conformance.subject import Subject, find
from fedmeki_bench.conformance.suite import clauses


def as_pytest(
    plugin: Any,
    *,
    kind: str,
    options: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
    raw: Path | None = None,
) -> Callable[..., None]:
    """A parametrised test; assign it to a name that starts with ``test_``.

    Args:
        plugin: a registered name, ``file.py:Attribute``, ``package.module:Attribute``, a class or an instance of it.
        kind: ``rules``, ``stages``, ``tasks``, ``datasets`` or ``encoders``.
        options: values of its parameters.
        without: names of clauses to leave out; say beside it why.
        raw: a folder with the release on which to try a task or dataset, in the place of its stand-in.
    """
    import pytest

    found: list[Subject] = []
    table = [clause for clause in clauses(kind) if clause.name not in without]

    @pytest.mark.parametrize("clause", table, ids=[clause.name for clause in table])
    def test_conformance(clause: Clause) -> None:
        if not found:  # loaded by the first test, not when tests are collected
            found.append(find(plugin, kind, options, raw=raw))
        outcome = clause.run(found[0])
        if outcome.status in ("skipped", "undecided"):
            pytest.skip(outcome.found)
        if outcome.status == "failed":
            pytest.fail(f"{found[0].name}, clause {outcome.clause}\n{outcome.message}", pytrace=False)

    return test_conformance
