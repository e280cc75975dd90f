"""Rules that split the model into a body that is federated and a head that is not, or the other way round.

The body is the encoders, a head is a task's decoder: what comes after the features. What stays is neither sent nor
counted. With several tasks there is a head per task; each client has those of the tasks it holds.

FedPer: Arivazhagan, Aggarwal, Singh, Choudhary, "Federated Learning with Personalization Layers", arXiv 1912.00818
(2019), Algorithms 1 and 2: base layers are averaged with weights by samples, personalisation layers stay.

FedRep: Collins, Hassani, Mokhtari, Shakkottai, "Exploiting Shared Representations for Personalized Federated Learning",
ICML 2021, Algorithm 1: first the head under the received body, then the body under the new head. While one is trained
the other stands still, in evaluation mode: batch norm of the body uses the received statistics in the head's phase.

FedBABU: Oh, Kim, Yun, "FedBABU: Toward Enhanced Representation for Federated Image Classification", ICLR 2022,
Algorithm 1: heads stay as they were drawn, at every client alike, in all of federated training, so they need not be
sent; personal models are fine-tuned from the global one afterwards. Here that is done whenever a personal model is
asked for: from what the client would receive now, on its own private samples of that task, encoder and head, on the
random streams of its local training. The result is scored and forgotten, so the same model comes out every time.
The global model is not scored: over one encoder, heads that were drawn for several tasks may contradict one another.

LG-FedAvg: Liang, Liu, Ziyin, Allen, Auerbach, Brent, Salakhutdinov, Morency, "Think Locally, Act Globally: Federated
Learning with Local and Global Representations", arXiv 2001.01523 (2020), Algorithm 1 without auxiliary losses: encoders
stay, heads are averaged. The paper begins from rounds of FedAvg; here all begin from the same initial weights.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


def head(unit):
    """Whether a unit is a head; all others are the body."""
    return unit.startswith("decoder.")


class FedPer(Rule):
    """FedAvg of the encoders; each client keeps its decoders and is scored with them."""

    title = "FedPer"
    paper = "Arivazhagan et al., arXiv 1912.00818 (2019), Algorithms 1-2"
    views = ("personal",)

    def keeps(self, tensor):
        return head(tensor.unit)


class FedRepParams(Rule.Params):
    """Parameters of FedRep."""

    head_epochs: int = Field(
        10, ge=1, le=1000, description="passes over the data for the head, before the body's local_epochs; the paper's"
    )


class FedRep(FedPer, Rule[FedRepParams]):
    """FedPer with heads and encoders trained one after the other: many passes for the head, then the encoders."""

    title = "FedRep"
    paper = "Collins et al., ICML 2021, Algorithm 1"

    def client_update(self, ctx, received):
        ctx.load(received)
        heads = [unit for unit in ctx.units if head(unit)]
        ctx.train(self, received, units=heads, epochs=self.params.head_epochs)  # h_i^{t,s} under phi^{t-1}
        ctx.train(self, received, units=set(ctx.units).difference(heads))  # phi_i^t under h_i^{t,tau}
        return ctx.update()


class FedBabuParams(Rule.Params):
    """Parameters of FedBABU."""

    fine_tune_epochs: int = Field(
        5, ge=0, le=1000, description="passes over a client's samples that make its personal model; the paper's value"
    )


class FedBabu(FedPer, Rule[FedBabuParams]):
    """FedAvg of the encoders under heads that are never trained; personal models are fine-tuned from the result."""

    title = "FedBABU"
    paper = "Oh et al., ICLR 2022, Algorithm 1"

    def client_update(self, ctx, received):
        ctx.load(received)
        ctx.train(self, received, units=[unit for unit in ctx.units if not head(unit)])
        return ctx.update()

    def personal(self, ctx, received):
        training = ctx.training(self, received)  # without ctx.trained: the client keeps nothing of it
        for batch in training.batches(self.params.fine_tune_epochs):
            training.step(batch)
        return ctx.model.values.restrict(ctx.units)


class LgFedAvg(Rule):
    """FedAvg of the decoders; each client keeps its encoders and is scored with them."""

    title = "LG-FedAvg"
    paper = "Liang et al., arXiv 2001.01523 (2020), Algorithm 1"
    views = ("personal",)

    def keeps(self, tensor):
        return not head(tensor.unit)
