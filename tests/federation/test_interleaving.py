"""Prompts that say where soft tokens belong, and projectors that give a fixed number of them, in whole federations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.views_in_words import Foundation, FoundationBefore, FoundationBlind
from fedmeki_bench.foundation.places import Place
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.kept import open_kept
from fedmeki_bench.runs.spec import specify

from .conftest import SMALL, finish, interrupted, same

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]


def injected_of(federation):
    return federation.stage.foundation(federation.server, federation.at_server)


@pytest.fixture
def placing(monkeypatch):
    """Let the ECG task ask by another prompt."""

    def place(text: str) -> None:
        monkeypatch.setattr(EcgAbnormal, "prompt", lambda self, question: text.format(question=question))

    return place


@pytest.fixture
def both(build, barely):
    """A model of two modalities with F, a task of both, and inputs of two samples, the second without an image."""
    federation = build("fedavg_m_fm", ECG + LUNG, foundation=barely)
    task = registry.load("tasks", "lung_opacity")()
    two = type("Two", (type(task),), {"meta": replace(task.meta, name="two", modalities=("image", "signal"))})()
    inputs = {}
    for name in ECG + LUNG:
        inputs |= federation.model.to_inputs(federation.public[name].batch(np.arange(2)))
    encoder = federation.model.encoders["image"]
    encoder.mask = lambda x: torch.tensor([[True], [False]]).expand(2, encoder(x).shape[1])
    federation.model.eval()
    return injected_of(federation), federation.model, two, inputs


def test_what_is_not_placed_comes_first(both):
    injected, model, task, inputs = both
    pieces = injected._pieces(model, task.meta.arrays, inputs)
    image, signal = (pieces[Place(m)] for m in ("image", "signal"))
    s = image.embeddings.shape[1]
    with torch.no_grad():
        soft, there, asked = injected.ask(model, task, inputs, ["see <signal> high?", "no mark"])
    assert torch.equal(soft, torch.cat([image.embeddings, signal.embeddings], dim=1))
    assert there[0, :s].all()
    assert not there[0, s:].any()
    assert not there[1, :s].any()
    assert there[1, s:].all()
    assert asked[1] == "no mark"
    before, tokens, after = asked[0]
    assert (before, after) == ("see ", " high?")
    assert torch.equal(tokens, signal.embeddings[0])


def test_a_modality_that_a_sample_lacks_leaves_nothing_at_its_mark(both):
    injected, model, task, inputs = both
    with torch.no_grad():
        _, there, asked = injected.ask(model, task, inputs, ["<image> and <signal> and <image>"] * 2)
    assert not there.any()
    lengths = [[len(part) for part in row if isinstance(part, torch.Tensor)] for row in asked]
    assert lengths[0][0] == lengths[0][2] > 0
    assert lengths[1][0] == lengths[1][2] == 0 < lengths[1][1]


def test_a_batch_without_marks_is_as_it_was(both):
    injected, model, task, inputs = both
    with torch.no_grad():
        soft, there, asked = injected.ask(model, task, inputs, ["a", "b"])
        plain, mask = injected.soft(model, task.meta.modalities, inputs)
    assert torch.equal(soft, plain)
    assert torch.equal(there, mask)
    assert asked == ["a", "b"]


def test_the_model_answers_by_where_the_soft_tokens_stand(build, barely, placing):
    federation = build("fedavg_m_fm", ECG, rounds=1, foundation=barely)
    finish(federation)
    task = federation.at_server.tasks["ecg_abnormal"]
    part = federation.public["ecg_abnormal"].take(range(8))

    def scores(view):
        return view.predict(federation, task, part).scores

    plain = {view: scores(view()) for view in (Foundation, FoundationBlind, FoundationBefore)}
    own = task.prompt("{question}")
    placing(f"<signal>{own}")
    for view, known in plain.items():
        assert np.array_equal(scores(view()), known), view
    placing(f"{own}<signal>")
    assert not np.array_equal(scores(Foundation()), plain[Foundation])
    for view in (FoundationBlind, FoundationBefore):
        np.testing.assert_allclose(scores(view()), plain[view], atol=1e-6)


def test_a_placed_run_trains_and_is_scored(cohorts, barely, placing, tmp_path):
    placing("Look at this recording: <signal>\n{question}\nAnswer:")
    options = SMALL | {"rounds": 1, "foundation": barely}
    (spec,) = specify(resolve("fedavg_m_kim"), ECG, clients=2, options=options)
    record = execute(spec, cohorts, RecordStore(tmp_path), keep_model=True)
    assert record.status == "ok", record.error
    assert all(e.metrics for e in record.evaluations if e.view.startswith("foundation"))
    assert np.isfinite(record.foundation.loss).all()


def test_a_mark_that_the_task_cannot_fill_is_refused_before_training(build, barely, placing):
    placing("<image>{question}\nAnswer:")
    with pytest.raises(InputError, match=r"task 'ecg_abnormal' places <image>.*what it can place: <signal>"):
        build("fedavg_m_fm", ECG, foundation=barely)
    build("fedavg_m", ECG)  # nobody is asked in words


def test_so_many_latents_are_so_many_tokens(build, barely):
    federation = build("fedavg_m_fm", ECG + LUNG, foundation=barely, **{"stage.latents": 4})
    injected = injected_of(federation)
    for name in ECG + LUNG:
        task = federation.at_server.tasks[name]
        inputs = federation.model.to_inputs(federation.public[name].batch(np.arange(3)))
        soft, there, _ = injected.ask(federation.model, task, inputs, ["x"] * 3)
        assert soft.shape[1] == 4
        assert there.all()


def test_a_resampler_learns(build, barely):
    options = {"stage.latents": 4, "stage.lr": 1e-2, "stage.epochs": 2, "rounds": 3}
    federation = build("fedavg_m_fm", ECG, foundation=barely, **options)
    start = {n: p.detach().clone() for n, p in injected_of(federation).named_parameters()}
    finish(federation)
    memory = federation.at_server.memory
    first, second, third = memory["injection_loss"]  # all that can lower it are encoder, resampler and linear layer
    assert third < second < first - 0.15
    assert all(not torch.equal(memory["injected"][name], value) for name, value in start.items())


@pytest.mark.parametrize("algorithm", ["fedavg_m_fm", "fedavg_m_kim"])
def test_a_resampler_resumes_bit_for_bit(build, barely, tmp_path, algorithm):
    whole, again = interrupted(
        lambda folder: build(algorithm, ECG, folder=folder, foundation=barely, **{"stage.latents": 4}), tmp_path
    )
    assert torch.equal(whole.server.model.flat, again.server.model.flat)
    assert any("resampler" in name for name in whole.at_server.memory["injected"])
    assert same(whole.at_server.memory, again.at_server.memory)


def test_a_kept_resampler_opens_again_and_is_counted(cohorts, barely, tmp_path):
    found = {}
    for latents in (0, 4):
        options = SMALL | {"rounds": 1, "foundation": barely, "stage.latents": latents}
        (spec,) = specify(resolve("fedavg_m_fm"), ECG, clients=2, options=options)
        record = execute(spec, cohorts, RecordStore(tmp_path), keep_model=True)
        assert record.status == "ok", record.error
        found[latents] = record.foundation.parameters
        kept = open_kept(tmp_path / record.key, foundation=barely)
    resampler = kept.injected.projectors["signal"].resampler
    assert found[4] - found[0] == sum(p.numel() for p in resampler.parameters()) > 0
    assert len(resampler.latents) == 4


def test_latents_name_a_run_only_where_there_are_some():
    settings = [
        specify(resolve("fedavg_m_fm"), ECG, options=options)[0].setting
        for options in ({}, {"stage.latents": 0}, {"stage.latents": 4})
    ]
    assert settings[0] == settings[1] != settings[2]


def test_a_direct_encoder_keeps_its_own_tokens(build, barely):
    narrow = {"encoders": {"signal": {"name": "small_signal", "params": {"width": 32}}}}
    federation = build(
        "fedavg_m_fm", ECG, rounds=1, foundation=barely, **{"stage.direct": ["signal"], "stage.latents": 4}, **narrow
    )
    finish(federation)
    assert not [name for name in federation.at_server.memory["injected"] if name.startswith("projectors")]
