"""What a record says of a run before its first round: the specification, with the versions of all that takes part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fedmeki_bench import registry
from fedmeki_bench.evaluation.estimates import SCORING_VERSION
from fedmeki_bench.evaluation.rescoring import metric_sources
from fedmeki_bench.records.record import CohortRef, PluginRef, Record, Versions
from fedmeki_bench.runs.plugins import portable, portable_params

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort
    from fedmeki_bench.runs.resolved import Resolved
    from fedmeki_bench.runs.spec import RunSpec


def begun(spec: RunSpec, key: str, cohorts: Mapping[str, Cohort], plugins: Resolved) -> Record:
    """A record that stands as interrupted until its run is done."""
    tasks = plugins.all_tasks
    metrics = {m: plugins.metrics[m].version for t in tasks.values() for m in t.meta.metrics if m in plugins.metrics}
    return Record(
        key=key,
        setting=spec.setting,
        status="interrupted",
        algorithm=_named(spec),
        rule=portable(spec.rule),
        scope="s" if spec.scope == "s" else "m",
        stage=spec.stage,
        profile=spec.profile,
        params=portable_params(spec.params),
        seed=spec.seed,
        clients=spec.clients,
        partition=portable(spec.partition),
        tasks=list(spec.tasks),
        views=list(plugins.views),
        versions=Versions(
            results=spec.versions["results"], tasks={name: task.meta.version for name, task in tasks.items()},
            rule=spec.versions["rule"], stage=spec.versions["stage"], plugins=spec.versions.get("plugins", {}),
            foundation=spec.versions.get("foundation"), scoring=SCORING_VERSION, metrics=metrics,
            sources=spec.versions.get("sources", {}) | metric_sources(metrics),
        ),
        plugins=[PluginRef(**o | {"name": portable(o["name"])}) for o in registry.origins(plugins_of(spec, plugins))],
        cohorts=[
            CohortRef(
                name=c.dataset, task=t, card=c.card_hash, synthetic=c.synthetic,
                split="published" if c.split_mode == "published" else "patient", options=c.card["options"],
                concepts=c.card.get("concepts", []), definition=c.card.get("definition"),
            )
            for t, c in cohorts.items()
        ],
        started=datetime.now(timezone.utc),
    )  # fmt: skip


def plugins_of(spec: RunSpec, plugins: Resolved) -> list[tuple[str, str]]:
    """(kind, name) of what a record names."""
    parts = [("rules", spec.rule), ("stages", spec.stage), ("partitions", spec.partition)]
    parts += [("tasks", name) for name in plugins.all_tasks]
    parts += [("pretexts", spec.params["pretext"]["kind"])] if plugins.pretext is not None else []
    modalities = {modality for name in spec.tasks for modality in plugins.tasks[name].meta.arrays}
    encoders = spec.resolved_profile().encoders
    return parts + [("encoders", encoders[m].name) for m in sorted(modalities) if m in encoders]


def _named(spec: RunSpec) -> str:
    """The algorithm's name; that of a rule in a file begins with its path."""
    if not spec.algorithm.startswith(spec.rule):
        return spec.algorithm
    return portable(spec.rule) + spec.algorithm.removeprefix(spec.rule)
