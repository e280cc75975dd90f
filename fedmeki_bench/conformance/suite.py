"""The whole suite on one plug-in: its kind's table of clauses, one after another."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedmeki_bench.conformance.clause import Clause, Outcome, run
from fedmeki_bench.conformance.subject import KINDS, find

__all__ = ["KINDS", "check", "clauses"]


def clauses(kind: str) -> tuple[Clause, ...]:
    """The table of a kind; an unknown kind (what can't be imported) is asked only whether it loads."""
    if not kind:
        return (clauses("rules")[0],)
    table: tuple[Clause, ...] = importlib.import_module(f"fedmeki_bench.conformance.{kind}").CLAUSES
    return table


def check(
    plugin: Any,
    kind: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    raw: Path | None = None,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Check one plug-in; arguments and errors are those of :func:`~fedmeki_bench.conformance.subject.find`.

    Args:
        plugin: a registered name, ``file.py:Attribute``, ``package.module:Attribute``, a class or an instance of it.
        kind: ``rules``, ``stages``, ``tasks``, ``datasets``, ``encoders`` or ``pretexts``, where it isn't clear.
        options: values of the plug-in's parameters.
        raw: a folder with the release on which to try a task or dataset, in the place of its stand-in.
        told: called with each outcome as it comes.

    Returns:
        One outcome per clause; a clause that does not hold is an outcome too and raises nothing.
    """
    subject = find(plugin, kind, options, raw=raw)
    return run(clauses(subject.kind), subject, told=told)
