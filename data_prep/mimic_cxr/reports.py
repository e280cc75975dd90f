"""The question that a radiograph was taken for, from its report; nothing of what the report found."""

from __future__ import annotations

import re
from pathlib import Path

_LIMIT = 100_000  # bytes; a report has two thousand
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /]{3,40}):", re.MULTILINE)
_ASKED = ("INDICATION", "REASON FOR EXAM", "REASON FOR EXAMINATION", "HISTORY", "CLINICAL INFORMATION")
_LONGEST = 300  # characters


def indication(path: Path) -> str:
    """The first section of a report that says why it was asked for, on one line; empty without one.

    A report that is not there, or can't be read, has none.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
    headings = list(_HEADING.finditer(text))
    for number, heading in enumerate(headings):
        if heading[1].strip() in _ASKED:
            end = headings[number + 1].start() if number + 1 < len(headings) else len(text)
            said = " ".join(text[heading.end() : end].replace("<", " ").split())
            return said[:_LONGEST]
    return ""
