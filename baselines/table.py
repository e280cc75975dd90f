"""The table of algorithms: the 16 baselines, FedKIM with its baselines and ablations, and the bounds beside them.

Rows are rule x scope x stage x view; none of them is a class.
"""

from __future__ import annotations

from fedmeki_bench.algorithm import Scope
from fedmeki_bench.api import Algorithm

_PAPER = "FedMEKI, NeurIPS 2024 Datasets and Benchmarks"
_RULES = {"fedavg": "FedAvg", "fedprox": "FedProx"}
_KIM = "FedKIM, EMNLP 2024"
# suffix -> stage, view, mark, what the server does
_STAGES = {
    "": ("none", "aggregated", "", "aggregate only"),
    "_plus": ("plus", "aggregated", "+", "aggregate fine-tuned on public data"),
    "_star": ("injection", "aggregated", "*", "injection into the foundation model, the aggregate is scored"),
    "_fm": ("injection", "foundation", "F", "injection into the foundation model, which answers itself"),
}
_SCOPES: dict[Scope, str] = {"s": "one federation per task", "m": "one federation over all tasks"}

BASELINES = [
    Algorithm(
        name=f"{rule}_{scope}{suffix}", rule=rule, scope=scope, stage=stage, view=view, base=base, sub=scope, sup=mark,
        paper=_PAPER, summary=f"{base}, {scope_text}, {stage_text}",
    )
    for rule, base in _RULES.items()
    for scope, scope_text in _SCOPES.items()
    for suffix, (stage, view, mark, stage_text) in _STAGES.items()
]  # fmt: skip

# the published mu of 1e-6 is FedAvg but for rounding: the same rule with a mu that acts, chosen on `valid`
ACTING = [
    Algorithm(
        name=f"fedprox_mu_{scope}", rule="fedprox", scope=scope, base="FedProx", sub=scope, sup="mu",
        paper="Li et al., MLSys 2020", options=(("rule.mu", 0.01),),
        summary=f"FedProx with mu 0.01, {scope_text}, aggregate only",
    )
    for scope, scope_text in _SCOPES.items()
]  # fmt: skip

FEDKIM = [
    Algorithm(
        name=f"{rule}_m_{stage}", rule=rule, scope="m", stage=stage, view="foundation", base=title, sub=sub, sup=base,
        paper=_KIM, summary=f"{title}{sub} over {base}: {what}",
    )
    for stage, title, sub, what in (
        ("lora", "FedPlug", "L", "injection with one LoRA"),
        ("kim", "FedKIM", "", "injection with gated low-rank experts (M3OE)"),
    )
    for rule, base in _RULES.items()
]  # fmt: skip

_ABLATIONS = {
    "kim_public": ("public", (), "public data only, no clients"),
    "kim_notask": ("fedavg", (("stage.use_task", False),), "gate without task description"),
    "kim_nomodality": ("fedavg", (("stage.use_modality", False),), "gate without modality description"),
    "kim_uniform": ("fedavg", (("stage.gate", "uniform"),), "gate frozen at 1 / experts"),
}
ABLATIONS = [
    Algorithm(
        name=name, rule=rule, scope="m", stage="kim", view="foundation", base="FedKIM", sub=name.removeprefix("kim_"),
        paper=_KIM, options=options, summary=f"FedKIM ablation: {what}",
    )
    for name, (rule, options, what) in _ABLATIONS.items()
]  # fmt: skip

# other names of rows above
ALIASES = {"fedkim": "fedavg_m_kim", "fedplug": "fedavg_m_fm", "fedplug_l": "fedavg_m_lora"}

BOUNDS = [
    Algorithm("majority", "majority", "s", view="constant", base="Majority", bound=True,
              summary="constant predictor: the clients' share of positives"),
    Algorithm("local", "local", "s", view="personal", base="Local", bound=True,
              summary="each client alone; mean over clients"),
    Algorithm("central", "fedavg", "s", base="Central", bound=True, pooled=True,
              summary="all clients' data pooled in one place"),
]  # fmt: skip

ALGORITHMS = [*BOUNDS, *BASELINES, *ACTING, *FEDKIM, *ABLATIONS]
TABLE = {row.name: row for row in ALGORITHMS} | {a: {r.name: r for r in ALGORITHMS}[n] for a, n in ALIASES.items()}
"""What the core reads: name -> row; an alias is another name of a row."""
