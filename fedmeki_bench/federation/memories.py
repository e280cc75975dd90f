"""What clients hold between exchanges, in files of whoever holds the client, for engines without one checkpoint of all.

There is a file per client and exchange that changed it. So a site that was restarted finds what it held before the
exchange it is asked for again, and a server that was restarted can go back to the end of the round it saved last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fedmeki_bench.federation import checkpoint

if TYPE_CHECKING:
    import torch

    from fedmeki_bench.federation.client import Client
    from fedmeki_bench.models.flat import Layout

FOLDER = "clients"
"""The folder of these files in that of the checkpoint."""

Step: TypeAlias = tuple[int, int]
"""Round and number of an exchange in it, as in :class:`~fedmeki_bench.federation.seat.Seat`."""

_NAME = re.compile(r"client-(\d+)\.round-(\d+)\.exchange-(\d+)\.pt")


def keep_memory(folder: Path, client: Client, step: Step) -> None:
    """Write what a client holds after an exchange; nothing while it has never held anything."""
    state = client.state()
    if not any(state.values()) and not any(_every(folder, (client.number,))):
        return
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder, state, name=f"client-{client.number}.round-{step[0]}.exchange-{step[1]}.pt")


def read_memories(
    folder: Path | None, clients: Collection[int], before: Step, layouts: Sequence[Layout], device: torch.device | str
) -> dict[int, dict[str, Any]]:
    """Client -> what it held before an exchange; those that held nothing are left out.

    Raises:
        RunFailed: a file is damaged.
    """
    latest: dict[int, tuple[Step, Path]] = {}
    for client, step, path in _every(folder, clients):
        if step < before and (client not in latest or latest[client][0] < step):
            latest[client] = (step, path)
    found = {}
    for client, (_, path) in latest.items():
        state = checkpoint.load(path.parent, layouts[0], device, others=layouts[1:], name=path.name)
        assert state is not None
        found[client] = state
    return found


def forget_after(folder: Path | None, clients: Collection[int], step: Step) -> None:
    """Remove what came from this exchange on: the server goes on from before it."""
    for _, found, path in list(_every(folder, clients)):
        if found >= step:
            path.unlink(missing_ok=True)


def forget_before(folder: Path | None, clients: Collection[int], step: Step) -> None:
    """Remove what nobody can go back to, when the oldest exchange that may be asked for is ``step``."""
    latest: dict[int, Step] = {}
    for client, found, _ in _every(folder, clients):
        if found < step:
            latest[client] = max(found, latest.get(client, found))
    for client, found, path in list(_every(folder, clients)):
        if client in latest and found < latest[client]:
            path.unlink(missing_ok=True)


def _every(folder: Path | None, clients: Collection[int]) -> Iterator[tuple[int, Step, Path]]:
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if (named := _NAME.fullmatch(path.name)) is not None and int(named[1]) in clients:
            yield int(named[1]), (int(named[2]), int(named[3])), path
