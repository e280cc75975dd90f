"""Zero-shot means unseen: a zero-shot task leaves out the patients that training on the same source has seen.

Splits belong to a dataset's groups, not to a task. So whoever prepares a zero-shot task can work out, without
any cohort at hand, where training cohorts of the same source put a patient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.data.splits import EXTERNAL, assign

if TYPE_CHECKING:
    import pandas as pd

    from fedmeki_bench.data.preparer_options import PreparerOptions

_EXPOSURE = (EXTERNAL, "test", "valid", "public", "client")  # least first


def least_exposed(first: str, second: str) -> str:
    """The one of two splits that training sees less of."""
    return min(first, second, key=_EXPOSURE.index)


def training_assignment(table: pd.DataFrame, options: PreparerOptions, dataset: str) -> dict[str, str]:
    """Group -> split, as ``prepare`` splits the training cohorts of ``dataset`` under the same options.

    With ``split=published`` rows are drawn and a group may lie in several splits: then the one in which training
    sees most of it counts.

    Args:
        table: the whole table of ``dataset``, as its preparer's ``table`` returns it.
        options: those of the training cohorts; ``split`` and ``split_seed`` count.
        dataset: the dataset's name, which names the random stream.
    """
    groups = table["group_id"].astype(str).tolist()
    splits = assign(groups, mode=options.split, seed=options.split_seed, dataset=dataset)
    found: dict[str, str] = {}
    for group, split in zip(groups, splits.tolist(), strict=True):
        found[group] = max(split, found.get(group, "test"), key=_EXPOSURE.index)
    return found
