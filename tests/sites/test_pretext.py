"""Pre-training without labels: the same bits on every engine, resumed or not, and whatever the labels say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.errors import InputError
from fedmeki_bench.events import RoundEnded
from fedmeki_bench.models.pretext import PretextModel
from fedmeki_bench.runs.assemble import assemble, assignment
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.kept import open_kept
from fedmeki_bench.runs.kept_card import read_kept
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify

from .conftest import ECG, LUNG, ByLoopback, model_bytes, told

VITS = {"encoders.image": "vit_nano", "encoders.signal": "vit_signal_nano", "lr": 1e-3}


def same(one, other):
    (record, folder), (again, elsewhere) = one, other
    assert record.status == again.status == "ok", (record.error, again.error)
    assert told(record) == told(again)
    assert model_bytes(folder) == model_bytes(elsewhere)


@pytest.mark.parametrize("pretext", ["mae", pytest.param("simclr", marks=pytest.mark.slow)])
def test_every_engine_gives_the_same_bits(run, pretext):
    """SCAFFOLD with two tasks, messages coming twice to places made anew."""
    how = VITS | {"pretext": pretext, "exchange": "task"}
    here = run("scaffold_m", **how)
    same(here, run("scaffold_m", engine=ByLoopback("loopback"), **how))
    record = here[0]
    assert record.evaluations == []
    assert record.views == []
    assert "it has no test scores" in record.notes[0]
    assert set(record.history[-1].valid) == {f"{task} {pretext} loss" for task in ECG + LUNG}
    assert record.cost.bytes_up > 0


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_bits(run):
    how = VITS | {"pretext": "simclr"}

    def stop(event):
        if isinstance(event, RoundEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("fedprox_m", ECG, results="killed", listener=stop, **how)
    again = run("fedprox_m", ECG, results="killed", **how)
    same(run("fedprox_m", ECG, results="whole", **how), again)
    # control: other draws give another model
    other = run("fedprox_m", ECG, results="other", **how, **{"pretext.noise": 0.06})
    assert model_bytes(other[1]) != model_bytes(again[1])


class Peeking(PretextModel):
    """Reads labels after all."""

    def targets(self, part):
        return torch.from_numpy(part.targets)

    def loss(self, outputs, batch):
        return (outputs.logits * (1 + batch.labels)).mean()


@pytest.mark.parametrize("pretext", ["simclr", "mae"])
@pytest.mark.parametrize("peeks", [False, True])
def test_labels_are_never_read(cohorts, monkeypatch, pretext, peeks):
    """Shuffled labels give the same model; the control, which reads them, another one."""
    if peeks:
        monkeypatch.setattr("fedmeki_bench.models.pretext.PretextModel", Peeking)
    options = VITS | {"rounds": 1, "local_epochs": 1, "pretext": pretext}
    (spec,) = specify(resolve("fedavg_m"), LUNG, clients=3, options=options)
    plugins, found = resolve_plugins(spec), []
    for shuffled in (False, True):
        opened = open_cohorts(spec, cohorts)
        table = opened["lung_opacity"]._table()
        if shuffled:
            table["label"] = np.random.default_rng(0).permutation(table["label"])
        federation = assemble(spec, plugins, opened, assignment(spec, plugins, opened))
        list(federation.run())
        found.append(federation.server.model.flat.clone())
    assert torch.equal(*found) is not peeks


def test_what_it_leaves_starts_others_and_a_frozen_encoder_keeps_every_bit(run):
    """A linear probe moves no bit of the encoder and sends none of it; unfrozen, it moves."""
    record, folder = run("fedavg_m", LUNG, **VITS, pretext="mae")
    card = read_kept(folder / "model")
    assert card.pretext == "mae"
    assert card.units == ("encoder.image",)
    with pytest.raises(InputError, match="without labels, it answers nothing"):
        open_kept(folder)
    probe, place = run("fedavg_m", LUNG, **VITS, **{"start.from": str(folder), "start.freeze": True})
    tuned, moved = run("fedavg_m", LUNG, **VITS, **{"start.from": str(folder)})
    assert probe.status == tuned.status == "ok", (probe.error, tuned.error)
    before, frozen, free = (encoder_of(at) for at in (folder, place, moved))
    assert all(torch.equal(before[name], frozen[name]) for name in before)
    assert not all(torch.equal(before[name], free[name]) for name in before)
    assert probe.cost.bytes_up < 0.01 * tuned.cost.bytes_up
    assert record.evaluations == []
    assert probe.evaluations[0].metrics["auroc"].value is not None


def encoder_of(folder):
    from safetensors.torch import load_file

    found = load_file(folder / "model" / "model.safetensors")
    return {name: value for name, value in found.items() if name.startswith("encoder.")}


@pytest.mark.slow
def test_batches_of_one_sample_are_skipped_and_counted(run):
    """A client with one sample takes no part; a batch of one that is left over is skipped, and both are told."""
    record, _ = run("fedavg_m", ECG, clients=4, **VITS, pretext="simclr", fraction=0.05)
    held = [one["n"] for one in record.assignment.counts["ecg_abnormal"]]
    assert (few := held.count(1))
    assert any(f"{few} of 4 clients took no part" in note for note in record.notes)
    whole, _ = run("fedavg_m", ECG, clients=4, **VITS, pretext="simclr")
    assert "skipped batches" not in whole.history[0].reports
    most = max(one["n"] for one in whole.assignment.counts["ecg_abnormal"])
    over, _ = run("fedavg_m", ECG, clients=4, **VITS | {"pretext": "simclr", "batch_size": most - 1})
    assert over.history[0].reports["skipped batches"] == 1
    masked, _ = run("fedavg_m", ECG, clients=4, **VITS | {"pretext": "mae", "batch_size": most - 1})
    assert "skipped batches" not in masked.history[0].reports, "a patch is predicted from the same sample"


def test_what_can_not_be_pre_trained_is_refused_in_a_sentence(run):
    for algorithm, tasks, options, said in (
        ("fedavg_m_plus", LUNG, {"pretext": "mae"}, "the stage 'plus' of fedavg_m_plus learns from some"),
        ("majority", LUNG, {"pretext": "mae"}, "trains nothing"),
        ("fedavg_m", LUNG, {"pretext": "may"}, "did you mean 'mae'"),
        ("fedavg_m", LUNG, VITS | {"pretext": "mae", "pretext.mask": 0.5}, "unknown option 'mask' of pretext mae"),
        ("fedavg_m", LUNG, {"pretext.masked": 0.5}, "needs a pretext"),
        ("fedavg_m", LUNG, {"pretext": "mae", "encoders.image": "small_image", "to_run": True}, "vit_nano"),
        ("fedavg_m", LUNG, VITS | {"pretext": "simclr", "batch_size": 1, "to_run": True}, "batch_size=1 is too small"),
    ):
        given = dict(options)
        with pytest.raises((InputError, Exception), match=said):
            specify(resolve(algorithm), tasks, options=given, to_run=given.pop("to_run", False))
    for rule, said in (("local_m", "never moved"), ("fedproto_m", "reads none of task")):
        record, _ = run(rule, LUNG, **VITS, pretext="mae", clients=2)
        assert record.status == "failed"
        assert said in record.error.message


def test_labelled_makes_no_other_pre_training_and_the_setting_of_others_stays():
    """Labels are not read, so how many there are is no part of its name; without a pretext there is no such section."""
    usual = specify(resolve("fedavg_m"), LUNG)[0]
    assert "pretext" not in usual.params
    one, other = (
        specify(resolve("fedavg_m"), LUNG, options={"pretext": "simclr", "labelled": k})[0] for k in (0.1, 1.0)
    )
    assert one.setting == other.setting != usual.setting
    pooled = [
        specify(resolve("central"), LUNG, options={"pretext": "simclr"} | more)[0] for more in ({}, {"labelled": 0.1})
    ]
    assert pooled[0].setting == pooled[1].setting
    less = specify(resolve("fedavg_m"), LUNG, options={"pretext": "simclr", "fraction": 0.5})[0]
    assert less.setting != one.setting
    assert specify(resolve("fedavg_m"), LUNG, options={"encoders.image": "vit_nano"})[0].setting != usual.setting


def test_an_encoder_and_its_parameters_are_options_by_themselves():
    """What is said of one encoder leaves the others, and is laid over what was said before."""

    def image(**options):
        (spec,) = specify(resolve("fedavg_m"), LUNG, options=options)
        return spec.params["profile"]["encoders"]["image"]

    assert image(**{"encoders.image": "vit_nano"}) == {"name": "vit_nano", "params": {}}
    assert image(**{"encoders.image.width": 32}) == {"name": "small_image", "params": {"width": 32}}
    both = {"encoders.image.width": 32, "encoders.image": "vit_nano", "encoders.signal": "vit_signal_nano"}
    assert image(**both) == {"name": "vit_nano", "params": {"width": 32}}
    for wrong in ("encoders.imag.width", "encoders.imag", "decoder_hidden.imag", "decoder_hidden.lung_opacity"):
        with pytest.raises(InputError, match=f"unknown modality '{wrong.split('.')[1]}' in '{wrong[:12]}"):
            image(**{wrong: 8})
    with pytest.raises(InputError, match=r"unknown option 'decoder_hidden\.image\.width'"):
        image(**{"decoder_hidden.image.width": 8})
    for modality, encoder in (("image", "small_image"), ("signal", "small_signal")):
        with pytest.raises(InputError, match=f"unknown option 'widht' of encoder {encoder}"):
            specify(resolve("fedavg_m"), LUNG, options={f"encoders.{modality}.widht": 3}, to_run=True)
