"""Rules with one thing changed: what makes them equal to a peer, or shows what a peer leaves out."""

from __future__ import annotations

import torch

from fedmeki_bench.registry import load

EQUAL = 1e-12
"""In float64: some hundred roundings of weights of the order of 1."""
APART = 1e-3
"""What no rounding explains."""


def rule(name, base=None, **params):
    """A built-in rule, with methods of ``base`` laid over its own."""
    cls = load("rules", name)
    return (type(cls.__name__, (base, cls), {}) if base else cls)(cls.Params(**params))


class PenaltyOfTheNorm:
    """FedDyn with PFLlib's penalty: the norm of the distance, not its square."""

    def local_loss(self, loss, outputs, params, received, ctx):
        g = ctx.memory["g"]
        linear = sum((g[name] * w).sum() for name, w in params.items())
        distance = torch.cat([(w - received[name]).flatten() for name, w in params.items()]).norm()
        return loss - linear + self.params.alpha / 2 * distance


class NoTermsAtTheClients:
    """FedDyn whose clients minimise the loss alone."""

    def local_loss(self, loss, outputs, params, received, ctx):
        return loss


class EveryClientCounts:
    """FedProto whose prototypes count alike, however many samples are behind them."""

    def aggregate(self, server, updates):
        def alike():
            for update in updates:
                for name in update.extra:
                    if name.startswith("samples."):
                        update.extra[name] = (update.extra[name] > 0).to(update.extra[name].dtype)
                yield update

        super().aggregate(server, alike())


class NothingToMixAtFirst:
    """FedALA whose W is not touched while all models are the initial one."""

    def _starts(self, ctx, received):
        return super()._starts(ctx, received) if ctx.round else {}


class ScaledByAll:
    """FedNova whose direction is multiplied by the number of clients over the number of those that take part."""

    def aggregate(self, server, updates):
        before = server.model.clone()
        super().aggregate(server, updates)
        server.apply(server.model - before, server.clients / server.drawn - 1)


class TauCancelled:
    """FedNova whose changes are averaged with weights p_i / tau_i that are made to sum to one: tau_eff cancels."""

    def aggregate(self, server, updates):
        tau_eff, weight = {}, {}

        def watched():
            for update in updates:
                for unit, p in update.share.items():
                    tau = update.numbers[f"tau.{unit}"]
                    tau_eff[unit] = tau_eff.get(unit, 0.0) + p * tau
                    weight[unit] = weight.get(unit, 0.0) + p / tau
                yield update

        before = server.model.clone()
        super().aggregate(server, watched())
        step = server.model - before
        for unit in step.units:
            step.segment(unit).mul_(1 / (tau_eff[unit] * weight[unit]))
        server.model.load(before + step)


class Nesterov:
    """FedAvgM that looks ahead: its step is the change and beta times the velocity that holds it."""

    def aggregate(self, server, updates):
        velocity = server.memory.setdefault("velocity", server.model.zeros(buffers=False))
        step = server.mean_change(updates)
        for unit in step.units:
            change, v = step.segment(unit), velocity.segment(unit)
            change.add_(v.mul_(self.params.beta).add_(change), alpha=self.params.beta)
        server.apply(step, self.params.server_lr)


class KingmasCorrection:
    """FedAdam with Adam's bias correction on the step size, its exponent one more than the round, counted from 1."""

    def aggregate(self, server, updates):
        given, power = self.params, server.round + 2
        factor = (1 - given.beta2**power) ** 0.5 / (1 - given.beta1**power)
        self.params = given.model_copy(update={"server_lr": given.server_lr * factor})
        super().aggregate(server, updates)
        self.params = given


def everybody_starts(name):
    """Every client keeps a copy of the initial model from the start, not of the one that it first receives."""

    def prepare(loop):
        for client in loop.clients:
            initial = loop.server.model
            client.personal[name] = {unit: initial.restrict([unit]) for unit in initial.units}

    return prepare


def v_starts_at_zero(loop):
    """FedAdam's second moment starts at 0, not at tau squared."""
    loop.server.memory |= {name: loop.server.model.zeros(buffers=False) for name in "mv"}
