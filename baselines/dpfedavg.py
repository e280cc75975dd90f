"""DP-FedAvg: what the server releases says little about whether a client took part, or with which data.

McMahan, Ramage, Talwar, Zhang, "Learning Differentially Private Recurrent Language Models", ICLR 2018, Algorithm 1:
flat clipping, estimator with a fixed denominator, clients weighted alike.

Each client's change is clipped to S, the sum divided by the number of clients drawn, and Gaussian noise of standard
deviation z S / m added. Batch-norm statistics are data of clients as weights are: they are clipped and noised in the
same vector, and variances that noise has pushed below zero are set to zero afterwards. With several tasks, the units of
tasks that share any are one vector, clipped and noised by itself, so that tasks without anything in common train as
they would alone; a round that releases several vectors pays for each.

The paper draws clients independently; here, so that every algorithm meets the same ones, m of N are drawn without
replacement. The event is therefore ``SampledWithoutReplacementDpEvent`` of dp-accounting, under its neighbouring
relation REPLACE_ONE: one client of N is exchanged for another. Exchanging one moves the clipped sum by up to 2 S, so
the multiplier of ``GaussianDpEvent``, noise over sensitivity, is z / 2. ``epsilon`` is reported after every round.

It holds for what is released, the global models, if nobody knows who was drawn and the noise can't be guessed; the
run's seed, from which both follow, would have to be secret. Which units are trained is public, and so is the number of
clients. Losses and validation scores of a run, which a benchmark keeps, are not covered.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from pydantic import Field

from fedmeki_bench.api import InputError, Rule


class DPFedAvgParams(Rule.Params):
    """Parameters of DP-FedAvg."""

    bound: float = Field(
        1.0, gt=0, description="S, the longest change of a client, statistics included; not tuned here"
    )
    noise_multiplier: float = Field(
        0.02, ge=0, description="z, noise in units of S; the paper's 1 is for thousands of clients a round. The "
        "default lets a handful train and protects none of them: see the epsilon that is reported"
    )  # fmt: skip
    delta: float = Field(1e-5, gt=0, lt=1, description="delta of the guarantee; well below 1 / number of clients")


class DPFedAvg(Rule[DPFedAvgParams]):
    """FedAvg with clipped changes and accounted noise, for clients that count alike."""

    title = "DP-FedAvg"
    paper = "McMahan et al., ICLR 2018, Algorithm 1"
    counts = "clients"
    assumes = {"optimizer": "sgd"}

    def aggregate(self, server, updates):
        bound, m = self.params.bound, server.drawn
        total = server.model.restrict(server.holders, without=server.local).zeros()
        released = [group & total.layout.segments.keys() for group in server.groups]
        for update in updates:
            change = update.model - server.model
            for group in released:
                part = change.restrict(group)
                scale = min(1.0, bound / max(float(part.flat.norm()), 1e-12))
                for unit in part.units:
                    total.segment(unit).add_(part.segment(unit), alpha=scale / m)
        for group in released:
            for unit in group:
                draw = server.generator("noise", unit, *sorted(group))  # an exchange after every task has its own
                noise = torch.randn(total.segment(unit).shape, generator=draw).to(total.flat)
                total.segment(unit).add_(noise, alpha=self.params.noise_multiplier * bound / m)
        new = total + server.model
        for entry in new.layout.entries.values():
            if entry.variance:
                new[entry.name].clamp_(min=0)
        server.model.load(new)
        server.report("epsilon", self.epsilon(server))

    def epsilon(self, server):
        """What all rounds up to this one have spent."""
        settings = server.computing.settings
        releases = len(server.groups) if settings.exchange == "round" else len(server.computing.model.tasks)
        return _epsilon(
            server.clients, server.drawn, self.params.noise_multiplier, releases, server.round + 1, self.params.delta
        )


@lru_cache
def _epsilon(clients, drawn, noise_multiplier, releases, rounds, delta):
    try:
        import dp_accounting
        from dp_accounting.rdp import RdpAccountant
    except ImportError as error:
        raise InputError(
            "the rule dpfedavg needs dp-accounting to say its epsilon: pip install 'fedmeki-bench[privacy]'"
        ) from error
    if not noise_multiplier:
        return math.inf
    release = dp_accounting.GaussianDpEvent(noise_multiplier / 2)
    event = dp_accounting.SampledWithoutReplacementDpEvent(
        clients, drawn, dp_accounting.SelfComposedDpEvent(release, releases)
    )
    accountant = RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    return float(accountant.compose(event, rounds).get_epsilon(delta))
