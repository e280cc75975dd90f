"""Peers' checkouts, imported for a moment; what they import and this comparison does not use may be missing."""

from __future__ import annotations

import abc
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import io
import os
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest

VARIABLE = "FEDMEKI_PEERS"


def checkout(name: str) -> Path:
    """The folder of a peer; the test is skipped without it."""
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no folder with checkouts of other federated-learning code")
    found = (Path(os.environ[VARIABLE]) / name).resolve()
    if not found.is_dir():
        pytest.skip(f"the folder that {VARIABLE} names has no checkout {name}")
    return found


class _AnyAttribute(abc.ABCMeta):
    """The class of classes that have every attribute."""

    def __getattr__(cls, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return MagicMock(name=f"{cls.__name__}.{name}")


class _AnyClass(metaclass=_AnyAttribute):
    """Takes any arguments and keeps none."""

    def __init__(self, *args, **kwargs):
        pass


class _Absent(ModuleType):
    """A module that isn't installed: whatever is asked of it is there and does nothing."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].isupper() and not name.isupper():  # a class, which others may derive from
            setattr(self, name, _AnyAttribute(name, (_AnyClass,), {}))
            return getattr(self, name)
        return MagicMock(name=f"{self.__name__}.{name}")


class _Absentees(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds certain modules and all below them."""

    def __init__(self, names):
        self._names = frozenset(names)

    def find_spec(self, name, path=None, target=None):
        known = any(name == one or name.startswith(f"{one}.") for one in self._names)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec):
        return _Absent(spec.name)

    def exec_module(self, module):
        pass


@contextlib.contextmanager
def importing(*folders: Path, absent: tuple[str, ...] = (), instead: tuple[str, ...] = ()):
    """Inside, modules are looked for in these folders first; afterwards no name of theirs is left behind.

    Args:
        absent: packages that are replaced by empty ones where they are not installed.
        instead: modules of the peer that are replaced in any case.
    """
    known, path, finders = set(sys.modules), list(sys.path), (_Absentees(instead), _Absentees(absent))
    shadowed = {}
    for folder in folders:
        for entry in folder.iterdir():
            for name in [n for n in sys.modules if n.partition(".")[0] == entry.name.removesuffix(".py")]:
                shadowed[name] = sys.modules.pop(name)
    sys.path[:0] = map(str, folders)
    sys.meta_path[:] = [finders[0], *sys.meta_path, finders[1]]
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield importlib.import_module
    finally:
        sys.path[:] = path
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in finders]
        new = {name: sys.modules[name] for name in set(sys.modules) - known}
        for name in [n for n, module in new.items() if isinstance(module, _Absent) or _lies_in(folders, module)]:
            del sys.modules[name]
        sys.modules.update(shadowed)


def _lies_in(folders, module):
    """Whether a module, or a folder that is imported as one, comes from any of the folders."""
    places = [module.__file__] if getattr(module, "__file__", None) else list(getattr(module, "__path__", ()))
    return any(Path(place).is_relative_to(folder) for place in places for folder in folders)
