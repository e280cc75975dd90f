"""At the server: what the run says at its socket goes to nodes, and what they reply goes back to the run."""

from __future__ import annotations

import select
import socket
import time

from fedmeki_relay.frames import CutOff, pack, receive, send, unpack
from fedmeki_relay.records import unwrap, wrap
from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

app = ServerApp()

_POLL = 0.1  # seconds between two looks for replies
_LOOK = 1.0  # seconds between two looks for nodes that came or went


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Until the run goes away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as run:
        run.connect(str(context.run_config["socket"]))
        try:
            _carry(grid, run)
        except CutOff:
            return


def _carry(grid: Grid, run: socket.socket) -> None:
    waiting: dict[str, int] = {}  # Flower's name of a message -> its number
    nodes: list[int] | None = None
    looked = 0.0
    while True:
        while select.select([run], [], [], 0 if waiting else _POLL)[0]:
            header, body = unpack(receive(run))
            message = Message(wrap(body), dst_node_id=int(header["node"]), message_type="query.relay")
            for name in grid.push_messages([message]):
                waiting[name] = int(header["number"])
        if time.monotonic() - looked > _LOOK:
            looked = time.monotonic()
            now = sorted(grid.get_node_ids())
            if now != nodes:
                nodes = now
                send(run, pack({"what": "nodes", "nodes": nodes}))
        if not waiting:
            continue
        for reply in grid.pull_messages(list(waiting)):
            number = waiting.pop(reply.metadata.reply_to_message_id)
            if reply.has_error():
                send(run, pack({"what": "failed", "number": number, "reason": str(reply.error.reason)}))
            else:
                send(run, pack({"what": "reply", "number": number}, unwrap(reply.content)))
        time.sleep(_POLL)
