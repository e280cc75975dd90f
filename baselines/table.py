"""The table of algorithms: the 16 baselines, FedKIM with its baselines and ablations, and the bounds beside them.

Rows are rule x scope x stage x view; none of them is a class.
"""

from __future__ import annotations

from typing import Any

from fedmeki_bench.api import Algorithm, Scope

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
        ("kim_routed", "FedKIM", "routed", "M3OE with a gate that routes"),
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

# name -> rule, stage, subscript, options, what
_ROUTED: dict[str, tuple[str, str, str, dict[str, Any], str]] = {
    "kim_top2": ("fedavg", "kim_routed", "top2", {"stage.top_k": 2}, "gate that keeps its two largest weights"),
    "kim_balanced": (
        "fedavg", "kim_routed", "balanced", {"stage.routing": 0.0, "stage.balance": 0.5},
        "gate with a load-balancing loss in place of the routing term",
    ),
    "kim_routed_public": ("public", "kim_routed", "routed, public", {}, "gate that routes, public data only"),
    "kim_oracle": ("fedavg", "kim", "oracle", {"stage.gate": "oracle"}, "an expert for each context, known beforehand"),
    "kim_oracle_public": ("public", "kim", "oracle, public", {"stage.gate": "oracle"}, "the same, public data only"),
}  # fmt: skip
ROUTED = [
    Algorithm(
        name=name, rule=rule, scope="m", stage=stage, view="foundation", base="FedKIM", sub=sub,
        options=tuple(options.items()), bound=options.get("stage.gate") == "oracle", summary=f"FedKIM: {what}",
    )
    for name, (rule, stage, sub, options, what) in _ROUTED.items()
]  # fmt: skip

EQUAL = Algorithm(
    "lora32", "fedavg", "m", stage="lora", view="foundation", base="FedPlug", sub="L, rank 32",
    options=(("stage.rank", 32), ("stage.alpha", 128.0)),
    summary="FedPlug_L with one LoRA as large as four experts of rank 8",
)  # fmt: skip

# broken on purpose: what an injection must be better than
_BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "shuffled": ({"stage.answers": "shuffled"}, "public answers shuffled"),
    "untrained": ({"stage.epochs": 0}, "projectors and adapters as they were drawn"),
    "unrelated": ({"stage.foundation": "tiny_unrelated"}, "a foundation model whose names are related otherwise"),
}
_WHOLE = {
    "fm": ("injection", "FedPlug", ""),
    "kim": ("kim", "FedKIM", ""),
    "kim_routed": ("kim_routed", "FedKIM", "routed, "),
}
CONTROLS = [
    Algorithm(
        name=f"{whole}_{broken}", rule="fedavg", scope="m", stage=stage, view="foundation", base=base, sub=sub + broken,
        options=tuple(options.items()), bound=True, control=True, summary=f"control of {base}: {what}",
    )
    for whole, (stage, base, sub) in _WHOLE.items()
    for broken, (options, what) in _BROKEN.items()
]  # fmt: skip

# other names of rows above
ALIASES = {
    "fedkim": "fedavg_m_kim", "fedkim_routed": "fedavg_m_kim_routed", "fedplug": "fedavg_m_fm",
    "fedplug_l": "fedavg_m_lora",
}  # fmt: skip

BOUNDS = [
    Algorithm("majority", "majority", "s", view="constant", base="Majority", bound=True,
              summary="constant predictor: the clients' share of positives"),
    Algorithm("local", "local", "s", view="personal", base="Local", bound=True,
              summary="each client alone; mean over clients"),
    Algorithm("central", "fedavg", "s", base="Central", bound=True, pooled=True,
              summary="all clients' data pooled in one place"),
]  # fmt: skip

ALGORITHMS = [*BOUNDS, *BASELINES, *ACTING, *FEDKIM, *ROUTED, EQUAL, *ABLATIONS, *CONTROLS]
TABLE = {row.name: row for row in ALGORITHMS} | {a: {r.name: r for r in ALGORITHMS}[n] for a, n in ALIASES.items()}
"""What the core reads: name -> row; an alias is another name of a row."""
