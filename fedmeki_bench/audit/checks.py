"""The checks: shared groups, identical and near-identical samples, shortcuts, balance. Each gives findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.audit.near import THRESHOLD, pairs, thumbnails
from fedmeki_bench.audit.reading import Audited

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from fedmeki_bench.cohort.format import CohortPart

Level = Literal["ok", "note", "leak"]
_EXAMPLES = 6
_STRONG = 0.75
"""AUROC from which a shortcut deserves a note."""


@dataclass(frozen=True)
class Example:
    """A pair of samples that a finding rests on: (cohort, sample id, array row) twice, and their correlation."""

    left: tuple[str, str, int]
    right: tuple[str, str, int]
    correlation: float | None = None


@dataclass(frozen=True)
class Finding:
    """One thing the audit looked at.

    Attributes:
        check: which check.
        cohorts: what it concerns.
        level: ok, note (a reader should know) or leak (a number would be too good).
        text: one sentence.
        facts: the numbers behind it.
        examples: pairs to look at.
    """

    check: str
    cohorts: tuple[str, ...]
    level: Level
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run_all(
    audited: Sequence[Audited], *, near: bool = True, parts: Sequence[Mapping[str, CohortPart]] = ()
) -> list[Finding]:
    """Every check on every cohort and pair of cohorts, leaks first; ``parts`` is what each client holds, if dealt."""
    found: list[Finding] = []
    for one in audited:
        found += [groups_within(one), identical_within(one), *official_split(one), *shortcuts(one)]
    for left, right in combinations(audited, 2):
        found += [*groups_between(left, right), *identical_between(left, right)]
    if parts:
        found += groups_on_clients(audited, parts)
    if near:
        found += near_duplicates(audited)
    order = {"leak": 0, "note": 1, "ok": 2}
    return sorted(found, key=lambda f: (order[f.level], f.check, f.cohorts))


def groups_within(one: Audited) -> Finding:
    """Do groups cross the splits of one cohort?"""
    samples = one.samples
    splits = samples.groupby("group_id")["split"].nunique()
    crossing = splits[splits > 1].index
    test = samples[samples["split"] == "test"]
    seen = set(samples.loc[one.trained, "group_id"])
    hit = int(test["group_id"].isin(seen).sum())
    facts = {"groups": len(splits), "shared": len(crossing), "test_samples": len(test), "test_samples_seen": hit}
    unit = one.cohort.card["grouping"]
    if not len(crossing):
        return Finding("groups", (one.name,), "ok", f"no group ({unit}) crosses the splits of {len(splits)}", facts)
    share = f"{100 * hit / max(1, len(test)):.0f} %"
    text = f"{len(crossing)} of {len(splits)} groups ({unit}) cross splits: {share} of the test samples have been seen"
    return Finding("groups", (one.name,), "leak", text, facts)


def groups_on_clients(audited: Sequence[Audited], parts: Sequence[Mapping[str, CohortPart]]) -> list[Finding]:
    """Does a group sit with more than one client, in one cohort or in several over the same source?"""
    found = []
    for registry in sorted({one.registry for one in audited if one.cohort.role == "training"}):
        names = tuple(one.name for one in audited if one.registry == registry and one.cohort.role == "training")
        owners: dict[str, set[int]] = {}
        for client, held in enumerate(parts):
            for name in names:
                for group in held[name].group_ids.tolist() if name in held else ():
                    owners.setdefault(group, set()).add(client)
        shared = sum(len(clients) > 1 for clients in owners.values())
        text = f"{shared} of {len(owners)} private groups sit with more than one of {len(parts)} clients"
        facts = {"groups": len(owners), "shared": shared}
        found.append(Finding("clients", names, "leak" if shared else "ok", text, facts))
    return found


def official_split(one: Audited) -> list[Finding]:
    """Does the dataset's own published division share groups between training and test?"""
    if "official_split" not in one.samples:
        return []
    own = one.samples["official_split"].fillna("").astype(str)
    test = one.samples[own == "test"]
    train = set(one.samples.loc[own.isin(["train", "valid"]), "group_id"])
    if test.empty or not train:
        return []
    images = set(test["group_id"])
    shared = len(images & train)
    facts = {"test_groups": len(images), "shared": shared}
    share = f"{100 * shared / len(images):.0f} %"
    text = (
        f"the dataset's own split shares {share} of its test groups ({shared} of {len(images)}) with its training part"
    )
    published = one.cohort.card["options"].get("split") == "published"
    level: Level = "ok" if not shared else ("leak" if published else "note")
    return [Finding("official split", (one.name,), level, text, facts)]


def identical_within(one: Audited) -> Finding:
    """Samples with the same content in different groups, and whether they cross splits."""
    unique = one.samples.drop_duplicates(["digest", "group_id"])
    digests = unique[unique["digest"] != ""]["digest"] if "digest" in unique else unique["sample_id"]
    counts = digests.value_counts()
    doubled = set(counts[counts > 1].index)
    if not doubled:
        return Finding("identical", (one.name,), "ok", "no two groups hold the same content")
    rows = one.samples[one.samples["digest"].isin(doubled)]
    crossing = [rows[rows["digest"] == d] for d in sorted(doubled)]
    crossing = [r for r in crossing if r["split"].nunique() > 1]
    examples = tuple(_example(one, r.iloc[0], one, r.iloc[-1]) for r in crossing[:_EXAMPLES])
    facts = {"contents": len(doubled), "crossing_splits": len(crossing)}
    level: Level = "leak" if crossing else "note"
    text = f"{len(doubled)} contents stand in more than one group, {len(crossing)} of them in more than one split"
    return Finding("identical", (one.name,), level, text, facts, examples)


def groups_between(left: Audited, right: Audited) -> list[Finding]:
    """Do two cohorts over one source put a patient into training here and into the test there?"""
    if left.registry != right.registry:
        return []
    found = []
    for trained, tested in ((left, right), (right, left)):
        if trained.cohort.role != "training":
            continue
        seen = set(trained.samples.loc[trained.trained, "group_id"])
        test = tested.samples[tested.samples["split"] == "test"]
        hit = int(test["group_id"].isin(seen).sum())
        text = f"{hit} of {len(test)} test samples of {tested.name} are of groups that {trained.name} learns from"
        if not hit:
            text = f"no test group of {tested.name} is learnt from by {trained.name}"
        facts = {"test_samples": len(test), "seen": hit}
        found.append(Finding("groups across", (trained.name, tested.name), "leak" if hit else "ok", text, facts))
    return found


def identical_between(left: Audited, right: Audited) -> list[Finding]:
    """Samples with the same stored content in cohorts of different sources."""
    if left.registry == right.registry or left.cohort.arrays.keys().isdisjoint(right.cohort.arrays):
        return []
    both = left.samples.merge(right.samples, on="digest", suffixes=("_l", "_r"))
    both = both[both["digest"] != ""]
    if both.empty:
        return []
    return [_across("identical across", left, right, both, None)]


def near_duplicates(audited: Sequence[Audited]) -> list[Finding]:
    """Nearly the same pictures, within and across cohorts of different sources."""
    shown: dict[str, tuple[Audited, np.ndarray]] = {}
    for one in audited:  # cohorts of one source show the same pictures: one of them stands for all
        pictures = one.pictures()
        if pictures is not None and pictures.shape[-1] >= 32 and one.registry not in shown:
            shown[one.registry] = (one, thumbnails(pictures))
    found = []
    for one, small in shown.values():
        found.append(_near_within(one, small))
    for (left, a), (right, b) in combinations(shown.values(), 2):
        matched = list(pairs(a, b))
        if not matched:
            text = f"no picture of {left.name} correlates above {THRESHOLD} with one of {right.name}"
            found.append(Finding("near across", (left.name, right.name), "ok", text))
            continue
        rows = _rows_of(left, right, [(p.left, p.right, p.correlation) for p in matched])
        found.append(_across("near across", left, right, rows, len(matched)))
    return found


def _near_within(one: Audited, small: np.ndarray) -> Finding:
    rows = _rows_of(one, one, [(p.left, p.right, p.correlation) for p in pairs(small)])
    rows = rows[rows["group_id_l"] != rows["group_id_r"]]
    crossing = rows[rows["split_l"] != rows["split_r"]]
    facts = {"pairs": len(rows), "crossing_splits": len(crossing)}
    if rows.empty:
        return Finding(
            "near", (one.name,), "ok", f"no two groups hold pictures that correlate above {THRESHOLD}", facts
        )
    some = crossing if len(crossing) else rows
    text = f"{len(rows)} pairs of pictures of different groups are nearly the same, {len(crossing)} cross splits"
    return Finding("near", (one.name,), "leak" if len(crossing) else "note", text, facts, _examples(one, one, some))


def _rows_of(left: Audited, right: Audited, matched: Sequence[tuple[int, int, float]]) -> pd.DataFrame:
    """One row per pair of pictures, with the first sample of each picture."""
    import pandas as pd

    table = pd.DataFrame(matched, columns=["array_row_l", "array_row_r", "correlation"])
    for side, one in (("_l", left), ("_r", right)):
        first = one.samples.drop_duplicates("array_row").add_suffix(side)
        table = table.merge(first, on=f"array_row{side}", how="inner")
    return table


def _across(check: str, left: Audited, right: Audited, rows: pd.DataFrame, pictures: int | None) -> Finding:
    """Same content in two sources: a leak if one side learns from what the other is tested on."""
    import pandas as pd

    trains = [one.cohort.role == "training" for one in (left, right)]
    seen_left = rows["split_l"].isin(["client", "valid", "public"]) & (rows["split_r"] == "test")
    seen_right = rows["split_r"].isin(["client", "valid", "public"]) & (rows["split_l"] == "test")
    leaking = pd.Series(False, index=rows.index)
    if trains[0]:
        leaking |= seen_left
    if trains[1]:
        leaking |= seen_right
    hit = int(leaking.sum())
    kind = "same" if pictures is None else "nearly the same"
    text = f"{len(rows)} samples of {left.name} are {kind} as samples of {right.name}; {hit} pairs are learnt from in "
    text += "one and tested in the other"
    some = rows[leaking] if hit else rows
    facts = {"pairs": len(rows), "trained_here_tested_there": hit}
    return Finding(check, (left.name, right.name), "leak" if hit else "note", text, facts, _examples(left, right, some))


def _examples(left: Audited, right: Audited, rows: pd.DataFrame) -> tuple[Example, ...]:
    found = []
    for row in rows.head(_EXAMPLES).to_dict("records"):
        correlation = row.get("correlation")
        found.append(
            Example(
                (left.name, str(row["sample_id_l"]), int(row["array_row_l"])),
                (right.name, str(row["sample_id_r"]), int(row["array_row_r"])),
                None if correlation is None else round(float(correlation), 5),
            )
        )
    return tuple(found)


def _example(left: Audited, a: pd.Series, right: Audited, b: pd.Series) -> Example:
    return Example(
        (left.name, str(a["sample_id"]), int(a["array_row"])), (right.name, str(b["sample_id"]), int(b["array_row"]))
    )


def shortcuts(one: Audited) -> list[Finding]:
    """How well site, sex, age or picture size alone tells the label: learnt on `client`, scored on valid and public.

    A zero-shot cohort has nothing but test samples: there the share is learnt on half of the groups, scored on the
    other half.
    """
    import numpy as np

    if one.cohort.kind != "classification" or one.samples["label"].nunique() < 2:
        return []
    samples = one.samples
    if (samples["split"] == "client").any():
        fit, score = samples["split"] == "client", samples["split"].isin(["valid", "public"])
    else:
        half = samples["group_id"].astype(str).map(lambda g: sum(g.encode()) % 2 == 0)
        fit, score = half, ~half
    found: dict[str, float] = {}
    for name in ("site", "sex", "age", "width", "height"):
        if name in samples and samples[name].nunique(dropna=True) > 1:
            value = _told_by(samples[name], samples["label"], fit, score)
            if np.isfinite(value):
                found[name] = value
    if not found:
        return []
    best = max(found, key=lambda name: found[name])
    told = ", ".join(f"{name} {value:.2f}" for name, value in sorted(found.items(), key=lambda i: -i[1]))
    level: Level = "note" if found[best] >= _STRONG else "ok"
    return [Finding("shortcuts", (one.name,), level, f"AUROC of the label from one attribute alone: {told}", found)]


def _told_by(values: pd.Series, labels: pd.Series, fit: pd.Series, score: pd.Series) -> float:
    """AUROC of the mean label per category (numbers in ten bins), a category never seen getting the overall mean."""
    import numpy as np
    import pandas as pd

    from fedmeki_bench.evaluation.metrics import AUROC

    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 10:
        edges = np.unique(np.nanquantile(values[fit].astype(float), np.linspace(0, 1, 11)[1:-1]))
        binned = np.searchsorted(edges, values.astype(float).to_numpy())
        values = pd.Series(np.where(values.isna(), -1, binned), index=values.index)
    share = labels[fit].groupby(values[fit].astype(str)).mean()
    predicted = values[score].astype(str).map(share).fillna(labels[fit].mean())
    if labels[score].nunique() < 2:
        return float("nan")
    return AUROC(labels[score].to_numpy(), predicted.to_numpy(dtype=float))
