"""Scores beside those of a board: on a held-out site, in other wordings, with arrays that are not the sample's.

Nothing selects on them, and no table of main metrics shows them; the analysis ``stability`` does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench import seeds
from fedmeki_bench.data.sealed import open_external, open_test
from fedmeki_bench.evaluation.rearranged import Blank, Swapped
from fedmeki_bench.evaluation.scoring import Out, answered_by, evaluation_of, scored

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort, CohortPart
    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.evaluation.view import View
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.records.record import Evaluation
    from fedmeki_bench.task import Task

ASKED = "foundation"
"""The view that is asked in variants: the injected model on the server."""


def score_beside(
    federation: Federation, views: Mapping[str, View], cohorts: Mapping[str, Cohort], tasks: Mapping[str, Task],
    metrics: Mapping[str, MetricSpec], *, seed: int, folder: Path, variants: bool,
) -> list[Evaluation]:  # fmt: skip
    """Score every view on held-out sites, and, if wished, the foundation model on variants of the test questions.

    Args:
        federation, views, cohorts, tasks, metrics, seed, folder: as for
            :func:`~fedmeki_bench.evaluation.scoring.score_test`.
        variants: whether the test questions are put in variants, see :func:`variants_of`.
    """
    out = Out(folder, seed, metrics)
    found: list[Evaluation] = []
    for name, cohort in cohorts.items():
        task, external = tasks[name], open_external(cohort)
        for view_name, chosen in views.items():
            if task.meta.role != "training" and not chosen.zero_shot:
                continue
            if len(external) and (chosen.in_words or cohort.kind.labelled):
                found += _evaluated(federation, view_name, chosen, task, external, out, external.split)
            if variants and view_name == ASKED:
                for variant, (asked, part) in variants_of(task, open_test(cohort), seed):
                    found += _evaluated(federation, view_name, chosen, asked, part, out, variant)
    return found


def variants_of(task: Task, part: CohortPart, seed: int) -> Iterator[tuple[str, tuple[Task, CohortPart]]]:
    """Name -> task and samples of every other way to put the same questions.

    ``wording-K`` for every other wording of the task, ``bare`` for the question alone, ``swapped`` with the arrays of
    other patients, ``blank`` with none; the last two where the task has arrays.
    """
    for wording in range(len(task.wordings) + 1):
        if wording != task.wording:
            yield f"wording-{wording}", (task.worded(wording), part)
    bare = copy.copy(task)
    bare.wordings, bare.wording = ("{question}",), 1  # type: ignore[misc]
    yield "bare", (bare, part)
    if task.meta.arrays:
        yield "swapped", (task, Swapped(part, seeds.generator(seed, "swapped", task.meta.name)))
        yield "blank", (task, Blank(part))


def _evaluated(
    federation: Federation, name: str, chosen: View, task: Task, part: CohortPart, out: Out, beside: str
) -> Iterator[Evaluation]:
    if chosen.in_words:
        said = chosen.predict(federation, task, part)
        if said is not None:
            yield evaluation_of(name, task, part, answered_by(said, part), out, beside=beside)
    else:
        yield evaluation_of(name, task, part, scored(federation, chosen, task, part), out, beside=beside)
