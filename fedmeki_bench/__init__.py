"""fedmeki-bench: a benchmark harness for federated medical knowledge injection.

The door for programs: ``import fedmeki_bench as fb``, then :func:`synth`, :func:`prepare`, :func:`run`, :func:`sweep`,
:func:`tune`, :func:`leaderboard`, :func:`compare`, :func:`stability`, :func:`records`, :func:`merge` and :func:`clean`,
which are what the command line calls too.
Importing this package loads nothing heavy; plug-in authors import from :mod:`fedmeki_bench.api`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmeki_bench.workflow.boards import sweep
    from fedmeki_bench.workflow.comparing import compare
    from fedmeki_bench.workflow.data import prepare, synth
    from fedmeki_bench.workflow.folders import clean, merge
    from fedmeki_bench.workflow.reading import records
    from fedmeki_bench.workflow.stability import stability
    from fedmeki_bench.workflow.tables import leaderboard
    from fedmeki_bench.workflow.training import run
    from fedmeki_bench.workflow.tuning import tune
else:
    from fedmeki_bench import leaderboard, records

__version__ = "0.1.0"

__all__ = [
    "clean",
    "compare",
    "leaderboard",
    "merge",
    "prepare",
    "records",
    "run",
    "stability",
    "sweep",
    "synth",
    "tune",
]

_PLACES = {
    "synth": "data", "prepare": "data", "run": "training", "sweep": "boards", "leaderboard": "tables",
    "compare": "comparing", "records": "reading", "tune": "tuning",
    "merge": "folders", "clean": "folders", "stability": "stability",
}  # fmt: skip


def _function(name: str) -> Any:
    return getattr(import_module(f"fedmeki_bench.workflow.{_PLACES[name]}"), name)


class _CallablePackage(ModuleType):
    """A package under whose name a function of the door stands: ``fb.leaderboard("demo")`` calls that function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _function(self.__name__.rpartition(".")[2])(*args, **kwargs)


if not TYPE_CHECKING:
    # An imported submodule takes its name on its parent, so these two names are packages, whatever else is put there.
    for _package in (leaderboard, records):
        _package.__class__ = _CallablePackage

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _function(name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PLACES})
