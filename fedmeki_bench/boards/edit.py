"""Give rows of a board's file options of their own, and leave everything else in it as it stands, comments included."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import yaml

from fedmeki_bench.boards.rows import TunedSpec
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import safe_yaml


@dataclass(frozen=True, slots=True)
class Change:
    """What a row gets.

    Attributes:
        place: of the row in ``algorithms``.
        options: laid over those it has.
        tuned: how they were chosen; takes the place of what is said of it there.
    """

    place: int
    options: Mapping[str, Any]
    tuned: TunedSpec


def with_changes(text: str, changes: list[Change], *, where: str) -> str:
    """The text of a board's file with these changes.

    Args:
        where: the file, for sentences.

    Raises:
        InputError: the file is written in a way in which they can't be made by inserting text; says what to write.
    """
    wanted = safe_yaml(text)
    for change in changes:
        wanted["algorithms"][change.place] = _changed(wanted["algorithms"][change.place], change)
        try:
            made = _with_change(text, change)
            again = safe_yaml(made)
        except (InputError, yaml.YAMLError, ValueError):
            made, again = text, None
        if again != wanted:
            row = _flow(wanted["algorithms"][change.place])
            raise InputError(f"{where}: entry {change.place + 1} of algorithms can't be changed safely; write {row}")
        text = made
    return text


def _changed(entry: Any, change: Change) -> dict[str, Any]:
    """An entry of ``algorithms`` as it is to be read."""
    ((name, said),) = ({entry: {}} if isinstance(entry, str) else deepcopy(entry)).items()
    said = dict(said or {})
    said["options"] = dict(said.get("options") or {}) | dict(change.options)
    return {name: said | {"tuned": _tuned(change.tuned)}}


def _with_change(text: str, change: Change) -> str:
    entry = _entry(text, change.place)
    if isinstance(entry, yaml.ScalarNode):
        name = text[entry.start_mark.index : entry.end_mark.index]
        said = {"options": dict(change.options), "tuned": _tuned(change.tuned)}
        row = f"{name}: {_flow(said)}"
        return _replaced(text, entry, f"{{{row}}}" if _algorithms(text).flow_style else row)
    # one at a time, as each moves the marks behind it
    for key, value in change.options.items():
        text = _set(text, change.place, ("options", key), value)
    return _set(text, change.place, ("tuned",), _tuned(change.tuned))


def _set(text: str, place: int, keys: tuple[str, ...], value: Any) -> str:
    """Set a key of the mapping of an entry that has one."""
    entry = _entry(text, place)
    node: yaml.Node = entry.value[0][1]
    for depth, key in enumerate(keys):
        if not isinstance(node, yaml.MappingNode):
            return text
        found = next((value for known, value in node.value if known.value == key), None)
        if found is None:
            for name in reversed(keys[depth + 1 :]):
                value = {name: value}
            return _inserted(text, node, key, value)
        node = found
    return _replaced(text, node, _flow(value))


def _inserted(text: str, node: yaml.MappingNode, key: str, value: Any) -> str:
    """A further key at the end of a mapping, in the style in which it is written."""
    said = f"{_flow(key)}: {_flow(value)}"
    if node.flow_style:
        at = _end(node.value[-1][1]) if node.value else node.start_mark.index + 1
        return text[:at] + (", " if node.value else "") + said + text[at:]
    at = text.find("\n", _end(node.value[-1][1]))
    line_end = "\r\n" if "\r\n" in text else "\n"
    at = len(text) if at < 0 else at - text[:at].endswith("\r")
    return f"{text[:at]}{line_end}{' ' * node.value[0][0].start_mark.column}{said}{text[at:]}"


def _replaced(text: str, node: yaml.Node, said: str) -> str:
    return text[: node.start_mark.index] + said + text[_end(node) :]


def _end(node: yaml.Node) -> int:
    """Where what is written of a node ends: that of a block only begins the next token."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    index: int = node.end_mark.index
    return index


def _algorithms(text: str) -> yaml.SequenceNode:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    keys = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    found = keys.get("algorithms")
    if not isinstance(found, yaml.SequenceNode):
        raise ValueError("its algorithms are no list")
    return found


def _entry(text: str, place: int) -> yaml.Node:
    entries: list[yaml.Node] = _algorithms(text).value
    if len(entries) <= place:
        raise ValueError("it lists fewer algorithms")
    return entries[place]


def _tuned(tuned: TunedSpec) -> dict[str, Any]:
    return tuned.model_dump(mode="json")


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    said: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**20)
    return said.removesuffix("\n").removesuffix("\n...").strip()
