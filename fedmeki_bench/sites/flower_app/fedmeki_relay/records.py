"""Bytes as Flower's records: one array of bytes, which Flower cuts into pieces where it is large."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, RecordDict

_NAME = "bytes"


def wrap(message: bytes) -> RecordDict:
    """A message as a record."""
    array = Array(dtype="uint8", shape=(len(message),), stype="bytes", data=message)
    return RecordDict({_NAME: ArrayRecord({_NAME: array})})


def unwrap(content: RecordDict) -> bytes:
    """The message again."""
    return bytes(content[_NAME][_NAME].data)
