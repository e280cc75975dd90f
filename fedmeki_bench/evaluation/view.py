"""The contract of a view: which model of a finished federation is scored, and in what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fedmeki_bench import registry
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.evaluation.constant_answer import CONSTANT

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.server import Server, ServerContext
    from fedmeki_bench.federation.stage import Stage
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.profiles import Profile
    from fedmeki_bench.task import Task


class Served(Protocol):
    """What a view asks: a federation, or a kept model that was opened again."""

    model: ClientModel
    server: Server
    stage: Stage
    at_server: ServerContext
    settings: Profile


@dataclass(frozen=True, slots=True)
class Answers:
    """What the foundation model says about n samples.

    Attributes:
        text: n greedy answers as generated.
        parsed: n readings of them by the task's own strict parser; None where it reads nothing.
        scores: scores of the task's kind by the likelihood of its candidate answers: (n,) of yes against no, (n, K) of
            classes or findings; None where there are none, as for free text.
    """

    text: list[str]
    parsed: list[Any]
    scores: np.ndarray | None


class View:
    """Base of all views; plug-ins are declared in the entry-point group ``fedmeki_bench.views``.

    A rule or stage names the views it leaves to be scored (``Rule.views``, ``Stage.views``).

    Attributes:
        version: raised whenever the view's predictions change.
        in_words: it gives :class:`Answers`; false for views that give scores.
        zero_shot: it also answers tasks that were never trained on.
        explained: on whose samples which model is scored, a sentence for the tables that show it; empty where that is
            the global model on the common split.
        also: names of views that score the same models in another way, wherever this one is scored; each can be a row.
        beside: names of views that are scored beside it as controls and are no row of their own.
    """

    version: ClassVar[int] = 1
    in_words: ClassVar[bool] = False
    zero_shot: ClassVar[bool] = False
    explained: ClassVar[str] = ""
    also: ClassVar[tuple[str, ...]] = ()
    beside: ClassVar[tuple[str, ...]] = ()

    def predict(self, federation: Served, task: Task, part: CohortPart) -> np.ndarray | Answers | None:
        """What the model says of samples.

        Returns:
            Scores of the task's kind, such as probabilities of the positive class: (n,) or (n, K), with an axis of
            models in front where every client has its own; :class:`Answers` of a view in words; None where the view
            does not apply to the task.
        """
        raise NotImplementedError

    def scores(self, federation: Served, task: Task, part: CohortPart) -> np.ndarray:
        """What :meth:`predict` gives, of a view that gives scores.

        Raises:
            RunFailed: it gave something else.
        """
        found = self.predict(federation, task, part)
        if found is None or isinstance(found, Answers):
            raise RunFailed(f"the view {type(self).__name__} gives no scores for the task {task.meta.name!r}")
        return found


def view(name: str) -> View:
    """The view of that name.

    Raises:
        UsageError: there is none.
    """
    found: View = registry.load("views", name)()
    return found


def in_words(name: str) -> bool:
    """Whether what a record calls this view are answers in words; of a view that is not installed, scores."""
    return name == CONSTANT or (name in registry.names("views") and bool(registry.load("views", name).in_words))


def answers_zero_shot(name: str) -> bool:
    """Whether a view answers tasks that were never trained on; one that is not installed does not."""
    return name in registry.names("views") and bool(registry.load("views", name).zero_shot)
