"""``pretrain:`` on a board: planned by itself, shared, run first, and what started from it says what it cost."""

from __future__ import annotations

import shutil

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.boards.loading import board_from
from fedmeki_bench.errors import CheckFailed, InputError
from fedmeki_bench.events import RoundEnded
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.agreement import differences
from fedmeki_bench.runs.command import command_of
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.plan import inspect, plan
from fedmeki_bench.runs.pretraining import specified
from fedmeki_bench.runs.reproduce import spec_of
from fedmeki_bench.runs.spec import specify
from fedmeki_bench.workflow.boards import ordered, planned, run_sweep
from fedmeki_bench.workflow.folders import _needed
from fedmeki_bench.workflow.repeating import repeat

OPTIONS = {"rounds": 1, "local_epochs": 1, "encoders.image": "vit_nano"}
PRETRAIN = {"pretrain": "mae", "pretrain.rounds": 2, "pretrain.masked": 0.5}
TASKS = ["lung_opacity"]


def board(**more):
    return board_from(
        {
            "name": "b", "profile": "demo", "seeds": [0], "clients": 2, "tasks": TASKS, "options": OPTIONS,
            "design": "factorial", "algorithms": ["fedavg_s", "fedavg_s_plus", "majority"],
            "axes": {"labelled": [1.0, 0.3], "pretraining": [{}, PRETRAIN]},
        }
        | more
    )  # fmt: skip


def test_a_pre_training_is_planned_once_for_all_that_start_from_it():
    entries = plan(board())
    (before,) = [entry for entry in entries if entry.serves]
    assert [a.name for a in before.algorithms] == ["fedavg_s", "fedavg_s_plus"]
    assert before.cells == []
    assert before.spec.params["pretext"] == {"kind": "mae", "params": {"masked": 0.5, "width": 64}}
    assert before.spec.params["profile"]["rounds"] == 2
    starting = [entry for entry in entries if entry.spec.pretraining is not None]
    assert len(starting) == 4
    assert {entry.spec.pretraining.setting for entry in starting} == {before.spec.setting}
    assert all(entries.index(before) < entries.index(entry) for entry in starting)
    assert len({entry.spec.setting for entry in entries}) == len(entries)
    assert not [e for e in entries if e.spec.rule == "majority" and e.spec.pretraining], "it has nothing to start"
    plain = plan(board(axes={"labelled": [1.0, 0.3]}))
    assert {entry.spec.setting for entry in plain} < {entry.spec.setting for entry in entries}, (
        "others keep their names"
    )


def test_a_pre_training_of_other_data_makes_other_runs():
    def settings(**options):
        (spec,) = specified(resolve("fedavg_s"), TASKS, partition="iid", options=OPTIONS | PRETRAIN | options)
        return spec.setting, spec.pretraining.setting

    usual = settings()
    assert settings(labelled=0.3)[0] != usual[0]
    assert settings(labelled=0.3)[1] == usual[1]
    assert settings(**{"pretrain.fraction": 0.5})[0] != usual[0]
    assert settings(**{"pretrain.masked": 0.6})[0] != usual[0]
    assert settings(**{"start.freeze": True})[0] != usual[0]
    assert settings(**{"start.freeze": True})[1] == usual[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretrain.rounds": 2}, "needs a pretext"),
        (PRETRAIN | {"pretrain.mask": 1}, "unknown option 'mask'"),
        (PRETRAIN | {"start.from": "results/1"}, "leave out start.from, or pretrain"),
        (PRETRAIN | {"start.units": "decoder.lung_opacity"}, "leaves no unit"),
        ({"pretrain": "none", "pretrain.ronds": 3}, "unknown option 'pretrain.ronds'; did you mean 'rounds'"),
        (PRETRAIN | {"labelle": 1}, "unknown option 'labelle'"),
        (PRETRAIN | {"encoders.image": "small_image"}, "mae needs an encoder over patches"),
        (PRETRAIN | {"pretrain.encoders.image": "vit_tiny"}, r"another encoder of image .* vit_tiny, and not vit_nano"),
    ],
)
def test_what_can_not_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        specified(resolve("fedavg_s"), TASKS, partition="iid", options=OPTIONS | options, to_run=True)


def test_a_board_of_what_can_not_be_pre_trained_is_not_planned():
    with pytest.raises(InputError, match="mae needs an encoder over patches"):
        plan(board(options={}))


def test_options_of_the_run_alone_are_none_of_its_pre_training():
    """Also by their short names; and those of no pretext leave a run as it is where none is taken."""
    (usual,) = specified(resolve("fedavg_s"), TASKS, partition="iid", options=OPTIONS | PRETRAIN)
    (frozen,) = specified(resolve("fedavg_s"), TASKS, partition="iid", options=OPTIONS | PRETRAIN | {"freeze": True})
    assert frozen.pretraining.setting == usual.pretraining.setting
    (none,) = specified(
        resolve("fedavg_s"), TASKS, partition="iid", options=OPTIONS | {"pretrain": "none", "pretrain.masked": 0.5}
    )
    assert none.setting == specify(resolve("fedavg_s"), TASKS, options=OPTIONS)[0].setting


def test_on_a_command_line_it_says_where_it_belongs():
    with pytest.raises(InputError, match="pretrain is a key of boards"):
        specify(resolve("fedavg_s"), TASKS, options={"pretrain": "mae"})


@pytest.fixture
def runs(cohorts, tmp_path):
    """Execute a specification into a folder of its own."""

    def by(spec, folder="results", **how):
        store = RecordStore(tmp_path / folder)
        return execute(spec, cohorts, store, **how), store

    return by


def model(store, key):
    return (store.folder(key) / "model" / "model.safetensors").read_bytes()


def test_whoever_begins_first_runs_it_and_it_may_be_killed(runs, cohorts):
    """The run makes its own pre-training where none is done; killed in it and resumed it has the same bits."""
    (spec,) = specified(resolve("fedavg_s"), TASKS, clients=2, partition="iid", options=OPTIONS | PRETRAIN)
    record, store = runs(spec, keep_model=True)
    assert record.status == "ok", record.error
    before = store.load(record.pretraining.key)
    assert (before.status, before.setting) == ("ok", spec.pretraining.setting)
    assert (record.pretraining.bytes_up, record.pretraining.pretext) == (before.cost.bytes_up, "mae")
    assert store.load(record.key).pretraining == record.pretraining
    assert f"start.from={store.folder(before.key).name}" in command_of(record).replace("results/", "")
    seen = []

    def stop(event):
        seen.append(event)
        if isinstance(event, RoundEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs(spec, "killed", listener=stop, keep_model=True)
    again, other = runs(spec, "killed", keep_model=True)
    assert again.key == record.key
    assert model(other, again.key) == model(store, record.key)
    # by hand, from what was kept: the same numbers under another name
    options = OPTIONS | {"start.from": str(store.folder(before.key))}
    hand, place = runs(specify(resolve("fedavg_s"), TASKS, clients=2, options=options)[0], "hand", keep_model=True)
    assert model(place, hand.key) == model(store, record.key)
    assert hand.setting != record.setting
    # repeated from its record, the same bits; another model in that place is refused
    done = repeat(store.folder(record.key), cohorts, results=place.root)
    assert (done.agreement.state, done.repeated.key) == ("identical", record.key)
    assert done.repeated.pretraining == record.pretraining
    assert differences(record, store.folder(record.key), done.repeated, place.folder(record.key)) == ()
    elsewhere = record.pretraining.model_copy(update={"seconds": 9e9})
    slower = record.model_copy(update={"pretraining": elsewhere})
    assert differences(record, store.folder(record.key), slower, store.folder(record.key)) == (), "a time is no content"
    more = record.model_copy(update={"pretraining": elsewhere.model_copy(update={"bytes_up": 1})})
    (told,) = differences(record, store.folder(record.key), more, store.folder(record.key))
    assert told.field == "pretraining.bytes_up"
    other = record.model_copy(update={"pretraining": elsewhere.model_copy(update={"key": "0123456789abcdef"})})
    with pytest.raises(CheckFailed, match=r"started from pre-training 0123456789abcdef, and the model kept in .* is"):
        spec_of(other, store.root)
    with pytest.raises(CheckFailed) as refused:
        spec_of(hand.model_copy(update={"setting": "0" * 16}), store.root)
    assert str(refused.value).count(",") == 0, "one cause, and not a list of defaults"
    assert "is not the one that it started from" in str(refused.value)
    # control: without it, other numbers
    scratch, alone = runs(specify(resolve("fedavg_s"), TASKS, clients=2, options=OPTIONS)[0], "hand", keep_model=True)
    assert model(alone, scratch.key) != model(store, record.key)
    # what a board needs, cleaning leaves alone; a model that is gone is made again
    small = board(algorithms=["fedavg_s"], axes={"pretraining": [{}, PRETRAIN]})
    needed = _needed([small], store)
    assert needed(before, None)
    shutil.rmtree(store.folder(before.key) / "model")
    (entry,) = [e for e in inspect(small, _data(spec, store), store) if e.serves] or [None]
    assert entry.status in ("missing", "no data")


def _data(spec, store):
    return store.root.parent / "nothing"


@pytest.mark.slow
def test_a_sweep_runs_it_first_and_a_failed_one_stops_what_needs_it(cohorts, tmp_path):
    small = board(algorithms=["fedavg_s"], axes={"labelled": [1.0, 0.3], "pretraining": [{}, PRETRAIN]})
    heard = []
    chosen = planned(small, cohorts, tmp_path / "r", jobs=2)
    assert len(chosen.entries) == 5
    from contextlib import nullcontext

    run_sweep(chosen, watch=lambda sweep: nullcontext(heard.append), orders=ordered("local", told=print))
    ended = [event.key for event in heard if type(event).__name__ == "RunEnded"]
    (before,) = [entry for entry in chosen.entries if entry.serves]
    assert ended[0] == before.key
    assert all(e.status == "ok" for e in inspect(small, cohorts, RecordStore(tmp_path / "r")))
    # `local` combines nothing, so its pre-training fails, and no run that needs it is begun
    lost = planned(board(algorithms=["local"], axes={"pretraining": [{}, PRETRAIN]}), cohorts, tmp_path / "q", jobs=2)
    run_sweep(lost, watch=lambda sweep: nullcontext(heard.append), orders=ordered("local", told=print), check=False)
    states = {len(e.serves): e.status for e in inspect(lost.board, cohorts, RecordStore(tmp_path / "q")) if e.serves
              or e.spec.pretraining}  # fmt: skip
    assert states == {1: "failed", 0: "missing"}
