"""The names plug-in authors import, and nothing deeper. Importing this module loads neither torch nor pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedmeki_bench.algorithm import Algorithm
from fedmeki_bench.data.clients.partition import Partition
from fedmeki_bench.data.contract import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Dropped,
    Drops,
    PreparerOptions,
    confined,
    require_folder,
    write_marker,
)
from fedmeki_bench.data.raw.images import grey_array
from fedmeki_bench.data.raw.tables import read_table
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.foundation.choices import AdapterChoice, FoundationModel, InjectionTraining
from fedmeki_bench.options import later
from fedmeki_bench.seeds import derive, generator
from fedmeki_bench.task import Clinical, Exclude, Task, TaskMeta

if TYPE_CHECKING:
    from fedmeki_bench.federation.server import Mean
    from fedmeki_bench.foundation.injected import injected
    from fedmeki_bench.foundation.training import inject
    from fedmeki_bench.models.encoder import Encoder
    from fedmeki_bench.models.flat import FlatTensors

__all__ = [
    "AdapterChoice",
    "Algorithm",
    "ArraySpec",
    "Clinical",
    "DatasetMeta",
    "DatasetPreparer",
    "Decoded",
    "Dropped",
    "Drops",
    "Encoder",
    "Exclude",
    "FlatTensors",
    "FoundationModel",
    "InjectionTraining",
    "InputError",
    "Mean",
    "Partition",
    "Payload",
    "PreparerOptions",
    "Rule",
    "Stage",
    "Task",
    "TaskMeta",
    "Update",
    "confined",
    "derive",
    "generator",
    "grey_array",
    "inject",
    "injected",
    "later",
    "read_table",
    "require_folder",
    "write_marker",
]  # fmt: skip

_LAZY = {
    "Encoder": "fedmeki_bench.models.encoder",
    "FlatTensors": "fedmeki_bench.models.flat",
    "Mean": "fedmeki_bench.federation.server",
    "inject": "fedmeki_bench.foundation.training",
    "injected": "fedmeki_bench.foundation.injected",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'fedmeki_bench.api' has no attribute {name!r}")
