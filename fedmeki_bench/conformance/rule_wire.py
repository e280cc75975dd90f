"""Clauses for rules about what travels between server and clients, and how it is combined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from fedmeki_bench.conformance.clause import NotApplicable, Violation
from fedmeki_bench.conformance.loading import make
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.conformance.worlds import MULTI, build, copied, difference, finish, place, tensors_in, watched
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation.client import ClientContext
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.server import Server
from fedmeki_bench.models.flat import FlatTensors

_NUMBER = 8


def _vectors(message: Payload | Update) -> dict[str, Any]:
    return {"model": message.model} | {f"extra[{name!r}]": value for name, value in message.extra.items()}


# ---- received


def received(subject: Subject) -> None:
    """Clause ``received``."""
    federation = build(make(subject), MULTI)
    server, model, send = federation.server, federation.model, federation.rule.broadcast
    sent: dict[int, Any] = {}
    remembered: dict[int, Any] = {}
    before: list[FlatTensors] = []

    def in_use() -> dict[int, str]:
        return {
            place(model.values.flat): "the work model", place(model.grads.flat): "the work model's gradients",
            place(server.model.flat): "the server's model",
        }  # fmt: skip

    def separate(value: Any, what: str, others: dict[int, str]) -> None:
        for tensor in tensors_in(value):
            if tensor.numel() and place(tensor) in others:
                raise Violation(f"{what} shares memory with {others[place(tensor)]}; clone it.")

    def held_by(client: int) -> list[Any]:
        return [federation.clients[client].memory, federation.clients[client].personal]

    def broadcast(server: Server, client: int, units: tuple[str, ...]) -> Payload:
        start = server.model.clone()
        payload = send(server, client, units)
        if difference(start, server.model, "model"):
            raise Violation("broadcast changed the server's model.")
        separate(list(_vectors(payload).values()), "what is broadcast", in_use())
        sent[client] = copied(_vectors(payload))
        before[:] = [start]
        return payload

    def after(ctx: ClientContext, payload: Payload, update: Update) -> None:
        if where := difference(sent[ctx.client], _vectors(payload)):
            raise Violation(f"client {ctx.client} wrote into what it received ({where}).")
        if difference(before[0], server.model, "model"):
            raise Violation(f"the server's model changed while client {ctx.client} trained.")
        mine = {place(t): "what was received" for t in tensors_in(list(_vectors(payload).values()))}
        separate(list(_vectors(update).values()), f"the update of client {ctx.client}", in_use() | mine)
        held = held_by(ctx.client)
        separate(held, f"the memory of client {ctx.client}", in_use())
        remembered[ctx.client] = copied(held)

    federation.rule.broadcast = broadcast  # type: ignore[method-assign]
    watched(federation, after=after)
    for number in range(federation.rounds):
        try:
            federation.round(number)
        except RunFailed as error:
            if "received" not in str(error):
                raise
            raise Violation(f"{error}.") from error
        for client, then in remembered.items():
            if where := difference(then, held_by(client), f"memory of client {client}"):
                raise Violation(f"the {where} changed after its turn, while others trained or the server combined.")


# ---- wire


def wire(subject: Subject) -> None:
    """Clause ``wire``."""
    federation = build(make(subject), MULTI, uneven=True, clients=4)
    bytes_: dict[str, int] = {"down": 0, "up": 0}

    def before(ctx: ClientContext, payload: Payload) -> None:
        bytes_["down"] += _message(payload, Payload, f"what client {ctx.client} receives", ctx, federation, exact=False)

    def after(ctx: ClientContext, payload: Payload, update: Update) -> None:
        bytes_["up"] += _message(
            update, Update, f"the update of client {ctx.client}", ctx, federation, exact=True, sent=payload.model
        )  # fmt: skip
        if update.client != ctx.client:
            raise Violation(f"client {ctx.client} sends an update in the name of client {update.client!r}.")

    watched(federation, before=before, after=after)
    finish(federation)
    ledger = {"down": sum(r.bytes_down for r in federation.history), "up": sum(r.bytes_up for r in federation.history)}
    if federation.rule.buffer:  # what went to clients that are still under way was not seen here
        ledger["down"], bytes_["down"] = 0, min(0, ledger["down"] - bytes_["down"])
    if ledger != bytes_:
        raise Violation(f"the ledger counts {ledger} bytes, tensors and numbers have {bytes_}.")


def _message(
    message: Any, kind: type, what: str, ctx: ClientContext, federation: Federation, *, exact: bool,
    sent: FlatTensors | None = None,
) -> int:  # fmt: skip
    """Check one payload or update; returns its bytes."""
    if not isinstance(message, kind) or not isinstance(message, Payload | Update):
        raise Violation(f"{what} is of type {type(message).__name__}, not {kind.__name__}.")
    strange = vars(message).keys() - {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if strange:
        raise Violation(f"{what} carries the attribute {min(strange)!r}, which is no field of {kind.__name__}.")
    total = 0
    for name, vector in _vectors(message).items():
        if vector is None:
            continue
        if not isinstance(vector, FlatTensors | torch.Tensor):
            raise Violation(f"{what} carries {name} of type {type(vector).__name__}, not FlatTensors or a tensor.")
        tensors = list(vector.values()) if isinstance(vector, FlatTensors) else [vector]
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise Violation(f"{what} carries {name} with values that are not finite.")
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    for name, number in message.numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise Violation(
                f"{what} carries the number {name!r} with the value {number!r}; finite floats are expected."
            )
        total += _NUMBER
    if message.model is not None:
        allowed = set(federation.server.model.restrict(ctx.units))
        stray = set(message.model) - allowed
        wanted = set(sent) if sent is not None else allowed  # what came down in another form may go back so
        lacking = wanted - federation.server.local - set(message.model) if exact else set()
        if stray or lacking:
            name, how = (min(stray), "has") if stray else (min(lacking), "lacks")
            raise Violation(f"the model in {what} {how} {name!r}; it uses the units {', '.join(ctx.units)}.")
    return total


# ---- weights


def weights(subject: Subject) -> None:
    """Clause ``weights``."""
    # SGD, because Adam would magnify gradients that are rounding noise where a rule trains at the server, too
    federation = build(make(subject), ("left", "fast"), clients=3, optimizer="sgd", lr=0.05)
    contexts = [federation.context(client, 0) for client in range(3)]
    federation.call(("left", "fast"))
    updates = []
    for ctx in contexts:
        received = federation.rule.broadcast(federation.server, ctx.client, ctx.units)
        updates.append(federation.rule.client_update(ctx, received))
        updates[-1].share = {}
    if all(update.model is None for update in updates):
        raise NotApplicable("its clients send no model that could be weighted")
    start, kept = federation.server.model, copied(federation.server.memory)
    by_head = federation.rule.counts == "clients"
    one, other, third = updates

    def combined(parts: Sequence[tuple[Update, float]], holders: int) -> FlatTensors:
        """The server's model after combining copies of these updates with these shares."""
        units = start.units
        server = Server(
            start.clone(), holders, holders=dict.fromkeys(units, holders), local=federation.server.local,
            memory=copied(kept), context=federation.at_server,
        )  # fmt: skip

        def arriving() -> Iterator[Update]:
            for number, (update, share) in enumerate(parts):
                extra = {name: vector.clone() for name, vector in update.extra.items()}
                model = None if update.model is None else update.model.clone()
                shares = dict.fromkeys(update.samples or units, share)
                yield replace(update, client=number, model=model, extra=extra, share=shares, total_share=dict(shares))

        make(subject).aggregate(server, arriving())
        return server.model

    def same(a: FlatTensors, b: FlatTensors, found: str) -> None:
        if not torch.allclose(a.flat, b.flat, rtol=1e-4, atol=1e-5):
            gap = float((a.flat - b.flat).abs().max())
            how = "it says that it counts clients" if by_head else "weight each update by update.share"
            raise Violation(f"{found} (the models differ by up to {gap:.2g}); {how}.")

    if by_head:
        same(
            combined([(one, 0.6), (other, 0.4)], 2), combined([(one, 0.1), (other, 0.9)], 2),
            "other shares of two clients change the result",
        )  # fmt: skip
        return

    loud = replace(third, model=None if third.model is None else third.model * -3.0,
                   extra={name: vector * -3 for name, vector in third.extra.items()})  # fmt: skip
    same(
        combined([(one, 0.6), (other, 0.4)], 3), combined([(one, 0.6), (other, 0.4), (loud, 0.0)], 3),
        "a client with share 0 changes the result",
    )  # fmt: skip
    same(
        combined([(one, 0.5), (other, 0.5)], 2), combined([(one, 0.5), (other, 0.25), (other, 0.25)], 3),
        "a client that arrives as two halves of its share counts differently",
    )  # fmt: skip
    same(
        combined([(one, 1.0)], 1), combined([(one, 0.5), (one, 0.3), (one, 0.2)], 3),
        "three identical clients with shares 0.5, 0.3 and 0.2 do not give the result of one with share 1",
    )  # fmt: skip


# ---- buffers


def buffers(subject: Subject) -> None:
    """Clause ``buffers``."""
    federation = build(make(subject), MULTI)
    kept = federation.server.local
    initial = federation.server.model.clone()
    if kept and "personal" not in federation.rule.views:
        raise Violation("the rule keeps tensors with the clients and has no personal view, in which they are scored.")
    models = [0]

    def travelled(what: str, message: Payload | Update, own: FlatTensors) -> None:
        for name, vector in _vectors(message).items():
            if not isinstance(vector, FlatTensors):
                continue
            leaked = sorted(n for n in kept & set(vector) if name == "model" or torch.equal(vector[n], own[n]))
            if leaked:
                raise Violation(f"{what} carries {leaked[0]!r} in {name}, although keeps() says that it stays.")

    def before(ctx: ClientContext, payload: Payload) -> None:
        travelled(f"what client {ctx.client} receives", payload, federation.model.values)

    def after(ctx: ClientContext, payload: Payload, update: Update) -> None:
        models[0] += update.model is not None
        travelled(f"the update of client {ctx.client}", update, federation.model.values)

    watched(federation, before=before, after=after)
    finish(federation)
    now = federation.server.model
    for name in kept:
        if not torch.equal(now[name], initial[name]):
            raise Violation(f"the server's own {name!r} changed, although keeps() says that it stays with the clients.")
    if not models[0]:
        raise NotApplicable("its clients send no model")
    stuck = [n for n in initial.buffers() if n not in kept and torch.equal(now[n], initial[n])]
    if stuck:
        raise Violation(f"{stuck[0]!r} is as at the start: statistics that are not kept have to be averaged.")
    if kept and not all(client.local for client in federation.clients):
        raise Violation("a client does not find again what keeps() says it keeps; train with ctx.train.")
