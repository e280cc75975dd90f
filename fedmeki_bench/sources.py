"""What a plug-in's numbers depend on: its source, as a digest that comments, docstrings and formatting don't move.

Nothing is imported or executed here: files are found along ``sys.path`` and parsed. The digest covers the module that
defines the plug-in and, transitively, the modules of its own distribution (or, for a plug-in given as a file, of the
file's folder) and of other plug-in distributions that it imports. It can't see what a plug-in imports by a computed
name or reads from data files.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from fedmeki_bench import builtin, registry

CORE = "fedmeki_bench"
"""This project's package: its plug-ins carry versions, which the tests guard by digests."""

Follow = Callable[[str, Path], bool]
"""Whether an imported module, by name and file, belongs to what is digested."""


def plugin_source(kind: str, name: str) -> str | None:
    """The digest of a plug-in's source (16 hex digits); None for a built-in one, which is named by its version.

    Raises:
        UsageError: no plug-in has that name.
    """
    plugin = registry.find(kind, name)
    module, _, _ = plugin.target.rpartition(":")
    if not module:  # declared, not installed: its origin says what it is
        return plugin.origin.rpartition(" ")[2]
    if plugin.origin.startswith("file:"):
        return digest("", Path(module), _belongs_beside(Path(module).parent))
    if module.split(".")[0] == CORE:
        return None
    file = module_file(module)
    if file is None:  # built into a binary module: the distribution's name and version are all there is to say
        return hashlib.sha256(plugin.origin.encode()).hexdigest()[:16]
    return digest(module, file, _belongs_beside(file.parents[module.count(".") + (file.name == "__init__.py")]))


def class_source(cls: type) -> str | None:
    """As :func:`plugin_source`, for a class at hand; None for a built-in or interactively defined one."""
    name = cls.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if name.split(".")[0] == CORE or file is None:
        return None
    return digest(name, Path(file), _belongs_beside(Path(file).parent))


def stated_version(kind: str, name: str) -> int:
    """The ``version`` that a plug-in class states, read from its source: importing torch for it would take seconds.

    1 if neither the class nor one above it in the same module states any.
    """
    module, _, attribute = registry.find(kind, name).target.rpartition(":")
    file = Path(module) if module.endswith(".py") else module_file(module)
    if file is None:
        return int(getattr(registry.load(kind, name), "version", 1))
    classes = {node.name: node for node in _tree(file).body if isinstance(node, ast.ClassDef)}
    waiting = [attribute]
    while waiting:
        node = classes.pop(waiting.pop(), None)
        for statement in node.body if node else ():
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if any(isinstance(t, ast.Name) and t.id == "version" for t in targets):
                    return int(ast.literal_eval(statement.value))
        waiting += [base.id for base in node.bases if isinstance(base, ast.Name)] if node else []
    return 1


def digest(module: str, file: Path, follow: Follow) -> str:
    """Digest of ``file`` and of every module that it imports and ``follow`` accepts; 16 hex digits.

    Files enter by their content alone, so that moving or renaming the folder above them changes nothing.
    """
    beside = None if module else file.parent  # a file given by its path may import its neighbours
    found = {file.resolve(): module}
    waiting = [(module, file.resolve())]
    while waiting:
        name, path = waiting.pop()
        for imported in _imports(path, _package(name, path)):
            there = module_file(imported, beside=beside)
            if there is not None and there not in found and follow(imported, there):
                found[there] = imported
                waiting.append((imported, there))
    contents = sorted(normalised(path) for path in found)
    return hashlib.sha256("\x1d".join(contents).encode()).hexdigest()[:16]


def normalised(path: Path) -> str:
    """The syntax tree of a file as text, without comments, docstrings, positions and empty fields.

    The same for every Python version that reads the file to the same tree.

    Raises:
        UsageError: the file can't be read, or is no Python source.
    """
    return _dump(_tree(path))


def module_file(name: str, *, beside: Path | None = None) -> Path | None:
    """The source file of a module, found without importing it or its packages; None if it has none.

    Args:
        beside: a folder that is looked through first, as Python does for the folder of a script.
    """
    top, *rest = name.split(".")
    if [top, *rest[:1]] == builtin.__name__.split(".") and rest[1:]:
        return _below(builtin.__path__, rest[1:])
    spec = importlib.machinery.PathFinder.find_spec(top, [str(beside)]) if beside else None
    try:
        spec = spec or importlib.util.find_spec(top)
    except (ValueError, ImportError):  # a module without a spec, as __main__ in a notebook
        return None
    if spec is None:
        return None
    if not rest:
        return _python(spec.origin)
    return _below(spec.submodule_search_locations or (), rest)


def _below(folders: Iterable[str], rest: Sequence[str]) -> Path | None:
    """The source file of a module below one of these folders of its package."""
    for folder in folders:
        inner = Path(folder).joinpath(*rest)
        for file in (inner.with_suffix(".py"), inner / "__init__.py"):
            if file.is_file():
                return file.resolve()
    return None


def _python(origin: str | None) -> Path | None:
    return Path(origin).resolve() if origin and origin.endswith(".py") else None


def _belongs_beside(root: Path) -> Follow:
    """Accept what lies under ``root``, unless that is where packages are installed, and other plug-in distributions."""
    installed = {Path(p).resolve() for p in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))}
    root = root.resolve()

    def follow(name: str, file: Path) -> bool:
        if name.split(".")[0] == CORE:
            return False
        if name.split(".")[0] in _plugin_packages():
            return True
        return root not in installed and file.is_relative_to(root) and not any(map(file.is_relative_to, installed))

    return follow


@cache
def _plugin_packages() -> frozenset[str]:
    """Top-level modules of the installed distributions that declare plug-ins, other than this project's."""
    found: set[str] = set()
    for kind in registry.KINDS:
        for point in importlib.metadata.entry_points(group=f"fedmeki_bench.{kind}"):
            found.add(point.value.partition(":")[0].split(".")[0])
            for file in (point.dist.files or ()) if point.dist else ():
                top = file.parts[0]
                if file.suffix == ".py" and top not in ("..", "__pycache__"):
                    found.add(top.removesuffix(".py"))
    return frozenset(found - {CORE})


def _package(name: str, file: Path) -> str:
    return name if file.name == "__init__.py" else name.rpartition(".")[0]


def _imports(file: Path, package: str) -> Iterator[str]:
    """Names of the modules that ``file`` imports anywhere, with those above them, whose ``__init__`` runs first.

    What is imported for type checkers alone does not run and does not count.
    """
    for node in _running(_tree(file)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:k]) for k in range(1, len(parts) + 1) if parts[0])


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting: list[ast.AST] = [*node.orelse]
        else:
            yield node
            waiting = [node]
        for inner in waiting:
            yield from _running(inner)


def _tree(path: Path) -> ast.Module:
    facts = path.stat()
    return _parsed(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=1024)
def _parsed(path: Path, mtime: int, size: int) -> ast.Module:
    return registry.parse(path)


def _dump(node: Any) -> str:
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and name in ("body", "orelse", "finalbody"):
                value = [item for item in value if not _is_text(item)]
            if value is None or value == [] or name in ("kind", "type_comment", "type_ignores"):
                continue
            fields.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    return repr(node)


def _is_text(node: ast.AST) -> bool:
    """A statement that is a mere string: a docstring, of a module or an attribute too."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
