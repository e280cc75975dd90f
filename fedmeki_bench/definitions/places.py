"""Where definitions lie: on the cards of a data folder, and in the records of a results folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedmeki_bench import registry
from fedmeki_bench.data.card import CARD, read_card
from fedmeki_bench.definitions.defined_task import declare
from fedmeki_bench.errors import InputError

RECORD = "record.json"


def look_in(*folders: Path | str | None) -> None:
    """Make the tasks known that cohorts or records below these folders define; damaged ones are left to their readers.

    What a card says counts, wherever older records say otherwise; of several records the latest.

    Raises:
        InputError: a definition is damaged.
        UsageError: a defined task has the name of an installed one.
    """
    records: dict[str, tuple[str, dict[str, Any], str]] = {}
    for folder in folders:
        if folder is None or not Path(folder).is_dir():
            continue
        for entry in sorted(Path(folder).iterdir()):
            if (entry / CARD).is_file():
                _from_card(entry)
            elif (entry / RECORD).is_file():
                for name, found in _of_record(entry / RECORD).items():
                    records[name] = max(records.get(name, found), found, key=lambda one: one[0])
    known = registry.names("tasks") if records else []
    for name, (_, definition, where) in records.items():
        if name not in known:
            declare(definition, where)


def _from_card(folder: Path) -> None:
    try:
        definition = read_card(folder).get("definition")
    except InputError:
        return
    if definition is not None:
        declare(definition, str(folder / CARD), replace=True)


def _of_record(path: Path) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Task -> when the run started, the definition, and where it lies."""
    try:
        text = path.read_text(encoding="utf-8")
        if '"definition"' not in text:
            return {}
        record = json.loads(text)
        found = [one["definition"] for one in record["cohorts"] if one.get("definition")]
        return {str(one["name"]): (str(record.get("started", "")), one, str(path)) for one in found}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}
