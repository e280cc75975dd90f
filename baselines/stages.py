"""What the server does after combining: nothing, or fine-tune the aggregate on public data (the papers' "+")."""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Stage


class Plain(Stage):
    """Nothing: the aggregate is the result."""

    title = "plain"


class PlusParams(Stage.Params):
    """Parameters of global fine-tuning."""

    epochs: int = Field(1, ge=1, le=1000, description="passes over the public data per round")
    lr: float | None = Field(None, gt=0, description="learning rate; the clients' rate if not given")


class Plus(Stage[PlusParams]):
    """Global fine-tuning: the aggregate is trained on the server's public data each round."""

    title = "global fine-tuning"
    variants = {"plus": ("aggregated", "+")}
    paper = "FedMEKI, NeurIPS 2024 Datasets and Benchmarks, approaches marked +"

    def run(self, server, public, ctx):
        tuned, _ = ctx.fine_tune(server.model, public, epochs=self.params.epochs, lr=self.params.lr)
        server.model.load(tuned)
