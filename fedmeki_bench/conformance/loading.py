"""What every kind asks first: it can be imported, it descends from the right class, and it says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fedmeki_bench.conformance.clause import Violation
from fedmeki_bench.conformance.subject import Subject, base
from fedmeki_bench.options import describe_options, parse_options

if TYPE_CHECKING:
    from pydantic import BaseModel

EXPECTED = "the plug-in can be imported, descends from its kind's base class, and describes itself and its parameters."
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def loads(subject: Subject) -> None:
    """The part of the clause that all kinds share."""
    if subject.problem is not None:
        raise subject.problem
    wanted = base(subject.kind or "rules")
    if not isinstance(subject.value, type) or not issubclass(subject.value, wanted):
        raise Violation(f"{subject.name} is {_article(subject.value)}, no subclass of {wanted.__name__}.")
    if not (subject.value.__doc__ or "").strip():
        raise Violation(f"{subject.value.__name__} has no docstring, which lists show as its summary.")
    parameters = getattr(subject.value, "Params", None) or getattr(subject.value, "Options", None)
    if parameters is not None:
        _documented(subject, parameters)
    version = getattr(subject.value, "version", 1)
    if not isinstance(version, int) or version < 1:
        raise Violation(f"its version is {version!r}, not a number from 1.")


def _documented(subject: Subject, parameters: type[BaseModel]) -> None:
    for row in describe_options(parameters):
        if not row["meaning"].strip():
            raise Violation(f"the parameter {row['name']!r} has no description.")
        if row["default"] == "required" and row["name"] not in subject.options:
            raise Violation(
                f"the parameter {row['name']!r} has no default, so the plug-in does not run without options."
            )


def _article(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"


def make(subject: Subject, **more: Any) -> Any:
    """A fresh instance of a rule or stage under the subject's options and further ones."""
    cls = subject.value
    return cls(parse_options(cls.Params, {**subject.options, **more}, owner=subject.name))


def described(meta: Any, fields: Iterable[str]) -> None:
    """Raise where a text of the metadata is empty, or a name is no plain identifier."""
    for name in fields:
        value = meta
        for part in name.split("."):
            value = getattr(value, part)
        if not (value.strip() if isinstance(value, str) else value):
            raise Violation(f"meta.{name} is empty.")
    if not _NAME.fullmatch(meta.name):
        raise Violation(f"meta.name is {meta.name!r}; lower-case letters, digits and _ are expected, as in 'my_task'.")
    if not isinstance(meta.version, int) or meta.version < 1:
        raise Violation(f"meta.version is {meta.version!r}, not a number from 1.")
