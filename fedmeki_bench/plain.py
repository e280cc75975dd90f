"""Text of strangers made fit to be shown: no escape sequences, no control characters, no text that runs backwards."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_KEPT = {"\n", "\t"}


def plain_text(text: str) -> str:
    """The text with every control and formatting character written out, as ``\\u001b``; line ends and tabs stay.

    Escape sequences could recolour or clear a terminal, hide lines or set its title; bidirectional marks could show a
    name in another order. Surrogates, which no encoding can write, are written out as well.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or not _hidden(c) else _written(c) for c in text)


def one_line(text: str) -> str:
    """As :func:`plain_text`, with line ends and tabs as spaces: for names, cells of tables and sentences."""
    return " ".join(plain_text(text.replace("\r", " ")).split())


def plain_values(value: Any) -> Any:
    """All texts within lists and mappings by :func:`plain_text`; anything else as it is."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        return {plain_values(k): plain_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(v) for v in value]
    return value


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _written(character: str) -> str:
    return json.dumps(character)[1:-1]  # as JSON writes it, so that JSON stays JSON
