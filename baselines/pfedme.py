"""pFedMe: each client's personal model is near its copy of the global one, and pulls it along (Moreau envelopes).

T Dinh, Tran, Nguyen, "Personalized Federated Learning with Moreau Envelopes", NeurIPS 2020, Algorithm 1 and Equation 7.

As in the published code the personal model theta starts each round from the received one and goes on from batch to
batch. The paper finds it by SGD; here the clients' optimiser does, `steps` times per batch. Batch-norm statistics are
those that theta sees. Clients are weighted by samples, of those that take part; the paper weighs them alike.

After one step at a time, with eta lambda = 1 and beta = 1, the copy of the global model is theta: FedAvg, bit for bit.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class PFedMeParams(Rule.Params):
    """Parameters of pFedMe; lambda and K are those of the paper's experiments on MNIST, not tuned here."""

    lam: float = Field(15.0, gt=0, description="lambda, pull between personal model and copy of the global one")
    eta: float = Field(
        0.05, gt=0, description="step size of the copy of the global model, sensible up to 1 / lambda; the paper's is "
        "0.005, for 800 rounds"
    )  # fmt: skip
    steps: int = Field(5, ge=1, le=1000, description="K, steps of the personal model on each batch")
    lr: float | None = Field(None, gt=0, description="learning rate of the personal model; the profile's if not given")
    beta: float = Field(1.0, gt=0, description="the server's step towards the mean; 1 takes the mean")


class PFedMe(Rule[PFedMeParams]):
    """FedAvg of copies of the global model that follow the clients' personal models, which are scored per client."""

    title = "pFedMe"
    paper = "T Dinh et al., NeurIPS 2020, Algorithm 1"
    assumes = {"optimizer": "sgd"}
    views = ("personal", "aggregated")
    neutral = {"lam": 16.0, "eta": 0.0625, "steps": 1, "beta": 1.0}

    def local_loss(self, loss, outputs, params, received, ctx):
        distance = sum((theta - ctx.memory["w"][name]).square().sum() for name, theta in params.items())
        return loss + self.params.lam / 2 * distance  # Eq. 7: f(theta; D) + lambda / 2 ||theta - w||^2

    def client_update(self, ctx, received):
        ctx.load(received)
        w = ctx.memory["w"] = ctx.model.values.restrict(ctx.units, buffers=False)  # w_{i,0} = w_t
        training = ctx.training(self, received, lr=self.params.lr)
        for batch in training.batches(ctx.settings.local_epochs):
            for _ in range(self.params.steps):
                training.step(batch)
            for unit in ctx.model.units(batch.task, ctx.data[batch.task].lacking):
                theta = ctx.model.values.segment(unit, trained_only=True)
                w.segment(unit).lerp_(theta, self.params.eta * self.params.lam)  # line 8: w - eta lambda (w - theta)
        ctx.trained(training)
        ctx.keep_personal()
        ctx.model.load(ctx.memory.pop("w"))
        return ctx.update()

    def aggregate(self, server, updates):
        mean = server.mean(updates)
        for unit in mean.units:
            x, y = (m.segment(unit, trained_only=True) for m in (server.model, mean))
            y.add_(y - x, alpha=self.params.beta - 1)  # line 13: (1 - beta) w_t + beta mean of w_{i,R}
        server.model.load(mean)
