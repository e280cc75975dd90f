"""A server's step over everything a client sends, as papers write it, meets the variances of batch norm."""

from __future__ import annotations

import pytest
import torch
from pydantic import Field

from fedmeki_bench.api import Rule
from fedmeki_bench.errors import RunFailed
from tests.federation.conftest import WITHOUT_BATCH_NORM, finish, under

ECG = ["ecg_abnormal"]


class FedAvgMParams(Rule.Params):
    momentum: float = Field(0.9, ge=0, lt=1, description="beta")
    everything: bool = Field(True, description="step on batch-norm statistics too")


class FedAvgM(Rule[FedAvgMParams]):
    """Hsu, Qi, Brown 2019: v <- beta v + (x - mean), x <- x - v."""

    def aggregate(self, server, updates):
        mean = server.mean(updates)
        v = server.memory.setdefault("v", server.model.zeros())
        for unit in mean.units:
            x, y, m = (part.segment(unit, trained_only=not self.params.everything) for part in (server.model, mean, v))
            m.mul_(self.params.momentum).add_(x - y)
            y.copy_(x - m)
        server.model.load(mean)


def momentum(**params):
    return FedAvgM(FedAvgM.Params(**params))


def test_a_negative_variance_is_named_with_rule_unit_tensor_and_round(build):
    federation = under(build("fedavg_m", ECG, rounds=8), momentum())
    with pytest.raises(RunFailed) as caught:
        finish(federation)
    said = str(caught.value)
    assert said.startswith("rule FedAvgM made encoder.signal.")
    assert ".running_var of the unit encoder.signal negative in round " in said
    assert "segment(unit, trained_only=True)" in said
    assert "`keeps`" in said


def test_it_is_said_before_the_server_s_own_step(build):
    federation = under(build("fedavg_m_plus", ECG, rounds=8), momentum())
    with pytest.raises(RunFailed, match=r"^rule FedAvgM made .* negative"):
        finish(federation)


@pytest.mark.parametrize("way", ["parameters alone", "keeps", "no batch norm"])
def test_each_way_out_works(build, way):
    class Keeping(FedAvgM):
        def keeps(self, entry):
            return entry.batch_norm and not entry.trained

    rule = Keeping(FedAvgM.Params()) if way == "keeps" else momentum(everything=way != "parameters alone")
    more = WITHOUT_BATCH_NORM if way == "no batch norm" else {}
    federation = under(build("fedavg_m", ECG, rounds=8, **more), rule)
    assert torch.isfinite(finish(federation)).all()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("running_mean", r"made encoder\.signal\..*running_mean of the unit encoder\.signal not finite in round 1"),
        ("weight", r"left a global model that is no longer finite after round 1 \(encoder\.signal\..*weight\)"),
    ],
)
def test_what_is_not_finite_is_named(build, name, says):
    class Broken(Rule):
        def aggregate(self, server, updates):
            super().aggregate(server, updates)
            tensor = next(n for n in server.model if n.endswith(name))
            server.model[tensor].view(-1)[0] = float("inf")

    with pytest.raises(RunFailed, match=f"^rule Broken {says}"):
        finish(under(build("fedavg_m", ECG), Broken(Rule.Params())))


def test_a_stage_answers_for_its_own_step(build):
    federation = build("fedavg_m_plus", ECG)

    class Broken(type(federation.stage)):
        def run(self, server, public, ctx):
            server.model.flat[0] = float("nan")

    federation.stage = Broken(federation.stage.params)
    with pytest.raises(RunFailed, match=r"^stage Broken left a global model"):
        finish(federation)
