"""Question-and-answer files: lists of JSON objects, one file or several per official part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmeki_bench.data.contract import Dropped, Drops
from fedmeki_bench.data.raw.json_items import mapping, read_items

ReadItem = Callable[[Mapping[str, Any], str, int], dict[str, Any] | str]


def question_rows(files: Sequence[tuple[str, Path]], read: ReadItem, drops: Drops) -> list[dict[str, Any]]:
    """One row per usable item, in the order of the files.

    Args:
        files: (official part, path).
        read: makes a row with ``sample_id`` from an item, its part and its number in the file (from 1). It raises
            :class:`Dropped` for a bad item and returns a reason, as text, for a good one that is left out.
        drops: counts what was read, dropped and left out.

    Raises:
        InputError: a file is no JSON list.
    """
    kept: list[dict[str, Any]] = []
    seen: set[str] = set()
    for part, path in files:
        items = read_items(path)
        drops.read += len(items)
        for number, item in enumerate(items, start=1):
            try:
                row = read(mapping(item), part, number)
                if isinstance(row, str):
                    drops.leave_out(row)
                    continue
                if row["sample_id"] in seen:
                    raise Dropped("the id of the question occurs a second time")
            except Dropped as dropped:
                drops.add(dropped.reason, f"{path.name} item {number}")
                continue
            seen.add(row["sample_id"])
            kept.append(row)
    return kept
