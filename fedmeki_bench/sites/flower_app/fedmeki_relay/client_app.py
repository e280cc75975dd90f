"""At a site: what comes from Flower goes to the socket of `fedmeki-bench site serve`, and its reply goes back."""

from __future__ import annotations

import socket
import time

from fedmeki_relay.frames import receive, send
from fedmeki_relay.records import unwrap, wrap
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query("relay")
def relay(message: Message, context: Context) -> Message:
    """One message. While nothing answers at the socket, since it is being restarted, it is tried again."""
    path = str(context.node_config["socket"])
    until = time.monotonic() + float(context.node_config.get("patience", 300))
    asked = unwrap(message.content)
    while True:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(path)
                send(connection, asked)
                return Message(wrap(receive(connection)), reply_to=message)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
