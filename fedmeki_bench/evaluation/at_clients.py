"""Questions to clients' own models, put together where the clients are, about the held-out samples that lie there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.sealed import open_external, open_test
from fedmeki_bench.data.splits import EXTERNAL
from fedmeki_bench.evaluation.views_in_words import Worded
from fedmeki_bench.federation.questions import Checksums, Question, Scores

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort, CohortPart
    from fedmeki_bench.task import Task


def questions_about(
    cohorts: Mapping[str, Cohort], tasks: Mapping[str, Task]
) -> Callable[[Mapping[str, Any], int], Question]:
    """What makes of a question as it was told (``Question.told``) the question about these cohorts' samples.

    The test split is opened when the evaluation asks about it, not before.
    """

    def part(told: Mapping[str, Any]) -> CohortPart:
        cohort = cohorts[told["task"]]
        sealed = {"test": open_test, EXTERNAL: open_external}
        return sealed[told["split"]](cohort) if told["split"] in sealed else cohort.part(told["split"])

    def scores(told: Mapping[str, Any], client: int) -> Question:
        index = None if told["index"] is None else {client: told["index"]}
        return Scores(told["task"], part(told), index)

    def worded(told: Mapping[str, Any], client: int) -> Question:
        return Worded(tasks[told["task"]], part(told), {client: told["index"]})

    made = {"scores": scores, "worded": worded, "checksums": lambda told, client: Checksums()}
    return lambda told, client: made[told["name"]](told, client)
