"""What each rule's paper says, against a few lines of independent arithmetic; and where rules become FedAvg."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.data.cohort import CohortPart
from fedmeki_bench.evaluation.views import Aggregated, Personal
from fedmeki_bench.models.training import schedule
from fedmeki_bench.runs.spec import specify

from .conftest import ROUNDING, WITHOUT_BATCH_NORM, finish

ECG_TASK = registry.load("tasks", "ecg_abnormal")()
ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
DECODER = "decoder.ecg_abnormal"
SGD = {"optimizer": "sgd", "lr": 0.05}


def vector(values, unit, trained_only=True):
    return values.segment(unit, trained_only=trained_only).double().numpy().copy()


def watch(federation, unit=DECODER):
    """Per round, as float64: the global unit before and after, each client's result, weight and numbers."""
    seen, aggregate = [], federation.rule.aggregate

    def watched(server, updates):
        one = SimpleNamespace(before=vector(server.model, unit), results=[], shares=[], total_shares=[], updates=[])

        def passing():
            for update in updates:
                one.results.append(vector(update.model, unit))
                one.shares.append(update.share[unit])
                one.total_shares.append(update.total_share[unit])
                one.updates.append(update)
                yield update

        aggregate(server, passing())
        one.after = vector(server.model, unit)
        one.mean = sum(p * y for p, y in zip(one.shares, one.results, strict=True))
        seen.append(one)

    federation.rule.aggregate = watched
    return seen


def shorten(federation, client, n, task="ecg_abnormal"):
    part = federation.clients[client].data[task]
    federation.clients[client].data = {task: CohortPart(part.cohort, part.split, part.rows[:n])}


NEUTRAL = [n for n in registry.names("rules") if registry.load("rules", n).neutral is not None]


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_parameters_are_fedavg(build, name):
    """Up to rounding, SGD shows it: Adam's steps magnify gradients that are nothing but rounding noise."""
    rule = registry.load("rules", name)
    options = {} if rule.neutral_bitwise else SGD
    got = finish(build(f"{name}_m", ECG + LUNG, **options, **{f"rule.{k}": v for k, v in rule.neutral.items()}))
    want = finish(build("fedavg_m", ECG + LUNG, **options))
    if rule.neutral_bitwise:
        assert torch.equal(got, want)
    else:
        torch.testing.assert_close(got, want, **ROUNDING)


def test_which_rules_have_neutral_parameters():
    assert {"fedprox", "feddyn", "ditto", "fedadam"} <= set(NEUTRAL)
    assert not {"scaffold", "fedbn", "fednova", "local"} & set(NEUTRAL)


# ---- FedAdam


def test_fedadam_is_algorithm_2(build):
    eta, beta1, beta2, tau = 0.02, 0.8, 0.95, 1e-2
    federation = build("fedadam_s", ECG, server_lr=eta, beta1=beta1, beta2=beta2, tau=tau)
    seen = watch(federation)
    finish(federation)
    m, v = 0.0, tau**2
    for one in seen:
        delta = one.mean - one.before
        m = beta1 * m + (1 - beta1) * delta
        v = beta2 * v + (1 - beta2) * delta**2
        np.testing.assert_allclose(one.after, one.before + eta * m / (np.sqrt(v) + tau), rtol=1e-5, atol=1e-7)
    assert len(seen) == 2


def test_fedadam_averages_batch_norm_statistics_and_leaves_untrained_units_alone(build):
    federation = build("fedadam_m", ECG + LUNG)
    federation.round(0)
    for client in federation.clients:
        client.data = {"ecg_abnormal": client.data["ecg_abnormal"]}
    before, m, v = (t.clone() for t in (federation.server.model, *(federation.server.memory[n] for n in "mv")))
    means, aggregate = [], federation.rule.aggregate

    def watched(server, updates):
        updates = list(updates)
        means.append(server.mean(updates))
        aggregate(server, iter(updates))

    federation.rule.aggregate = watched
    federation.round(1)
    after, memory = federation.server.model, federation.server.memory
    for unit in ("encoder.image", "decoder.lung_opacity"):
        assert torch.equal(after.segment(unit), before.segment(unit))
        assert torch.equal(memory["m"].segment(unit), m.segment(unit))
        assert torch.equal(memory["v"].segment(unit), v.segment(unit))
    statistics = [n for n in after.buffers() if n.startswith("encoder.signal")]
    assert all(torch.equal(after[n], means[0][n]) and not torch.equal(after[n], before[n]) for n in statistics)
    assert not statistics or not set(statistics) & set(memory["m"])


# ---- SCAFFOLD


def test_the_first_round_of_scaffold_is_fedavg_bit_for_bit(build):
    assert torch.equal(
        finish(build("scaffold_m", ECG + LUNG, rounds=1)), finish(build("fedavg_m", ECG + LUNG, rounds=1))
    )


def test_scaffold_with_one_client_is_fedavg(build):
    """c = c_i exactly until both have been added to twice; then c = c + (c_i' - c_i) rounds where c_i' does not."""
    got, want = (finish(build(f"{rule}_s", ECG, clients=1, rounds=2)) for rule in ("scaffold", "fedavg"))
    assert torch.equal(got, want)
    got, want = (finish(build(f"{rule}_s", ECG, clients=1, rounds=3, **SGD)) for rule in ("scaffold", "fedavg"))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_scaffolds_control_variate_is_the_mean_of_the_clients(build):
    federation = build("scaffold_m", ECG + LUNG, rounds=3)
    federation.clients[2].data = {"ecg_abnormal": federation.clients[2].data["ecg_abnormal"]}
    finish(federation)
    shares = federation._shares([federation.context(c, 0) for c in range(3)])
    for unit in federation.server.model.units:  # lungs: over the two clients that hold any
        want = sum(s[unit] * federation.clients[c].memory["c_i"].segment(unit) for c, s in shares.items() if unit in s)
        torch.testing.assert_close(federation.server.memory["c"].segment(unit), want, rtol=1e-4, atol=1e-6)


def test_scaffolds_new_control_variate_is_option_two_under_sgd(build):
    """c_i - c + (x - y_i) / (K eta), computed from what was sent, where nothing is clipped."""
    federation = build("scaffold_s", ECG, rounds=3, clip=1e9, **SGD)
    seen, before, after = [], [], []
    for number in range(3):
        before.append((federation.server.memory.get("c"), federation.clients[0].memory.get("c_i")))
        before[-1] = [0.0 if t is None else vector(t, DECODER) for t in before[-1]]
        seen = seen or watch(federation)
        federation.round(number)
        after.append(vector(federation.clients[0].memory["c_i"], DECODER))
    for (c, c_i), one, new in zip(before, seen, after, strict=True):
        steps = one.updates[0].steps
        want = c_i - c + (one.before - one.results[0]) / (steps * SGD["lr"])
        np.testing.assert_allclose(new, want, rtol=1e-3, atol=1e-5)


def test_scaffolds_control_variate_counts_clients_that_were_not_sampled(build):
    federation = build("scaffold_s", ECG, clients=4, participation=0.5, rounds=1)
    finish(federation)
    chosen = federation.sampled(0)
    shares = federation._shares([federation.context(c, 0) for c in range(4)])  # over all clients: those absent count 0
    want = sum(shares[c][DECODER] * federation.clients[c].memory["c_i"].segment(DECODER) for c in chosen)
    torch.testing.assert_close(federation.server.memory["c"].segment(DECODER), want)
    assert all("c_i" not in federation.clients[c].memory for c in range(4) if c not in chosen)


def test_scaffold_sends_the_parameters_twice_both_ways(build):
    done = build("scaffold_m", ECG + LUNG).round(0)
    model = build("fedavg_m", ECG + LUNG).server.model
    trained = sum(4 * e.size for e in model.layout.entries.values() if e.trained)
    assert done.bytes_up == done.bytes_down == 3 * (model.nbytes + trained)


# ---- FedNova


def test_fednova_with_equal_steps_is_fedavg(build):
    """Up to rounding: x + tau (mean of (y - x) / tau) is not computed as the mean of y."""
    federations = [build(f"{rule}_s", ECG, rounds=2, **SGD) for rule in ("fednova", "fedavg")]
    for federation in federations:
        for client in range(3):
            shorten(federation, client, 17 + client)
    got, want = map(finish, federations)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_fednova_with_unequal_steps(build):
    federation = build("fednova_s", ECG, batch_size=4)
    shorten(federation, 0, 4)
    shorten(federation, 1, 13)
    seen = watch(federation)
    finish(federation)
    for one in seen:
        tau = np.array([u.numbers[f"tau.{DECODER}"] for u in one.updates])
        assert list(tau[:2]) == [1, 4]
        weights = np.array(one.shares) * (np.array(one.shares) @ tau) / tau
        want = one.before + sum(w * (y - one.before) for w, y in zip(weights, one.results, strict=True))
        np.testing.assert_allclose(one.after, want, rtol=1e-5, atol=1e-7)
        assert not np.allclose(one.after, one.mean, rtol=1e-3)


def test_fednova_counts_steps_per_unit_and_sends_them_as_numbers(build):
    federation = build("fednova_m", ECG + LUNG)
    seen = watch(federation)
    done = federation.round(0)
    for client, update in zip(federation.clients, seen[0].updates, strict=True):
        for task, encoder in (("ecg_abnormal", "encoder.signal"), ("lung_opacity", "encoder.image")):
            steps = len(list(schedule({task: client.data[task]}, epochs=1, batch_size=16, seed=0, stream=())))
            assert update.numbers[f"tau.{encoder}"] == update.numbers[f"tau.decoder.{task}"] == steps
    assert done.bytes_up == done.bytes_down + 3 * 4 * 8


# ---- FedDyn


def test_feddyn_two_rounds_of_algorithm_1(build):
    alpha = 0.1
    federation = build("feddyn_s", ECG, clients=4, participation=0.5, rounds=3, alpha=alpha)
    seen = watch(federation)
    finish(federation)
    h, gradients = 0.0, dict.fromkeys(range(4), 0.0)
    for number, one in enumerate(seen):
        drift = sum(p * (y - one.before) for p, y in zip(one.total_shares, one.results, strict=True))
        h = h - alpha * drift  # over all clients, of which those outside P_t changed nothing
        np.testing.assert_allclose(one.after, one.mean - h / alpha, rtol=1e-5, atol=1e-6)
        for client, y in zip(federation.sampled(number), one.results, strict=True):
            gradients[client] = gradients[client] - alpha * (y - one.before)
    for client, want in gradients.items():
        if "g" in federation.clients[client].memory:
            got = vector(federation.clients[client].memory["g"], DECODER)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7)
        else:
            assert isinstance(want, float)


def test_feddyns_extra_term_by_finite_differences():
    cls = registry.load("rules", "feddyn")
    rule = cls(cls.Params(alpha=0.3))
    draw = torch.Generator().manual_seed(0)
    received, g, start = ({"w": torch.randn(4, generator=draw, dtype=torch.float64)} for _ in range(3))
    ctx = SimpleNamespace(memory={"g": g})

    def loss(w):
        return rule.local_loss((w**3).sum(), None, {"w": w}, received, ctx)

    assert torch.autograd.gradcheck(loss, start["w"].clone().requires_grad_())
    want = -(g["w"] * start["w"]).sum() + 0.15 * (start["w"] - received["w"]).square().sum()
    torch.testing.assert_close(loss(start["w"]) - (start["w"] ** 3).sum(), want)


# ---- FedBN


def batch_norm_names(model):
    found = set()
    for path, layer in model.named_modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            unit = path.replace("encoders.", "encoder.", 1)
            found |= {f"{unit}.{n}" for n in ("weight", "bias", "running_mean", "running_var")}
    return found


def test_fedbn_sends_no_batch_norm_tensor_either_way(build):
    federation = build("fedbn_m", ECG + LUNG)
    norm = batch_norm_names(federation.model)
    assert len(norm) == 4 * (3 + 4)
    down, seen = [], watch(federation)
    broadcast = federation.rule.broadcast
    federation.rule.broadcast = lambda *a: down.append(broadcast(*a)) or down[-1]
    initial = federation.server.model.clone()
    done = federation.round(0)
    everything = set(initial)
    assert all(set(payload) == everything - norm for payload in down)
    assert all(set(update.model) == everything - norm for update in seen[0].updates)
    saved = sum(4 * initial[n].numel() for n in norm)
    assert done.bytes_up == done.bytes_down == 3 * (initial.nbytes - saved)
    assert all(torch.equal(federation.server.model[n], initial[n]) for n in norm)
    memories = [client.local for client in federation.clients]
    assert all(set(memory) == norm for memory in memories)
    assert all(not torch.equal(memories[0][n], memories[1][n]) for n in norm if n.startswith("encoder.signal"))


def test_a_client_of_fedbn_finds_its_own_norm_layers_again(build):
    federation = build("fedbn_s", ECG, clients=4, participation=0.5)
    norm = batch_norm_names(federation.model)
    initial = federation.server.model.clone()
    federation.round(0)
    for client in reversed(range(4)):
        ctx = federation.context(client, 1)
        ctx.load(federation.rule.broadcast(federation.server, ctx.client, ctx.units))
        own = federation.clients[client].local if client in federation.sampled(0) else initial
        assert all(torch.equal(federation.model.values[n], own[n]) for n in norm)
        shared = set(initial) - norm
        assert all(torch.equal(federation.model.values[n], federation.server.model[n]) for n in shared)


def test_without_batch_norm_fedbn_is_fedavg(build, cohorts):
    fedbn, fedavg = (build(f"{rule}_s", ECG, **WITHOUT_BATCH_NORM) for rule in ("fedbn", "fedavg"))
    assert any("layers.1" in name for name in fedbn.model.values)  # group norm is there, and is averaged
    assert torch.equal(finish(fedbn), finish(fedavg))
    assert all(client.memory == {} for client in fedbn.clients)
    part = fedbn.public["ecg_abnormal"]
    one = Aggregated().predict(fedavg, ECG_TASK, part)
    assert all(np.array_equal(row, one) for row in Personal().predict(fedbn, ECG_TASK, part))


# ---- Ditto


def test_dittos_personal_models_with_lambda_zero_train_alone(build):
    ditto, local = build("ditto_s", ECG, lam=0), build("local_s", ECG)
    finish(ditto)
    finish(local)
    for mine, theirs in zip(ditto.clients, local.clients, strict=True):
        own, alone = mine.personal["personal"], theirs.personal["personal"]
        assert set(own) == set(alone) == {"encoder.signal", DECODER}
        assert all(torch.equal(own[unit].flat, alone[unit].flat) for unit in own)


def test_lambda_pulls_dittos_personal_model_to_the_global_one(build):
    distances = []
    for lam in (0, 1, 4, 16):
        federation = build("ditto_s", ECG, rounds=1, lam=lam, **SGD | {"epochs": 5, "clip": 1e9})
        start = federation.server.model.clone()
        ctx = federation.context(0, 0)
        federation.rule.client_update(ctx, federation.rule.broadcast(federation.server, ctx.client, ctx.units))
        own = federation.clients[0].personal["personal"].values()
        distances.append(
            sum(float((v - start.restrict(v.units)).restrict(v.units, buffers=False).flat.norm()) for v in own)
        )
    assert distances[0] > distances[1] > distances[2] > distances[3] > 0
    assert distances[3] < 0.5 * distances[0]


def test_dittos_clients_are_scored_with_their_own_models(build):
    federation = build("ditto_s", ECG, clients=4, participation=0.5, rounds=1)
    finish(federation)
    part = federation.public["ecg_abnormal"]
    rows, one = Personal().predict(federation, ECG_TASK, part), Aggregated().predict(federation, ECG_TASK, part)
    for client in range(4):
        assert np.array_equal(rows[client], one) == (client not in federation.sampled(0))


def test_a_row_of_fedprox_has_a_mu_that_acts(build):
    """The published mu is FedAvg but for rounding, which Adam magnifies; the rows fedprox_mu_* are not."""
    steps = {"optimizer": "sgd", "lr": 0.2}
    averaged = finish(build("fedavg_s", ECG, **steps))
    published = (finish(build("fedprox_s", ECG, **steps)) - averaged).abs().max()
    acting = (finish(build("fedprox_mu_s", ECG, **steps)) - averaged).abs().max()
    assert acting > 100 * published
    row = resolve("fedprox_mu_m")
    (spec,) = specify(row, ECG)
    assert spec.params["rule"]["mu"] == 0.01
    assert row.title != resolve("fedprox_m").title
    (bent,) = specify(row, ECG, options={"mu": 0.5})
    assert bent.params["rule"]["mu"] == 0.5  # what is asked for comes after the row's own


def test_feddyns_default_is_the_one_that_was_chosen():
    cls = registry.load("rules", "feddyn")
    assert (cls.Params().alpha, cls.version) == (0.3, 3)
    assert "valid" in cls.Params.model_fields["alpha"].description
