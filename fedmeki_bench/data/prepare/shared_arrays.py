"""Tasks of one dataset that store the same samples share their arrays on disk, by hard links.

Every cohort still is a folder that needs no other: removing one task takes a name away, not the bytes. Nothing is ever
written through a link, because arrays are written into new files only, and whole folders are renamed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedmeki_bench.data import card as cards
from fedmeki_bench.data.cohort import prepared
from fedmeki_bench.data.prepare.task_share import Plan
from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import InputError


def follow(plans: Sequence[Plan]) -> None:
    """Say of each plan which earlier one stores exactly the same arrays; only that one writes them."""
    for position, plan in enumerate(plans):
        plan.like = next((p for p in plans[:position] if p.specs == plan.specs and p.wanted == plan.wanted), None)


def link_or_copy(source: Path, target: Path) -> None:
    """Give the finished file ``source`` a second name; a copy where the file system has no hard links."""
    if not _linked(source, target):
        shutil.copyfile(source, target)


def share_with_standing(array: Path, sha256: str, out: Path, *, without: Iterable[str]) -> None:
    """Put a link to an equal array of a cohort that stands in ``out`` in the place of ``array``, if there is one.

    Args:
        array: a finished file in a folder that nobody sees yet.
        sha256: of that file. The other one is read whole before it is trusted.
        without: tasks whose cohorts are about to be replaced.
    """
    for task in prepared(out):
        other = out / task / array.name
        if task in set(without) or other.is_symlink() or not other.is_file():
            continue
        try:
            facts = cards.read_card(out / task)["files"].get(array.name, {})
        except InputError:  # a damaged neighbour is no reason to fail
            continue
        if facts.get("sha256") != sha256:
            continue
        link = array.with_name(f".{array.name}.link")
        if _linked(other, link):
            if file_digest(link) == sha256:
                link.replace(array)
                return
            link.unlink()


def _linked(source: Path, target: Path) -> bool:
    """Whether ``target`` is now another name of ``source``: not across file systems, nor where links are refused."""
    try:
        os.link(source, target)
    except (OSError, NotImplementedError, AttributeError):  # the last where Python has no os.link
        return False
    return True
