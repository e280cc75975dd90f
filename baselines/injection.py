"""Knowledge injection: the aggregated encoders feed the frozen foundation model F, and public data train the way in.

Wang et al., "FEDMEKI", NeurIPS 2024 (arXiv 2408.09227): encoder + projector into frozen F (FedPlug; the marks * and F).
Wang et al., "FedKIM", EMNLP 2024 (arXiv 2408.10276): the same with one LoRA (FedPlug_L) or gated experts (FedKIM).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Literal

from pydantic import Field

from fedmeki_bench.api import AdapterChoice, FoundationModel, InjectionTraining, Stage


class Injection(Stage):
    """Encoders and projectors are trained through F's next-token loss on the answers; F stays as it is."""

    title = "injection"
    version = 3
    paper = "FEDMEKI, NeurIPS 2024; FedPlug in FedKIM, EMNLP 2024"
    views = ("foundation",)
    variants = {"star": ("aggregated", "*"), "fm": ("foundation", "F")}
    kind = "none"

    class Params(Stage.Params, FoundationModel, InjectionTraining):
        pass

    params: Params

    def run(self, server, public, ctx):
        from fedmeki_bench.api import inject

        inject(self.foundation(server, ctx), server, public, ctx, self.params)

    def foundation(self, server, ctx):
        from fedmeki_bench.api import injected

        return injected(ctx, self.params, self.adapter())

    def adapter(self):
        """What is trained inside F."""
        return AdapterChoice(kind=self.kind)


class LoraInjection(Injection):
    """Injection with one LoRA on F's attention, MLP and head (FedPlug_L)."""

    title = "injection with one LoRA"
    variants = {"lora": ("foundation", "L")}
    kind = "lora"

    class Params(Injection.Params):
        rank: int = Field(8, ge=1, description="rank of the adapter")
        alpha: float = Field(32.0, gt=0, description="the adapter's output is multiplied by alpha / rank")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout before the adapter")
        init: Literal["lora", "published"] = Field(
            "lora", description="bound of A at the start: 1/sqrt(in), or 1/sqrt(in rank) as published"
        )

    params: Params

    def adapter(self):
        return AdapterChoice(kind=self.kind, **self.params.model_dump(include={"rank", "alpha", "dropout", "init"}))


class KimInjection(LoraInjection):
    """Injection with M3OE: experts of low rank, gated by cross-attention of modality text over task text (FedKIM)."""

    title = "injection with M3OE"
    paper = "FedKIM, EMNLP 2024, multi-task multimodal mixture of experts"
    variants = {"kim": ("foundation", "KIM")}
    kind = "m3oe"

    class Params(LoraInjection.Params):
        experts: int = Field(12, ge=2, description="number of experts")
        gate: Literal["learned", "uniform", "oracle"] = Field(
            "learned", description="learned, frozen at 1 / experts, or one expert per context of tasks (a bound)"
        )
        use_task: bool = Field(True, description="false: the ablation without task description")
        use_modality: bool = Field(True, description="false: the ablation without modality description")
        normalise: bool = Field(False, description="centre and normalise the embeddings that the gate reads")
        routing: float = Field(0.0, ge=0, description="weight of the mutual information of task and expert")
        balance: float = Field(0.0, ge=0, description="weight of the load-balancing loss")
        top_k: int = Field(0, ge=0, description="only so many of the gate's largest weights act; 0: all")

    params: Params

    def adapter(self):
        return AdapterChoice(kind=self.kind, **self.params.model_dump(include={f.name for f in fields(AdapterChoice)}))


class RoutedKimInjection(KimInjection):
    """FedKIM with a gate that can route: normalised, centred descriptions and a term that keeps tasks apart.

    A variant of this project beside the papers' gate, which stays one vector for all tasks (docs/foundation.md).
    """

    title = "injection with M3OE, routed"
    paper = "FedKIM, EMNLP 2024, with this project's routing term"
    variants = {"kim_routed": ("foundation", "KIM routed")}

    class Params(KimInjection.Params):
        normalise: bool = Field(True, description="centre and normalise the embeddings that the gate reads")
        routing: float = Field(0.5, ge=0, description="weight of the mutual information of task and expert")

    params: Params
