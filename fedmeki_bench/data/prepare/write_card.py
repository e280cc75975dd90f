"""Writing the data card of one task: rows, splits, audit, zero-shot registry, statistics."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data import card as cards
from fedmeki_bench.data.contract import DatasetPreparer, plain
from fedmeki_bench.data.holdings import counted
from fedmeki_bench.data.prepare.joining import Joined, joinable
from fedmeki_bench.data.prepare.official import overlap_note
from fedmeki_bench.data.prepare.task_share import Plan, trained_on_concepts
from fedmeki_bench.data.splits import EXTERNAL, SPLITS
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.kinds.kind import LabelSpec
from fedmeki_bench.options import silent
from fedmeki_bench.task import Task, TaskMeta

if TYPE_CHECKING:
    import pandas as pd

    from fedmeki_bench.data.contract import PreparerOptions


def options_told(task: Task, options: PreparerOptions) -> dict[str, Any]:
    """The options that bear on this task, as JSON values."""
    told = plain(options)
    for name in silent(type(options), told):  # newer than cohorts that stand, and as it always was
        del told[name]
    if task.meta.role == "training":
        del told["zero_shot"]
    else:
        told.pop("hold_out", None)
    if told["join_duplicates"] or not joinable(options, task.meta.role):
        del told["join_duplicates"]  # the default, or of no consequence
    return told


def card_of(
    preparer: DatasetPreparer,
    raw: Path,
    table: pd.DataFrame,
    plan: Plan,
    samples: pd.DataFrame,
    options: PreparerOptions,
    joined: Joined,
) -> dict[str, Any]:
    """The card, but for the hashes of the files. ``table`` is the dataset's, ``samples`` the task's."""
    meta = plan.task.meta
    markers = [cards.synthetic_facts(folder) for folder in (raw, *preparer.companions(raw, options))]
    facts = next((marker for marker in markers if marker is not None), None)
    drops = plan.drops
    rows = {
        "read": drops.read,
        "merged": drops.merged,
        "kept": len(samples),
        "dropped": drops.total,
        "excluded": sum(plan.excluded.values()),
    }
    if rows["read"] != sum(rows.values()) - rows["read"]:
        raise RunFailed(f"rows of task '{meta.name}' do not add up: {rows}")
    counts = cards.counts(samples, meta.labels, counted(plan.specs))
    if trained_on_concepts(plan.task):
        counts["concepts"] = list(meta.concepts)
        for name, counted_there in counts["splits"].items():
            counted_there["concepts"] = _said(samples[samples["split"] == name], meta)
    notes = list(drops.notes)
    if meta.role == "training":
        empty = [name for name in SPLITS if not counts["splits"][name]["samples"]]
        notes += [f"split '{name}' is empty: too few samples" for name in empty]
        if options.hold_out:
            there = samples[samples["split"] == EXTERNAL]
            notes.append(
                f"site {options.hold_out} is held out: {len(there)} samples of {there['group_id'].nunique()} groups "
                f"stand in the split '{EXTERNAL}'"
            )
    extra = _extra(plan, table, samples, options, notes)
    if joinable(options, meta.role) and joined.pairs:
        extra["near_duplicates"] = joined.told(plan.moved)
        notes += joined.notes(plan.moved)
    return {
        "schema": cards.SCHEMA,
        "dataset": preparer.meta.name,
        "dataset_version": preparer.meta.version,
        "task": meta.name,
        "task_version": meta.version,
        "kind": cards.STORED_KINDS.get(meta.kind, meta.kind),
        "role": cards.STORED_ROLES[meta.role],
        "modalities": list(meta.modalities),
        "release": "synthetic stand-in" if facts is not None else preparer.release(raw, table),
        "synthetic": facts is not None,
        "synthetic_source": facts,
        "options": options_told(plan.task, options),
        "input_digest": plan.digest,
        "rows": rows,
        "dropped": drops.as_json(),
        "excluded": dict(sorted(plan.excluded.items())),
        **counts,
        "split_mode": "test only" if meta.role == "zero_shot" else options.split,
        "grouping": preparer.grouping(options),
        "groups": int(samples["group_id"].nunique()),
        "shortcuts": list(preparer.shortcuts),
        "notes": notes,
        "audit": cards.audit(samples),
        "arrays": {
            modality: {"shape": list(s.shape), "dtype": s.dtype, "scale": s.scale, "unit": s.unit}
            | ({"many": s.many, "optional": s.optional} if s.counted else {})
            for modality, s in plan.specs.items()
        },
        "licence": preparer.meta.licence,
        "citation": preparer.meta.citation,
        **labels_told(plan, samples),
        **({} if plan.task.definition is None else {"definition": dict(plan.task.definition)}),
        **extra,
    }


def _extra(
    plan: Plan, table: pd.DataFrame, samples: pd.DataFrame, options: PreparerOptions, notes: list[str]
) -> dict[str, Any]:
    """What only some cards hold: the zero-shot registry of zero-shot tasks, the official division."""
    told: dict[str, Any] = {}
    official = table.attrs.get("official_split")
    if official is not None:
        told["official_split"] = official
        notes.append(overlap_note(official, options.split))
    if plan.task.meta.role == "zero_shot":
        leak = options.zero_shot == "all" and plan.registry is not None
        told |= {"zero_shot": options.zero_shot, "zero_shot_leak": leak, "registry": plan.registry}
        held = _only_stratum(samples, plan.task)
        if held:
            text = f"all {len(samples)} samples are {held}: no ranking metric is defined"
            if options.zero_shot == "unseen" and plan.seen:
                text += "; -o zero_shot=all keeps the patients that training has seen, and marks the card"
            notes.append(text)
        if leak:
            seen = int(samples["group_id"].isin(plan.seen).sum())
            notes.append(f"zero_shot=all: training on '{plan.registry}' has seen {seen} of these samples' patients")
    return told


def _said(samples: pd.DataFrame, meta: TaskMeta) -> dict[str, int]:
    """Concept -> how many answers name it."""
    import numpy as np

    found = np.asarray(samples["concepts"].tolist(), dtype=np.int64).reshape(-1, len(meta.concepts)).sum(axis=0)
    return dict(zip(meta.concepts, found.tolist(), strict=True))


def _only_stratum(samples: pd.DataFrame, task: Task) -> str:
    """What all samples have in common, in words, where nothing tells their labels apart."""
    spec = task.meta.labels
    if not spec.how.labelled:
        return ""
    labels = spec.how.read(samples["label"].tolist(), spec)
    if len(set(spec.how.strata(labels, spec).tolist())) > 1:
        return ""
    answer = spec.how.words(spec.how.gold(labels, spec)[0], spec)
    return {"yes": "positive", "no": "negative"}.get(answer, repr(answer))


def labels_told(plan: Plan, samples: pd.DataFrame) -> dict[str, Any]:
    """What the labels are, of kinds that have classes or numbers, with statistics of the private training split."""
    spec = plan.task.meta.labels
    if not spec.how.labelled:
        return {}
    private = samples[samples["split"] == "client"]
    labels = spec.how.read(private["label"].tolist(), spec)
    told = spec.how.described(labels, spec).as_json()
    return {} if told == LabelSpec("").as_json() else {"labels": told}


def statistics_of(folder: Path, plan: Plan, samples: pd.DataFrame, preparer: DatasetPreparer) -> dict[str, Any]:
    """The preparer's statistics of the client split; none for zero-shot tasks, which have no such split."""
    import numpy as np

    private = samples[samples["split"] == "client"]
    if plan.task.meta.role != "training" or private.empty:
        return {}
    arrays = {m: np.load(folder / f"{m}.npy", mmap_mode="r", allow_pickle=False) for m in plan.specs}
    found = preparer.statistics(arrays, private)
    if not _finite(found):
        raise RunFailed(f"preparer '{preparer.meta.name}' returned statistics that are no finite JSON values")
    return found


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _finite(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_finite(item) for item in value)
    return value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def nothing_left(plan: Plan, raw: Path, preparer: DatasetPreparer) -> str:
    """One sentence that says why no sample is left and what was expected."""
    reasons = plan.drops.as_json()
    why = "every row is excluded by the task"
    if plan.excluded and not reasons:
        reason = max(plan.excluded, key=lambda name: plan.excluded[name])
        why = f"{plan.excluded[reason]} x left out: {reason}"
    if reasons:
        reason, facts = next(iter(reasons.items()))
        why = f"{facts['n']} x {reason}, e.g. {facts['examples'][0]}"
    return (
        f"{raw} leaves no sample for task '{plan.task.meta.name}' ({why}); "
        f"dataset '{preparer.meta.name}' expects {preparer.meta.real_layout}"
    )
