"""Scores between the phases of a run whose tasks follow one another: what was learnt, forgotten, carried over.

Every task is scored, seen or not, before the first round and whenever a phase is over; nothing selects on it. The end
on `test` is the run's own evaluation and is not scored twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmeki_bench import seeds
from fedmeki_bench.data.sealed import open_test
from fedmeki_bench.evaluation.estimates import score_predictions
from fedmeki_bench.evaluation.predictions import (
    TextPredictions,
    predictions_path,
    write_predictions,
    write_text_predictions,
)
from fedmeki_bench.evaluation.rescoring import values_of
from fedmeki_bench.evaluation.scoring import answered_by, scored
from fedmeki_bench.files import write_atomically
from fedmeki_bench.records.record import Evaluation

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort, CohortPart
    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.evaluation.view import View
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.task import Task

_NAME = re.compile(r"phase-\d+\.json")


class Phases:
    """Scores a federation whenever a phase is over; of one whose tasks are trained at once, nothing.

    What was scored lies beside the checkpoint until the record is written, so a run that is killed scores no phase
    anew that it can't go back to.

    Args:
        views: what is scored.
        cohorts, tasks: by task; with zero-shot tasks, which are put to the views that can answer them.
        metrics: by name; the main one of each task is computed.
        seed: the run's.
        folder: the run's, for predictions.
        kept: the checkpoint's.
        test: whether the test split may be opened.
    """

    def __init__(
        self, views: Mapping[str, View], cohorts: Mapping[str, Cohort], tasks: Mapping[str, Task],
        metrics: Mapping[str, MetricSpec], *, seed: int, folder: Path, kept: Path, test: bool,
    ) -> None:  # fmt: skip
        self._views, self._cohorts, self._tasks, self._metrics = views, cohorts, tasks, metrics
        self._seed, self._folder, self._kept, self._test = seed, folder, kept, test

    def score(self, federation: Federation) -> None:
        """Score what stands on the server, if a phase is just over and was not scored before the run was stopped."""
        if federation.curriculum is None:
            return
        done = len(federation.history)
        ends = (0, *federation.curriculum.ends)
        if done not in ends or self._file(ends.index(done)).is_file():
            return
        phase = ends.index(done)
        found = list(self._scored(federation, phase, last=phase == len(ends) - 1))
        told = {"test": self._test, "evaluations": [one.model_dump(mode="json") for one in found]}
        write_atomically(self._file(phase), json.dumps(told, allow_nan=False).encode())

    @property
    def evaluations(self) -> list[Evaluation]:
        """All that was scored, in the order of the phases."""
        return [one for told in _told(self._kept) for one in map(Evaluation.model_validate, told["evaluations"])]

    def _file(self, phase: int) -> Path:
        return self._kept / f"phase-{phase}.json"

    def _scored(self, federation: Federation, phase: int, *, last: bool) -> Iterator[Evaluation]:
        for name, cohort in self._cohorts.items():
            parts = {"valid": cohort.part("valid")}
            if self._test and not last:
                parts["test"] = open_test(cohort)
            for view_name, chosen in self._views.items():
                if self._tasks[name].meta.role != "training" and not chosen.zero_shot:
                    continue
                if not (chosen.in_words or cohort.kind.labelled):
                    continue
                for part in parts.values():
                    if len(part):
                        yield from self._evaluated(federation, view_name, chosen, name, part, phase)

    def _evaluated(
        self, federation: Federation, name: str, chosen: View, task_name: str, part: CohortPart, phase: int
    ) -> Iterator[Evaluation]:
        task = self._tasks[task_name]
        path = predictions_path(self._folder, name, task_name, phase=(phase, part.split))
        if chosen.in_words:
            answers = chosen.predict(federation, task, part)
            if answers is None:
                return
            said: Any = answered_by(answers, part)
        else:
            said = scored(federation, chosen, task, part)
        write: Any = write_text_predictions if isinstance(said, TextPredictions) else write_predictions
        digest = write(path, said)
        main, draw = self._metrics[task.meta.metrics[0]], seeds.derive(self._seed, "bootstrap", task_name)
        values = values_of(score_predictions(said, [main], seed=draw, kind=task.meta.kind))
        yield Evaluation(
            view=name, task=task_name, split=part.split, n=len(part), groups=len(np.unique(part.group_ids)),
            metrics={main.name: values[main.name]}, predictions=path.relative_to(self._folder).as_posix(),
            digest=digest, phase=phase,
        )  # fmt: skip


def usable(kept: Path, *, test: bool) -> bool:
    """Whether a run can go on from a checkpoint: not if its phases went by with the test split closed, and it opens."""
    return not test or all(told["test"] for told in _told(kept))


def _told(kept: Path) -> list[dict[str, Any]]:
    files = [path for path in kept.iterdir() if _NAME.fullmatch(path.name)] if kept.is_dir() else []
    return [json.loads(path.read_bytes()) for path in sorted(files, key=lambda path: int(path.stem.split("-")[1]))]
