"""One algorithm, trained and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.events import Listener, silent
from fedmeki_bench.runs.engines import HERE, EngineChoice, devices_of
from fedmeki_bench.workflow.reading import Records

if TYPE_CHECKING:
    from fedmeki_bench.runs.spec import RunSpec

Watch = Callable[["RunSpec"], AbstractContextManager[Listener]]
"""Gives each run the listener that follows it."""

Building = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Gives each stand-in foundation model that is built what takes its progress: (steps done, steps in all)."""


def run(
    algorithm: str, data: str | Path = "data", *, tasks: Sequence[str] | None = None, profile: str = "demo",
    seed: int = 0, clients: int = 5, partition: str = "iid", variant: str | None = None,
    options: Mapping[str, Any] | None = None, results: str | Path = "results", device: str = "cpu",
    keep_model: bool = False, fresh: bool = False, check: bool = True, listener: Listener = silent,
    engine: str = "sequential", engine_options: Mapping[str, Any] | None = None,
) -> Records:  # fmt: skip
    """Train an algorithm on prepared cohorts and score it on their test splits.

    Scope ``s`` trains once per task, scope ``m`` once over all of them. A finished run is not repeated; a killed one
    goes on from its last round.

    Args:
        algorithm: a name from ``fedmeki-bench list algorithms``, ``<rule>_<scope>[_<stage>]``, or ``file.py:Rule``
            with ``variant``.
        data: the folder of prepared cohorts.
        tasks: by default every prepared one.
        profile: the budget, ``demo`` or ``paper``.
        seed: of partition, weights and batches.
        clients: number of hospitals.
        partition: how private samples are assigned to clients.
        variant: scope and stage of a rule without them, such as ``m_plus``.
        options: ``{"rounds": 3, "rule.mu": 0.1}``, the keys of ``-o`` on the command line.
        results: the folder of records.
        device: where models live: ``cpu``, ``cuda``, ``cuda:0,cuda:1`` (the clients of the engine ``processes``).
        keep_model: keep what was trained beside the record.
        fresh: forget record and checkpoint of these runs first.
        check: raise if a run fails; without it the record says so.
        listener: takes the events of all runs.
        engine: where the clients are, a name from ``fedmeki-bench list engines``; the numbers do not depend on it.
        engine_options: its options, such as ``{"workers": 4}``.

    Returns:
        The records, one per training, in order of tasks.

    Raises:
        UsageError: a name that does not exist, or tasks that do not fit the algorithm.
        InputError: a cohort is missing or an option is bad; then nothing was trained.
        RunFailed: with ``check``, a run failed; its record says why.
    """
    look_in(data)
    specs = specified(
        algorithm, Path(data), tasks=tasks, profile=profile, seed=seed, clients=clients, partition=partition,
        variant=variant, options=options,
    )  # fmt: skip
    chosen = EngineChoice(engine, engine_options or {}).checked()
    notes = tuple(before_training(specs, Path(data), Path(results), device=device))
    done = train(
        specs, Path(data), Path(results), device=device, keep_model=keep_model, fresh=fresh, notes=notes, engine=chosen,
        watch=lambda spec: nullcontext(listener),
    )  # fmt: skip
    if check:
        done.check()
    return done


def specified(
    algorithm: str, data: Path, *, tasks: Sequence[str] | None = None, profile: str = "demo", seed: int = 0,
    clients: int = 5, partition: str = "iid", variant: str | None = None, options: Mapping[str, Any] | None = None,
) -> list[RunSpec]:  # fmt: skip
    """The training runs that :func:`run` makes with these arguments.

    Raises:
        UsageError, InputError: as :func:`run`.
    """
    from fedmeki_bench.algorithms import resolve
    from fedmeki_bench.evaluation.view import answers_zero_shot
    from fedmeki_bench.runs.spec import specify

    row = resolve(algorithm, variant)
    training, zero_shot = _chosen(tasks, data)
    if tasks and zero_shot and not answers_zero_shot(row.view):
        raise UsageError(
            f"{zero_shot[0]!r} is a zero-shot task, which only a foundation view answers: use {row.rule}_{row.scope}_fm"
        )
    return specify(
        row, training, profile_name=profile, seed=seed, clients=clients, partition=partition, options=options,
        zero_shot=zero_shot, to_run=True,
    )  # fmt: skip


def _chosen(tasks: Sequence[str] | None, data: Path) -> tuple[list[str], list[str]]:
    """Training and zero-shot tasks that were named; without names, all that are prepared.

    Zero-shot tasks alone mean that every prepared training task is trained on.
    """
    from fedmeki_bench.data.cohort import prepared
    from fedmeki_bench.runs.spec import by_role

    if tasks:
        named = list(tasks)
    else:
        known = registry.working("tasks")
        named = [name for name in prepared(data) if name in known]
    training, zero_shot = by_role(named)
    return training or prepared_training_tasks(data), zero_shot


def prepared_training_tasks(data: Path) -> list[str]:
    """Training tasks that have a cohort in ``data``.

    Raises:
        InputError: there is none.
    """
    from fedmeki_bench.data.cohort import prepared

    training = {name for name, task in registry.working("tasks").items() if task.meta.role == "training"}
    names = [name for name in prepared(data) if name in training]
    if not names:
        raise InputError(f"no cohort of a training task in {data}; prepare one with `fedmeki-bench prepare` first")
    return names


def check_device(device: str) -> None:
    """Refuse a device that is not there before anything is trained.

    Raises:
        UsageError: not a device name, or none of that kind.
    """
    for name in devices_of(device):
        if name == "cpu":
            continue
        import torch

        try:
            torch.empty(1, device=name)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {name!r} can't be used: {str(error).splitlines()[0]}") from error


def before_training(specs: Sequence[RunSpec], data: Path, results: Path, *, device: str = "cpu") -> Iterator[str]:
    """What is said before the first training, not after; yields finished runs that no longer count, in sentences.

    Raises:
        UsageError: the device is not there.
        InputError: a cohort is missing.
    """
    from fedmeki_bench.records.store import RecordStore
    from fedmeki_bench.runs.execute import open_cohorts
    from fedmeki_bench.runs.superseded import sentence, superseded

    check_device(device)
    store = RecordStore(results)
    for spec in specs:
        cards = {task: cohort.card_hash for task, cohort in open_cohorts(spec, data).items()}
        if not store.path(spec.key(cards)).exists() and (found := superseded(spec, cards, store.all())) is not None:
            yield f"{spec.algorithm} on {', '.join(spec.tasks)}: {sentence(found)}"


def build_stand_ins(specs: Sequence[RunSpec], building: Building | None = None) -> None:
    """Build the stand-in foundation models that these runs want and this machine lacks, each once per machine."""
    from fedmeki_bench.cache import cache_folder
    from fedmeki_bench.foundation.tiny_config import STAND_INS

    for name in sorted({str(spec.params["stage"].get("foundation")) for spec in specs} & set(STAND_INS)):
        config = STAND_INS[name]
        if (cache_folder() / f"tiny-{config.key}" / "config.json").is_file():
            continue
        from fedmeki_bench.foundation.tiny import tiny_folder

        with building(name) if building else nullcontext(_untold) as tell:
            tiny_folder(config, progress=partial(_told, tell))


def _told(tell: Callable[[int, int], None], done: int, total: int, loss: float) -> None:
    tell(done, total)


def _untold(done: int, total: int) -> None:
    """Nobody listens."""


def train(
    specs: Sequence[RunSpec], data: Path, results: Path, *, watch: Watch, device: str = "cpu",
    keep_model: bool = False, fresh: bool = False, notes: Sequence[str] = (), building: Building | None = None,
    engine: EngineChoice = HERE,
) -> Records:  # fmt: skip
    """Execute training runs one after another; a failed one is a record, and the others go on."""
    from fedmeki_bench.records.store import RecordStore
    from fedmeki_bench.runs.execute import execute

    build_stand_ins(specs, building)
    done = []
    for spec in specs:
        with watch(spec) as listener:
            done.append(
                execute(
                    spec, data, RecordStore(results), device=device, fresh=fresh, listener=listener,
                    keep_model=keep_model, engine=engine,
                )
            )  # fmt: skip
    return Records(results, tuple(done), notes=tuple(notes))
