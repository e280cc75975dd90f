"""Where definitions lie: on the cards of a data folder, and in the records of a results folder."""

from __future__ import annotations

import json
from pathlib import Path

from fedmeki_bench.data.card import CARD, read_card
from fedmeki_bench.definitions.defined_task import declare
from fedmeki_bench.errors import InputError


def look_in(*folders: Path | str | None) -> None:
    """Make the tasks known that cohorts or records below these folders define; damaged ones are left to their readers.

    Raises:
        UsageError: two definitions of one name differ, or a defined task has the name of an installed one.
    """
    for folder in folders:
        if folder is None or not Path(folder).is_dir():
            continue
        for entry in sorted(Path(folder).iterdir()):
            if (entry / CARD).is_file():
                _from_card(entry)
            elif (entry / "record.json").is_file():
                _from_record(entry / "record.json")


def _from_card(folder: Path) -> None:
    try:
        definition = read_card(folder).get("definition")
    except InputError:
        return
    if definition is not None:
        declare(definition, str(folder / CARD))


def _from_record(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
        if '"definition"' not in text:  # nearly all records
            return
        cohorts = json.loads(text).get("cohorts", [])
        found = [one["definition"] for one in cohorts if isinstance(one, dict) and one.get("definition")]
    except (OSError, ValueError, AttributeError, TypeError):
        return
    for definition in found:
        declare(definition, str(path))
