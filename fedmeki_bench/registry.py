"""Where plug-ins come from: entry points, and files named on the command line.

The built-in plug-ins are declared in ``pyproject.toml``, in the same way as anyone's. A plug-in that fails to load
stays visible with its reason. Modules that import a heavy package (torch, pandas, ...) at their top are described from
their source when they are only listed, so that listing stays fast.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from fedmeki_bench.errors import UsageError, nearest

KINDS = (
    "rules", "stages", "algorithms", "tasks", "kinds", "datasets", "encoders", "metrics", "partitions", "foundations",
    "views", "engines", "pretexts", "analyses",
)  # fmt: skip
_BASES = {
    "rules": "fedmeki_bench.federation.rule:Rule",
    "stages": "fedmeki_bench.federation.stage:Stage",
    "tasks": "fedmeki_bench.task:Task",
    "kinds": "fedmeki_bench.kinds.kind:Kind",
    "datasets": "fedmeki_bench.data.contract:DatasetPreparer",
    "encoders": "fedmeki_bench.models.encoder:Encoder",
    "partitions": "fedmeki_bench.data.clients.partition:Partition",
    "views": "fedmeki_bench.evaluation.view:View",
    "engines": "fedmeki_bench.federation.engine:Engine",
    "pretexts": "fedmeki_bench.models.pretext:Pretext",
}
"""Kinds of plug-ins that are classes, and from what they descend."""

_METAS = {"tasks": "fedmeki_bench.task:TaskMeta", "datasets": "fedmeki_bench.data.contract:DatasetMeta"}
"""Kinds whose classes say what they are in ``meta``, and its class."""

_VALUES = {"metrics": "fedmeki_bench.evaluation.metric_spec:MetricSpec", "algorithms": "collections.abc:Mapping"}
"""Kinds of plug-ins that are values, and their class."""

_FILE = "fedmeki_bench_file_"  # begins the names of modules that were given as files

_LONGEST = 200  # characters of a file's name; beyond some more, asking for it is an error of its own

_HEAVY = {"torch", "transformers", "pandas", "sklearn", "scipy", "matplotlib", "wfdb", "pydicom", "duckdb"}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One registered name: where it comes from and, when it can't be loaded, why.

    Attributes:
        target: ``package.module:Attribute`` or ``path/to/file.py:Attribute``.
        origin: the distribution that declares it (``fedmeki-bench 0.1.0``), or ``file:<path>``.
        broken: the reason it can't be loaded; empty when it can.
        summary: the first line of its docstring.
    """

    kind: str
    name: str
    target: str
    origin: str
    broken: str = ""
    summary: str = ""
    heavy: bool = field(default=False, compare=False)


def singular(kind: str) -> str:
    """What one plug-in of a kind is called: ``rule`` for ``rules``, ``analysis`` for ``analyses``."""
    return "analysis" if kind == "analyses" else kind[:-1]


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().split("\n", 1)[0].strip()


_DECLARED: dict[tuple[str, str], tuple[Plugin, Any]] = {}
"""(kind, name) -> what this process was told of, beside what is installed."""


def declare(kind: str, name: str, value: Any, origin: str, *, replace: bool = False) -> None:
    """Make a plug-in known that no distribution declares, in this process alone.

    Args:
        kind, name, value: what it is.
        origin: where it comes from, which ends in a digest of what it is.
        replace: take the place of one that was declared under this name.

    Raises:
        UsageError: an installed plug-in, or another declared one, has that name.
    """
    if any(plugin.name == name for plugin in _entry_points(kind)):
        raise UsageError(f"the {singular(kind)} {name!r} is installed: choose another name")
    known = _DECLARED.get((kind, name))
    if known is not None and known[0].origin != origin and not replace:
        raise UsageError(
            f"the {singular(kind)} {name!r} is defined twice, and differently: choose another name for one"
        )
    _DECLARED[kind, name] = (Plugin(kind, name, name, origin, summary=_summary(value)), value)


def _declared(kind: str) -> list[Plugin]:
    return [plugin for (of, _), (plugin, _) in sorted(_DECLARED.items(), key=lambda item: item[0]) if of == kind]


@cache
def _origin(dist: importlib.metadata.Distribution | None) -> str:
    """Name and version of a distribution, each of which parses its whole metadata."""
    return f"{dist.name} {dist.version}" if dist else "unknown"


@cache
def _entry_points(kind: str) -> tuple[Plugin, ...]:
    """Every entry point of the group ``fedmeki_bench.<kind>``, by name; a name declared twice is broken."""
    found: dict[str, Plugin] = {}
    for point in importlib.metadata.entry_points(group=f"fedmeki_bench.{kind}"):
        origin = _origin(point.dist)
        plugin = Plugin(kind, point.name, point.value, origin)
        known = found.get(point.name)
        if known is not None and known.target != plugin.target:
            reason = f"declared twice: {known.target} ({known.origin}) and {plugin.target} ({origin})"
            plugin = Plugin(kind, point.name, known.target, known.origin, broken=reason)
        found[point.name] = plugin
    return tuple(found[name] for name in sorted(found))


def names(kind: str) -> list[str]:
    """The registered names of a kind, sorted; nothing is imported."""
    return sorted(plugin.name for plugin in (*_entry_points(kind), *_declared(kind)))


def find(kind: str, name: str, *, files: bool = True) -> Plugin:
    """The plug-in called ``name``, or the one in a file when ``name`` is ``file.py:Attribute``.

    Args:
        files: whether a file will do; not where the name stands in a board, a record or a card.

    Raises:
        UsageError: no such name; the sentence offers the nearest known ones.
    """
    for plugin in (*_entry_points(kind), *_declared(kind)):
        if plugin.name == name:
            return plugin
    if ".py:" in name and files:
        path, _, attribute = name.rpartition(":")
        file = Path(path)
        if len(file.name) > _LONGEST or not file.is_file():
            raise UsageError(f"no file {path} for the {singular(kind)} {attribute!r}; check the path")
        if not attribute.isidentifier():
            raise UsageError(
                f"{name!r} names no {singular(kind)}: a file and a class are expected, as in my_file.py:MyClass"
            )
        return Plugin(kind, attribute, f"{file.resolve()}:{attribute}", f"file:{file.name}")
    raise UsageError(f"unknown {singular(kind)} {name!r}; {nearest(name, names(kind))}")


def load(kind: str, name: str, *, checked: bool = True, files: bool = True) -> Any:
    """Import and return the object registered as ``name``.

    Args:
        files: as for :func:`find`: without it, nothing that isn't installed is executed.
        checked: refuse what does not descend from the base class of its kind.

    Raises:
        UsageError: unknown name, or the plug-in can't be loaded (the reason is part of the sentence).
    """
    plugin = find(kind, name, files=files)
    if plugin.broken:
        raise UsageError(f"{singular(kind)} {name!r} can't be used: {plugin.broken}")
    if (kind, plugin.name) in _DECLARED:
        return _DECLARED[kind, plugin.name][1]
    try:
        value = _resolve(plugin)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in may fail in any way; the user needs to know which one and why
        raise UsageError(
            f"{singular(kind)} {name!r} from {plugin.origin} ({plugin.target}) failed to load: "
            f"{type(error).__name__}: {error}"
        ) from error
    if checked and kind in _BASES and not _descends(value, _BASES[kind]):
        raise UsageError(
            f"{plugin.target} is no {singular(kind)}: a subclass of {_BASES[kind].rpartition(':')[2]} is expected"
        )
    if checked and kind in _VALUES and not isinstance(value, _named(_VALUES[kind])):
        raise UsageError(f"{plugin.target} is no {singular(kind)}: a {_VALUES[kind].rpartition(':')[2]} is expected")
    if checked and kind in _BASES and (fault := _fault(kind, value)):
        raise UsageError(f"{plugin.target} can't be used: {fault}")
    return value


def loaded(kind: str) -> Iterator[tuple[Plugin, Any]]:
    """Every plug-in of a kind with what it is, in order of names; one that can't be loaded says why, and is None."""
    for plugin in describe(kind):
        if plugin.broken:
            yield plugin, None
            continue
        try:
            yield plugin, load(kind, plugin.name)
        except UsageError as error:
            yield _with(plugin, broken=str(error)), None


def working(kind: str) -> dict[str, Any]:
    """Name -> what it is, of every plug-in of a kind that can be loaded: nobody's broken one stands in the way."""
    return {plugin.name: value for plugin, value in loaded(kind) if not plugin.broken}


def _fault(kind: str, value: Any) -> str:
    """What of a class is not as its base class has it; empty if nothing."""
    for name in ("Params", "Options"):
        model = getattr(value, name, None)
        if model is not None and not (isinstance(model, type) and hasattr(model, "model_fields")):
            return f"its {name} are no pydantic model"
    version, views = getattr(value, "version", 1), getattr(value, "views", ())
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        return f"its version is {version!r}, not a number from 1"
    if not isinstance(views, tuple | list) or not all(isinstance(view, str) for view in views):
        return "its views are not a tuple of names"
    if kind in _METAS and not isinstance(getattr(value, "meta", None), expected := _named(_METAS[kind])):
        return f"its meta is no {expected.__name__}"
    if kind == "stages" and not _are_variants(value.variants):
        return "its variants are not {suffix: (view, mark)}"
    return ""


def _are_variants(variants: Any) -> bool:
    return isinstance(variants, Mapping) and all(
        isinstance(suffix, str) and isinstance(said, tuple | list) and [type(s) for s in said] == [str, str]
        for suffix, said in variants.items()
    )


def _descends(value: Any, base: str) -> bool:
    return isinstance(value, type) and issubclass(value, _named(base))


def _named(target: str) -> Any:
    module, _, name = target.rpartition(":")
    return getattr(importlib.import_module(module), name)


def _resolve(plugin: Plugin) -> Any:
    module_name, _, attribute = plugin.target.rpartition(":")
    module = _load_file(module_name) if plugin.origin.startswith("file:") else importlib.import_module(module_name)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise UsageError(missing(module, attribute, (plugin.kind,)))
        value = getattr(value, part)
    return value


def missing(module: ModuleType, attribute: str, kinds: Iterable[str]) -> str:
    """The sentence on an attribute that a module lacks: offers what it defines, or has in `__all__`, of these kinds."""
    offered = set(getattr(module, "__all__", ()))
    names = offered | vars(module).keys()
    own = [
        name
        for name in names
        if any(_could_be(kind, getattr(module, name, None), module, name in offered) for kind in kinds)
    ]
    hint = nearest(attribute, own)
    place = module.__file__ if module.__name__.startswith(_FILE) else module.__name__
    return f"{place} has no {attribute!r}" + (f"; {hint}" if hint else "")


def _could_be(kind: str, value: Any, module: ModuleType, offered: bool) -> bool:
    if kind in _VALUES:
        return isinstance(value, _named(_VALUES[kind]))
    own = isinstance(value, type | FunctionType) and (offered or value.__module__ == module.__name__)
    return own and (kind not in _BASES or _descends(value, _BASES[kind]))


@cache
def _load_file(path: str) -> ModuleType:
    parse(Path(path))
    place = hashlib.sha256(path.encode()).hexdigest()[:8]  # two files of one name are two modules
    name = f"{_FILE}{Path(path).stem}_{place}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file, which is not executed.

    Raises:
        UsageError: it can't be read, or is no Python source; says where.
    """
    try:
        with tokenize.open(path) as file:
            return ast.parse(file.read(), filename=str(path))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: no Python source: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, undecodable text, absurd nesting
        raise UsageError(f"{path} is no Python source: {error or type(error).__name__}") from error


def describe(kind: str) -> list[Plugin]:
    """All plug-ins of a kind with summary and, if broken, the reason; heavy packages are not imported."""
    found = [*(_describe(plugin) for plugin in _entry_points(kind)), *_declared(kind)]
    return sorted(found, key=lambda plugin: plugin.name)


def _describe(plugin: Plugin) -> Plugin:
    if plugin.broken:
        return plugin
    module_name, _, attribute = plugin.target.rpartition(":")
    try:
        spec = importlib.util.find_spec(module_name)
        if spec is None or spec.origin is None:
            return _with(plugin, broken=f"no module {module_name}")
        tree = parse(Path(spec.origin))
        if module_name not in sys.modules and _imports(tree) & _HEAVY:
            missing = [m for m in sorted(_imports(tree)) if importlib.util.find_spec(m) is None]
            if missing:
                return _with(plugin, broken=f"needs the package {missing[0]}, which is not installed")
            return _from_source(plugin, tree, attribute)
        return _with(plugin, summary=_summary(_resolve(plugin)))
    except (Exception, SystemExit) as error:  # whatever a plug-in raises becomes its visible reason
        return _with(plugin, broken=f"{type(error).__name__}: {error}")


def _summary(value: Any) -> str:
    meta = getattr(value, "meta", None)
    text = getattr(meta, "title", None) or getattr(value, "definition", None)
    return str(text) if text else _first_line(getattr(value, "__doc__", None))


def _with(plugin: Plugin, *, broken: str = "", summary: str = "", heavy: bool = False) -> Plugin:
    return Plugin(plugin.kind, plugin.name, plugin.target, plugin.origin, broken, summary, heavy)


def _imports(tree: ast.Module) -> set[str]:
    """Top-level packages that importing the module would import (its own body only)."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _from_source(plugin: Plugin, tree: ast.Module, attribute: str) -> Plugin:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            return _with(plugin, summary=_first_line(ast.get_docstring(node)), heavy=True)
    assigned = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    if attribute in assigned:
        return _with(plugin, heavy=True)
    return _with(plugin, broken=f"{plugin.target.rpartition(':')[0]} defines no {attribute!r}")


def origins(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """For a record: where each used plug-in came from."""
    return [{"kind": k, "name": n, "origin": find(k, n).origin} for k, n in pairs]
