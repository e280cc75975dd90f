"""How much a dataset's own train and test parts share, beside what splitting by whole groups would give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fedmeki_bench.data.splits import TRAINING_SPLITS, assign

LEARNT_PARTS = ("train", "valid")
"""Official parts whose groups a model has seen when it is tested."""


def official_overlap(rows: Iterable[tuple[str, str]], *, dataset: str, seed: int, unit: str) -> dict[str, Any]:
    """The card's ``official_split``: groups shared between parts, in the published division and split by group.

    All rows of a zero-shot task are test rows, so its own splits can share nothing. What a reader wants to know
    is whether the division that others report on leaks; it is given for both divisions.

    Args:
        rows: (group, official part) of every usable row; the parts are ``train``, ``valid`` and ``test``.
        dataset: names the stream that draws groups, with ``seed``.
        unit: what a group is, in one word.
    """
    pairs = list(rows)
    groups = [group for group, _ in pairs]
    drawn = assign(groups, mode="patient", seed=seed, dataset=dataset).tolist()
    return {
        "unit": unit,
        "published": _overlap(pairs, LEARNT_PARTS),
        "patient": _overlap(list(zip(groups, drawn, strict=True)), TRAINING_SPLITS),
    }


def shared_groups(rows: Iterable[tuple[str, str]], learnt: tuple[str, ...] = LEARNT_PARTS) -> tuple[int, int]:
    """Groups of the official test part, and how many of them the parts that are learnt from hold, too.

    Learnt from are ``train`` and ``valid``: who selects a model on a picture has seen it. The card and the audit both
    count so.
    """
    pairs = list(rows)
    test = {group for group, part in pairs if part == "test"}
    return len(test), len(test & {group for group, part in pairs if part in learnt})


def overlap_note(facts: dict[str, Any], mode: str) -> str:
    """One sentence about the division that the option ``split`` names."""
    found, unit = facts[mode], facts["unit"]
    if mode == "patient":
        return f"dealt by {unit}, {found['groups_shared_between_splits']} {unit}s would be shared between splits"
    if not found["test_groups"] or not set(LEARNT_PARTS) & set(found["samples"]):
        return "the files do not tell both a train and a test part: the published division cannot be audited"
    return (
        f"in the dataset's own division {found['test_groups_in_train']} of {found['test_groups']} test {unit}s "
        f"({found['share_of_test_groups_in_train']:.0%}) are in the training part, too"
    )


def _overlap(pairs: list[tuple[str, str]], learnt: tuple[str, ...]) -> dict[str, Any]:
    parts: dict[str, set[str]] = {}
    samples: dict[str, int] = {}
    for group, part in pairs:
        parts.setdefault(part, set()).add(group)
        samples[part] = samples.get(part, 0) + 1
    test, seen = shared_groups(pairs, learnt)
    shared = {group for group in set().union(*parts.values()) if sum(group in one for one in parts.values()) > 1}
    return {
        "samples": dict(sorted(samples.items())),
        "groups": {part: len(parts[part]) for part in sorted(parts)},
        "groups_shared_between_splits": len(shared),
        "test_groups": test,
        "test_groups_in_train": seen,
        "share_of_test_groups_in_train": round(seen / test, 4) if test else 0.0,
    }
