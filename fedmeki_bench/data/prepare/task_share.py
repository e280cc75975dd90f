"""One task's share of a dataset's table, from labels to the sample table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.contract import ArraySpec, DatasetPreparer, Decoded, Drops, PreparerOptions
from fedmeki_bench.data.holdings import columns_of, counted
from fedmeki_bench.data.prepare.joining import Joined
from fedmeki_bench.data.prepare.storage import ArrayWriter
from fedmeki_bench.data.splits import TRAINING_SPLITS, assign, set_aside
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.task import Exclude, Row, Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(slots=True)
class Plan:
    """A task's share of the table while its sources are decoded."""

    task: Task
    digest: str
    specs: dict[str, ArraySpec]
    drops: Drops
    rows: list[int] = field(default_factory=list)  # positions in the table
    labels: list[Any] = field(default_factory=list)
    concepts: list[tuple[int, ...]] = field(default_factory=list)  # 1 or 0 for each of the task's concepts
    questions: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    excluded: dict[str, int] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()  # groups that a training split of the same source holds
    registry: str | None = None  # whose patients they are
    wanted: set[str] = field(default_factory=set)
    array_row: dict[str, int] = field(default_factory=dict)
    spans: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)  # modality -> source -> first row, rows
    bad: dict[str, str] = field(default_factory=dict)
    writers: dict[str, ArrayWriter] = field(default_factory=dict)
    content: dict[str, str] = field(default_factory=dict)  # modality -> digest of the samples' bytes
    like: Plan | None = None  # the plan that writes the same arrays, of which this one's are links
    moved: int = 0  # samples on another side because of near-identical ones

    def take(self, source: str, decoded: Decoded) -> None:
        """Store the arrays of a source, and remember where they lie; a source with none of them is bad."""
        found = {modality: decoded.of(modality) for modality in self.specs}
        for modality, spec in self.specs.items():
            if not int(not spec.optional) <= len(found[modality]) <= spec.many:
                raise RunFailed(
                    f"the preparer decoded {len(found[modality])} arrays of {modality} from {source!r} where its spec "
                    f"says {'at most ' * spec.counted}{spec.many}" + " and not none" * (not spec.optional)
                )
        if not any(found.values()):
            self.bad[source] = f"nothing of it is there: {', '.join(self.specs)}"
            return
        self.array_row[source] = len(self.array_row)
        for modality in counted(self.specs):
            spans = self.spans.setdefault(modality, {})
            start, rows = next(reversed(spans.values()), (0, 0))
            spans[source] = (start + rows, len(found[modality]))
        for modality, writer in self.writers.items():
            for array in found[modality]:
                writer.append(array)


def look_up(plan: Plan, preparer: DatasetPreparer, registry: Mapping[str, str] | None) -> None:
    """Remember which groups a zero-shot task must not use."""
    if plan.task.meta.role == "zero_shot" and registry is not None:
        plan.registry = preparer.registry_name or preparer.meta.name
        plan.seen = frozenset(group for group, split in registry.items() if split in TRAINING_SPLITS)


def trained_on_concepts(task: Task) -> bool:
    """Whether clients train on what answers name, because there are no labels."""
    return task.meta.role == "training" and bool(task.meta.concepts)


def label_rows(plan: Plan, rows: Sequence[Row], options: PreparerOptions) -> None:
    """Ask the task about every row."""
    task, spec = plan.task, plan.task.meta.labels
    shut = plan.seen if options.zero_shot == "unseen" else frozenset()
    plan.excluded = dict(plan.drops.left_out)
    for position, row in enumerate(rows):
        verdict = task.label(row) if spec.how.labelled else task.answer(row)
        if not isinstance(verdict, Exclude) and str(row["group_id"]) in shut:
            verdict = Exclude(f"zero-shot: training on '{plan.registry}' has seen this patient")
        if isinstance(verdict, Exclude):
            plan.excluded[verdict.reason] = plan.excluded.get(verdict.reason, 0) + 1
            continue
        answer = verdict
        if spec.how.labelled:
            problem = spec.how.problem(verdict, spec)
            if problem:
                raise RunFailed(f"task '{task.meta.name}' labelled {row['sample_id']!r} {verdict!r}, {problem}")
            plan.labels.append(verdict)
            answer = task.answer(row)
        elif trained_on_concepts(task):
            named = set(task.concepts(row))
            if stray := sorted(named.difference(task.meta.concepts)):
                raise RunFailed(f"task '{task.meta.name}' names {stray[0]!r}, which is none of its meta.concepts")
            plan.concepts.append(tuple(int(name in named) for name in task.meta.concepts))
        plan.rows.append(position)
        plan.answers.append(str(answer))
        plan.questions.append(task.question(row))
        plan.wanted.add(row["source"])


def completed(table: pd.DataFrame, attributes: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The table with what only the files hold (site, sex, age)."""
    import pandas as pd

    table = table.copy()
    for name in sorted({key for facts in attributes.values() for key in facts}):
        told = table["source"].map({s: facts[name] for s, facts in attributes.items() if name in facts})
        table[name] = told if name not in table else told.where(told.notna(), table[name])
    table["site"] = table["site"].fillna("").astype(str)
    if "sex" in table:
        table["sex"] = table["sex"].fillna("").astype(str)
    if "age" in table:
        table["age"] = pd.to_numeric(table["age"]).astype("float32")
    return table


def sample_table(
    plan: Plan,
    table: pd.DataFrame,
    digests: dict[str, str],
    options: PreparerOptions,
    preparer: DatasetPreparer,
    joined: Joined,
) -> pd.DataFrame:
    """The sample table of a task, in the raw table's order, without rows that could not be decoded.

    In a training task, groups that near-identical samples join bear one name and lie in one split; of a site that is
    held out, all of them are external.
    """
    import numpy as np

    meta = plan.task.meta
    part = table.iloc[plan.rows].reset_index(drop=True)
    where = {"mode": options.split, "seed": options.split_seed, "dataset": preparer.meta.name}
    if meta.role == "zero_shot":
        split = np.full(len(part), "test", dtype=object)
    elif options.split == "published":
        split = assign(part["group_id"].tolist(), **where)  # type: ignore[arg-type]
    else:
        # drawn over the whole table: every task of the dataset finds a patient in the same split
        groups = table["group_id"].astype(str).to_numpy()
        drawn = assign(groups.tolist(), **where)  # type: ignore[arg-type]
        drawn = set_aside(drawn, groups.tolist(), table["site"].tolist(), options.hold_out)
        split = joined.splits(groups, drawn)[plan.rows] if joined.group else drawn[plan.rows]
        part = part.assign(group_id=part["group_id"].astype(str).map(lambda g: joined.group.get(g, g)))
    samples = part[["sample_id", "group_id", "site"]].astype(str)
    samples["split"] = split.astype(str)
    if meta.labels.how.labelled:
        samples["label"] = meta.labels.how.column(plan.labels)
    elif trained_on_concepts(plan.task) and meta.learnt is not None:
        samples["concepts"] = meta.learnt.how.column(plan.concepts)
    samples["question"] = np.asarray(plan.questions, dtype=str)
    samples["answer"] = np.asarray(plan.answers, dtype=str)
    samples["source"] = part["source"].astype(str)
    samples["digest"] = [digests.get(source, "") for source in part["source"]]
    samples["array_row"] = np.asarray([plan.array_row.get(s, -1) for s in part["source"]], dtype=np.int32)
    for modality, spans in plan.spans.items():
        for k, name in enumerate(columns_of(modality)):
            samples[name] = np.asarray([spans.get(s, (0, 0))[k] for s in part["source"]], dtype=np.int32)
    for name in preparer.extra_columns:
        if name in part:
            samples[name] = part[name]
    for sample, source in zip(samples["sample_id"], samples["source"], strict=True):
        if source in plan.bad:
            plan.drops.add(plan.bad[source], f"{sample} ({source})" if sample != source else sample)
    usable = ~samples["source"].isin(plan.bad)
    if meta.role == "training" and joined.group:
        plan.moved = int((usable & (samples["split"] != drawn[plan.rows])).sum())
    kept: pd.DataFrame = samples[usable].reset_index(drop=True)
    return kept
