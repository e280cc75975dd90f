"""Clients tune the foundation model themselves: the stage, and the rules that are about its adapters.

Zhang, Vahidian, Kuo, Li, Zhang, Yu, Zhou, Wang, "Towards Building the Federated GPT: Federated Instruction Tuning",
ICASSP 2024 (FedIT): each client trains LoRA on its own instructions, the server averages A and B. Here that is FedAvg
with this stage, ``fedavg_m_tuned``; every other rule has the same variant.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedmeki_bench.api import AdapterChoice, FoundationModel, Rule, Stage


class Tuned(Stage):
    """Clients train encoders, projectors and one LoRA in F on their own answers; the server only combines."""

    title = "tuned at the clients"
    paper = "FedIT: Zhang et al., ICASSP 2024"
    instead = {"aggregated": "foundation", "personal": "foundation_own"}
    variants = {"tuned": ("foundation", "T")}

    class Params(Stage.Params, FoundationModel):
        kind: Literal["none", "lora"] = Field(
            "lora", description="trained inside F: one LoRA, or nothing, projectors alone"
        )
        rank: int = Field(8, ge=1, le=1024, description="rank of the LoRA")
        alpha: float = Field(32.0, gt=0, description="LoRA's alpha; the product is multiplied by alpha / rank")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the LoRA's input")

    params: Params
    absorbs = False

    def client_model(self, tasks, **how):
        from fedmeki_bench.api import TunedModel

        p = self.params
        adapter = AdapterChoice(kind=p.kind, rank=p.rank, alpha=p.alpha, dropout=p.dropout, absorbs=self.absorbs)
        return TunedModel(tasks, p, adapter, **how)

    def foundation(self, server, ctx):
        ctx.model.load(server.model)
        return ctx.model.injected


class Absorbed(Tuned):
    """As ``tuned``; each round begins with a new LoRA, and what the last one learnt has become part of F's weights."""

    title = "tuned at the clients, absorbed each round"
    paper = "FLoRA: Wang et al., NeurIPS 2024"
    variants = {"absorbed": ("foundation", "T")}
    absorbs = True


class FfaLora(Rule):
    """FedAvg whose LoRA factor A stays at its random start: the mean of B is the mean of B A, and half is sent.

    Sun, Li, Li, Ding, "Improving LoRA in Privacy-preserving Federated Learning", ICLR 2024 (FFA-LoRA).
    """

    title = "FFA-LoRA"
    needs_stage = "tuned"
    paper = "Sun et al., ICLR 2024"

    def freezes(self, unit):
        return unit == "adapter.A"


class FedSaLora(Rule):
    """FedAvg of the LoRA factor A alone; each client keeps its own B, and is scored with it.

    Guo, Zeng, Wang, Fang, Xu, Qu, "Selective Aggregation for Low-Rank Adaptation in Federated Learning", ICLR 2025.
    """

    title = "FedSA-LoRA"
    needs_stage = "tuned"
    paper = "Guo et al., ICLR 2025"
    views = ("personal",)

    def keeps(self, tensor):
        return tensor.unit == "adapter.B"
