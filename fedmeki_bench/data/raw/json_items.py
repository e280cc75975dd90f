"""Reading JSON that strangers hand in: every item arrives, or is dropped with a reason that counts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.errors import InputError

_LONGEST = 100_000  # characters; a question or an answer has a few dozen


def read_items(path: Path) -> list[Any]:
    """The items of a JSON file that holds one list, as they are.

    Raises:
        InputError: missing, not UTF-8, cut or malformed (names the line), nested too deep, or no list.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would make the reader wait for ever
            raise InputError(f"{path} is no regular file")
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        cut = "; the file seems cut" if error.pos >= len(text.rstrip()) - 1 else ""
        raise InputError(f"{path}, line {error.lineno}: is no valid JSON ({error.msg}){cut}") from None
    except (RecursionError, ValueError):
        raise InputError(f"{path} is no JSON that can be read (nested too deep, or a number too long)") from None
    if not isinstance(items, list):
        raise InputError(f"{path} holds no list of items, but one {type(items).__name__}")
    return items


def mapping(item: Any) -> Mapping[str, Any]:
    """An item that is an object, its keys stripped and in lower case.

    Raises:
        Dropped: it is anything else.
    """
    if not isinstance(item, dict):
        raise Dropped("the item is not an object with named fields")
    return {key.strip().lower(): value for key, value in item.items()}


def text(item: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """A field as stripped text; a number becomes the text that stands in the file.

    Args:
        item: what :func:`mapping` returned.
        name: the field.
        default: the value where the field is absent, null or blank; without it, such an item is dropped.

    Raises:
        Dropped: the field is absent or blank, or neither text nor a number.
    """
    value = item.get(name)
    if isinstance(value, str):
        found = value.strip()
    elif isinstance(value, int) and not isinstance(value, bool):
        found = str(value)
    elif isinstance(value, float) and math.isfinite(value):
        found = f"{value:.15g}"
    elif value is None:
        found = ""
    else:
        raise Dropped(f"the field '{name}' is neither text nor a number")
    if "\0" in found or any("\ud800" <= sign <= "\udfff" for sign in found):
        raise Dropped(f"the field '{name}' holds signs that are no text")
    if len(found) > _LONGEST:
        raise Dropped(f"the field '{name}' is implausibly long")
    if not found:
        if default is None:
            raise Dropped(f"the field '{name}' is blank or missing")
        return default
    return found


def whole(value: Any, name: str) -> int:
    """A number, or text of digits, as a whole number of a plausible size.

    Raises:
        Dropped: it is anything else.
    """
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise Dropped(f"the field '{name}' is not a whole number")
    return value
