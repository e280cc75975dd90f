"""The table of algorithms: every row of the papers' tables that exists so far, and the bounds beside them.

Rows are rule x scope x stage x view; none of them is a class.
"""

from __future__ import annotations

from fedmeki_bench.algorithm import Scope
from fedmeki_bench.api import Algorithm

_PAPER = "FedMEKI, NeurIPS 2024 Datasets and Benchmarks"
_RULES = {"fedavg": "FedAvg", "fedprox": "FedProx"}
_STAGES = {"": ("none", "", "aggregate only"), "_plus": ("plus", "+", "aggregate fine-tuned on public data")}
_SCOPES: dict[Scope, str] = {"s": "one federation per task", "m": "one federation over all tasks"}

BASELINES = [
    Algorithm(
        name=f"{rule}_{scope}{suffix}", rule=rule, scope=scope, stage=stage, base=base, sub=scope, sup=mark,
        paper=_PAPER, summary=f"{base}, {scope_text}, {stage_text}",
    )
    for rule, base in _RULES.items()
    for scope, scope_text in _SCOPES.items()
    for suffix, (stage, mark, stage_text) in _STAGES.items()
]  # fmt: skip

BOUNDS = [
    Algorithm("majority", "majority", "s", view="constant", base="Majority", bound=True,
              summary="constant predictor: the clients' share of positives"),
    Algorithm("local", "local", "s", view="personal", base="Local", bound=True,
              summary="each client alone; mean over clients"),
    Algorithm("central", "fedavg", "s", base="Central", bound=True, pooled=True,
              summary="all clients' data pooled in one place"),
]  # fmt: skip

ALGORITHMS = [*BOUNDS, *BASELINES]
