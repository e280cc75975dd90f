"""How the clients of an exchange are executed; whoever does it, updates come back in client order, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation.client import ClientContext
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.rule import Rule

Send = Callable[[ClientContext], Payload]
"""What goes down to a client, counted."""

Work = Literal["client_update", "answer"]
"""What clients do: train and send their update, or answer before some of them are chosen (see ``Rule.select``)."""

Execute = Callable[[Rule, Iterable[ClientContext], Send, Work], Iterator[Update]]
"""Yields one update per client, in client order; the result may not depend on how."""


def one_by_one(
    rule: Rule, contexts: Iterable[ClientContext], send: Send, work: Work = "client_update"
) -> Iterator[Update]:
    """Run clients one after another in one resident work model.

    Only one update is alive at a time, so memory does not grow with the number of clients.

    Raises:
        RunFailed: the rule changed what it received.
    """
    for ctx in contexts:
        received = send(ctx)
        before = received.fingerprint()
        update: Update = getattr(rule, work)(ctx, received)
        update.reports, ctx.batch = ctx.reports, None  # no samples stay behind
        if received.fingerprint() != before:
            raise RunFailed(
                f"rule {type(rule).__name__} changed what client {ctx.client} received in round {ctx.round + 1}; "
                "received values are read-only, clone them first"
            )
        yield update
