"""The default engine: one client at a time in one resident work model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation.client import ClientContext
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.rule import Rule


class SequentialEngine:
    """Runs clients one after another, in the order given, and hands each update on before the next one starts.

    Only one update is alive at a time, so memory does not grow with the number of clients.
    """

    def run(
        self, rule: Rule, contexts: Iterable[ClientContext], broadcast: Callable[[ClientContext], Payload]
    ) -> Iterator[Update]:
        """Yield one update per client.

        Raises:
            RunFailed: the rule changed what it received.
        """
        for ctx in contexts:
            received = broadcast(ctx)
            before = received.fingerprint()
            update = rule.client_update(ctx, received)
            if received.fingerprint() != before:
                raise RunFailed(
                    f"rule {type(rule).__name__} changed what client {ctx.client} received in round {ctx.round + 1}; "
                    "received values are read-only, clone them first"
                )
            yield update
