"""Messages on a stream socket: a length, a header in JSON, and bytes that the header is about."""

from __future__ import annotations

import json
import socket
from typing import Any

_LARGEST = 1 << 40  # bytes of one message
_LARGEST_HEADER = 1 << 26


class CutOff(ConnectionError):
    """The other side went away, in mid-message or before one."""


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """A message as bytes."""
    told = json.dumps(header, separators=(",", ":")).encode()
    return len(told).to_bytes(4, "big") + told + body


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of a message.

    Raises:
        ValueError: it is none.
    """
    length = int.from_bytes(message[:4], "big")
    if length > min(_LARGEST_HEADER, len(message) - 4):
        raise ValueError("the header of a message is longer than the message")
    header = json.loads(message[4 : 4 + length])
    if not isinstance(header, dict):
        raise ValueError("the header of a message is no object")
    return header, message[4 + length :]


def send(connection: socket.socket, message: bytes) -> None:
    """Write one message."""
    connection.sendall(len(message).to_bytes(8, "big"))
    connection.sendall(message)


def receive(connection: socket.socket) -> bytes:
    """Read one message.

    Raises:
        CutOff: the other side is gone.
    """
    length = int.from_bytes(_exactly(connection, 8), "big")
    if length > _LARGEST:
        raise CutOff("what comes is no message")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        piece = connection.recv(min(1 << 20, length - len(found)))
        if not piece:
            raise CutOff("the other side is gone")
        found += piece
    return bytes(found)
