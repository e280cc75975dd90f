"""Near-duplicates and blank samples in and across cohorts, of every modality that has a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from fedmeki_bench.audit.findings import Finding, Level, examples_of
from fedmeki_bench.audit.reading import SCORED, TRAINING, Audited
from fedmeki_bench.near import SEARCHES, Pairs, Prints, Search

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass
class Pool:
    """All distinct samples of one modality, whichever cohorts hold them.

    Attributes:
        search: how they are compared.
        members: a row per (cohort, content, group, split): ``item`` (row of ``prints``), ``cohort``, ``registry``,
            ``group_id``, ``split``, ``role``, and the first such sample's ``sample_id`` and ``array_row``.
        prints: one per item.
        empty: digests of the contents that are blank.
    """

    search: Search
    members: pd.DataFrame
    prints: Prints
    empty: frozenset[str]

    def blank(self, one: Audited) -> tuple[int, int]:
        """Items of a cohort without content, and items of it in all."""
        items = self.members.loc[self.members["cohort"] == one.name, "item"].unique()
        return int(self.prints.blank[items].sum()), len(items)


def pools(audited: Sequence[Audited]) -> list[Pool]:
    """The samples of all cohorts, by modality and by the shape of their fingerprints; content held twice once."""
    found: dict[tuple[Any, ...], list[tuple[Audited, np.ndarray, Prints]]] = {}
    for modality, search in SEARCHES.items():
        for one in audited:
            values = one.array(modality)
            if values is None or not len(values):
                continue
            prints = search.prints(values)
            if prints is not None:
                shape = tuple(sorted((name, array.shape[1:]) for name, array in prints.arrays.items()))
                found.setdefault((modality, shape), []).append((one, values, prints))
    return [_pool(modality, held) for (modality, _), held in found.items()]


def _pool(modality: str, held: Sequence[tuple[Audited, np.ndarray, Prints]]) -> Pool:
    import numpy as np
    import pandas as pd

    item: dict[tuple[str, ...], int] = {}
    members, parts = [], []
    for one, _, prints in held:
        table = one.held(modality)
        digests = table["digest"] if "digest" in table else pd.Series("", index=table.index)
        numbers = table["number"].tolist() if "number" in table else [None] * len(table)
        keys = [
            (one.name, str(row)) if not digest else (digest,) if number is None else (digest, modality, str(number))
            for digest, row, number in zip(digests.tolist(), table["array_row"].tolist(), numbers, strict=True)
        ]
        fresh = {key: row for key, row in zip(keys, table["array_row"].tolist(), strict=True) if key not in item}
        for key in fresh:
            item[key] = len(item)
        rows = np.array(list(fresh.values()), dtype=np.intp)
        parts.append(Prints({name: a[rows] for name, a in prints.arrays.items()}, prints.blank[rows]))
        table["item"] = [item[key] for key in keys]
        table["cohort"], table["registry"], table["role"] = one.name, one.registry, one.cohort.role
        columns = ["item", "cohort", "registry", "role", "group_id", "split", "sample_id", "array_row"]
        members.append(table[columns].drop_duplicates(["item", "group_id", "split"]))
    stacked = Prints.stacked(parts)
    empty = frozenset(key[0] for key, row in item.items() if len(key) == 1 and stacked.blank[row])
    return Pool(SEARCHES[modality], pd.concat(members, ignore_index=True), stacked, empty)


def near_duplicates(audited: Sequence[Audited], found: Sequence[Pool]) -> list[Finding]:
    """Nearly the same samples, within cohorts and across them, also across two tasks of one source."""
    findings: list[Finding] = []
    for pool in found:
        pairs = pool.search.pairs(pool.prints)
        names = [one.name for one in audited if (pool.members["cohort"] == one.name).any()]
        by_name = {one.name: one for one in audited}
        rows = _sample_pairs(pool, pairs)
        across = False
        for a, b in combinations_with_replacement(names, 2):
            some = rows[(rows["cohort_l"] == a) & (rows["cohort_r"] == b)]
            if a == b:
                findings.append(_within(by_name[a], pool, some))
            elif len(some):
                across = True
                findings.append(_across(by_name[a], by_name[b], pool, some))
        if len(names) > 1 and not across:
            text = f"no {pool.search.what} of different cohorts score {pool.search.threshold} or more"
            findings.append(Finding("near across", tuple(names), "ok", text))
    return findings


def blanks(audited: Sequence[Audited], found: Sequence[Pool]) -> list[Finding]:
    """Flat recordings, pictures without contrast, series too sparse to tell apart: nothing to learn from."""
    findings = []
    for pool in found:
        for one in audited:
            n, of = pool.blank(one)
            if n:
                text = f"{n} of {of} {pool.search.what} {pool.search.blank}"
                findings.append(Finding("blank", (one.name,), "note", text, {"blank": n, "of": of}))
    return findings


def _sample_pairs(pool: Pool, pairs: Pairs) -> pd.DataFrame:
    """A row per pair of members (``_l`` from the earlier cohort) that are nearly the same and of different groups."""
    import pandas as pd

    table = pd.DataFrame({"item_l": pairs.left, "item_r": pairs.right, "correlation": pairs.score})
    both = pd.concat([table, table.rename(columns={"item_l": "item_r", "item_r": "item_l"})], ignore_index=True)
    order = {name: k for k, name in enumerate(pool.members["cohort"].unique())}
    rows = both.merge(pool.members.add_suffix("_l"), on="item_l").merge(pool.members.add_suffix("_r"), on="item_r")
    first, second = rows["cohort_l"].map(order), rows["cohort_r"].map(order)
    rows = rows[(first < second) | ((first == second) & (rows["item_l"] < rows["item_r"]))]
    same = (rows["registry_l"] == rows["registry_r"]) & (rows["group_id_l"] == rows["group_id_r"])
    return rows[~same].sort_values(["correlation", "sample_id_l", "sample_id_r"], ascending=[False, True, True])


def _within(one: Audited, pool: Pool, rows: pd.DataFrame) -> Finding:
    crossing = rows[rows["split_l"] != rows["split_r"]]
    facts: dict[str, Any] = {"pairs": len(rows), "crossing_splits": len(crossing)}
    what = pool.search.what
    if rows.empty:
        text = f"no two groups hold {what} that score {pool.search.threshold} or more"
        return Finding("near", (one.name,), "ok", text, facts)
    text = f"{len(rows)} pairs of {what} of different groups are nearly the same, {len(crossing)} cross splits"
    level: Level = "leak" if len(crossing) else "note"
    return Finding("near", (one.name,), level, text, facts, examples_of(crossing if len(crossing) else rows))


def _across(left: Audited, right: Audited, pool: Pool, rows: pd.DataFrame) -> Finding:
    leaking = learnt_and_tested(rows)
    hit = int(leaking.sum())
    text = (
        f"{len(rows)} pairs of {pool.search.what} of {left.name} and {right.name} are nearly the same; {hit} are "
        "learnt from in one and tested in the other"
    )
    facts = {"pairs": len(rows), "trained_here_tested_there": hit}
    shown = examples_of(rows[leaking] if hit else rows)
    return Finding("near across", (left.name, right.name), "leak" if hit else "note", text, facts, shown)


def learnt_and_tested(rows: pd.DataFrame) -> pd.Series:
    """Pairs (columns ``role`` and ``split``, ``_l`` and ``_r``) of which one side is learnt from, the other tested."""
    seen_left = (rows["role_l"] == "training") & rows["split_l"].isin(TRAINING) & rows["split_r"].isin(SCORED)
    seen_right = (rows["role_r"] == "training") & rows["split_r"].isin(TRAINING) & rows["split_l"].isin(SCORED)
    either: pd.Series = seen_left | seen_right
    return either
