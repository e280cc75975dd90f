"""Clauses for rules about what they add to FedAvg: neutral parameters, a term of the loss, corrected gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fedmeki_bench.conformance.clause import NotApplicable, Violation
from fedmeki_bench.conformance.loading import make
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.conformance.worlds import IMAGE, MULTI, build, finish
from fedmeki_bench.federation.client import ClientContext
from fedmeki_bench.federation.payload import Payload
from fedmeki_bench.federation.rule import Rule

_STEP = 1e-4
_DIRECTIONS = 3
_AGREE = 1e-2


def neutral(subject: Subject) -> None:
    """Clause ``neutral``."""
    rule = make(subject)
    if rule.neutral is None:
        raise NotApplicable("the rule declares no neutral parameters")
    if not rule.trains:
        raise NotApplicable("the rule trains nothing")
    how: dict[str, Any] = {} if rule.neutral_bitwise else {"optimizer": "sgd", "lr": 0.05}
    if rule.phased:
        if not torch.equal(*(finish(build(one, MULTI)).server.model.flat for one in (Rule(), make(subject)))):
            raise Violation("the rule says that it is FedAvg unless tasks follow one another (phased), and it is not.")
        how["phases"] = True
    fedavg = finish(build(Rule(), MULTI, **how)).server.model.flat
    bent = finish(build(make(subject, **rule.neutral), MULTI, **how)).server.model.flat
    if rule.neutral_bitwise and not torch.equal(bent, fedavg):
        raise Violation(
            f"with {dict(rule.neutral)} the global model differs from FedAvg's by up to "
            f"{float((bent - fedavg).abs().max()):.2g} after two rounds; where that is rounding, set "
            "neutral_bitwise = False."
        )
    if not torch.allclose(bent, fedavg, rtol=1e-3, atol=1e-5):
        raise Violation(
            f"with {dict(rule.neutral)} the global model differs from FedAvg's by up to "
            f"{float((bent - fedavg).abs().max()):.2g} after two rounds, which is more than rounding."
        )
    chosen = rule.params.model_dump()
    if rule.neutral and all(chosen.get(name) == value for name, value in rule.neutral.items()):
        if subject.options:
            return
        raise Violation("its defaults are its neutral parameters, so the rule does nothing unless asked.")
    own = finish(build(make(subject), MULTI, phases=rule.phased))
    remembers = any(client.memory or client.personal for client in own.clients) or bool(own.server.memory)
    fedavg = finish(build(Rule(), MULTI, phases=rule.phased)).server.model.flat
    if torch.equal(own.server.model.flat, fedavg) and not (remembers and not rule.neutral):
        raise Violation("with its defaults, too, the rule is FedAvg bit for bit: its own term does nothing.")


# ---- the extra term


class _Seen(Exception):
    """No error: it ends the training once the term has been examined."""


def extra_term(subject: Subject) -> None:
    """Clause ``extra-term``; the federation computes in double precision, so that differences are exact enough."""
    rule = make(subject)
    if type(rule).local_loss is Rule.local_loss:
        raise NotApplicable("the rule does not override local_loss")
    torch.set_default_dtype(torch.float64)
    federation = build(rule, MULTI[:2], phases=True) if rule.phased else build(rule, IMAGE)
    model = federation.model
    single = model.read
    model.read = lambda part, index: {m: x.double() for m, x in single(part, index).items()}  # type: ignore[method-assign]
    federation.round(0)
    plain, calls = rule.local_loss, [0]

    def examined(
        loss: Tensor, outputs: Any, params: Mapping[str, Tensor], received: Payload, ctx: ClientContext
    ) -> Tensor:
        calls[0] += 1
        if calls[0] == 2:  # training has begun and the rule has made ready what it needs
            _examine(plain, params, received, ctx)
            raise _Seen
        return plain(loss, outputs, params, received, ctx)

    rule.local_loss = examined  # type: ignore[method-assign]
    try:
        federation.round(1)
    except _Seen:
        return
    raise Violation("local_loss is overridden and never called: train with ctx.train(self, received).")


def _examine(plain: Any, params: Mapping[str, Tensor], received: Payload, ctx: ClientContext) -> None:
    draw = torch.Generator().manual_seed(0)

    def drawn(value: Tensor) -> Tensor:
        return torch.randn(value.shape, generator=draw, dtype=torch.float64)

    at = {name: value.detach().double() + 0.1 * drawn(value) for name, value in params.items()}
    assert ctx.batch is not None
    batch = ctx.batch

    def term(values: Mapping[str, Tensor]) -> Tensor:
        """What the rule adds at these weights; outputs and loss are those of the same weights."""
        torch.manual_seed(0)
        outputs = ctx.forward(values, batch)
        loss = nn.functional.binary_cross_entropy_with_logits(outputs.logits, batch.labels.double())
        return plain(loss, outputs, values, received, ctx) - loss

    leaves = {name: value.clone().requires_grad_() for name, value in at.items()}
    value = term(leaves)
    if not bool(value.isfinite().all()) or value.numel() != 1:
        raise Violation(f"the term is {value.tolist()!r}, not one finite number.")
    found: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if value.requires_grad:
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    gradient = {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(leaves.items(), found, strict=True)}
    length = float(sum(g.square().sum() for g in gradient.values())) ** 0.5
    for number in range(_DIRECTIONS):
        random = {name: drawn(value) for name, value in at.items()}
        along = gradient if number == 0 and length > 0 else random
        norm = float(sum(d.square().sum() for d in along.values())) ** 0.5
        along = {n: d / norm for n, d in along.items()}
        with torch.no_grad():
            up, down = (term({n: at[n] + sign * _STEP * along[n] for n in at}) for sign in (1, -1))
        numeric = float(up - down) / (2 * _STEP)
        analytic = float(sum((gradient[n] * along[n]).sum() for n in at))
        if length == 0 and abs(numeric) > 1e-12:
            raise Violation(
                f"the term has a value ({float(value.detach()):.2g}) that changes with the weights and no gradient: it "
                "is built from detached tensors; use params as they are given."
            )
        if length > 0 and abs(numeric - analytic) > _AGREE * max(abs(numeric), abs(analytic), 0.1 * length):
            raise Violation(
                f"along one direction the term's gradient is {analytic:.4g}, finite differences give {numeric:.4g}."
            )
    if length == 0:
        raise Violation("the term's gradient is zero away from the received weights: it changes no step.")


def gradients(subject: Subject) -> None:
    """Clause ``gradients``."""
    rule = make(subject)
    if type(rule).correct_gradients is Rule.correct_gradients:
        raise NotApplicable("the rule does not override correct_gradients")
    plain = rule.correct_gradients
    seen = {"calls": 0, "changed": 0}

    def examined(
        grads: Mapping[str, Tensor], params: Mapping[str, Tensor], received: Payload, ctx: ClientContext
    ) -> None:
        before = {name: (g, g.clone()) for name, g in grads.items()}
        weights = {name: p.detach().clone() for name, p in params.items()}
        plain(grads, params, received, ctx)
        seen["calls"] += 1
        if grads.keys() != before.keys() or any(grads[name] is not g for name, (g, _) in before.items()):
            raise Violation("correct_gradients put other tensors into grads; change those that are there in place.")
        if any(not torch.equal(params[name].detach(), w) for name, w in weights.items()):
            raise Violation("correct_gradients changed the weights.")
        if not all(bool(g.isfinite().all()) for g, _ in before.values()):
            raise Violation("correct_gradients left a gradient that is not finite.")
        seen["changed"] += any(not torch.equal(g, old) for g, old in before.values())

    rule.correct_gradients = examined  # type: ignore[method-assign]
    finish(build(rule, MULTI))
    if not seen["calls"]:
        raise Violation("correct_gradients is overridden and never called: train with ctx.train(self, received).")
    if not seen["changed"]:
        raise Violation("in two rounds correct_gradients changed no gradient.")
