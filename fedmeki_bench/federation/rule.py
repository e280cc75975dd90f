"""The contract of a federated rule: what clients do locally and how the server combines it.

The base class *is* FedAvg; a rule overrides what its paper changes. The draw of clients, seeds, the optimiser, bytes,
logging, checkpoints and evaluation belong to the loop, not to the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.options import bracketed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from fedmeki_bench.federation.client import ClientContext
    from fedmeki_bench.federation.server import Server
    from fedmeki_bench.models.batch import Batch
    from fedmeki_bench.models.client_model import Outputs
    from fedmeki_bench.models.flat import Entry, FlatTensors

    Ask = Callable[[Sequence[int]], Iterable[Update]]


ParamsT = TypeVar("ParamsT", bound=BaseModel, default=Any)


class Rule(Generic[ParamsT]):
    """FedAvg by default: override what the paper changes.

    Parameters are a nested class ``Params``, or a model named in brackets: ``class FedProx(Rule[FedProxParams])``.

    Attributes:
        version: raised whenever the rule's numbers change; part of every run's identity.
        paper: where the rule was published.
        views: which models this rule leaves to be scored (``aggregated``, ``personal``, ``constant``).
        trains: false for a rule that needs one round and no training (a constant predictor).
        assumes: fields of the profile that the paper rests on, e.g. ``{"optimizer": "sgd"}``; a run with other ones
            says so in its record.
        counts: what a client counts by: its share of the samples, or its being there (medians, Krum, noise per client).
        needs_stage: the stage whose client model the rule is about, such as ``tuned``, without which it has no variant.
        any_architecture: whether clients may have encoders of their own, since no weights are combined.
        uses_public: whether clients see the public samples (``ctx.public``), as in distillation on public data.
        phased: whether it acts only where tasks follow one another (``server.earlier``) and is FedAvg elsewhere.
        neutral: parameter values under which the rule leaves FedAvg's global model, whatever the data: ``{}`` for a
            rule that always does, None if there are none. Checked against FedAvg by the tests.
        neutral_bitwise: whether it does so bit for bit; false where another order of arithmetic rounds differently.
            Compare such rules under SGD or after one round: Adam magnifies gradients that are rounding noise.
    """

    title: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paper: ClassVar[str] = ""
    views: ClassVar[tuple[str, ...]] = ("aggregated",)
    trains: ClassVar[bool] = True
    assumes: ClassVar[Mapping[str, Any]] = {}
    counts: ClassVar[Literal["samples", "clients"]] = "samples"
    needs_stage: ClassVar[str] = ""
    any_architecture: ClassVar[bool] = False
    uses_public: ClassVar[bool] = False
    phased: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, Any] | None] = None
    neutral_bitwise: ClassVar[bool] = True

    class Params(BaseModel):
        """The rule's own parameters, validated; none by default."""

        model_config = ConfigDict(extra="forbid")

    params: ParamsT

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Params" not in vars(cls) and (found := bracketed(cls)) is not None:
            cls.Params = found  # type: ignore[misc,assignment]

    def __init__(self, params: ParamsT | None = None) -> None:
        self.params = params if params is not None else self.Params()  # type: ignore[assignment]

    @property
    def buffer(self) -> int:
        """How many updates the server waits for before it makes a step; 0 is a round with everybody selected.

        Otherwise the rule is asynchronous (``federation/arrivals.py``): as many clients as the profile's participation
        says train at once, each on the model it got when it started, and ``Update.staleness`` says how old that is.
        """
        return 0

    def keeps(self, tensor: Entry) -> bool:
        """Whether this tensor stays with each client: neither sent nor averaged, found again in its next round.

        Asked once per tensor of the model, by name, unit and kind; the same for all clients. ``not tensor.trained``
        keeps batch-norm statistics, ``tensor.unit.startswith("decoder.")`` personal heads. Rules that keep
        anything have a ``personal`` view, because the server has no such tensors to be scored with.
        """
        return False

    def freezes(self, unit: str) -> bool:
        """Whether this unit stays as it was initialised: not trained, and not sent as everybody has it from the seed.

        Asked once per unit of the model, by name, e.g. ``adapter.A``.
        """
        return False

    def broadcast(self, server: Server, client: int, units: tuple[str, ...]) -> Payload:
        """What goes down to a client that uses ``units``: those units of the global model."""
        return Payload(server.outgoing(units))

    def select(self, server: Server, candidates: Sequence[int], drawn: Sequence[int], ask: Ask) -> Iterable[int]:
        """Which clients train in this round; by default those that were drawn, the same ones for every algorithm.

        Args:
            server: its memory and generators.
            candidates: the clients that could.
            drawn: as many of them as the profile's participation says, drawn evenly.
            ask: sends clients what :meth:`broadcast` sends and gives what they :meth:`answer`, in their order; both
                ways count as bytes.
        """
        return drawn

    def answer(self, ctx: ClientContext, received: Payload) -> Update:
        """What a client answers before some are selected: its loss under what it received, its number of samples."""
        ctx.load(received)
        found = ctx.evaluate(ctx.data)
        total = sum(task.samples for task in found.values())
        loss = sum(task.loss * task.samples for task in found.values()) / total if total else 0.0
        return Update(ctx.client, numbers={"loss": loss, "samples": float(total)})

    def step(self, ctx: ClientContext, params: Mapping[str, Tensor], batch: Batch, received: Payload) -> Tensor:
        """The loss of one optimiser step; the loop takes its gradient, clips it and moves the work model.

        By default the task's loss under the work model's weights, handed through :meth:`local_loss`. Override it where
        a method looks at a batch under several weights: ``ctx.loss(values, batch)`` is the task's loss under any, and
        without side effects; ``ctx.forward(values, batch)`` gives outputs.

        Args:
            params: the parameters that this step trains, attached to the graph, by name.
            batch: its samples.
            received: what came down this round.
        """
        loss, outputs = ctx.outputs(batch)
        return self.local_loss(loss, outputs, params, received, ctx)

    def local_loss(
        self,
        loss: Tensor,
        outputs: Outputs,
        params: Mapping[str, Tensor],
        received: Payload,
        ctx: ClientContext,
    ) -> Tensor:
        """The loss to minimise, given the task's own loss on a batch.

        Args:
            loss: scalar task loss.
            outputs: logits (batch,) and features (batch, width).
            params: the parameters the current task uses, attached to the graph, by name.
            received: what came down this round, by the same names; constants.
            ctx: the client's data, memory and settings.
        """
        return loss

    def correct_gradients(
        self,
        grads: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        received: Payload,
        ctx: ClientContext,
    ) -> None:
        """Change the gradients in place before clipping and the optimiser's step (control variates)."""

    def client_update(self, ctx: ClientContext, received: Payload) -> Update:
        """The local loop: start from what was received, train, send the result."""
        ctx.load(received)
        ctx.train(self, received)
        return ctx.update()

    def aggregate(self, server: Server, updates: Iterable[Update]) -> None:
        """Combine the clients' updates; they arrive one at a time, in client order.

        The default is the mean weighted by sample counts, unit by unit, over the clients that trained the unit
        (McMahan et al., AISTATS 2017, Algorithm 1). ``server.mean_change`` and ``server.changes`` are for rules that
        combine differences, ``server.combine`` for those that look at several clients at once (medians, distances);
        ``server.computing`` has public samples and a model to train on them.
        """
        server.model.load(server.mean(updates))

    def constant(self, server: Server, task: str) -> Sequence[float]:
        """What a rule with the view ``constant`` knows of a task: means over samples of :meth:`Kind.summands`, (K,).

        Of a binary task the share of positives, (1,).

        Raises:
            RunFailed: it has none.
        """
        raise RunFailed(f"rule {type(self).__name__} leaves no constant for the task {task!r}")

    def personal(self, ctx: ClientContext, received: Payload) -> FlatTensors | None:
        """The client's own model, scored per client; by default what ``ctx.keep_personal`` has kept.

        Units it lacks are those that the client receives; with None the personal model is what the client receives,
        with what it :meth:`keeps`. It is asked for task by task: ``ctx`` has the data and units of the one to be
        scored, and what was received is in the work model. It may be trained here; the client keeps nothing of it.
        """
        return ctx.personal()
