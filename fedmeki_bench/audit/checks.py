"""The checks: shared groups, identical and near-identical samples, shortcuts, balance. Each gives findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from fedmeki_bench.audit.findings import Example, Finding, Level, examples_of
from fedmeki_bench.audit.near import blanks, learnt_and_tested, near_duplicates, pools
from fedmeki_bench.audit.reading import SCORED, Audited
from fedmeki_bench.data.prepare.official import LEARNT_PARTS, shared_groups
from fedmeki_bench.data.splits import EXTERNAL

if TYPE_CHECKING:
    import pandas as pd

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.evaluation.intervals import Estimate

_STRONG = 0.75
"""AUROC from which a shortcut deserves a note."""
_SEED = 0


def run_all(
    audited: Sequence[Audited], *, near: bool = True, parts: Sequence[Mapping[str, CohortPart]] = ()
) -> list[Finding]:
    """Every check on every cohort and pair of cohorts, leaks first; ``parts`` is what each client holds."""
    found: list[Finding] = []
    held = pools(audited) if near else []
    empty = frozenset().union(*(pool.empty for pool in held))
    for one in audited:
        found += [
            groups_within(one),
            identical_within(one, empty),
            *official_split(one),
            *held_out_site(one),
            *unseen_rest(one),
            *shortcuts(one),
        ]
    for left, right in combinations(audited, 2):
        found += [*groups_between(left, right), *identical_between(left, right, empty)]
    if parts:
        found += groups_on_clients(audited, parts)
    found += [*near_duplicates(audited, held), *blanks(audited, held)]
    order = {"leak": 0, "note": 1, "ok": 2}
    return sorted(found, key=lambda f: (order[f.level], f.check, f.cohorts))


def groups_within(one: Audited) -> Finding:
    """Do groups cross the splits of one cohort?"""
    samples = one.samples
    splits = samples.groupby("group_id")["split"].nunique()
    crossing = splits[splits > 1].index
    test = samples[samples["split"].isin(SCORED)]
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


def held_out_site(one: Audited) -> list[Finding]:
    """Where a site is held out: is any of its samples, or anybody who has one there, in another split?"""
    site = one.cohort.card["options"].get("hold_out", "")
    if not site or one.cohort.role != "training":
        return []
    there = set(one.samples.loc[one.samples["site"] == site, "group_id"])
    theirs = one.samples["group_id"].isin(there)
    outside = int((theirs & (one.samples["split"] != EXTERNAL)).sum())
    facts = {"groups": len(there), "samples": int(theirs.sum()), "samples_elsewhere": outside}
    text = f"{outside} of the {int(theirs.sum())} samples of {len(there)} groups of site {site} are in other splits"
    return [Finding("held-out site", (one.name,), "leak" if outside else "ok", text, facts)]


def official_split(one: Audited) -> list[Finding]:
    """Does the dataset's own published division share groups between training and test?"""
    if "official_split" not in one.samples:
        return []
    own = one.samples["official_split"].fillna("").astype(str)
    images, shared = shared_groups(zip(one.samples["group_id"], own, strict=True))
    if not images or not own.isin(LEARNT_PARTS).any():
        return []
    facts = {"test_groups": images, "shared": shared}
    share = f"{100 * shared / images:.0f} %"
    text = f"the dataset's own split shares {share} of its test groups ({shared} of {images}) with its training part"
    published = one.cohort.card["options"].get("split") == "published"
    level: Level = "ok" if not shared else ("leak" if published else "note")
    return [Finding("official split", (one.name,), level, text, facts)]


def unseen_rest(one: Audited) -> list[Finding]:
    """Does leaving out the seen patients leave a class of a zero-shot cohort empty?"""
    spec, held = one.cohort.labels, _classes_held(one)
    if one.cohort.role == "training" or all(held.values()):
        return []
    lacking = ", ".join(name for name, count in held.items() if not count)
    undefined = "so that no ranking metric is defined"
    if spec.how.classed:
        text = f"the {len(one.samples)} samples hold none of {lacking}, {undefined} there"
    else:
        text = f"the {len(one.samples)} samples hold no {lacking} one, {undefined}"
    if one.cohort.card.get("zero_shot") == "unseen":
        text += "; -o zero_shot=all keeps the patients that training has seen"
    return [Finding("classes", (one.name,), "note", text, dict(held))]


def _classes_held(one: Audited) -> dict[str, int]:
    """Class -> its samples; empty for kinds without classes."""
    spec = one.cohort.labels
    if not spec.how.labelled:
        return {}
    counts = spec.how.counts(spec.how.read(one.samples["label"].tolist(), spec), spec)
    return dict(counts.get("classes") or {name: counts[name] for name in ("positive", "negative") if name in counts})


def identical_within(one: Audited, empty: frozenset[str] = frozenset()) -> Finding:
    """Samples with the same content in different groups, and whether they cross splits; blank content is no content."""
    unique = one.samples.drop_duplicates(["digest", "group_id"])
    digests = unique[unique["digest"] != ""]["digest"] if "digest" in unique else unique["sample_id"]
    counts = digests.value_counts()
    doubled = set(counts[counts > 1].index) - empty
    if not doubled:
        return Finding("identical", (one.name,), "ok", "no two groups hold the same content")
    rows = one.samples[one.samples["digest"].isin(doubled)]
    crossing = [rows[rows["digest"] == d] for d in sorted(doubled)]
    crossing = [r for r in crossing if r["split"].nunique() > 1]
    examples = tuple(_first_and_last(one, r) for r in crossing[:6])
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
        test = tested.samples[tested.samples["split"].isin(SCORED)]
        hit = int(test["group_id"].isin(seen).sum())
        text = f"{hit} of {len(test)} test samples of {tested.name} are of groups that {trained.name} learns from"
        if not hit:
            text = f"no test group of {tested.name} is learnt from by {trained.name}"
        facts = {"test_samples": len(test), "seen": hit}
        found.append(Finding("groups across", (trained.name, tested.name), "leak" if hit else "ok", text, facts))
    return found


def _first_and_last(one: Audited, rows: pd.DataFrame) -> Example:
    sides = [(one.name, str(row["sample_id"]), int(row["array_row"])) for _, row in rows.iloc[[0, -1]].iterrows()]
    return Example(sides[0], sides[1])


def identical_between(left: Audited, right: Audited, empty: frozenset[str] = frozenset()) -> list[Finding]:
    """Samples with the same stored content in two cohorts, unless it is one group's in both."""
    if left.cohort.arrays.keys().isdisjoint(right.cohort.arrays):
        return []
    tables = [
        one.samples.assign(cohort=one.name, role=one.cohort.role).add_suffix(side)
        for one, side in ((left, "_l"), (right, "_r"))
    ]
    both = tables[0].merge(tables[1], left_on="digest_l", right_on="digest_r")
    both = both[~both["digest_l"].isin(empty | {""})]
    if left.registry == right.registry:  # the same patient in two tasks is the business of groups_between
        both = both[both["group_id_l"] != both["group_id_r"]]
    if both.empty:
        return []
    leaking = learnt_and_tested(both)
    hit = int(leaking.sum())
    text = f"{len(both)} pairs of samples of {left.name} and {right.name} hold the same content; {hit} are learnt from "
    text += "in one and tested in the other"
    facts = {"pairs": len(both), "trained_here_tested_there": hit}
    shown = examples_of(both[leaking] if hit else both)
    return [Finding("identical across", (left.name, right.name), "leak" if hit else "note", text, facts, shown)]


def shortcuts(one: Audited) -> list[Finding]:
    """How well site, sex, age or picture size alone tells the label: learnt on `client`, scored on valid and public.

    Of several classes, the one that an attribute tells best against the others counts.

    A zero-shot cohort has nothing but test samples: there the share is learnt on half of the groups, scored on the
    other half.
    """
    import numpy as np

    strata = one.strata
    if strata is None or len(np.unique(strata)) < 2:
        return []
    samples = one.samples
    told_apart = np.unique(strata)[1:] if len(np.unique(strata)) == 2 else np.unique(strata)
    if (samples["split"] == "client").any():
        fit, score = samples["split"] == "client", samples["split"].isin(["valid", "public"])
    else:
        half = samples["group_id"].astype(str).map(lambda g: sum(g.encode()) % 2 == 0)
        fit, score = half, ~half
    found: dict[str, Estimate] = {}
    for name in ("site", "sex", "age", "width", "height"):
        if name in samples and samples[name].nunique(dropna=True) > 1:
            each = [_told_by(samples[name], samples.assign(label=strata == k), fit, score) for k in told_apart]
            values = [value for value in each if value is not None and np.isfinite(value.value)]
            if values:
                found[name] = max(values, key=lambda value: value.value)
    if not found:
        return []
    order = sorted(found, key=lambda name: -found[name].value)
    told = ", ".join(f"{n} {found[n].value:.2f} {_interval(found[n])}" for n in order)
    held, groups = int(score.sum()), int(samples.loc[score, "group_id"].nunique())
    # a value that an interval from below chance belongs to, or none, says too little for a note
    strong = any(e.value >= _STRONG and e.low > 0.5 for e in found.values())
    facts: dict[str, Any] = {name: e.value for name, e in found.items()}
    facts |= {
        "n": held,
        "groups": groups,
        "intervals": {n: [_finite(e.low), _finite(e.high)] for n, e in found.items()},
    }
    text = f"AUROC of the label from one attribute alone, on {held} samples of {groups} groups (95 % interval): {told}"
    return [Finding("shortcuts", (one.name,), "note" if strong else "ok", text, facts)]


def _interval(found: Estimate) -> str:
    return f"[{found.low:.2f}, {found.high:.2f}]" if found.low == found.low else "[no interval]"


def _finite(value: float) -> float | None:
    return value if value == value else None


def _told_by(values: pd.Series, samples: pd.DataFrame, fit: pd.Series, score: pd.Series) -> Estimate | None:
    """AUROC of the mean label per category (numbers in ten bins), a category never seen getting the overall mean.

    With its interval over groups; None where only one class is scored.
    """
    import numpy as np
    import pandas as pd

    from fedmeki_bench.evaluation.intervals import estimate
    from fedmeki_bench.evaluation.metrics import AUROC

    labels = samples["label"].astype(int)
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 10:
        edges = np.unique(np.nanquantile(values[fit].astype(float), np.linspace(0, 1, 11)[1:-1]))
        binned = np.searchsorted(edges, values.astype(float).to_numpy())
        values = pd.Series(np.where(values.isna(), -1, binned), index=values.index)
    share = labels[fit].groupby(values[fit].astype(str)).mean()
    predicted = values[score].astype(str).map(share).fillna(labels[fit].mean())
    if labels[score].nunique() < 2:
        return None
    groups = samples.loc[score, "group_id"].to_numpy()
    return estimate(labels[score].to_numpy(), predicted.to_numpy(dtype=float), groups, [AUROC], seed=_SEED)[AUROC.name]
