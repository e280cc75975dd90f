"""Drawing the four splits, 7 : 1 : 1 : 1: client (private), valid, public (the server's), test; and a site aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("client", "valid", "public", "test")

TRAINING_SPLITS = ("client", "valid", "public")
"""What learning and selection see of a training cohort."""

EXTERNAL = "external"
"""The split of a site that is held out: nobody learns there or selects by it; the evaluation alone opens it."""

_BOUNDS = (0.7, 0.8, 0.9)


def assign(
    groups: Sequence[str],
    *,
    mode: Literal["patient", "published"],
    seed: int,
    dataset: str,
) -> np.ndarray:
    """The split of each row, as an array of text.

    Args:
        groups: the group of each row. In ``patient`` mode hand over all rows of the dataset, before any task
            leaves some out: then all tasks of a dataset agree on where a patient belongs.
        mode: ``patient`` draws distinct groups, shuffled, cut at 70, 80 and 90 % of the rows;
            ``published`` draws rows whatever their group, which lets a group cross splits.
        seed: the split's seed (42 in the papers).
        dataset: part of the stream's name, so that two datasets are split independently.
    """
    import numpy as np

    names = np.asarray(SPLITS, dtype=object)
    if mode == "published":
        order = generator(seed, "split-rows", dataset).permutation(len(groups))
        result = np.empty(len(groups), dtype=object)
        result[order] = names[_cut(np.ones(len(groups)))]
        return result
    # sorted first, so that the order of the rows in the table has no influence
    distinct, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    mass = np.bincount(member, weights=np.ones(len(groups)), minlength=len(distinct))
    order = generator(seed, "split", dataset).permutation(len(distinct))
    of_group = np.empty(len(distinct), dtype=object)
    of_group[order] = names[_cut(mass[order])]
    return of_group[member]


def set_aside(splits: np.ndarray, groups: Sequence[str], sites: Sequence[str], site: str) -> np.ndarray:
    """The splits with every group that has a sample at ``site`` in the split ``external``, whatever else it has.

    Args:
        splits, groups, sites: of each row.
        site: the one to be held out; empty for none.

    Raises:
        InputError: no row is from that site, or all are.
    """
    import numpy as np

    if not site:
        return splits
    if site not in (known := sorted(set(sites))):
        named = [name for name in known if name]
        hint = nearest(site, named) if named else "its samples have no sites"
        raise InputError(f"hold_out={site}: no sample is from there; {hint}")
    there = {group for group, of in zip(groups, sites, strict=True) if of == site}
    aside = np.fromiter((group in there for group in groups), dtype=bool, count=len(groups))
    if aside.all():
        raise InputError(f"hold_out={site}: every group has a sample there, so nothing is left to learn from")
    return np.where(aside, EXTERNAL, splits).astype(object)


def _cut(mass: np.ndarray) -> np.ndarray:
    """Index of the split for each item of a shuffled list: by where the middle of its mass falls."""
    import numpy as np

    middle = np.cumsum(mass) - mass / 2
    return np.searchsorted(_BOUNDS, middle / max(float(mass.sum()), 1e-12), side="right")
