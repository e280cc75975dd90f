"""The plug-in under check: found by name, in a file or handed over, and loaded once, whatever that raises."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from fedmeki_bench import registry
from fedmeki_bench.errors import UsageError, nearest
from fedmeki_bench.options import parse_options

T = TypeVar("T")
KINDS = ("rules", "stages", "tasks", "datasets", "encoders", "pretexts")
_READERS = ("tasks", "datasets")


@dataclass
class Subject:
    """A plug-in and what the clauses have found out about it so far.

    Attributes:
        kind: one of :data:`KINDS`; empty where a file can't be imported, so that the kind isn't clear.
        name: what to call it.
        value: the class; None if it could not be loaded.
        options: values of its parameters (of the dataset's options for a task), as given.
        problem: what was raised when it was loaded.
        seconds: how long loading took.
        raw: the release on which a task or dataset is tried; the stand-in of its dataset if None.
    """

    kind: str
    name: str
    value: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    problem: BaseException | None = None
    seconds: float = 0.0
    raw: Path | None = None
    _known: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The file that defines it, as tracebacks name it; empty if unknown."""
        with contextlib.suppress(TypeError, OSError):
            return inspect.getfile(self.value)
        return ""

    def once(self, name: str, make: Callable[[], T]) -> T:
        """``make()``, remembered under ``name``: what several clauses need is made by the first of them."""
        if name not in self._known:
            self._known[name] = make()
        known: T = self._known[name]
        return known


def base(kind: str) -> type:
    """The class from which every plug-in of a kind descends."""
    from fedmeki_bench.data.contract import DatasetPreparer
    from fedmeki_bench.federation.rule import Rule
    from fedmeki_bench.federation.stage import Stage
    from fedmeki_bench.models.encoder import Encoder
    from fedmeki_bench.models.pretext import Pretext
    from fedmeki_bench.task import Task

    classes: dict[str, type] = {
        "rules": Rule,
        "stages": Stage,
        "tasks": Task,
        "datasets": DatasetPreparer,
        "encoders": Encoder,
        "pretexts": Pretext,
    }
    return classes[kind]


def kind_of(value: Any) -> str:
    """The kind of a class; empty if it descends from none of these bases."""
    if not isinstance(value, type):
        return ""
    return next((kind for kind in KINDS if issubclass(value, base(kind))), "")


def find(
    plugin: Any, kind: str | None = None, options: Mapping[str, Any] | None = None, *, raw: Path | None = None
) -> Subject:
    """The plug-in as a subject; one that exists and can't be loaded comes with its problem.

    Args:
        plugin: a registered name, ``file.py:Attribute``, ``package.module:Attribute``, a class or an instance of it.
        kind: needed where a name is registered under several kinds.
        options: values of its parameters.
        raw: a folder with the release on which to try a task or dataset, in the place of its stand-in.

    Raises:
        UsageError: no such plug-in, or its kind isn't clear, or it reads no release and ``raw`` was given.
        InputError: an option it does not have, or a folder that its dataset refuses.
    """
    subject = _with_options(_found(plugin, kind, options))
    if raw is not None:
        _with_release(subject, raw)
    return subject


def _found(plugin: Any, kind: str | None, options: Mapping[str, Any] | None) -> Subject:
    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r} to check; {nearest(kind, KINDS)}")
    given = dict(options or {})
    if not isinstance(plugin, str):
        cls = plugin if isinstance(plugin, type) else type(plugin)
        return Subject(kind or _told_kind(cls, cls.__name__), cls.__name__, cls, given)
    started = time.perf_counter()
    value: Any = None
    problem: BaseException | None = None
    registered = [k for k in KINDS if plugin in registry.names(k)]
    if kind is None and len(registered) > 1:
        raise UsageError(f"{plugin!r} is the name of several plug-ins: say --kind {' or --kind '.join(registered)}")
    chosen = kind or (registered[0] if registered else None)
    try:
        with _out_of_stdout():
            value = _load(plugin, chosen)
    except UsageError as error:
        if error.__cause__ is None and plugin not in registry.names(chosen or ""):
            raise  # there is no such name, file or attribute
        problem = error.__cause__ or error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # importing runs the plug-in's own code, which may even call sys.exit
        problem = error
    if chosen is None and problem is None:
        chosen = _told_kind(value, plugin)
    return Subject(chosen or "", plugin, value, given, problem, time.perf_counter() - started)


def _with_options(subject: Subject) -> Subject:
    """The subject, once its options are known to be its own; raises InputError as every command does."""
    parameters = getattr(subject.value, "Params", None) or getattr(subject.value, "Options", None)
    if subject.options and parameters is not None:
        parse_options(parameters, subject.options, owner=subject.name)
    return subject


def _with_release(subject: Subject, raw: Path) -> None:
    """Try the subject on this folder, once its dataset's preparer has accepted it."""
    from fedmeki_bench.conformance.releases import own_release

    if subject.kind and subject.kind not in _READERS:
        raise UsageError(
            f"{subject.name} is one of the {subject.kind}, which are tried on generated data: --raw is for tasks and "
            "datasets"
        )
    subject.raw = raw
    meta = getattr(subject.value, "meta", None)
    if subject.problem is None and meta is not None:
        own_release(dataset_of(subject), subject.options, raw)


def dataset_of(subject: Subject) -> Any:
    """The preparer's class: the subject itself, or that of the dataset which a task asks about."""
    if subject.kind == "datasets":
        return subject.value
    return registry.load("datasets", subject.value.meta.dataset)


def _load(plugin: str, kind: str | None) -> Any:
    if kind is not None and plugin in registry.names(kind):
        return registry.load(kind, plugin, checked=False)
    if ".py:" in plugin:
        return registry.load(kind or KINDS[0], plugin, checked=False)
    module_name, sep, attribute = plugin.partition(":")
    if sep:
        if importlib.util.find_spec(module_name.partition(".")[0]) is None:
            raise UsageError(f"there is no module {module_name!r} to check {attribute!r} of; is it installed?")
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            if not hasattr(value, part):
                if isinstance(value, ModuleType):
                    raise UsageError(registry.missing(value, attribute, [kind] if kind else KINDS))
                raise UsageError(f"{module_name} has no {attribute!r}; {nearest(part, vars(value))}")
            value = getattr(value, part)
        return value
    if Path(plugin).suffix == ".py":
        raise UsageError(f"name the class in {plugin} too, as in {plugin}:MyRule")
    known = [name for k in ((kind,) if kind else KINDS) for name in registry.names(k)]
    raise UsageError(f"nothing to check is called {plugin!r}; {nearest(plugin, known)}")


def _told_kind(value: Any, name: str) -> str:
    kind = kind_of(value)
    if not kind:
        raise UsageError(
            f"{name} is no subclass of Rule, Stage, Task, DatasetPreparer or Encoder; say --kind what it should be"
        )
    return kind


@contextlib.contextmanager
def _out_of_stdout() -> Iterator[None]:
    with contextlib.redirect_stdout(sys.stderr):
        yield
