"""Rules with one deliberate mistake each. They are read by tests, and some are run from this file by its path."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from fedmeki_bench.api import Payload, Rule, Update


class Undescribed(Rule):
    """A parameter says nothing about itself."""

    class Params(Rule.Params):
        mu: float = 0.1


class Silent(Rule):
    class Params(Rule.Params):
        mu: float = Field(0.1, description="strength")


class Endless(Rule):
    """What a client remembers is not finite."""

    def client_update(self, ctx, received):
        ctx.memory["ratio"] = torch.tensor(float("inf"))
        return super().client_update(ctx, received)


class UnseededNoise(Rule):
    """Adds noise from a generator without a seed."""

    def aggregate(self, server, updates):
        super().aggregate(server, updates)
        server.model.flat.add_(float(np.random.default_rng().normal(0, 1e-3)))


class GlobalNoise(Rule):
    """Adds noise from the global stream."""

    def aggregate(self, server, updates):
        super().aggregate(server, updates)
        server.model.flat.add_(float(np.random.normal(0, 1e-3)))  # noqa: NPY002


class LastComesFirst(Rule):
    """Whoever trains later pulls harder."""

    turn = 0

    def client_update(self, ctx, received):
        self.turn += 1
        return super().client_update(ctx, received)

    def local_loss(self, loss, outputs, params, received, ctx):
        return loss * (1 + self.turn)


class Ascent(Rule):
    """Climbs where it should descend."""

    def local_loss(self, loss, outputs, params, received, ctx):
        return -loss


class YesOrNoAlone(Rule):
    """Has a loss of its own, which knows yes and no alone."""

    def local_loss(self, loss, outputs, params, received, ctx):
        return loss if outputs.logits.ndim == 1 else outputs.logits.square().mean()


class AssumesEveryEncoder(Rule):
    """Believes that every client of a task receives the encoders of all its modalities."""

    def local_loss(self, loss, outputs, params, received, ctx):
        mine = ctx.model.parameters_of(ctx.batch.task)
        return loss + 0.01 * sum((value - received.model[name]).square().sum() for name, value in mine.items())


class WritesIntoTheReceived(Rule):
    """Changes what it received in a way that no version counter notices."""

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        received.model.flat.data.mul_(2.0)
        return update


class RefusedByTheLoop(Rule):
    """Changes what it received, and the loop notices."""

    def client_update(self, ctx, received):
        received.model.flat.mul_(2.0)
        return super().client_update(ctx, received)


class SendsTheLiveModel(Rule):
    """Broadcasts the server's own model, not a copy."""

    def broadcast(self, server, client, units):
        return Payload(server.model)


class RemembersTheWorkModel(Rule):
    """Remembers a view into the work model, which the next client trains in."""

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        ctx.memory["last"] = ctx.model.values
        return update


class ChangesOthersMemories(Rule):
    """Lets one client write into the memory of another, through a list that they share."""

    def __init__(self, params=None):
        super().__init__(params)
        self.shared = torch.zeros(1)

    def client_update(self, ctx, received):
        ctx.memory["count"] = self.shared
        self.shared += 1
        return super().client_update(ctx, received)


class SendsAnObject(Rule):
    """Sends a dict where a vector belongs."""

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        update.extra["sizes"] = {task: len(part) for task, part in ctx.data.items()}
        return update


class SendsAnAttribute(Rule):
    """Hides an object on the update, where no byte of it is counted."""

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        update.samples_seen = list(ctx.data)
        return update


class SendsEverything(Rule):
    """Sends units that the client has not trained."""

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        update.model = ctx.model.values.clone()
        return update


class Uniform(Rule):
    """Averages with weights of its own."""

    def aggregate(self, server, updates):
        updates = list(updates)
        for update in updates:
            update.share = dict.fromkeys(update.share, 1 / len(updates))
        super().aggregate(server, updates)


class Squared(Rule):
    """Gives large clients more than their share."""

    def aggregate(self, server, updates):
        updates = list(updates)
        for unit in server.model.units:
            total = sum(update.share.get(unit, 0.0) ** 2 for update in updates)
            for update in updates:
                if unit in update.share:
                    update.share[unit] = update.share[unit] ** 2 / total
        super().aggregate(server, updates)


class NotNormalised(Rule):
    """Divides by the number of clients once more."""

    def aggregate(self, server, updates):
        updates = list(updates)
        for update in updates:
            update.share = {unit: share / len(updates) for unit, share in update.share.items()}
        super().aggregate(server, updates)


class NeedsEveryone(Rule):
    """Cannot do without a client."""

    def aggregate(self, server, updates):
        updates = list(updates)
        if len(updates) < server.clients:
            raise ValueError("where is everybody?")
        super().aggregate(server, updates)


class OncePerRound(Rule):
    """Cannot combine twice in a round."""

    def aggregate(self, server, updates):
        if server.memory.get("last") == server.round:
            raise ValueError("again?")
        server.memory["last"] = server.round
        super().aggregate(server, updates)


class ClassMomentum(Rule):
    """Keeps the last model on the class, where every federation finds it; it begins anew with a first round."""

    last: ClassVar[dict] = {}

    def aggregate(self, server, updates):
        before = server.model.clone() if server.round == 0 else ClassMomentum.last["model"]
        super().aggregate(server, updates)
        if before.layout.entries.keys() == server.model.layout.entries.keys():
            server.model.flat.add_(0.1 * (server.model.flat - before.flat))
        ClassMomentum.last["model"] = server.model.clone()


class RemembersAnArray(Rule):
    """Remembers what no checkpoint can hold."""

    def client_update(self, ctx, received):
        ctx.memory["counts"] = np.arange(3)
        return super().client_update(ctx, received)


class RemembersOnSelf(Rule):
    """Keeps its momentum on self, where no checkpoint finds it."""

    velocity = None

    def aggregate(self, server, updates):
        before = server.model.clone()
        super().aggregate(server, updates)
        change = server.model - before
        self.velocity = change if self.velocity is None else self.velocity * 0.5 + change
        server.model.load(before + self.velocity)


class NotNeutral(Rule):
    """Its neutral value is not neutral."""

    neutral: ClassVar = {"mu": 0.0}

    class Params(Rule.Params):
        mu: float = Field(0.1, description="strength")

    def local_loss(self, loss, outputs, params, received, ctx):
        distance = sum((w - received[name]).square().sum() for name, w in params.items())
        return loss + (self.params.mu + 0.01) * distance


class DoesNothing(Rule):
    """Declares a parameter and never uses it."""

    neutral: ClassVar = {"mu": 0.0}

    class Params(Rule.Params):
        mu: float = Field(0.1, description="strength")


class AlwaysActs(NotNeutral):
    """Says that it acts only between phases."""

    phased: ClassVar = True


class NeverActs(DoesNothing):
    """Says that it acts between phases, and does not."""

    phased: ClassVar = True


class Detached(Rule):
    """A proximal term without a gradient."""

    def local_loss(self, loss, outputs, params, received, ctx):
        return loss + sum((w.detach() - received[name]).square().sum() for name, w in params.items())


class HalfDetached(Rule):
    """A proximal term with half its gradient."""

    def local_loss(self, loss, outputs, params, received, ctx):
        return loss + sum(((w - received[n]) * (w.detach() - received[n])).sum() for n, w in params.items())


class Rebinds(Rule):
    """Puts new tensors into the mapping; those that the optimiser uses stay as they are."""

    def correct_gradients(self, grads, params, received, ctx):
        for name in list(grads):
            grads[name] = grads[name] * 0.5


class Idle(Rule):
    """Overrides the gradient hook and changes nothing."""

    def correct_gradients(self, grads, params, received, ctx):
        pass


class Peeks(Rule):
    """Asks for the test split and says nothing."""

    def client_update(self, ctx, received):
        try:
            len(next(iter(ctx.data.values())).cohort._part("test"))
        except Exception:
            pass
        return super().client_update(ctx, received)


class ReadsTheTable(Rule):
    """Selects by the labels of the test split, read from the cohort's own table."""

    def client_update(self, ctx, received):
        for task, part in ctx.data.items():
            table = part.cohort._table()
            ctx.memory[task] = float(table["label"][table["split"] == "test"].mean())
        return super().client_update(ctx, received)


class ReadsTheFile(Rule):
    """The same, from the file."""

    def client_update(self, ctx, received):
        for task, part in ctx.data.items():
            table = pd.read_parquet(part.cohort.path / "samples.parquet")
            ctx.memory[task] = float(table["label"][table["split"] == "test"].mean())
        return super().client_update(ctx, received)


class LeaksBatchNorm(Rule):
    """Says that statistics stay and sends them anyway."""

    views = ("personal",)

    def keeps(self, tensor):
        return not tensor.trained

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        update.model = ctx.model.values.restrict(ctx.units)
        return update


class FreezesBatchNorm(Rule):
    """Says nothing about statistics and does not average them."""

    def aggregate(self, server, updates):
        before = server.model.buffers()
        super().aggregate(server, updates)
        for name, value in before.items():
            server.model[name].copy_(value)


class SameForAll(Rule):
    """A personal view in which nothing is personal."""

    views = ("personal",)

    def personal(self, ctx, received):
        return received.model


class Leaves(Rule):
    """Ends the process."""

    def client_update(self, ctx, received):
        raise SystemExit("enough")


class WithoutUpdate(Rule):
    """Sends nothing that is an update."""

    def client_update(self, ctx, received):
        return Update(ctx.client + 1)


WRONG = [
    (Undescribed, "loads", "the parameter 'mu' has no description"),
    (Silent, "loads", "Silent has no docstring"),
    (Endless, "finite", "the memory of client 0 is not finite"),
    (Leaves, "finite", "it raised SystemExit: enough (wrong_rules.py"),
    (UnseededNoise, "deterministic", "the global model differs between two runs of one seed"),
    (GlobalNoise, "deterministic", "the global model differs between two runs of one seed"),
    (LastComesFirst, "order", "another one when the clients are run in reverse"),
    (Ascent, "learns", "the view 'aggregated' has a validation AUROC of 0."),
    (YesOrNoAlone, "kinds", "the view 'aggregated' of a multiclass task has a validation AUROC (macro) of 0."),
    (AssumesEveryEncoder, "missing", "it raised KeyError: 'encoder.image."),
    (WritesIntoTheReceived, "received", "changed what client 0 received"),
    (RefusedByTheLoop, "received", "changed what client 0 received"),
    (SendsTheLiveModel, "received", "what is broadcast shares memory with the server's model"),
    (RemembersTheWorkModel, "received", "the memory of client 0 shares memory with the work model"),
    (ChangesOthersMemories, "received", "the memory of client 0 under 'count' changed after its turn"),
    (SendsAnObject, "wire", "carries extra['sizes'] of type dict, not FlatTensors"),
    (SendsAnAttribute, "wire", "carries the attribute 'samples_seen'"),
    (SendsEverything, "wire", "the model in the update of client 2 has"),
    (WithoutUpdate, "wire", "client 0 sends an update in the name of client 1"),
    (Uniform, "weights", "a client with share 0 changes the result"),
    (Squared, "weights", "a client that arrives as two halves of its share counts differently"),
    (NotNormalised, "weights", "weight each update by update.share"),
    (NeedsEveryone, "absent", "it raised ValueError: where is everybody?"),
    (OncePerRound, "per-task", "it raised ValueError: again?"),
    (ClassMomentum, "shared-state", "is another one when a second federation runs in turn"),
    (RemembersAnArray, "memory", "memory['clients'][0]['counts'] is of type ndarray"),
    (RemembersOnSelf, "resumes", "the global model differs from the uninterrupted run"),
    (ClassMomentum, "resumes", "the global model differs from the uninterrupted run"),
    (NotNeutral, "neutral", "with {'mu': 0.0} the global model differs from FedAvg's"),
    (DoesNothing, "neutral", "its own term does nothing"),
    (AlwaysActs, "neutral", "the rule says that it is FedAvg unless tasks follow one another"),
    (NeverActs, "neutral", "its own term does nothing"),
    (Detached, "extra-term", "it is built from detached tensors"),
    (HalfDetached, "extra-term", "finite differences give"),
    (Rebinds, "gradients", "put other tensors into grads"),
    (Idle, "gradients", "changed no gradient"),
    (Peeks, "test-split", "it asked for the test split of 'left'"),
    (ReadsTheTable, "test-split", "changes when nothing but the labels and arrays of the test split change"),
    (ReadsTheFile, "test-split", "changes when nothing but the labels and arrays of the test split change"),
    (LeaksBatchNorm, "buffers", "although keeps() says that it stays"),
    (FreezesBatchNorm, "buffers", "statistics that are not kept have to be averaged"),
    (SameForAll, "personal", "all clients have the same personal model"),
]
