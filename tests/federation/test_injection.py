"""Injection: what is trained, what stays frozen, what is checkpointed, and what a record says about it."""

from __future__ import annotations

import hashlib
import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve, table
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.foundation_facts import foundation_facts
from fedmeki_bench.foundation.choices import InjectionTraining
from fedmeki_bench.foundation.training import inject, learning_rate
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify

from .conftest import SMALL, finish

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
STAGES = ["fedavg_m_fm", "fedavg_m_lora", "fedavg_m_kim"]


def bits(language) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(language.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


def test_the_names_of_the_papers_are_all_there():
    rows = table()
    names = {f"{r}_{s}{x}" for r in ("fedavg", "fedprox") for s in "sm" for x in ("", "_plus", "_star", "_fm")}
    names |= {f"{r}_m_{x}" for r in ("fedavg", "fedprox") for x in ("lora", "kim")}
    names |= {"majority", "local", "central", "kim_public", "kim_notask", "kim_nomodality"}
    assert names <= set(rows)
    assert rows["fedkim"] is rows["fedavg_m_kim"]
    assert rows["fedplug"] is rows["fedavg_m_fm"]
    assert resolve("fedprox_s_star").view == "aggregated"
    assert resolve("fedprox_s_kim").view == "foundation"  # by the grammar: no row, yet a variant


@pytest.mark.parametrize("algorithm", STAGES)
def test_base_weights_stay_bit_for_bit(build, barely, algorithm):
    federation = build(algorithm, ECG + LUNG, foundation=barely)
    injected = federation.stage.foundation(federation.server, federation.at_server)
    before, start = bits(injected.language), {k: v.clone() for k, v in injected.state_dict().items()}
    finish(federation)
    assert bits(injected.language) == before
    assert any(not torch.equal(v, start[k]) for k, v in injected.state_dict().items())


def test_injection_trains_encoders_and_leaves_decoders_and_statistics(build, barely):
    plain, star = build("fedavg_m", ECG, rounds=1), build("fedavg_m_star", ECG, rounds=1, foundation=barely)
    finish(plain)
    finish(star)
    a, b = plain.server.model, star.server.model
    assert torch.equal(a.segment("decoder.ecg_abnormal"), b.segment("decoder.ecg_abnormal"))
    assert not torch.equal(a.segment("encoder.signal"), b.segment("encoder.signal"))
    assert all(torch.equal(v, b.buffers()[n]) for n, v in a.buffers().items())


@pytest.mark.parametrize("algorithm", STAGES)
def test_resumed_equals_uninterrupted(build, barely, tmp_path, algorithm):
    whole = build(algorithm, ECG, folder=tmp_path / "a", foundation=barely)
    finish(whole)
    cut = build(algorithm, ECG, folder=tmp_path / "b", foundation=barely)
    rounds = cut.run()
    next(rounds)
    rounds.close()
    again = build(algorithm, ECG, folder=tmp_path / "b", foundation=barely)
    assert again.resume() == 1
    finish(again)
    assert torch.equal(again.server.model.flat, whole.server.model.flat)
    for name, value in whole.at_server.memory["injected"].items():
        assert torch.equal(value, again.at_server.memory["injected"][name]), name
    for name, state in whole.at_server.memory["injection_moments"].items():
        for key, value in state.items():
            assert torch.equal(value, again.at_server.memory["injection_moments"][name][key]), (name, key)
    assert again.at_server.memory["injection_loss"] == whole.at_server.memory["injection_loss"]


def test_how_a_batch_falls_into_micro_batches_does_not_matter(build, barely):
    outcomes = []
    for micro, accumulation in ((2, 8), (16, 1)):
        federation = build("fedavg_m_fm", ECG, foundation=barely)
        injected = federation.stage.foundation(federation.server, federation.at_server)
        federation.model.load(federation.server.model)
        how = InjectionTraining(lr=1e-3, weight_decay=0.0, micro_batch=micro, accumulation=accumulation, warmup=0.1)
        loss = inject(injected, federation.server, federation.public, federation.at_server, how)
        outcomes.append((loss, federation.model.values.flat.clone()))
    assert outcomes[0][0] == pytest.approx(outcomes[1][0], rel=1e-5)
    torch.testing.assert_close(outcomes[0][1], outcomes[1][1], rtol=1e-3, atol=2e-5)


def test_learning_rate_rises_then_falls():
    rates = [learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(1 / 90)


def test_public_data_only_has_no_clients_in_it(build, barely):
    federation = build("kim_public", ECG, foundation=barely)
    done = federation.round(0)
    assert done.bytes_up == done.bytes_down == 0
    assert done.loss is None


@pytest.mark.parametrize("algorithm", ["fedavg_m_star", "fedprox_s_star"])
def test_star_and_fm_are_two_views_of_one_run(algorithm):
    other = algorithm.replace("_star", "_fm")
    one = specify(resolve(algorithm), ECG + LUNG, options=SMALL)
    two = specify(resolve(other), ECG + LUNG, options=SMALL)
    assert [s.setting for s in one] == [s.setting for s in two]


def test_ablations_differ_from_the_row_they_ablate():
    settings = {
        name: specify(resolve(name), ECG)[0].setting
        for name in ("fedavg_m_kim", "kim_notask", "kim_nomodality", "kim_uniform", "kim_public")
    }
    assert len(set(settings.values())) == 5


def test_a_record_holds_answers_routing_and_forgetting(cohorts, barely, tmp_path):
    options = SMALL | {"rounds": 1, "foundation": barely}
    (spec,) = specify(resolve("fedavg_m_kim"), ECG, clients=2, options=options)
    record = execute(spec, cohorts, RecordStore(tmp_path))
    assert record.status == "ok", record.error
    assert [e.view for e in record.evaluations] == [
        "aggregated", "foundation", "foundation_blind", "foundation_before", "constant_answer",
    ]  # fmt: skip
    answered = record.evaluations[1]
    assert {"auroc", "unparsed"} <= set(answered.metrics)
    saved = pd.read_parquet(tmp_path / record.key / answered.predictions)
    assert {"answer", "parsed", "score"} <= set(saved.columns)
    assert saved["score"].between(0, 1).all()
    facts = record.foundation
    assert len(facts.loss) == 1
    assert np.isclose(sum(facts.routing["ecg_abnormal"]), 1.0, atol=1e-4)
    assert set(facts.forgetting) == {"before", "after", "n"}
    json.loads(record.to_json())


def test_zero_shot_tasks_go_to_the_foundation_view_alone(cohorts, barely, tmp_path, bench_data):
    options = SMALL | {"rounds": 1, "foundation": barely}
    (spec,) = specify(
        resolve("fedavg_m_fm"), ECG, clients=2, options=options, zero_shot=["ectopic_beats", "atelectasis"]
    )
    record = execute(spec, bench_data, RecordStore(tmp_path))
    assert record.status == "ok", record.error
    found = {(e.view, e.task): e for e in record.evaluations}
    assert set(found) == {
        ("aggregated", "ecg_abnormal"), ("foundation", "ecg_abnormal"), ("foundation", "ectopic_beats"),
        ("foundation", "atelectasis"), ("foundation_before", "ecg_abnormal"), ("foundation_before", "ectopic_beats"),
        ("constant_answer", "ecg_abnormal"), ("constant_answer", "ectopic_beats"),
        ("foundation_blind", "ecg_abnormal"), ("foundation_blind", "ectopic_beats"),
    }  # fmt: skip
    assert found["foundation", "ectopic_beats"].metrics
    assert not found["foundation", "atelectasis"].metrics
    assert "never saw the modality image" in found["foundation", "atelectasis"].note


def test_in_scope_s_a_zero_shot_task_goes_to_the_task_it_names():
    specs = specify(resolve("fedavg_s_fm"), ECG + LUNG, zero_shot=["ectopic_beats", "atelectasis", "sepsis"])
    assert {s.tasks[0]: s.zero_shot for s in specs} == {
        "ecg_abnormal": ("ectopic_beats",), "lung_opacity": ("atelectasis",)
    }  # fmt: skip


@pytest.fixture
def bench_data(cohorts, tmp_path_factory):
    """The shared cohorts with two zero-shot ones beside them."""
    import shutil

    from fedmeki_bench.data.prepare.prepare import prepare

    root = tmp_path_factory.mktemp("zero_shot")
    shutil.copytree(cohorts, root / "data")
    for dataset, task, size, options in (
        ("ptbxl", "ectopic_beats", 120, {}),
        ("chexpert", "atelectasis", 20, {"image_size": 64}),
    ):
        preparer = registry.load("datasets", dataset)()
        (root / dataset).mkdir()
        preparer.synthesize(root / dataset, size=size, seed=0)
        prepare(preparer, root / dataset, root / "data", [registry.load("tasks", task)()], preparer.Options(**options))
    return root / "data"


def test_a_kept_adapter_loads_with_peft_and_acts(cohorts, barely, tmp_path):
    peft = pytest.importorskip("peft", reason="peft is optional: pip install peft")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = SMALL | {"rounds": 1, "foundation": barely, "stage.lr": 0.01}
    (spec,) = specify(resolve("fedavg_m_kim"), ECG, clients=2, options=options)
    record = execute(spec, cohorts, RecordStore(tmp_path), keep_model=True)
    assert record.status == "ok", record.error
    kept = tmp_path / record.key / "model"
    assert {p.name for p in kept.iterdir()} == {
        "model.json", "model.safetensors", "injected.safetensors", "adapters"
    }  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(barely)
    adapted = peft.PeftModel.from_pretrained(base, kept / "adapters" / "ecg_abnormal").eval()
    ids = torch.tensor(
        [AutoTokenizer.from_pretrained(barely)("Is it high? Answer:", add_special_tokens=False)["input_ids"]]
    )
    with torch.no_grad():
        with adapted.disable_adapter():
            plain = adapted(input_ids=ids).logits
        logits = adapted(input_ids=ids).logits
    assert not torch.allclose(plain, logits)


def test_a_frozen_encoder_is_left_as_aggregated(build, barely):
    plain, frozen = build("fedavg_m", ECG, rounds=1), build(
        "fedavg_m_star", ECG, rounds=1, foundation=barely, **{"stage.frozen": ["signal"]}
    )  # fmt: skip
    finish(plain)
    start = frozen.stage.foundation(frozen.server, frozen.at_server).projectors["signal"].linear.weight.clone()
    finish(frozen)
    assert torch.equal(plain.server.model.segment("encoder.signal"), frozen.server.model.segment("encoder.signal"))
    assert not torch.equal(start, frozen.at_server.memory["injected"]["projectors.signal.linear.weight"])


def test_a_direct_encoder_has_no_projector_and_must_fit(build, barely):
    wide = build("fedavg_m_fm", ECG, rounds=1, foundation=barely, **{"stage.direct": ["signal"]})
    with pytest.raises(InputError, match=r"stage.direct names signal.*64 wide.*32"):
        finish(wide)
    narrow = {"encoders": {"signal": {"name": "small_signal", "params": {"width": 32}}}}
    federation = build("fedavg_m_fm", ECG, rounds=1, foundation=barely, **{"stage.direct": ["signal"]}, **narrow)
    finish(federation)
    assert not [name for name in federation.at_server.memory["injected"] if name.startswith("projectors")]


def test_moments_go_on_from_round_to_round_unless_asked_not_to(build, barely):
    ends = {}
    for moments in ("kept", "fresh"):
        federation = build("fedavg_m_fm", ECG, rounds=2, foundation=barely, **{"stage.moments": moments})
        finish(federation)
        memory = federation.at_server.memory
        ends[moments] = memory["injected"]["projectors.signal.linear.weight"]
        steps = [int(state["step"]) for state in memory.get("injection_moments", {}).values()]
        assert bool(steps) == (moments == "kept")
        if steps:
            one = build("fedavg_m_fm", ECG, rounds=1, foundation=barely)
            finish(one)
            assert max(steps) == 2 * max(int(s["step"]) for s in one.at_server.memory["injection_moments"].values())
    assert not torch.equal(ends["kept"], ends["fresh"])


def test_the_controls_break_what_they_say(build, barely):
    untrained = build("fedavg_m_fm", ECG, rounds=1, foundation=barely, **{"stage.epochs": 0})
    start = {
        k: v.clone() for k, v in untrained.stage.foundation(untrained.server, untrained.at_server).state_dict().items()
    }
    finish(untrained)
    assert all(torch.equal(value, start[name]) for name, value in untrained.at_server.memory["injected"].items())
    asked = {}
    for answers in ("own", "shuffled"):
        federation = build("fedavg_m_fm", ECG, rounds=1, foundation=barely, **{"stage.answers": answers})
        injected = federation.stage.foundation(federation.server, federation.at_server)
        seen: list[str] = []
        plain = injected.losses
        injected.losses = lambda m, t, i, p, a, plain=plain, seen=seen: seen.extend(a) or plain(m, t, i, p, a)
        finish(federation)
        asked[answers] = seen
    assert sorted(asked["own"]) == sorted(asked["shuffled"])
    assert asked["own"] != asked["shuffled"]


@pytest.mark.slow
def test_the_routing_term_drives_the_gates_of_two_tasks_apart(build, barely):
    apart = {}
    tasks = {name: registry.load("tasks", name)() for name in ECG + LUNG}
    for weight in (0.0, 0.5):
        federation = build(
            "fedavg_m_kim", ECG + LUNG, rounds=3, foundation=barely,
            **{"stage.normalise": True, "stage.routing": weight, "stage.lr": 0.01},
        )  # fmt: skip
        finish(federation)
        apart[weight] = foundation_facts(federation, tasks).gate.distance
    assert apart[0.5] > 2 * apart[0.0]


@pytest.mark.parametrize("option", ["frozen", "direct"])
def test_a_misspelt_modality_is_no_modality(build, barely, option):
    federation = build("fedavg_m_fm", ECG, rounds=1, foundation=barely, **{f"stage.{option}": ["signals"]})
    with pytest.raises(InputError, match=rf"stage.{option} names 'signals'.*'signal'"):
        finish(federation)
