"""Where the numbers of a page were made, and what moved between two machines under the same keys.

A key names a run's specification and data, not the machine: another processor or library rounds otherwise, training
carries the rounding on, and a metric at a fixed threshold can jump where the AUROC hardly moves.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmeki_bench.bounded import regular_text
from fedmeki_bench.errors import InputError
from fedmeki_bench.leaderboard.collect import Row, environment_digest
from fedmeki_bench.plain import plain_text
from fedmeki_bench.records.record import Record

_LARGEST = 200_000_000  # characters of a page's CSV
_MOVED = 1e-6
_NAMED = 3


def described(records: Iterable[Record]) -> tuple[str, ...]:
    """Every environment behind the records: its digest and what it is in words, sorted."""
    found = {environment_digest(r.environment): _in_words(r.environment) for r in records}
    return tuple(f"{digest} ({said})" if said else digest for digest, said in sorted(found.items()))


def _in_words(environment: Mapping[str, Any]) -> str:
    packages = environment.get("packages")
    torch = packages.get("torch") if isinstance(packages, Mapping) else None
    git = environment.get("git")
    commit = str(git.get("commit", ""))[:7] if isinstance(git, Mapping) else ""
    changed = isinstance(git, Mapping) and git.get("changed")
    parts = [
        str(environment.get("processor", "")),
        f"{environment['threads']} thread{'s' * (environment['threads'] != 1)}" if "threads" in environment else "",
        f"torch {torch}" if torch else "",
        f"commit {commit}{' with changes' * bool(changed)}" if commit else "",
    ]
    return ", ".join(part for part in parts if part)


def moved_since(path: Path, rows: Sequence[Row]) -> str:
    """What differs between a committed page's CSV and these rows although key and metric are the same, in a sentence.

    Empty where nothing moved, both come from one environment, or the file can't be read.
    """
    try:
        there = csv.DictReader(io.StringIO(regular_text(path, _LARGEST, "page")))
        known = {
            (row["key"], row["algorithm"], row["task"], row["metric"]): (float(row["value"]), row["environment"])
            for row in there
            if row["value"]
        }
    except (OSError, ValueError, KeyError, TypeError, csv.Error, InputError):
        return ""
    moved = []
    for row in rows:
        other = known.get((row.key, row.algorithm, row.task, row.metric))
        if row.value is None or other is None or other[1] == row.environment:
            continue
        apart = abs(other[0] - row.value)
        if apart > _MOVED:
            moved.append((apart, other[0], row, other[1]))
    if not moved:
        return ""
    moved.sort(key=lambda one: -one[0])
    largest = "; ".join(
        f"{row.metric} of {row.algorithm} on {row.task} {there_value:.3f} there, {row.value:.3f} here"
        for _, there_value, row, _ in moved[:_NAMED]
    )
    environments = ", ".join(sorted({plain_text(name) for *_, name in moved}))
    n = len(moved)
    made = "1 number of the same runs was" if n == 1 else f"{n} numbers of the same runs were"
    return f"{made} made in another environment ({environments}) and differ{'s' * (n == 1)}, most: {largest}"
