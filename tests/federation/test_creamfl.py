"""CreamFL on samples of several modalities: its terms, what travels, and what is left of it with one modality."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.api import derive
from fedmeki_bench.builtin.baselines import creamfl
from fedmeki_bench.builtin.data_prep.mimic_cxr import MimicCxr, MimicCxrOptions
from fedmeki_bench.builtin.tasks.study_findings import StudyFindings
from fedmeki_bench.conformance import worlds
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.evaluation.class_metrics import AUROC_MACRO
from fedmeki_bench.evaluation.metrics import AUROC
from fedmeki_bench.evaluation.view import view
from fedmeki_bench.registry import load
from fedmeki_bench.runs.assemble import assemble, assignment
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify

from .conftest import finish, handed, interrupted, same, sent

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
TASK, WIDTH = worlds.PAIRED, 8


def paired(clients=4, folder=None, rounds=2, rule="creamfl", **params):
    """Clients with up to two pictures and perhaps a signal per sample; the last has no picture at all."""
    cls = load("rules", rule)
    federation = worlds.build(cls(cls.Params(**params)), (TASK,), clients=clients, rounds=rounds, folder=folder)
    last = federation.clients[-1]
    last.data = {TASK: last.data[TASK].hiding(["image"])}
    return federation


def personal(federation):
    """Client -> its own model."""
    return {client.number: client.personal for client in federation.clients}


def by_sample(part, rows, modality):
    """Public sample -> its representation, from the rows that travel."""
    return dict(zip(np.flatnonzero(part.having(modality)).tolist(), rows.double().numpy(), strict=True))


def found(z, sample, others, tau=1.0):
    """Log-probability that a representation picks its own sample, in plain numbers."""
    exponents = {j: float(z @ row) / tau for j, row in others.items()}
    return exponents[sample] - math.log(sum(math.exp(e) for e in exponents.values()))


def drawn(modalities=("image", "labs", "signal"), samples=23, clients=3, width=6):
    """Unit vectors at random: of the server, of clients, and who has what."""
    random = np.random.default_rng(0)
    there = {m: torch.from_numpy(random.random(samples) < 0.7) for m in modalities}

    def tables():
        rows = {m: torch.from_numpy(random.normal(size=(samples, width))) for m in modalities}
        return {m: torch.nn.functional.normalize(r).float() * there[m][:, None] for m, r in rows.items()}

    return there, tables(), [tables() for _ in range(clients)]


def known(tables, there):
    """Modality -> sample -> representation, of those that have one."""
    return {m: {i: t[i].double().numpy() for i in range(len(t)) if there[m][i]} for m, t in tables.items()}


@pytest.mark.parametrize("modality", ["image", "labs", "signal"])
def test_a_clients_weight_is_how_well_it_finds_samples_across_modalities(modality, monkeypatch):
    monkeypatch.setattr(creamfl, "_ROWS", 5)
    there, server, clients = drawn()
    tables = [client[modality] for client in clients]
    weights = creamfl.weighed(tables, modality, server, there).numpy()
    seen, own = known(server, there), [known(client, there)[modality] for client in clients]
    alike, swapped = [], []
    for sample in own[0]:
        others = [m for m in seen if m != modality and sample in seen[m]]
        scores = [sum(found(z[sample], sample, seen[m]) for m in others) / max(len(others), 1) for z in own]
        total = sum(map(math.exp, scores))
        np.testing.assert_allclose(weights[:, sample], [math.exp(s) / total for s in scores], rtol=1e-5)
        within = [math.exp(found(z[sample], sample, seen[modality])) for z in own]
        alike.append(abs(weights[:, sample] - 1 / 3).max())
        swapped.append(abs(weights[:, sample] - np.array(within) / sum(within)).max())
        if not others:
            np.testing.assert_allclose(weights[:, sample], 1 / 3)
    assert max(alike) > 0.1  # the controls: clients alike, and scores within the modality
    assert max(swapped) > 0.1


def contrasts(own, at, seen, before, tau, inter=True):
    """The clients' two terms, sample by sample, in plain numbers."""
    intra, between = [], 0.0
    for m, rows in own.items():
        pairs = []
        for z, i in zip(rows, at, strict=True):
            if i in seen[m]:
                near, far = (math.exp(float(z @ of[m][i]) / tau) for of in (seen, before))
                intra.append(-math.log(near / (near + far)))
                pairs += [-found(z, i, seen[o], tau) for o in seen if o != m and i in seen[o]]
        between += sum(pairs) / len(pairs) if pairs else 0.0
    return sum(intra) / len(intra) + inter * between


@pytest.mark.parametrize("own", [("image", "labs", "signal"), ("labs",)])
def test_the_contrasts_of_a_batch(own):
    there, server, (before, now, _) = drawn()
    at = torch.tensor([i for i in (3, 17, 4, 9, 11, 20, 0) if any(there[m][i] for m in own)])
    loss = float(creamfl.contrasts({m: now[m][at] for m in own}, at, server, before, there, 0.5))
    rows = {m: now[m][at].double().numpy() for m in own}
    seen, past = known(server, there), known(before, there)
    assert loss == pytest.approx(contrasts(rows, at.tolist(), seen, past, 0.5), rel=1e-5)
    assert abs(loss - contrasts(rows, at.tolist(), past, seen, 0.5)) > 0.01  # the controls: roles exchanged,
    assert abs(loss - contrasts(rows, at.tolist(), seen, past, 0.5, inter=False)) > 0.5  # one term missing
    others = dict(zip(server, [*list(server.values())[1:], server["image"]], strict=True))  # and modalities
    exchanged = creamfl.contrasts({m: now[m][at] for m in own}, at, others, before, there, 0.5)
    assert abs(loss - float(exchanged)) > 0.01


def space(modality):
    """The map into the common space, as everybody draws it."""
    random = torch.Generator().manual_seed(derive(0, "creamfl", modality, WIDTH))
    return torch.nn.init.orthogonal_(torch.empty(WIDTH, 64), generator=random).double().numpy()


def unit(features, modality):
    """Features of both modalities -> one modality's unit vectors, by hand."""
    own = features.detach().double().numpy()[:, slice(0, 8) if modality == "image" else slice(8, 16)]
    turned = own @ space(modality)
    return turned / np.linalg.norm(turned, axis=1, keepdims=True).clip(min=1e-12)


def test_the_map_into_the_common_space_keeps_angles():
    np.testing.assert_allclose(space("image") @ space("image").T, np.eye(WIDTH), atol=1e-6)
    assert abs(space("image") @ space("signal").T).max() > 0.1


@pytest.mark.parametrize("client", [0, 3])
def test_a_clients_first_step_on_public_samples(monkeypatch, client):
    """A client of both modalities, and one without pictures: from what it receives, its previous model and its own."""
    federation = paired()
    federation.round(0)
    rule, part, own = federation.rule, federation.public[TASK], ["image", "signal"] if client < 3 else ["signal"]
    rule.select(federation.server, [], [], None)
    steps, step = [], creamfl.Contrast.step
    ctx, received = handed(federation, client, 1)
    ctx.load_personal(received)
    past, _ = ctx.features(TASK, part)

    def watched(self, ctx, params, batch, received):
        with torch.no_grad():
            features = ctx.forward({}, batch, training=True).features
        loss = step(self, ctx, params, batch, received)
        steps.append((features, self.places[TASK][batch.index].tolist(), float(loss.detach()), set(params)))
        return loss

    monkeypatch.setattr(creamfl.Contrast, "step", watched)
    rule.client_update(ctx, received)
    features, at, loss, params = steps[0]
    seen = {m: by_sample(part, received.extra[f"{TASK}.{m}"], m) for m in ("image", "signal")}
    before = {m: {i: unit(past, m)[i] for i in seen[m]} for m in own}
    want = contrasts({m: unit(features, m) for m in own}, at, seen, before, 0.5)
    assert loss == pytest.approx(0.5 * want, rel=1e-4)
    wrong = contrasts({m: unit(features, m) for m in own}, at, seen, before, 0.5, inter=False)
    assert abs(loss - 0.5 * wrong) > 0.5
    assert {name.split(".")[1] for name in params} == set(own)
    assert {i for _, places, _, _ in steps for i in places} == {i for m in own for i in seen[m]}


def test_the_server_learns_public_labels_and_the_ensemble(monkeypatch):
    federation = paired(kd=3.0)
    rounds, first = sent(federation), []
    server, part = federation.server, federation.public[TASK]
    plain = federation.at_server.fine_tune

    def watched(start, public, *, loss=None, **how):
        def seen(params, batch):
            with torch.no_grad():
                outputs = federation.at_server.forward({}, batch, training=True)
            found = loss(params, batch)
            first.append((outputs, batch, float(found.detach())))
            return found

        return plain(start, public, loss=None if loss is None else seen, **how)

    monkeypatch.setattr(federation.at_server, "fine_tune", watched)
    federation.round(0)
    outputs, batch, loss = first[0]
    tables = {m: server.memory["seen"][TASK][m][part.having(m)] for m in ("image", "signal")}
    seen = {m: by_sample(part, rows, m) for m, rows in tables.items()}
    gaps = {"golden": [], "alike": []}
    for m, other in (("image", "signal"), ("signal", "image")):
        told = [by_sample(part, u.extra[f"{TASK}.{m}"], m) for u in rounds[0].values() if f"{TASK}.{m}" in u.extra]
        assert len(told) == (3 if m == "image" else 4)
        for z, i in zip(unit(outputs.features, m), batch.index.tolist(), strict=True):
            if i in seen[m]:
                scores = [math.exp(found(c[i], i, seen[other])) if i in seen[other] else 1.0 for c in told]
                mean = sum(s * c[i] for s, c in zip(scores, told, strict=True)) / sum(scores)
                gaps["golden"].append(((z - mean) ** 2).sum())
                gaps["alike"].append(((z - sum(c[i] for c in told) / len(told)) ** 2).sum())
    task = float(federation.model.loss(outputs, batch))
    want, alike = (task + 3.0 * float(np.mean(gaps[name])) for name in ("golden", "alike"))
    assert loss == pytest.approx(want, rel=1e-5)
    assert abs(loss - alike) > 1e-4 * loss
    assert abs(loss - task) > 0.1


def test_representations_travel_and_nothing_else():
    federation = paired()
    part, rounds = federation.public[TASK], sent(federation)
    rows = {m: int(part.having(m).sum()) for m in ("image", "signal")}
    assert 0 < rows["image"] < len(part) > rows["signal"] > 0
    finish(federation)
    both, signal = sum(rows.values()), rows["signal"]
    for done in federation.history:
        assert done.bytes_down == 4 * both * 64 * 4
        assert done.bytes_up == (3 * both + signal) * 64 * 4
    assert all(update.model is None and not update.numbers for update in rounds[1].values())
    assert set(rounds[1][3].extra) == {f"{TASK}.signal"}
    narrow = paired(width=5)
    finish(narrow)
    assert narrow.history[1].bytes_up == (3 * both + signal) * 5 * 4


def test_one_modality_has_no_inter_modal_contrast_and_clients_count_alike(build):
    federation = build("creamfl_m", ECG)
    assert federation.round(0).bytes_up == 3 * len(federation.public[ECG[0]]) * 64 * 4
    there, seen = {"signal": torch.ones(9, dtype=torch.bool)}, {"signal": torch.eye(9)}
    tables = [torch.eye(9), -torch.eye(9)]
    assert (creamfl.weighed(tables, "signal", seen, there) == 0.5).all()
    own = {"signal": torch.eye(9)[:4]}
    at, before = torch.arange(4), {"signal": -torch.eye(9)}
    loss = creamfl.contrasts(own, at, seen, before, there, 0.5)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-4.0)))


def test_without_its_terms_clients_train_alone(build):
    """Under gamma 0 each has the model of the bound ``local``, bit for bit; under the default it has not."""
    without, default, alone = (build(f"{name}_m", ECG + LUNG) for name in ("creamfl", "creamfl", "local"))
    without.rule.params.gamma = 0.0
    for federation in (without, default, alone):
        finish(federation)
    assert same(personal(without), personal(alone))
    assert not same(personal(default), personal(alone))


def test_what_is_absent_leaves_the_rest_finite_and_a_resumed_run_the_same(tmp_path):
    whole, again = interrupted(lambda folder: paired(folder=folder, rounds=3), tmp_path)
    assert same(whole.server.memory, again.server.memory)
    assert same(personal(whole), personal(again))
    assert torch.equal(whole.server.model.flat, again.server.model.flat)
    assert whole.server.model.flat.isfinite().all()
    scores = view("personal").predict(whole, worlds.EITHER, whole.public[TASK])
    assert np.isfinite(scores).all()


def test_without_public_samples_clients_train_alone_and_the_server_waits():
    federation = paired()
    federation.public = federation.at_server.public = federation.engine._public = {}
    start = federation.server.model.flat.clone()
    assert torch.equal(finish(federation), start)
    assert [(done.bytes_up, done.bytes_down) for done in federation.history] == [(0, 0), (0, 0)]
    alone = paired(rule="local")
    finish(alone)
    assert same(personal(federation), personal(alone))


def test_server_and_clients_learn_although_samples_lack_modalities():
    federation = worlds.build(load("rules", "creamfl")(), (TASK,), large=True, rounds=5, local_epochs=2, batch_size=15)
    last = federation.clients[-1]
    last.data = {TASK: last.data[TASK].hiding(["image"])}
    part = worlds.paired_cohort().part("valid")
    before = AUROC(part.targets, view("aggregated").scores(federation, worlds.EITHER, part))
    finish(federation)
    after = AUROC(part.targets, view("aggregated").scores(federation, worlds.EITHER, part))
    own = [AUROC(part.targets, row) for row in view("personal").scores(federation, worlds.EITHER, part)]
    assert after > 0.85 > 0.7 > before
    assert min(own[:2]) > 0.85


@pytest.mark.slow
def test_the_paired_stand_in_is_learnt_with_hospitals_that_lack_pictures_or_results(tmp_path):
    """Four hospitals, one without pictures, one without laboratory results; what they say helps the server."""
    MimicCxr().synthesize(tmp_path / "raw", size=800, seed=0)
    prepare(
        MimicCxr(), tmp_path / "raw", tmp_path / "data", [StudyFindings()], MimicCxrOptions(image_size=64), workers=1
    )
    task, learnt = StudyFindings.meta.name, {}
    for kd in (1.0, 0.0):
        given = {"rule.kd": kd, "availability.holds": {"image": [0, 1, 2], "labs": [0, 1, 3]}}
        (spec,) = specify(resolve("creamfl_m"), [task], clients=4, options=given)
        plugins, opened = resolve_plugins(spec), open_cohorts(spec, tmp_path / "data")
        federation = assemble(spec, plugins, opened, assignment(spec, plugins, opened))
        finish(federation)
        valid = opened[task].part("valid")
        learnt[kd] = float(AUROC_MACRO(valid.gold, view("aggregated").scores(federation, StudyFindings(), valid)))
    assert learnt[1.0] > 0.7
    assert learnt[1.0] > learnt[0.0] + 0.01  # the control: the server learns public labels alone


def test_clients_of_two_architectures_teach_one_server(build, tmp_path):
    two = {"client_encoders": ["small_signal", "published_signal"]}
    whole, again = interrupted(lambda folder: build("creamfl_m", ECG, folder=folder, rounds=2, **two), tmp_path)
    sizes = [sum(v.flat.numel() for v in client.personal["personal"].values()) for client in whole.clients]
    assert sizes[0] == sizes[2] != sizes[1]
    assert torch.equal(whole.server.model.flat, again.server.model.flat)
    assert not torch.equal(whole.server.model.flat, finish(build("creamfl_m", ECG, rounds=2)))


def test_clients_that_answer_in_words_have_nothing_to_contrast(build, barely):
    federation = build("creamfl_m_tuned", ECG, foundation=barely, rounds=1)
    with pytest.raises(RunFailed, match="have no features of each modality by itself"):
        finish(federation)
