"""The clauses for rules. What each one asks for stands in docs/conformance.md."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from fedmeki_bench import registry
from fedmeki_bench.conformance import loading, rule_state, rule_terms, rule_wire, toys, worlds
from fedmeki_bench.conformance.clause import LOADS, Check, Clause, NotApplicable, Violation
from fedmeki_bench.conformance.loading import make
from fedmeki_bench.conformance.paired_toys import EITHER, paired_cohort
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.conformance.worlds import IMAGE, MULTI, PAIRED, SINGLE, bits, build, difference, finish
from fedmeki_bench.evaluation.metrics import AUROC
from fedmeki_bench.evaluation.view import view as view_of
from fedmeki_bench.federation.loop import Federation

_LEARNT = 0.7
_LEARNT_OF_KIND = 0.65
_SEEN = {"multiclass": "auroc_macro", "ordinal": "auroc_macro", "multilabel": "auroc_macro", "regression": "pearson"}
"""Kind -> the metric that shows whether something was learnt: about a half, or none, where nothing was."""


def _loads(subject: Subject) -> None:
    loading.loads(subject)
    rule = make(subject)
    unknown = [view for view in rule.views if view not in registry.names("views")]
    if unknown or not rule.views:
        raise Violation(
            f"its views are {tuple(rule.views)!r}; one or more of {tuple(registry.names('views'))} are expected."
        )


def _finite(subject: Subject) -> None:
    for tasks in (*SINGLE.values(), MULTI):
        federation = finish(build(make(subject), tasks))
        for name, held in bits(federation).items():
            if not all(bool(t.isfinite().all()) for t in worlds.tensors_in(held) if t.is_floating_point()):
                raise Violation(f"{name} is not finite after two rounds of the tasks {', '.join(tasks)}.")


def _deterministic(subject: Subject) -> None:
    once = worlds.plain_bits(subject)
    random.seed(12345)
    np.random.seed(12345)  # noqa: NPY002 - the global stream is what a rule must not draw from
    torch.manual_seed(12345)
    if place := difference(once, bits(finish(build(make(subject), MULTI)))):
        raise Violation(
            f"{place} differs between two runs of one seed; draw from fedmeki_bench.seeds.generator, never from a "
            "global stream, the clock or an unseeded generator."
        )


def _kinds(subject: Subject) -> None:
    rule = make(subject)
    federation = build(rule, tuple(toys.KINDS), large=True, rounds=5, local_epochs=2, batch_size=15)
    start = federation.server.model.flat.clone()
    finish(federation)
    if not all(bool(t.isfinite().all()) for t in worlds.tensors_in(federation.server.model)):
        raise Violation("the model is not finite after five rounds of a task of each kind.")
    if rule.needs_stage:
        return
    for name, task in toys.KINDS.items():
        part, spec = toys.kind_cohorts()[name].part("valid"), federation.model.labels[name]
        metric = registry.load("metrics", _SEEN[task.meta.kind])
        means = np.nanmean(spec.how.summands(part.gold, spec), axis=0)
        for view in rule.views:
            models = spec.by_model(view_of(view).scores(federation, task, part))
            if not np.isfinite(models).all() or models.shape[2:] != np.shape(spec.how.constant(means, spec)):
                raise Violation(f"the view {view!r} gives a {task.meta.kind} task scores of shape {models.shape}.")
            value = float(np.mean([metric(part.gold, row) for row in models]))
            moved = view != "aggregated" or not torch.equal(start, federation.server.model.flat)
            if rule.trains and moved and not value >= _LEARNT_OF_KIND:
                raise Violation(
                    f"the view {view!r} of a {task.meta.kind} task has a validation {metric.title} of {value:.2f} "
                    f"after five rounds, at least {_LEARNT_OF_KIND} is expected; use the loss that the loop gives."
                )


def _missing(subject: Subject) -> None:
    federation = build(make(subject), (*IMAGE, PAIRED), clients=3)
    last = federation.clients[-1]
    last.data = {PAIRED: last.data[PAIRED].hiding(["image"])}
    finish(federation)
    for name, held in bits(federation).items():
        if not all(bool(t.isfinite().all()) for t in worlds.tensors_in(held) if t.is_floating_point()):
            raise Violation(f"{name} is not finite after two rounds of samples that lack a modality.")
    for view in worlds.views(federation):
        found = worlds.scores(federation, view, EITHER, paired_cohort().part("valid"))
        if not np.isfinite(found).all():
            raise Violation(f"the view {view!r} is not finite for samples that lack a modality.")


def _order(subject: Subject) -> None:
    forwards = finish(build(make(subject), MULTI, uneven=True, clients=4))
    backwards = finish(worlds.watched(build(make(subject), MULTI, uneven=True, clients=4), backwards=True))
    if place := difference(bits(forwards), bits(backwards)):
        raise Violation(
            f"{place} is another one when the clients are run in reverse and their updates combined in the usual order."
        )


def _learns(subject: Subject) -> None:
    rule = make(subject)
    if not rule.trains:
        raise NotApplicable("the rule says that it trains nothing (trains is False)")
    if rule.needs_stage:
        raise NotApplicable("a language model of the smallest size learns nothing in five rounds")
    for modality in ("image", "signal"):
        (task,) = SINGLE[modality]
        sent: list[bool] = []
        federation = build(make(subject), (task,), large=True, rounds=5, local_epochs=2, batch_size=15)
        worlds.watched(federation, after=lambda ctx, r, update: sent.append(bool(update.model) or update.steps > 0))  # noqa: B023
        finish(federation)
        if not any(sent):
            raise NotApplicable("its clients neither train nor send a model")
        part = toys.cohorts()[task].part("valid")
        for view in rule.views:
            predicted = np.atleast_2d(view_of(view).scores(federation, toys.TASKS[task], part))
            score = float(np.mean([AUROC(part.targets, row) for row in predicted]))
            if not score >= _LEARNT:
                raise Violation(
                    f"after 5 rounds the view {view!r} has a validation AUROC of {score:.2f} on an easy {modality} "
                    f"problem, on which FedAvg comes close to 1; at least {_LEARNT} is expected."
                )


def _absent(subject: Subject) -> None:
    _lasts(subject, rounds=3, participation=0.5)


def _per_task(subject: Subject) -> None:
    if make(subject).buffer:
        raise NotApplicable("the rule is asynchronous, which an exchange after every task can't be")
    _lasts(subject, exchange="task")


def _lasts(subject: Subject, **settings: Any) -> None:
    federation = finish(build(make(subject), MULTI, clients=4, uneven=True, **settings))
    for task in MULTI:
        for view in worlds.views(federation):
            _scored(federation, view, task)


def _scored(federation: Federation, view: str, task: str) -> np.ndarray:
    found = worlds.scores(federation, view, toys.TASKS[task], toys.cohorts()[task].part("valid"))
    if not np.isfinite(found).all():
        raise Violation(f"the view {view!r} gives probabilities that are not finite for the task {task!r}.")
    return found


def _test_split(subject: Subject) -> None:
    with worlds.doors_watched("test") as asked:
        try:
            finish(build(make(subject), MULTI))
        except BaseException:
            if not asked:
                raise
    if asked:
        raise Violation(f"it asked for {asked[0]}.")
    altered = bits(finish(build(make(subject), MULTI, altered=("test",))))
    if place := difference(worlds.plain_bits(subject), altered):
        raise Violation(f"{place} changes when nothing but the labels and arrays of the test split change.")


def _personal(subject: Subject) -> None:
    if "personal" not in make(subject).views:
        raise NotApplicable("the rule has no personal view")
    if make(subject).needs_stage:
        raise NotApplicable("its clients' own models answer in words, by a view of the stage")
    federation = finish(build(make(subject), MULTI, uneven=True, clients=4))
    before = bits(federation)
    rows = {task: [_scored(federation, "personal", task) for _ in range(2)] for task in MULTI}
    if place := difference(before, bits(federation)):
        raise Violation(f"scoring the personal view changed {place}.")
    for task, (one, other) in rows.items():
        if not np.array_equal(one, other):
            raise Violation(f"scoring the personal view of {task!r} twice gives two results.")
    if len(np.unique(rows[MULTI[0]][0], axis=0)) == 1:
        raise Violation("all clients have the same personal model, although their data differ.")
    for client in federation.clients:
        ctx = federation.context(client.number, federation.server.round)
        if not ctx.data:
            continue
        received = federation.rule.broadcast(federation.server, ctx.client, ctx.units)
        ctx.load(received)
        own: Any = federation.rule.personal(ctx, received)
        if own is None:
            continue  # what was received and kept is the personal model
        needed = set(federation.server.model.restrict(ctx.units))
        if set(own) - set(federation.server.model) or needed - set(own) - federation.server.local:
            raise Violation(f"the personal model of client {client.number} lacks tensors of its units, or has others.")


def _clause(name: str, expected: str, check: Check) -> Clause:
    return Clause("rules", name, expected, check)


CLAUSES = (
    _clause(LOADS, loading.EXPECTED, _loads),
    _clause("finite", "two rounds on pictures, signals and clinical series, one task or several, end finite.", _finite),
    _clause("deterministic", "one seed gives the same bits twice, whatever global streams hold.", _deterministic),
    _clause("order", "the order in which clients are run does not change a bit.", _order),
    _clause("learns", "every view that the rule leaves to be scored learns an easy problem in five rounds.", _learns),
    _clause("kinds", "a head of every kind (three classes, levels, findings, a number) is trained.", _kinds),
    _clause(
        "received", "what was received, the server's model and other clients' memories are left alone, and nothing "
        "that is sent or remembered shares memory with a model in use.", rule_wire.received,
    ),
    _clause("wire", "only tensors and finite numbers travel, every byte is counted, and a model that is sent covers "
            "exactly the client's units.", rule_wire.wire),
    _clause("weights", "a client counts by its share: not at all with share 0, the same when split in two; identical "
            "clients are one. Of a rule that counts clients, shares change nothing.", rule_wire.weights),
    _clause("absent", "absent clients, clients without data and clients without a modality are no problem.", _absent),
    _clause("missing", "samples with several arrays of a modality, or none, are no problem, nor is a client that never "
            "has one.", _missing),
    _clause("per-task", "models may be exchanged after every task, which is the published option.", _per_task),
    _clause("shared-state", "two federations that take turns in one process give the bits of each alone.",
            rule_state.shared_state),
    _clause("memory", "all that is remembered can be written to a checkpoint and read back.", rule_state.memory),
    _clause("resumes", "a run killed after its first round and resumed from the checkpoint ends in the same bits.",
            rule_state.resumes),
    _clause("neutral", "under its neutral parameters the rule is FedAvg, and under its defaults it is not.",
            rule_terms.neutral),
    _clause("extra-term", "the term added to the loss has a gradient, and the one that finite differences give.",
            rule_terms.extra_term),
    _clause("gradients", "gradients are changed, in place, and stay finite.", rule_terms.gradients),
    _clause("test-split", "the test split is neither asked for nor has any influence.", _test_split),
    _clause("buffers", "tensors that stay with a client never travel; batch-norm statistics that do not are averaged.",
            rule_wire.buffers),
    _clause("personal", "the personal view gives every client a model of its own and changes nothing.", _personal),
)  # fmt: skip
