"""The names plug-in authors import, and nothing deeper. Importing this module loads neither torch nor pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedmeki_bench.algorithm import Algorithm
from fedmeki_bench.cohort.dataset import ArraySpec, DatasetMeta, DatasetPreparer, Dropped, Drops, PreparerOptions
from fedmeki_bench.cohort.partitions import Partition
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.seeds import derive, generator
from fedmeki_bench.task import Clinical, Exclude, Task, TaskMeta

if TYPE_CHECKING:
    from fedmeki_bench.models.encoder import Encoder
    from fedmeki_bench.models.flat import FlatTensors

__all__ = [
    "Algorithm", "ArraySpec", "Clinical", "DatasetMeta", "DatasetPreparer", "Dropped", "Drops", "Encoder", "Exclude",
    "FlatTensors", "InputError", "Partition", "Payload", "PreparerOptions", "Rule", "Stage", "Task", "TaskMeta",
    "Update", "derive", "generator",
]  # fmt: skip

_LAZY = {"Encoder": "fedmeki_bench.models.encoder", "FlatTensors": "fedmeki_bench.models.flat"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'fedmeki_bench.api' has no attribute {name!r}")
