"""The plug-ins of a run, loaded once and handed to whoever needs them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.errors import UsageError
from fedmeki_bench.evaluation.rescoring import metric
from fedmeki_bench.evaluation.view import View, view
from fedmeki_bench.runs.pretext import made
from fedmeki_bench.runs.spec import RunSpec, views_of

if TYPE_CHECKING:
    from fedmeki_bench.data.clients.partition import Partition
    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.federation.rule import Rule
    from fedmeki_bench.federation.stage import Stage
    from fedmeki_bench.models.pretext import Pretext
    from fedmeki_bench.task import Task


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a specification names.

    Attributes:
        rule, stage, partition: made with the specification's parameters.
        tasks: the tasks trained on.
        zero_shot: the tasks that are answered without having been trained on.
        views: what is scored, in order, with the controls that stand beside them.
        metrics: those of all tasks; none where labels are not read.
        pretext: what is learnt in the place of labels, or None.
    """

    rule: Rule
    stage: Stage
    partition: Partition
    tasks: Mapping[str, Task]
    zero_shot: Mapping[str, Task]
    views: Mapping[str, View]
    metrics: Mapping[str, MetricSpec]
    pretext: Pretext | None = None

    @property
    def all_tasks(self) -> dict[str, Task]:
        """Trained and zero-shot tasks."""
        return {**self.tasks, **self.zero_shot}


def resolve(spec: RunSpec) -> Resolved:
    """Load the plug-ins of a run.

    Raises:
        UsageError: one is unknown or can't be loaded.
    """
    plugins = {
        kind: _made(kind, name, spec.params[section])
        for kind, name, section in (
            ("rules", spec.rule, "rule"), ("stages", spec.stage, "stage"), ("partitions", spec.partition, "partition")
        )
    }  # fmt: skip
    tasks, zero_shot = tasks_of(spec)
    pretext = made(spec.params.get("pretext"))
    scored = () if pretext is not None else (*tasks.values(), *zero_shot.values())
    named = {m for task in scored for m in task.meta.metrics}
    return Resolved(
        plugins["rules"], plugins["stages"], plugins["partitions"], tasks, zero_shot,
        {name: view(name) for name in views_of(spec)}, {name: metric(name) for name in sorted(named)}, pretext,
    )  # fmt: skip


def _made(kind: str, name: str, params: Mapping[str, Any]) -> Any:
    cls = registry.load(kind, name)
    given = cls.Params(**params)
    try:
        return cls(given)
    except (Exception, SystemExit) as error:  # its own code runs here, which may raise anything
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise UsageError(
            f"{kind[:-1]} {name!r} can't be made: {type(error).__name__} in {at.filename}, line {at.lineno}: {error}"
        ) from error


def tasks_of(spec: RunSpec) -> tuple[dict[str, Task], dict[str, Task]]:
    """The tasks a run is trained on, and the zero-shot tasks it answers."""
    wording = spec.params.get("stage", {}).get("wording", 0)  # of a row that can only be shown nothing is known
    trained, asked = (
        {name: registry.load("tasks", name)().worded(wording) for name in group}
        for group in (spec.tasks, spec.zero_shot)
    )
    return trained, asked
