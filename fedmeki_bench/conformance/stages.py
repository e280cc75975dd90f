"""The clauses for stages. What each one asks for stands in docs/conformance.md."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmeki_bench import registry
from fedmeki_bench.conformance import loading, toys, worlds
from fedmeki_bench.conformance.clause import LOADS, Check, Clause, NotApplicable, Violation
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.conformance.worlds import IMAGE, MULTI, bits, difference, finish
from fedmeki_bench.evaluation.view import Answers
from fedmeki_bench.evaluation.view import view as view_of
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.federation.stage import Stage


def _make(subject: Subject) -> Stage:
    """A fresh instance; a parameter `foundation` that was not given names the smallest language model."""
    own: dict[str, Any] = {}
    if "foundation" in subject.value.Params.model_fields and "foundation" not in subject.options:
        own["foundation"] = worlds.smallest_foundation()
    stage: Stage = loading.make(subject, **own)
    return stage


def _build(subject: Subject, tasks: tuple[str, ...] = MULTI, **options: Any) -> Federation:
    return worlds.build(Rule(), tasks, stage=_make(subject), **options)


def _two_rounds(subject: Subject) -> dict[str, Any]:
    return subject.once("two rounds", lambda: bits(finish(_build(subject))))


def _loads(subject: Subject) -> None:
    loading.loads(subject)
    stage = _make(subject)
    named = {*stage.views, *(view for view, _ in stage.variants.values())}
    if strange := named - set(registry.names("views")):
        raise Violation(f"it names the view {min(strange)!r}; known are {', '.join(registry.names('views'))}.")


def _scopes(subject: Subject) -> None:
    for tasks in (*worlds.SINGLE.values(), MULTI):
        _finite(finish(_build(subject, tasks, rounds=1)), f"the tasks {', '.join(tasks)}")


def _empty_public(subject: Subject) -> None:
    federation = _build(subject, rounds=1)
    lacking = {name: part for name, part in federation.public.items() if name != "fast"}
    federation.public = lacking
    _finite(finish(federation), "a task without public samples")
    federation = _build(subject, IMAGE, rounds=1)
    federation.public = {}
    _finite(finish(federation), "no public samples at all")


def _finite(federation: Federation, where: str) -> None:
    held = {"global model": federation.server.model, "stage's memory": federation.at_server.memory}
    for name, value in held.items():
        if not all(bool(t.isfinite().all()) for t in worlds.tensors_in(value) if t.is_floating_point()):
            raise Violation(f"the {name} is not finite with {where}.")


def _deterministic(subject: Subject) -> None:
    once = _two_rounds(subject)
    random.seed(12345)
    np.random.seed(12345)  # noqa: NPY002 - the global stream is what a stage must not draw from
    torch.manual_seed(12345)
    if place := difference(once, bits(finish(_build(subject)))):
        raise Violation(f"{place} differs between two runs of one seed; derive streams from ctx.seed.")


def _frozen(subject: Subject) -> None:
    federation = _build(subject)
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        raise NotApplicable("the stage uses no foundation model")
    before = _weights(injected.language.model)
    finish(federation)
    now = federation.stage.foundation(federation.server, federation.at_server)
    assert now is not None
    for name, digest in _weights(now.language.model).items():
        if before.get(name) != digest:
            raise Violation(
                f"the foundation model's own weight {name!r} changed in two rounds; it has to stay as it is."
            )


def _weights(model: torch.nn.Module) -> dict[str, str]:
    return {
        n: hashlib.sha256(w.detach().cpu().float().numpy().tobytes()).hexdigest() for n, w in model.state_dict().items()
    }


def _only_the_server(subject: Subject) -> None:
    federation = _build(subject)
    plain = federation.stage.run

    def outside() -> dict[str, Any]:
        server, ctx = federation.server, federation.at_server
        memories = {f"the memory of client {c.number}": worlds.copied(c.memory) for c in federation.clients}
        memories["the rule's memory at the server"] = worlds.copied(server.memory)
        arrays = {f"the public samples of {t}": p.batch(range(len(p))) for t, p in federation.public.items()}
        facts = {
            "server.round": server.round, "server.clients": server.clients, "server.local": sorted(server.local),
            "server.holders": dict(server.holders), "the settings": ctx.settings.model_dump_json(),
            "ctx.seed": ctx.seed,
            "ctx.tasks": sorted(ctx.tasks), "the tasks with public samples": sorted(federation.public),
        }  # fmt: skip
        return memories | arrays | facts

    def run(server: Any, public: Mapping[str, Any], ctx: Any) -> None:
        before, names = outside(), list(server.model)
        plain(server, public, ctx)
        if place := difference(before, outside()):
            raise Violation(f"the stage changed {place}.")
        if list(server.model) != names:
            raise Violation("the stage put another layout in the place of the global model.")
        if any(worlds.place(t) == worlds.place(ctx.model.values.flat) for t in worlds.tensors_in(ctx.memory)):
            raise Violation("ctx.memory shares memory with the work model; clone what is remembered.")
        if worlds.place(server.model.flat) == worlds.place(ctx.model.values.flat):
            raise Violation("server.model is the work model itself; load the values instead.")

    federation.stage.run = run  # type: ignore[method-assign]
    finish(federation)


def _private(subject: Subject) -> None:
    """The same global model and public samples; all else differs, and is shut while the stage runs."""
    results = []
    for altered in ((), ("client", "valid", "test")):
        federation = _build(subject, altered=altered)
        with worlds.doors_watched("client", "valid", "test") as asked:
            try:
                federation.stage.run(federation.server, federation.public, federation.at_server)
            except BaseException:
                if not asked:
                    raise
        if asked:
            raise Violation(f"it asked for {asked[0]}; a stage is given the public samples.")
        results.append(bits(federation))
    if place := difference(results[0], results[1]):
        raise Violation(f"{place} changes when nothing but private, validation and test samples change.")


def _resumes(subject: Subject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, cut = (_build(subject, rounds=3, folder=folder / where) for where in ("whole", "cut"))
        finish(whole)
        rounds = cut.run()
        next(rounds)
        finish(_build(subject, seed=3, rounds=1))
        again = _build(subject, rounds=3, folder=folder / "cut")
        if again.resume() != 1:
            raise Violation("the checkpoint of the first round is not found again.")
        finish(again)
        if place := difference(bits(whole), bits(again)):
            raise Violation(f"{place} differs from the uninterrupted run; keep what is remembered in ctx.memory.")


def _views(subject: Subject) -> None:
    federation = finish(_build(subject, rounds=1))
    named = {*federation.stage.views, *(view for view, _ in federation.stage.variants.values()), "aggregated"}
    for task in MULTI:
        part = toys.cohorts()[task].part("valid")
        for name in sorted(named):
            view = view_of(name)
            found = view.predict(federation, toys.TASKS[task], part.take(range(4)) if view.in_words else part)
            if view.in_words:
                if not isinstance(found, Answers) or found.scores is None or len(found.text) != 4:
                    raise Violation(f"the view {name!r} gives no answers for the task {task!r}.")
                found = found.scores
            if found is None or isinstance(found, Answers) or not np.isfinite(found).all():
                raise Violation(f"the view {name!r} gives probabilities that are not finite for the task {task!r}.")


def _question_alone(subject: Subject) -> None:
    """A twin of a task under another name: what decides is its question and description, which are the same."""
    federation = finish(_build(subject, rounds=1))
    if federation.stage.foundation(federation.server, federation.at_server) is None:
        raise NotApplicable("the stage uses no foundation model")
    task = toys.TASKS[MULTI[0]]
    twin = type("Twin", (type(task),), {"meta": replace(task.meta, name="twin")})()
    part = toys.cohorts()[MULTI[0]].part("valid").take(range(4))
    known, other = (view_of("foundation").predict(federation, asked, part) for asked in (task, twin))
    assert isinstance(known, Answers)
    assert isinstance(other, Answers)
    if known.text != other.text or not np.array_equal(np.asarray(known.scores), np.asarray(other.scores)):
        raise Violation(
            "a task of another name, with the same question and description, gets other answers; only a gate may tell "
            "tasks apart, by their descriptions."
        )


def _placed(subject: Subject) -> None:
    """Twins of a task whose prompts place its picture: first, where it stands anyway, and last."""
    federation = finish(_build(subject, rounds=1))
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        raise NotApplicable("the stage uses no foundation model")
    task = toys.TASKS[MULTI[0]]
    mark, gap = f"<{task.meta.modalities[0]}>", injected.language.format.gap
    first = type("First", (type(task),), {"prompt": lambda self, question: f"{mark}{gap}{task.prompt(question)}"})()
    last = type("Last", (type(task),), {"prompt": lambda self, question: f"{task.prompt(question)}{mark}"})()
    part = toys.cohorts()[MULTI[0]].part("valid").take(range(4))
    plain, same, other = (_scores(view_of("foundation").predict(federation, t, part)) for t in (task, first, last))
    if not np.array_equal(plain, same):
        raise Violation(f"a prompt that begins with {mark} gets other answers than one without a mark.")
    if np.array_equal(plain, other):
        raise Violation(f"a prompt that ends in {mark} gets the same answers as one without a mark.")


def _scores(found: Any) -> np.ndarray:
    assert isinstance(found, Answers)
    return np.asarray(found.scores)


def _clause(name: str, expected: str, check: Check) -> Clause:
    return Clause("stages", name, expected, check)


CLAUSES = (
    _clause(LOADS, loading.EXPECTED, _loads),
    _clause("scopes", "one round on each generated task alone and on all of them ends finite.", _scopes),
    _clause("empty-public", "a task without public samples, or none at all, is no problem.", _empty_public),
    _clause("deterministic", "one seed gives the same bits twice, whatever global streams hold.", _deterministic),
    _clause("frozen", "the foundation model's own weights stay bit for bit.", _frozen),
    _clause("only-the-server", "nothing changes but server.model and ctx.memory.", _only_the_server),
    _clause("private", "a stage sees public samples only: no others are asked for or have any influence.", _private),
    _clause("resumes", "a run killed after its first round and resumed ends in the same bits.", _resumes),
    _clause("question-alone", "equal questions under equal descriptions get equal answers.", _question_alone),
    _clause("placed", "a mark such as <image> in a prompt puts the soft tokens there.", _placed),
    _clause("views", "every view that the stage adds can be scored.", _views),
)
