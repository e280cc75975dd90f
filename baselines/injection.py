"""Knowledge injection: the aggregated encoders feed the frozen foundation model F, and public data train the way in.

Wang et al., "FEDMEKI", NeurIPS 2024 (arXiv 2408.09227): encoder + projector into frozen F (FedPlug; the marks * and F).
Wang et al., "FedKIM", EMNLP 2024 (arXiv 2408.10276): the same with one LoRA (FedPlug_L) or gated experts (FedKIM).
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Stage, later


class Injection(Stage):
    """Encoders and projectors are trained through F's next-token loss on the answers; F stays as it is."""

    title = "injection"
    version = 2
    paper = "FEDMEKI, NeurIPS 2024; FedPlug in FedKIM, EMNLP 2024"
    views = ("foundation",)
    variants = {"star": ("aggregated", "*"), "fm": ("foundation", "F")}
    kind = "none"

    class Params(Stage.Params):
        foundation: str = Field("tiny", description="F: 'tiny', or a causal LM: its folder, GGUF file or name")
        epochs: int = Field(1, ge=1, le=1000, description="passes over the public data per round")
        lr: float = Field(5e-4, gt=0, description="learning rate of encoders, projectors, adapters and gate")
        betas: tuple[float, float] = Field((0.9, 0.95), description="Adam's betas")
        eps: float = Field(1e-6, gt=0, description="Adam's epsilon")
        weight_decay: float = Field(1e-4, ge=0, description="L2 penalty inside Adam")
        warmup: float = Field(
            0.1, ge=0, lt=1, description="share of all steps with rising learning rate, then linear decay"
        )
        micro_batch: int = Field(4, ge=1, description="samples per forward pass")
        accumulation: int = Field(4, ge=1, description="forward passes per optimiser step")
        clip: float = Field(1.0, gt=0, description="largest gradient norm")
        scale_soft: bool = Field(True, description="start soft tokens at the size of F's embeddings; published: false")
        gradient_checkpointing: bool = Field(False, description="recompute F's layers in the backward pass")
        trust_remote_code: bool = Field(False, description="run the Python code that comes with F")
        prompt_format: str = later(
            "plain", since="0.1.0", pattern="^(plain|chat|published)$",
            description="how F is asked: plain text, its own chat template, or the published dialogue markers",
        )  # fmt: skip

    params: Params

    def run(self, server, public, ctx):
        injected = self.foundation(server, ctx)
        ctx.inject(
            server, injected, public, epochs=self.params.epochs, lr=self.params.lr, betas=self.params.betas,
            eps=self.params.eps, weight_decay=self.params.weight_decay, warmup=self.params.warmup,
            micro_batch=self.params.micro_batch, accumulation=self.params.accumulation, clip=self.params.clip,
        )  # fmt: skip

    def foundation(self, server, ctx):
        return ctx.injected(
            server, self.params.foundation, self.adapter(), scale_soft=self.params.scale_soft,
            gradient_checkpointing=self.params.gradient_checkpointing, trust_remote_code=self.params.trust_remote_code,
            prompt_format=self.params.prompt_format,
        )  # fmt: skip

    def adapter(self):
        """What is trained inside F, as keywords of AdapterChoice."""
        return {"kind": self.kind}


class LoraInjection(Injection):
    """Injection with one LoRA on F's attention, MLP and head (FedPlug_L)."""

    title = "injection with one LoRA"
    variants = {"lora": ("foundation", "L")}
    kind = "lora"

    class Params(Injection.Params):
        rank: int = Field(8, ge=1, description="rank of the adapter")
        alpha: float = Field(32.0, gt=0, description="the adapter's output is multiplied by alpha / rank")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout before the adapter")

    params: Params

    def adapter(self):
        return {"kind": self.kind} | self.params.model_dump(include={"rank", "alpha", "dropout"})


class KimInjection(LoraInjection):
    """Injection with M3OE: experts of low rank, gated by cross-attention of modality text over task text (FedKIM)."""

    title = "injection with M3OE"
    paper = "FedKIM, EMNLP 2024, multi-task multimodal mixture of experts"
    variants = {"kim": ("foundation", "KIM")}
    kind = "m3oe"

    class Params(LoraInjection.Params):
        experts: int = Field(12, ge=2, description="number of experts")
        gate: str = Field("learned", pattern="^(learned|uniform)$", description="learned, or frozen at 1 / experts")
        use_task: bool = Field(True, description="false: the ablation without task description")
        use_modality: bool = Field(True, description="false: the ablation without modality description")

    params: Params

    def adapter(self):
        own = {"rank", "alpha", "dropout", "experts", "gate", "use_task", "use_modality"}
        return {"kind": self.kind} | self.params.model_dump(include=own)
