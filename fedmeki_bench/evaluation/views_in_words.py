"""Views of the foundation model, which answers in words: after injection, without the data, and as it was before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.evaluation.view import Answers, Served, View
from fedmeki_bench.evaluation.views import Own, own_index

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.client import ClientContext
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.foundation.injected import Injected
    from fedmeki_bench.foundation.language import Language
    from fedmeki_bench.foundation.sequence import Asked
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.task import Task

_ANSWER_BATCH = 64


class Foundation(View):
    """The injected foundation model, answering in words; not where a modality of the task was never trained.

    Greedy decoding; adapters are folded into the weights under the task's gate and taken out again afterwards.
    """

    in_words = True
    zero_shot = True
    beside = ("foundation_blind", "foundation_before")

    def predict(self, federation: Served, task: Task, part: CohortPart) -> Answers | None:
        """See :class:`View`."""
        injected = _injected(federation)
        if not injected.applies(task):
            return None
        federation.model.load(federation.server.model)
        return _asked(injected, federation.model, task, part)


@dataclass(frozen=True, slots=True)
class Worded:
    """What the foundation model that a client tunes says of held-out samples; a question, asked where the client is.

    Attributes:
        task: the samples' task.
        part: a whole split.
        index: client -> the positions in ``part`` that it is asked about.
    """

    task: Task
    part: CohortPart
    index: Mapping[int, np.ndarray]

    def answer(self, ctx: ClientContext) -> dict[str, Any]:
        """The ``text`` of n answers and their ``scores``, as in :class:`Answers`."""
        injected = cast("Injected", ctx.model.injected)  # of a TunedModel
        said = _asked(injected, ctx.model, self.task, self.part.take(self.index[ctx.client]))
        return {"text": said.text, "scores": said.scores}

    def needs(self, model: ClientModel) -> Collection[str]:
        """All."""
        return model.values.units

    def told(self, client: int) -> dict[str, Any]:
        """Task, split and positions."""
        index = self.index[client]
        return {"name": "worded", "task": self.task.meta.name, "split": self.part.split, "index": index}


class FoundationOwn(View):
    """Each question by the foundation model of the client whose patient it would be, where clients tune their own.

    Held-out patients are shared out as for the view ``own``.
    """

    in_words = True
    beside = ("foundation_before",)
    explained = Own.explained

    def predict(self, federation: Federation, task: Task, part: CohortPart) -> Answers | None:  # type: ignore[override]
        """See :class:`View`; only a federation has clients."""
        import numpy as np

        injected = _injected(federation)
        index = own_index(federation, task, part)
        if not injected.applies(task) or not index:
            return None
        text, parsed = np.empty(len(part), dtype=object), np.empty(len(part), dtype=object)
        found: np.ndarray | None = None
        for client, said in zip(index, federation.ask(Worded(task, part, index), index), strict=True):
            mine = index[client]
            text[mine] = _objects(said["text"])
            parsed[mine] = _objects([task.parse(each) for each in said["text"]])
            if said["scores"] is not None:
                found = np.empty((len(part), *said["scores"].shape[1:])) if found is None else found
                found[mine] = said["scores"]
        return Answers(text.tolist(), parsed.tolist(), found)


def _objects(values: Sequence[Any]) -> np.ndarray:
    import numpy as np

    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _asked(injected: Injected, model: ClientModel, task: Task, part: CohortPart) -> Answers:
    """What F answers to all samples, by the weights that the model and what is injected hold now."""
    import numpy as np
    import torch

    from fedmeki_bench.foundation.injected import described

    model.eval()
    injected.eval()
    said = _Said(injected.language, task)
    questions = part.questions
    with torch.no_grad(), injected.merged(described(task)):
        for start in range(0, len(part), _ANSWER_BATCH):
            index = np.arange(start, min(start + _ANSWER_BATCH, len(part)))
            prompts = [task.ask(str(questions[i])) for i in index]
            soft, there, asked = injected.ask(model, task, model.read(part, index), prompts)
            said.add(asked, soft, there)
    return said.answers(np.arange(len(part)))


class FoundationBlind(View):
    """The injected foundation model without the soft tokens: a control that says what the wording alone gives away."""

    in_words = True
    zero_shot = True

    def predict(self, federation: Served, task: Task, part: CohortPart) -> Answers | None:
        """See :class:`View`."""
        from fedmeki_bench.foundation.injected import described

        injected = _injected(federation)
        return _in_words(injected, task, part, injected.merged(described(task))) if injected.applies(task) else None


class FoundationBefore(View):
    """The same questions in words alone, put to the foundation model as it was before injection: where it starts."""

    in_words = True
    zero_shot = True

    def predict(self, federation: Served, task: Task, part: CohortPart) -> Answers:
        """See :class:`View`."""
        from fedmeki_bench.foundation.own_answers import own_answers

        injected, spec = _injected(federation), task.meta.labels
        injected.eval()
        prompts, which = _worded(injected, task, part)
        own = own_answers(injected, prompts, spec.how.candidates(spec), spec.how.tokens, batch=_ANSWER_BATCH)
        said = _Said(injected.language, task)
        for start in range(0, len(prompts), _ANSWER_BATCH):
            some = slice(start, start + _ANSWER_BATCH)
            said.note(own.text[some], None if own.likelihood is None else own.likelihood[some])
        return said.answers(which)


def _in_words(injected: Injected, task: Task, part: CohortPart, state: AbstractContextManager[Any]) -> Answers:
    """Answers to questions in words alone; equal ones get equal answers and are put once."""
    import torch

    injected.eval()
    prompts, which = _worded(injected, task, part)
    said = _Said(injected.language, task)
    with torch.no_grad(), state:
        for start in range(0, len(prompts), _ANSWER_BATCH):
            said.add(prompts[start : start + _ANSWER_BATCH], None, None)
    return said.answers(which)


def _worded(injected: Injected, task: Task, part: CohortPart) -> tuple[list[Asked], np.ndarray]:
    """The prompts of a part in words alone, each once, and which of them each sample has, (n,)."""
    import numpy as np

    asked = [str(q) for q in part.questions]
    place = {question: i for i, question in enumerate(dict.fromkeys(asked))}
    prompts = injected.in_words(task, [task.ask(question) for question in place], part.cohort.many)
    return prompts, np.array([place[question] for question in asked], dtype=np.int64)


class _Said:
    """What a language model in its present state says to the prompts of a task, batch by batch."""

    def __init__(self, language: Language, task: Task) -> None:
        self._language, self._task = language, task
        self._spec = task.meta.labels
        self._text: list[str] = []
        self._scores: list[np.ndarray] = []

    def add(self, prompts: Sequence[Asked], soft: torch.Tensor | None, there: torch.Tensor | None) -> None:
        """Put a batch of prompts after the soft tokens that come first, which are these."""
        how, candidates = self._spec.how, self._spec.how.candidates(self._spec)
        if not candidates:
            self._text += self._language.generate(soft, there, prompts, how.tokens)
            return
        self.note(*self._language.answer(soft, there, prompts, candidates, how.tokens))

    def note(self, text: Sequence[str], likelihood: torch.Tensor | None) -> None:
        """Take in answers, and the likelihoods of the candidates where there are any."""
        self._text += text
        if likelihood is not None:
            self._scores.append(self._spec.how.from_likelihood(likelihood, self._spec))

    def answers(self, which: np.ndarray) -> Answers:
        """The answers to these of the prompts, in this order."""
        import numpy as np

        text = [self._text[i] for i in which]
        scores = np.concatenate(self._scores)[which] if self._scores else None
        return Answers(text, [self._task.parse(t) for t in text], scores)


def _injected(federation: Served) -> Injected:
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        raise RunFailed(f"stage {type(federation.stage).__name__} leaves no foundation model to be asked")
    return injected
