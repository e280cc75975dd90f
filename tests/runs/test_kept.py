"""A kept model opens again without its data, says what the record says, and can be the start of another run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.cli.main import main
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.data.sealed import open_test
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.foundation.tiny import tiny_folder
from fedmeki_bench.foundation.tiny_config import TinyConfig
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.assemble import assemble, assignment
from fedmeki_bench.runs.execute import execute, open_cohorts
from fedmeki_bench.runs.kept import open_kept
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify

TASKS = ["ecg_abnormal", "lung_opacity", "mortality"]
SMALL = {"rounds": 1, "local_epochs": 1, "batch_size": 16}


@pytest.fixture(scope="module")
def cohorts(cohorts, tmp_path_factory) -> Path:
    """The shared cohorts, with intensive care stays beside them."""
    root = tmp_path_factory.mktemp("kept")
    shutil.copytree(cohorts, root / "data")
    preparer = registry.load("datasets", "mimic3")()
    (root / "raw").mkdir()
    preparer.synthesize(root / "raw", size=100, seed=0)
    prepare(
        preparer, root / "raw", root / "data", [registry.load("tasks", "mortality")()], preparer.Options(), workers=1
    )
    return root / "data"


@pytest.fixture(scope="module")
def barely(tmp_path_factory) -> str:
    config = TinyConfig(hidden=32, layers=2, heads=2, intermediate=64, steps=2, batch=4)
    return str(tiny_folder(config, cache=tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def kept(cohorts, barely, tmp_path_factory):
    """(folder of the run, its record): FedKIM on pictures, ECGs and series."""
    options = SMALL | {"foundation": barely, "stage.lr": 0.01, "stage.prompt_format": "published"}
    (spec,) = specify(resolve("fedavg_m_kim"), TASKS, clients=2, seed=3, options=options)
    store = RecordStore(tmp_path_factory.mktemp("results"))
    record = execute(spec, cohorts, store, keep_model=True)
    assert record.status == "ok", record.error
    return store.folder(record.key), record


def test_it_says_what_the_record_says_bit_for_bit(kept, barely, cohorts):
    folder, record = kept
    opened = open_kept(folder, foundation=barely)
    assert set(opened.tasks) == set(TASKS)
    checked = set()
    for evaluation in record.evaluations:
        if evaluation.view not in ("aggregated", "foundation"):
            continue
        (cohort,) = (c for n, c in open_cohorts_of(cohorts).items() if n == evaluation.task)
        part = open_test(cohort)
        stored = pd.read_parquet(folder / evaluation.predictions)
        order = pd.Index(cohort.pseudonyms(part.sample_ids, "sample"))
        stored = stored.set_index("sample_id").loc[order]
        if evaluation.view == "aggregated":
            assert np.array_equal(opened.scores(evaluation.task, part), stored["score"].to_numpy())
        else:
            said = opened.answers(evaluation.task, part)
            assert said.text == stored["answer"].tolist()
            assert np.array_equal(said.scores, stored["score"].to_numpy())
            assert len(set(stored["score"])) > 1  # not the same whatever is shown
        checked.add((evaluation.view, evaluation.task))
    assert checked == {(view, task) for view in ("aggregated", "foundation") for task in TASKS}


def open_cohorts_of(cohorts: Path):
    (spec,) = specify(resolve("fedavg_m"), TASKS)
    return open_cohorts(spec, cohorts)


def test_it_opens_where_no_cohort_and_no_run_are(kept, barely, tmp_path, monkeypatch):
    shutil.copytree(kept[0] / "model", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    opened = open_kept(tmp_path / "elsewhere", foundation=barely)
    format = opened.injected.language.format
    assert (format.start, format.opening) == ("### Human: ", "<Img>")
    card = json.loads((tmp_path / "elsewhere" / "model.json").read_text())
    assert str(Path(barely).parent) not in json.dumps(card)  # no place of this machine
    assert card["inputs"]["clinical"]["facts"]["statistics"]["median"]


def damaged(kept, tmp_path, change) -> Path:
    folder = tmp_path / "damaged"
    shutil.copytree(kept[0] / "model", folder)
    change(folder)
    return folder


def edited(**fields):
    def change(folder: Path) -> None:
        card = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(card | fields))

    return change


def flipped(name: str):
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-5] ^= 1
        (folder / name).write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: (f / "model.json").unlink(), r"has no model\.json, so it can't be opened"),
        (lambda f: (f / "model.json").write_text("{"), r"model\.json: is damaged"),
        (lambda f: (f / "model.json").write_text("[]"), r"model\.json: "),
        (edited(seed="many"), r"model\.json: seed"),
        (edited(surprise=1), r"model\.json: surprise"),
        (edited(files={}), r"names no digest of model\.safetensors"),
        (edited(stage="./stage.py:Stage"), r"can't be put together"),
        (edited(stage="kimm"), r"can't be put together.*kim"),
        (edited(inputs={}), r"can't be put together"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
        (flipped("model.safetensors"), r"model\.safetensors is damaged"),
        (flipped("injected.safetensors"), r"injected\.safetensors is damaged"),
        (lambda f: (f / "injected.safetensors").unlink(), r"injected\.safetensors is missing"),
    ],
)
def test_what_is_damaged_or_missing_is_one_sentence(kept, barely, tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        open_kept(damaged(kept, tmp_path, change), foundation=barely)
    assert "\n" not in str(caught.value)


def test_another_foundation_model_is_refused(kept, barely, tmp_path):
    shutil.copytree(barely, tmp_path / "other")
    (tmp_path / "other" / "notes.txt").write_text("not the same")
    with pytest.raises(InputError, match="say where it lies with foundation="):
        open_kept(kept[0], foundation=tmp_path / "other")
    with pytest.raises(InputError, match="say where it lies with foundation="):
        open_kept(kept[0])


def test_no_code_that_a_card_names_is_run(kept, barely, tmp_path):
    told = json.loads((kept[0] / "model" / "model.json").read_text())
    (tmp_path / "bad.py").write_text("raise SystemExit('ran')\n")
    profile = told["profile"] | {
        "encoders": told["profile"]["encoders"] | {"image": {"name": f"{tmp_path}/bad.py:X", "params": {}}}
    }
    with pytest.raises(InputError, match="can't be put together"):
        open_kept(damaged(kept, tmp_path, edited(profile=profile)), foundation=barely)
    shutil.rmtree(tmp_path / "damaged")
    params = told["stage_params"] | {"trust_remote_code": True}
    with pytest.raises(InputError, match="Python code of its own"):
        open_kept(damaged(kept, tmp_path, edited(stage_params=params)), foundation=barely)


def test_another_version_of_a_task_is_refused(kept, barely, tmp_path):
    told = json.loads((kept[0] / "model" / "model.json").read_text())
    told["tasks"]["lung_opacity"]["version"] = 99
    with pytest.raises(InputError, match=r"version 99 of the task lung_opacity was trained"):
        open_kept(damaged(kept, tmp_path, edited(tasks=told["tasks"])), foundation=barely)


def test_unknown_tasks_are_told(kept, barely):
    opened = open_kept(kept[0], foundation=barely)
    with pytest.raises(UsageError, match=r"no decoder for 'lung_opacit'.*lung_opacity"):
        opened.scores("lung_opacit", [])
    with pytest.raises(UsageError, match="knows no task 'sepsis'"):
        opened.answers("sepsis", [])


# A run that starts from a kept model


def started(cohorts, algorithm, tasks, folder=None, **options):
    (spec,) = specify(resolve(algorithm), tasks, clients=2, options=SMALL | options)
    plugins, opened = resolve_plugins(spec), open_cohorts(spec, cohorts)
    return spec, assemble(spec, plugins, opened, assignment(spec, plugins, opened), folder=folder)


def test_a_run_starts_with_the_units_it_names(kept, cohorts):
    place = str(kept[0])
    _, fresh = started(cohorts, "fedavg_m", ["ecg_abnormal", "lung_opacity"])
    _, some = started(
        cohorts, "fedavg_m", ["ecg_abnormal", "lung_opacity"],
        **{"start.from": place, "start.units": "encoder.image"},
    )  # fmt: skip
    from safetensors.torch import load_file

    tensors = load_file(kept[0] / "model" / "model.safetensors")
    for name, value in some.server.model.items():
        expected = tensors[name] if name.startswith("encoder.image.") else fresh.server.model[name]
        assert torch.equal(value, expected), name
    _, whole = started(cohorts, "fedavg_m", ["lung_opacity"], **{"start.from": place})
    assert all(torch.equal(value, tensors[name]) for name, value in whole.server.model.items())


def test_what_a_run_starts_from_names_it_by_its_content(kept, cohorts, tmp_path):
    def setting(**options):
        return specify(resolve("fedavg_m"), ["lung_opacity"], options=SMALL | options)[0].setting

    plain = setting()
    there = setting(**{"start.from": str(kept[0])})
    shutil.copytree(kept[0] / "model", tmp_path / "copy")
    assert setting(**{"start.from": str(tmp_path / "copy")}) == there != plain
    assert setting(**{"start.from": str(kept[0]), "start.units": "encoder.image"}) != there
    assert setting(**{"start.from": ""}) == plain
    one = {"start.from": str(kept[0]), "start.units": "encoder.image"}
    assert setting(**one, **{"start.freeze": True}) != setting(**one) == setting(**one, **{"start.freeze": False})
    edited(files={"model.safetensors": "0" * 64})(tmp_path / "copy")
    assert setting(**{"start.from": str(tmp_path / "copy")}) != there


@pytest.mark.parametrize("algorithm", ["fedavg_m", "fedprox_m", "scaffold_m", "fednova_m", "feddyn_m", "fedadam_m",
                                       "fedbn_m", "ditto_m", "fedavg_m_plus"])  # fmt: skip
def test_a_frozen_unit_never_changes_and_never_travels(kept, cohorts, algorithm):
    common = {"start.from": str(kept[0]), "start.units": "encoder.image", "rounds": 2}
    _, free = started(cohorts, algorithm, ["lung_opacity"], **common)
    _, frozen = started(cohorts, algorithm, ["lung_opacity"], **common, **{"start.freeze": True})
    before = frozen.server.model.segment("encoder.image").clone()
    decoder = frozen.server.model.segment("decoder.lung_opacity").clone()
    done, would = list(frozen.run()), list(free.run())
    assert torch.equal(frozen.server.model.segment("encoder.image"), before)  # parameters and batch-norm statistics
    assert torch.equal(frozen.model.values.segment("encoder.image"), before)
    assert not torch.equal(free.server.model.segment("encoder.image"), before)
    assert not torch.equal(frozen.server.model.segment("decoder.lung_opacity"), decoder)
    size = frozen.server.model.layout.restrict(["decoder.lung_opacity"]).content * 4
    assert 0 < done[0].bytes_up <= 4 * size * 2
    assert done[0].bytes_down <= 4 * size * 2
    assert would[0].bytes_up > 10 * done[0].bytes_up


def test_injection_leaves_a_frozen_encoder_alone(kept, cohorts, barely):
    _, frozen = started(
        cohorts, "fedavg_m_fm", ["lung_opacity"], foundation=barely,
        **{"start.from": str(kept[0]), "start.units": "encoder.image", "start.freeze": True, "stage.lr": 0.01},
    )  # fmt: skip
    before = frozen.server.model.segment("encoder.image").clone()
    injected = frozen.stage.foundation(frozen.server, frozen.at_server)
    projector = injected.projectors["image"].linear.weight.detach().clone()
    list(frozen.run())
    assert torch.equal(frozen.server.model.segment("encoder.image"), before)
    assert not torch.equal(injected.projectors["image"].linear.weight, projector)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start.units": "encoder.imag"}, r"no unit 'encoder\.imag'.*encoder\.image"),
        ({"start.units": "encoder.signal"}, r"this run has no unit 'encoder\.signal'"),
        ({"start.freeze": True}, "leaves nothing to train"),
        ({"start.from": "nowhere"}, "no kept model in nowhere"),
        ({"start.from": "", "start.freeze": True}, r"need start\.from"),
    ],
)
def test_units_that_do_not_fit_are_one_sentence(kept, options, sentence):
    with pytest.raises(InputError, match=sentence):
        specify(resolve("fedavg_m"), ["lung_opacity"], options=SMALL | {"start.from": str(kept[0])} | options)


def test_a_unit_of_another_shape_is_one_sentence(kept, cohorts):
    other = {"image": {"name": "small_image", "params": {"width": 24}}}
    with pytest.raises(InputError, match=r"has the shape \(.*this run's model wants"):
        started(cohorts, "fedavg_m", ["lung_opacity"], encoders=other, **{"start.from": str(kept[0])})


def test_in_scope_s_each_training_takes_what_it_has(kept):
    specs = specify(
        resolve("fedavg_s"), ["ecg_abnormal", "lung_opacity"],
        options=SMALL | {"start.from": str(kept[0]), "start.units": "encoder.image"},
    )  # fmt: skip
    plain = specify(resolve("fedavg_s"), ["ecg_abnormal", "lung_opacity"], options=SMALL)
    assert {s.tasks[0]: s.params["start"]["units"] for s in specs} == {
        "ecg_abnormal": [], "lung_opacity": ["encoder.image"]
    }  # fmt: skip
    assert specs[0].setting == plain[0].setting
    assert specs[1].setting != plain[1].setting


def test_the_record_tells_the_start_without_its_place(kept, cohorts, tmp_path):
    options = SMALL | {"start.from": str(kept[0]), "start.units": "encoder.image", "start.freeze": True}
    (spec,) = specify(resolve("fedavg_m"), ["lung_opacity"], clients=2, options=options)
    record = execute(spec, cohorts, RecordStore(tmp_path))
    assert record.status == "ok", record.error
    assert record.params["start"] == {"from": kept[0].name, "units": ["encoder.image"], "freeze": True}
    model = sum(p.numel() for p in torch.nn.Linear(64, 1).parameters())
    assert record.cost.parameters <= 10 * model  # the decoder's alone
    assert "start" not in kept[1].params


def test_the_command_line_says_it_with_exit_code_3(cohorts, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "fedavg_m", "--data", str(cohorts), "--tasks", "lung_opacity", "--results", str(tmp_path),
                      "-o", "start.from=nowhere"])  # fmt: skip
    assert ended.value.code == 3
    assert "no kept model in nowhere" in capsys.readouterr().err
