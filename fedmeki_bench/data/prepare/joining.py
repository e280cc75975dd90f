"""Keeping near-identical samples of different groups on one side of every split.

The search runs over all sources of the dataset's table, whichever task is prepared, so that every task of a dataset
finds the same sets. Splits are drawn over the original groups, as ever; then a set goes as a whole to the side that
training sees least of among those drawn for its members. So a group that any training cohort learns from was drawn for
a training split, and a zero-shot task that leaves out what was drawn for it (``zero_shot.py``) needs to
know nothing of the sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.prepare.storage import write_json
from fedmeki_bench.data.prepare.zero_shot import least_exposed
from fedmeki_bench.near import SEARCH_VERSION, SEARCHES, Prints, joined_groups

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from fedmeki_bench.data.contract import Decoded
    from fedmeki_bench.data.preparer_options import PreparerOptions

DUPLICATES = "duplicates.json"
_BUFFER = 64
_LARGEST = 20  # groups, or a twentieth of all


def joinable(options: PreparerOptions, role: str) -> bool:
    """Whether near-duplicates could bear on the splits of a cohort of this role."""
    return role == "training" and options.split == "patient"


def wanted(options: PreparerOptions, role: str) -> bool:
    """Whether a cohort of this role, under these options, depends on a search for near-duplicates."""
    return options.join_duplicates and joinable(options, role)


@dataclass
class Joined:
    """What the search found.

    Attributes:
        pairs: (source, source, score) of near-identical sources of different groups.
        group: group -> the name of its set; groups on their own are left out.
        apart: groups of sets too large to be one patient's, which are left as they were.
    """

    pairs: list[tuple[str, str, float]] = field(default_factory=list)
    group: dict[str, str] = field(default_factory=dict)
    apart: int = 0

    def splits(self, groups: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """The split of each row once every set has gone to one side."""
        import numpy as np

        found: dict[str, str] = {}
        for group, split in zip(groups.tolist(), drawn.tolist(), strict=True):
            if name := self.group.get(group):
                found[name] = least_exposed(split, found.get(name, split))
        sides = [found.get(self.group.get(g, ""), s) for g, s in zip(groups.tolist(), drawn.tolist(), strict=True)]
        return np.array(sides, dtype=object)

    def told(self, moved: int) -> dict[str, Any]:
        """For the card, where anything was found."""
        sets = len(set(self.group.values()))
        return {
            "search": SEARCH_VERSION,
            "pairs": len(self.pairs),
            "groups_joined": len(self.group),
            "sets": sets,
            "samples_moved": moved,
            "groups_left_apart": self.apart,
        }

    def notes(self, moved: int) -> list[str]:
        """One sentence each, for the card."""
        found = []
        if self.group:
            sets = len(set(self.group.values()))
            found.append(
                f"{len(self.group)} groups hold near-identical samples of other groups and are kept together in "
                f"{sets} set{'s' * (sets > 1)}; {moved} sample{'s' * (moved != 1)} changed sides for that"
            )
        if self.apart:
            found.append(f"{self.apart} groups hang together by near-identical samples, too many for one: left apart")
        return found


class Collector:
    """Gathers fingerprints while sources are decoded."""

    def __init__(self) -> None:
        self._sources: list[str] = []
        self._owner: dict[str, list[int]] = {}  # modality -> the source of each of its arrays
        self._waiting: dict[str, list[np.ndarray]] = {}
        self._prints: dict[str, list[Prints]] = {}

    def add(self, source: str, decoded: Decoded) -> None:
        """Take one decoded source."""
        self._sources.append(source)
        for modality in decoded.arrays:
            if modality in SEARCHES:
                arrays = decoded.of(modality)
                self._waiting.setdefault(modality, []).extend(arrays)
                self._owner.setdefault(modality, []).extend([len(self._sources) - 1] * len(arrays))
        if len(self._sources) % _BUFFER == 0:
            self._flush()

    def joined(self, table: pd.DataFrame) -> Joined:
        """Compare all with all; ``table`` tells the groups of the sources."""
        import numpy as np

        self._flush()
        group = dict(zip(table["source"].tolist(), table["group_id"].astype(str).tolist(), strict=True))
        groups = [group[source] for source in self._sources]
        scores: dict[tuple[int, int], float] = {}
        for modality, parts in self._prints.items():
            found, owner = SEARCHES[modality].pairs(Prints.stacked(parts)), self._owner[modality]
            for a, b, score in zip(found.left.tolist(), found.right.tolist(), found.score.tolist(), strict=True):
                i, j = sorted((owner[a], owner[b]))
                if groups[i] != groups[j]:
                    scores[i, j] = max(score, scores.get((i, j), 0.0))
        if not scores:
            return Joined()
        left, right = np.array(sorted(scores)).T
        sets = joined_groups(groups, left, right)
        size: dict[str, int] = {}
        for name in sets.values():
            size[name] = size.get(name, 0) + 1
        limit = max(_LARGEST, len(set(groups)) // 20)
        return Joined(
            [(self._sources[i], self._sources[j], round(scores[i, j], 4)) for i, j in sorted(scores)],
            {g: name for g, name in sets.items() if size[name] <= limit},
            sum(n for n in size.values() if n > limit),
        )

    def _flush(self) -> None:
        import numpy as np

        for modality, arrays in self._waiting.items():
            if arrays and (prints := SEARCHES[modality].prints(np.stack(arrays))) is not None:
                self._prints.setdefault(modality, []).append(prints)
            arrays.clear()


def write(folder: Path, joined: Joined) -> None:
    """Write down what was found; the file lies beside the card and is no part of the data's identity."""
    write_json(folder / DUPLICATES, {"search": SEARCH_VERSION, "pairs": [list(pair) for pair in joined.pairs]})


def searched(folder: Path) -> bool:
    """Whether this version of the search has looked at the cohort."""
    try:
        facts: Mapping[str, Any] = json.loads((folder / DUPLICATES).read_text(encoding="utf-8"))
        return facts["search"] == SEARCH_VERSION
    except (OSError, ValueError, KeyError, TypeError):
        return False
