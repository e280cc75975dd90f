"""Tasks one after another: which are trained when, on what, and what of it equals runs that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.api import Rule
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation import checkpoint, portions
from fedmeki_bench.federation.computing import Computing
from fedmeki_bench.federation.curriculum import Curriculum, Regime, settled
from fedmeki_bench.federation.questions import Checksums
from fedmeki_bench.foundation import training
from fedmeki_bench.runs.spec import specify

from .conftest import SMALL, finish, same

ECG, LUNG = "ecg_abnormal", "lung_opacity"
BOTH = [ECG, LUNG]
SEQUENTIAL = {"regime": "sequential", "order": f"{LUNG},{ECG}", "rounds": 4}


def spec_of(algorithm="fedavg_m", tasks=BOTH, **options):
    (spec,) = specify(resolve(algorithm), tasks, clients=3, options=SMALL | options)
    return spec


# --- what a run is


def test_joint_is_what_a_run_without_a_curriculum_is():
    plain = spec_of()
    assert spec_of(regime="joint").setting == plain.setting
    assert spec_of(regime="joint", order=f"{LUNG},{ECG}").setting == plain.setting
    assert spec_of(**SEQUENTIAL).setting != plain.setting


def test_what_is_meant_for_several_tasks_leaves_runs_of_one_alone():
    """A board lays the same options over all its rows."""
    how = {"regime": "sequential", "order": f"{LUNG},{ECG}", "rehearsal": 0.1, "rounds_per_task": 3}
    for algorithm in ("fedavg_s", "central", "majority"):
        given = specify(resolve(algorithm), BOTH, clients=3, options=SMALL | how)
        plain = specify(resolve(algorithm), BOTH, clients=3, options=SMALL)
        assert [one.setting for one in given] == [one.setting for one in plain]
    assert spec_of(tasks=[ECG], **how | {"order": ECG}).setting == spec_of(tasks=[ECG]).setting


def test_two_ways_to_say_the_same_are_one_run():
    setting = spec_of(**SEQUENTIAL).setting
    assert spec_of(**SEQUENTIAL | {"order": [LUNG, ECG]}).setting == setting
    assert spec_of(**SEQUENTIAL | {"rounds": 3, "rounds_per_task": 2}).setting == setting
    assert spec_of(**SEQUENTIAL | {"rehearse_at": "server"}).setting == setting, "nothing is rehearsed"
    assert spec_of(**SEQUENTIAL | {"order": f"{ECG},{LUNG}"}).setting != setting
    assert spec_of(regime="sequential", rounds=4).params["curriculum"]["order"] == sorted(BOTH)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": LUNG}, "it lacks 'ecg_abnormal'"),
        ({"order": f"{LUNG},{LUNG},{ECG}"}, "'lung_opacity' is not once among them"),
        ({"order": f"{LUNG},covid19"}, "'covid19' is not once among them"),
        ({"rounds": 1}, "1 round can't be shared out over 2 tasks"),
        ({"regime": "joint", "rehearsal": 0.1}, "rehearsal says how tasks follow one another; give regime=sequential"),
        ({"rehearsal": 1.5}, "less than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(options, said):
    with pytest.raises(InputError, match=said):
        spec_of(**SEQUENTIAL | options)


def test_which_tasks_are_active_follows_from_the_round():
    how, rounds = settled(
        {"regime": "sequential", "order": "c,a,b", "rehearsal": 0.25, "rehearse_at": "both"}, ["a", "b", "c"], 8,
        several=True,
    )  # fmt: skip
    found = Curriculum.of(how, rounds)
    assert found.lengths == (3, 3, 2), "rounds that are left over go to the first phases"
    assert found.ends == (3, 6, 8)
    assert [found.active(r) for r in (0, 2, 3, 6, 7)] == [
        {"c": 1.0}, {"c": 1.0}, {"c": 0.25, "a": 1.0}, {"c": 0.25, "a": 0.25, "b": 1.0},
        {"c": 0.25, "a": 0.25, "b": 1.0},
    ]  # fmt: skip
    assert [(found.began(r), found.length(r), found.earlier(r)) for r in (2, 3, 7)] == [
        (0, 3, ()), (3, 3, ("c",)), (6, 2, ("c", "a")),
    ]  # fmt: skip
    for where, other in (("clients", "server"), ("server", "clients")):
        one = Curriculum(found.order, found.lengths, 0.25, where)
        assert one.active(7, where) == found.active(7)
        assert one.active(7, other) == {"b": 1.0}
    assert Curriculum.of(Regime().model_dump(), 8) is None


# --- equalities


def test_joint_is_today_s_bits(build):
    assert torch.equal(finish(build("fedavg_m", BOTH, regime="joint")), finish(build("fedavg_m", BOTH)))


@pytest.mark.parametrize("algorithm", ["fedavg", pytest.param("fedprox_plus", marks=pytest.mark.slow)])
def test_tasks_that_share_no_unit_train_one_after_another_as_alone(build, algorithm):
    rule, _, stage = algorithm.partition("_")
    named = {scope: f"{rule}_{scope}" + (f"_{stage}" if stage else "") for scope in "ms"}
    together = build(named["m"], BOTH, **SEQUENTIAL, lr_decay=0.5)
    finish(together)
    for task, encoder in ((ECG, "encoder.signal"), (LUNG, "encoder.image")):
        alone = build(named["s"], [task], rounds=2, lr_decay=0.5)
        finish(alone)
        for unit in (encoder, f"decoder.{task}"):
            assert torch.equal(together.server.model.segment(unit), alone.server.model.segment(unit)), unit


@pytest.mark.slow
def test_the_control_streams_of_all_rounds_are_not_those_of_a_run_of_its_own(build, monkeypatch):
    monkeypatch.setattr(Computing, "elapsed", property(lambda self: self.round))
    together, alone = build("fedavg_m", BOTH, **SEQUENTIAL), build("fedavg_s", [ECG])
    finish(together), finish(alone)
    unit = f"decoder.{ECG}"
    assert not torch.equal(together.server.model.segment(unit), alone.server.model.segment(unit))


@pytest.mark.slow
def test_a_phase_of_one_task_alone_is_a_run_of_it(build):
    whole, alone = build("fedavg_m", [ECG]), build("fedavg_s", [ECG])
    whole.curriculum = Curriculum((ECG,), (2,))
    assert torch.equal(finish(whole), finish(alone))


@pytest.mark.parametrize("algorithm", ["scaffold_m", pytest.param("ditto_m_plus", marks=pytest.mark.slow)])
def test_killed_in_the_second_phase_and_resumed_it_is_the_same(build, tmp_path, algorithm):
    how = {"regime": "sequential", "order": f"{LUNG},{ECG}", "rounds": 4, "rehearsal": 0.3, "rehearse_at": "both"}
    whole, cut, again = (build(algorithm, BOTH, **how, folder=tmp_path / name) for name in ("a", "b", "b"))
    finish(whole)
    rounds = cut.run()
    for _ in range(3):
        next(rounds)
    rounds.close()
    assert again.resume() == 3
    finish(again)
    assert torch.equal(again.server.model.flat, whole.server.model.flat)
    assert [r.loss for r in again.history] == [r.loss for r in whole.history]
    for mine, theirs in zip(again.clients, whole.clients, strict=True):
        assert same(mine.memory, theirs.memory)
        assert same(mine.personal, theirs.personal)


@pytest.mark.slow
def test_what_is_asked_after_a_restart_comes_after_all_exchanges_of_the_round(build, tmp_path):
    """Places answer from what was held before the exchange that is named."""
    how = SEQUENTIAL | {"rehearsal": 0.3, "exchange": "task", "folder": tmp_path}
    finish(build("fedper_m", BOTH, **how))
    again, steps = build("fedper_m", BOTH, **how), []
    again.resume()
    again.engine.ask = lambda seats, *_: iter([steps.append(seat.step) for seat in seats])  # type: ignore[method-assign]
    list(again.ask(Checksums(), [0], (LUNG,)))
    assert steps > [(3, 1)], "two exchanges, of which the second is (3, 1)"
    assert steps[0][0] == 3


# --- what is used


def seen(federation):
    """Per exchange and client: round, task -> sample ids that it trains on, weights of its units."""
    found = []

    class Watching(type(federation.rule)):  # type: ignore[misc]
        def client_update(self, ctx, received):
            found.append((ctx.round, ctx.client, {t: set(p.sample_ids) for t, p in ctx.data.items()}, ctx.samples))
            return super().client_update(ctx, received)

    federation.rule.__class__ = Watching
    return found


def test_clients_rehearse_whole_patients_and_are_weighed_by_what_they_use(build):
    federation = build("fedavg_m", BOTH, **SEQUENTIAL, rehearsal=0.25)
    found, shares = seen(federation), []
    inner = federation._shares
    federation._shares = lambda seats: shares.append(inner(seats)) or shares[-1]  # type: ignore[method-assign]
    finish(federation)
    assert {round for round, *_ in found} == {0, 1, 2, 3}
    for round, client, used, samples in found:
        held = federation.clients[client].data
        if round < 2:
            assert used == {LUNG: set(held[LUNG].sample_ids)}
            continue
        assert used[ECG] == set(held[ECG].sample_ids)
        groups = dict(zip(held[LUNG].sample_ids, held[LUNG].group_ids, strict=True))
        kept = {groups[one] for one in used[LUNG]}
        assert len(kept) == int(np.ceil(len(set(groups.values())) / 4)), "a quarter of the patients"
        assert used[LUNG] == {one for one, group in groups.items() if group in kept}, "whole patients"
        assert samples["encoder.image"] == len(used[LUNG])
    n = {client: len(used[LUNG]) for round, client, used, _ in found if round == 3}
    assert shares[3] == {
        c: {"encoder.signal": shares[3][c]["encoder.signal"], "encoder.image": n[c] / sum(n.values()),
            f"decoder.{ECG}": shares[3][c][f"decoder.{ECG}"], f"decoder.{LUNG}": n[c] / sum(n.values())}
        for c in n
    }  # fmt: skip
    assert not any(client.memory or client.personal for client in federation.clients), "nothing is stored"


def test_the_same_patients_are_rehearsed_in_every_round_and_more_of_them_hold_the_fewer(build):
    def rehearsed(share):
        federation = build("fedavg_m", BOTH, **SEQUENTIAL, rehearsal=share)
        found = seen(federation)
        finish(federation)
        return {(round, client): used.get(LUNG, set()) for round, client, used, _ in found if round >= 2}

    tenth, half = rehearsed(0.1), rehearsed(0.5)
    assert all(tenth[2, c] == tenth[3, c] for c in range(3))
    assert all(tenth[key] < half[key] for key in tenth)


@pytest.mark.slow
def test_bytes_grow_by_the_units_of_what_is_rehearsed_alone(build):
    plain, more = build("fedavg_m", BOTH, **SEQUENTIAL), build("fedavg_m", BOTH, **SEQUENTIAL, rehearsal=0.1)
    finish(plain), finish(more)
    model = plain.server.model
    sizes = {unit: model.restrict([unit]).nbytes for unit in model.units}
    own = {task: sizes[f"decoder.{task}"] + sizes[f"encoder.{m}"] for task, m in ((LUNG, "image"), (ECG, "signal"))}
    assert [r.bytes_up for r in plain.history] == [3 * own[LUNG]] * 2 + [3 * own[ECG]] * 2
    assert [r.bytes_up for r in more.history] == [3 * own[LUNG]] * 2 + [3 * (own[ECG] + own[LUNG])] * 2
    assert [r.bytes_down for r in more.history] == [r.bytes_up for r in more.history]


def test_a_client_that_was_not_there_has_nothing_to_rehearse(build):
    federation = build("fedavg_m", BOTH, **SEQUENTIAL, rehearsal=1.0)
    federation.clients[1].data = {ECG: federation.clients[1].data[ECG]}
    found = seen(federation)
    finish(federation)
    assert [client for round, client, *_ in found if round < 2] == [0, 2, 0, 2]
    assert all(LUNG not in used for _, client, used, _ in found if client == 1)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["clients", "server", "both"])
def test_the_server_has_public_samples_of_its_own_task_and_what_it_may_rehearse(build, where):
    federation = build("fedavg_m_plus", BOTH, **SEQUENTIAL, rehearsal=0.5, rehearse_at=where)
    given, run = [], federation.stage.run

    def watching(server, public, ctx):
        assert public == ctx.public
        given.append({task: len(part) for task, part in public.items()})
        run(server, public, ctx)

    federation.stage.run = watching  # type: ignore[method-assign]
    trained = seen(federation)
    finish(federation)
    public = federation.public
    half = portions.rehearsed(public[LUNG], 0.5, 0, LUNG, None)
    assert 0 < len(half) < len(public[LUNG])
    last = {ECG: len(public[ECG])} | ({LUNG: len(half)} if where != "clients" else {})
    assert given == [{LUNG: len(public[LUNG])}] * 2 + [last] * 2
    assert all((LUNG in used) == (where != "server") for round, _, used, _ in trained if round >= 2)


def traces(federation, folder):
    """What a checkpoint holds of private rows: their pixels or names, and what is in any memory."""
    state = checkpoint.load(folder, federation.model.values.layout)
    assert state is not None
    held = [state["server"], state["stage"], *filter(None, state["clients"])]
    raw = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    parts = [part for client in federation.clients for part in client.data.values()]
    rows = [array.tobytes() for part in parts for arrays in part.batch(np.arange(5)).values() for array in arrays]
    assert len(rows) == 30
    names = [name.encode() for client in federation.clients for name in client.data[LUNG].sample_ids]
    assert len(names[0]) > 10, "no chance find"
    return any(held), any(row in raw for row in rows), any(name in raw for name in names)


def test_no_row_of_a_client_is_in_any_memory_or_checkpoint(build, tmp_path):
    """Row numbers follow from the seed, so not even these are stored."""
    federation = build("fedavg_m_plus", BOTH, **SEQUENTIAL, rehearsal=0.5, rehearse_at="both", folder=tmp_path)
    finish(federation)
    assert traces(federation, tmp_path) == (False, False, False)


def test_the_control_a_client_that_stores_its_pixels_is_seen(build, tmp_path):
    class Storing(Rule):
        def client_update(self, ctx, received):
            ctx.memory["rows"] = torch.from_numpy(next(iter(ctx.data.values())).batch(np.arange(2)).popitem()[1].copy())
            return super().client_update(ctx, received)

    federation = build("fedavg_m", BOTH, **SEQUENTIAL, folder=tmp_path)
    federation.rule.__class__ = Storing
    finish(federation)
    assert traces(federation, tmp_path)[:2] == (True, True)


# --- schedules and rules


@pytest.mark.slow
def test_injection_warms_up_and_decays_in_each_phase(build, barely, monkeypatch):
    found = []
    monkeypatch.setattr(training, "learning_rate", lambda step, total, warmup: found.append((step, total)) or 1.0)
    finish(build("fedavg_m_fm", BOTH, **SEQUENTIAL, foundation=barely))
    begins = [place for place, (step, _) in enumerate(found) if step == 0]
    assert begins == [0, found[0][1]], "the second phase begins anew, when the first is over"
    assert [step for step, _ in found] == [*range(found[0][1]), *range(found[-1][1])]


def test_a_rule_knows_the_tasks_whose_phases_are_over(build):
    told = []

    class Told(Rule):
        def aggregate(self, server, updates):
            told.append(server.earlier)
            super().aggregate(server, updates)

    federation = build("fedavg_m", BOTH, **SEQUENTIAL)
    federation.rule.__class__ = Told
    finish(federation)
    assert told == [(), (), (LUNG,), (LUNG,)]


def test_rules_for_which_phases_make_no_sense_are_refused(build):
    with pytest.raises(InputError, match="FedBuff is asynchronous"):
        build("fedbuff_m", BOTH, **SEQUENTIAL)
    with pytest.raises(InputError, match="FedMD remembers what was said of each public sample"):
        build("fedmd_m", BOTH, **SEQUENTIAL, rehearsal=0.1, rehearse_at="server")
    build("fedmd_m", BOTH, **SEQUENTIAL, rehearsal=1.0, rehearse_at="server")
