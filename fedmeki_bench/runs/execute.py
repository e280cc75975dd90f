"""From a specification to a record on disk: build, federate, score, write. The one place where errors become rows."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench import registry
from fedmeki_bench.data.cohort import Cohort, find
from fedmeki_bench.data.preparations import place_of
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import InputError, SiteLost
from fedmeki_bench.evaluation.rescoring import outdated, rescore
from fedmeki_bench.events import Event, Listener, RoundEnded, RunEnded, RunStarted, silent
from fedmeki_bench.records.record import (
    AssignmentCounts,
    Record,
    RoundRecord,
    RunError,
)
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.begun import begun, plugins_of
from fedmeki_bench.runs.deal import check_folder
from fedmeki_bench.runs.engines import HERE, EngineChoice, devices_of
from fedmeki_bench.runs.environment import environment, peak_memory
from fedmeki_bench.runs.failures import failure, leave_traceback, without_places
from fedmeki_bench.runs.kept_card import FOLDER as KEPT_FOLDER
from fedmeki_bench.runs.pretext import notes as pretext_notes
from fedmeki_bench.runs.pretraining import finished, placed, told
from fedmeki_bench.runs.resolved import Resolved, resolve, tasks_of
from fedmeki_bench.runs.spec import RunSpec
from fedmeki_bench.sources import class_source
from fedmeki_bench.task import Task

if TYPE_CHECKING:
    from fedmeki_bench.federation.loop import Federation, Round
    from fedmeki_bench.runs.assemble import OpenEngine

CHECKPOINT = "checkpoint"
KILLED = "ProcessKilled"
"""The type of error of a run whose process ended without a word."""
UNSCORED = "TestUnopened"
"""The type of error of a run that is trained to its end and whose test split was left closed."""


def open_cohorts(spec: RunSpec, data: Path, tasks: Mapping[str, Task] | None = None) -> dict[str, Cohort]:
    """The cohorts of a run, by task.

    Args:
        tasks: all its tasks, where they are at hand.

    Raises:
        InputError: one is missing, damaged, or prepared by another version of its task or dataset; the sentence names
            the command that prepares it.
    """
    cohorts = {}
    if tasks is None:
        tasks = {name: task for group in tasks_of(spec) for name, task in group.items()}
    for name, task in tasks.items():
        folder = place_of(data, task.meta.dataset)
        cohorts[name] = cohort = find(folder, name, dataset=task.meta.dataset + _needed(task))
        if changes := ", ".join(_prepared_otherwise(cohort, task)):
            raise InputError(
                f"the cohort {cohort.path} is out of date ({changes}): prepare it again with "
                f"`fedmeki-bench prepare {cohort.dataset} --raw RAW --out {shlex.quote(str(folder))}`"
            )
    return cohorts


def _prepared_otherwise(cohort: Cohort, task: Task) -> Iterator[str]:
    """In what the task and dataset installed here differ from those that prepared the cohort."""
    card = cohort.card
    now = {"task": (task.meta.version, class_source(type(task)))}
    if cohort.dataset in registry.names("datasets"):
        preparer = registry.load("datasets", cohort.dataset, files=False)
        now["dataset"] = (preparer.meta.version, class_source(preparer))
    for what, (version, source) in now.items():
        recorded = card.get(f"{what}_version")
        if recorded != version:
            yield f"version {recorded} of {what} {card.get(what)} prepared it, {version} is installed"
        elif card.get("sources", {}).get(what) != source:
            yield f"{what} {card.get(what)} changed since"


def key_of(spec: RunSpec, cohorts: Mapping[str, Cohort]) -> str:
    """The key of a run on these cohorts."""
    return spec.key({name: cohort.card_hash for name, cohort in cohorts.items()})


def execute(
    spec: RunSpec, data: Path, store: RecordStore, *, device: str = "cpu", fresh: bool = False,
    listener: Listener = silent, keep_model: bool = False, test: bool = True, engine: EngineChoice = HERE,
) -> Record:  # fmt: skip
    """Run ``spec`` unless its record already says ok, and leave a record whatever happens.

    An interrupted run goes on from its last checkpoint; a failed one starts again.

    Args:
        fresh: forget record and checkpoint of this run first.
        keep_model: write what was trained beside the record; a finished run without it is run again.
        engine: where the clients are; no part of the run's identity, since the numbers do not depend on it.
        test: score what was trained on the test split. Without it the record ends with the history on `valid` and
            stands as interrupted; a later run of the same goes on from its checkpoint and has but to score it.

    Raises:
        InputError: a cohort is missing; nothing was run and no record is left.
        KeyboardInterrupt: after the record was marked interrupted.
    """
    look_in(data)  # this may be a process of its own
    plugins = resolve(spec)
    keep_model = keep_model or plugins.pretext is not None  # it leaves nothing else
    if keep_model and plugins.stage.instead:
        raise InputError(f"what the stage {spec.stage} leaves can't be kept: run without --keep-model")
    check_folder(data, has_data=engine.has_data)
    cohorts = open_cohorts(spec, data, plugins.all_tasks)
    key = key_of(spec, cohorts)
    before, spec = spec.pretraining, replace(placed(spec, cohorts, store), pretraining=None)
    with store.lock(key) as lease:

        def tell(event: Event) -> None:
            lease.check()  # a run that was taken over ends with its round
            listener(event)

        kept = (store.folder(key) / KEPT_FOLDER).is_dir()
        known = None if fresh or (keep_model and not kept) else _known(store, key)
        if known is not None and known.status == "ok" and set(plugins.views) - set(known.views):
            known = None  # made before one of the views was scored; its model is gone
        if known is not None and not test and trained(known):
            listener(RunEnded(key, "cached", known.cost.seconds))
            return known
        if known is not None and known.status == "ok":
            known = up_to_date(known, store)
            shutil.rmtree(store.folder(key) / CHECKPOINT, ignore_errors=True)  # of a run killed at its very end
            listener(RunEnded(key, "cached", known.cost.seconds, main_scores(known)))
            return known
        from fedmeki_bench.evaluation.phases import usable

        folder = store.folder(key)
        killed = known is not None and known.error is not None and known.error.type == KILLED
        if fresh or (known is not None and known.status == "failed" and not killed):
            shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
            store.path(key).unlink(missing_ok=True)
        elif not usable(folder / CHECKPOINT, test=test):
            shutil.rmtree(folder / CHECKPOINT)
        record = begun(spec, key, cohorts, plugins)
        started = time.perf_counter()
        failed: BaseException | None = None
        try:
            if before is not None:
                again = partial(execute, before, data, store, device=device, listener=tell, engine=engine)
                record.pretraining = told(finished(before, cohorts, store, again))
            open_engine = partial(engine.opened, spec, key, data, folder / CHECKPOINT, device)
            _train_and_score(spec, plugins, record, cohorts, folder, open_engine, device, tell, keep_model, test)
        except KeyboardInterrupt:
            record.status = "interrupted"
            record.error = RunError(type="KeyboardInterrupt", message="interrupted by the user")
            raise
        except SiteLost as error:  # nothing is wrong with the run: its checkpoint and what clients hold stay
            record.status = "interrupted"
            record.error = RunError(type="SiteLost", message=without_places(str(error)))
        except (Exception, SystemExit) as error:  # the cell boundary: whatever went wrong becomes a row with a reason
            failed = error
            record.status = "failed"
            record.error = failure(error, _took_part(spec, plugins))
        finally:
            lease.check()  # what lies in the folder is another's by now
            leave_traceback(folder, failed)
            record.finished = datetime.now(timezone.utc)
            record.cost.seconds = sum(r.seconds for r in record.history) or time.perf_counter() - started
            record.cost.peak_memory = peak_memory()
            store.write(record)
            message = record.error.message if record.error else ""
            status = "ok" if trained(record) else record.status
            listener(RunEnded(key, status, record.cost.seconds, main_scores(record), message))
        if record.status == "ok":
            shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    return record


def trained(record: Record) -> bool:
    """Whether a run went through all its rounds, scored on the test split or not."""
    return record.status == "ok" or (record.error is not None and record.error.type == UNSCORED)


def record_death(spec: RunSpec, data: Path, store: RecordStore, message: str) -> Record:
    """Leave a failed record of a run whose process was killed before it could; its checkpoint stays.

    One that was killed after it had left its record has that, and it is returned.
    """
    look_in(data)  # this may be a process of its own
    plugins = resolve(spec)
    cohorts = open_cohorts(spec, data, plugins.all_tasks)
    key = key_of(spec, cohorts)
    with store.lock(key):
        known = _known(store, key)
        if known is not None and trained(known):
            return known
        record = begun(spec, key, cohorts, plugins)
        record.status = "failed"
        record.error = RunError(type=KILLED, message=message)
        record.finished = datetime.now(timezone.utc)
        store.write(record)
    return record


def up_to_date(record: Record, store: RecordStore) -> Record:
    """The record, scored anew from its predictions if a metric has changed since.

    Raises:
        InputError: the predictions are missing or damaged; the run must be made again.
    """
    if not any(outdated(record)):
        return record
    again, problems = rescore(record, store.folder(record.key))
    if problems:
        raise InputError(f"{problems[0]}, and {next(outdated(record))}: run it again with --fresh")
    store.write(again)
    return again


def _known(store: RecordStore, key: str) -> Record | None:
    try:
        return store.load(key)
    except InputError:  # a damaged record is replaced by running again
        return None


def _train_and_score(
    spec: RunSpec, plugins: Resolved, record: Record, cohorts: Mapping[str, Cohort], folder: Path,
    open_engine: OpenEngine, device: str, listener: Listener, keep_model: bool, test: bool,
) -> None:  # fmt: skip
    import torch

    from fedmeki_bench.runs.assemble import assemble, assignment
    from fedmeki_bench.runs.keep import keep

    settings = spec.resolved_profile()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    device = devices_of(device)[0]  # the server's; an engine may have clients on the others
    record.environment = environment(device, torch.get_num_threads())
    own = {name: cohorts[name] for name in spec.tasks}
    private = assignment(spec, plugins, own)
    record.assignment = AssignmentCounts(digest=private.digest, counts=private.counts())
    federation = assemble(spec, plugins, own, private, device=device, folder=folder / CHECKPOINT, engine=open_engine)
    try:
        _federate(federation, spec, plugins, record, cohorts, listener, test, folder)
        if record.status == "ok" and keep_model:
            keep(federation, spec, record.key, cohorts, plugins.all_tasks, folder)
    finally:
        federation.engine.close(done=record.status == "ok")


def _federate(
    federation: Federation, spec: RunSpec, plugins: Resolved, record: Record, cohorts: Mapping[str, Cohort],
    listener: Listener, test: bool, folder: Path,
) -> None:  # fmt: skip
    """Run the rounds that are left, and score what they made."""
    from fedmeki_bench.evaluation.beside import score_beside
    from fedmeki_bench.evaluation.foundation_facts import foundation_facts
    from fedmeki_bench.evaluation.phases import Phases
    from fedmeki_bench.evaluation.pretext_loss import PretextValidation
    from fedmeki_bench.evaluation.scoring import Validation, score_test

    settings = spec.resolved_profile()
    validation: Validation | PretextValidation = (
        Validation(cohorts, plugins.tasks, plugins.metrics, plugins.views)
        if plugins.pretext is None
        else PretextValidation(cohorts, spec.params["pretext"]["kind"])
    )
    federation.validate = validation
    validation.begin(federation)
    record.cost.parameters = sum(
        e.size for e in federation.server.model.layout.entries.values()
        if e.trained and e.unit not in federation.model.frozen
    )  # fmt: skip
    record.cost.client_weights = federation.held if plugins.rule.trains else 0
    tasks = plugins.all_tasks
    phases = Phases(
        plugins.views, cohorts, tasks, plugins.metrics, seed=spec.seed, folder=folder, kept=folder / CHECKPOINT,
        test=test,
    )  # fmt: skip
    first = federation.resume()
    listener(RunStarted(record.key, federation.rounds, first))
    record.history = [_round(r) for r in federation.history]
    phases.score(federation)
    for done in federation.run():
        record.history.append(_round(done))
        phases.score(federation)
        listener(
            RoundEnded(
                record.key, done.round, federation.rounds, float("nan") if done.loss is None else done.loss,
                done.valid, done.bytes_up, done.bytes_down, done.seconds,
            )
        )  # fmt: skip
    record.cost.bytes_up = sum(r.bytes_up for r in record.history)
    record.cost.bytes_down = sum(r.bytes_down for r in record.history)
    doubts = validation.remarks(federation)
    record.notes += doubts.values()
    record.assumed = {n: v for n, v in plugins.rule.assumes.items() if getattr(settings, n) != v}
    if plugins.pretext is not None:
        counts = {} if record.assignment is None else record.assignment.counts
        record.notes += pretext_notes(plugins.pretext, spec.params["pretext"]["kind"], counts)
        record.status = "ok"
        return
    if not test:
        said = "trained to its end, the test split left closed; run or sweep scores it"
        record.status, record.error = "interrupted", RunError(type=UNSCORED, message=said)
        return
    record.evaluations = score_test(
        federation, plugins.views, cohorts, tasks, plugins.metrics, seed=spec.seed, folder=folder, doubts=doubts
    )
    record.phases = phases.evaluations
    record.beside = score_beside(
        federation, plugins.views, cohorts, tasks, plugins.metrics, seed=spec.seed, folder=folder,
        variants=bool(spec.params["stage"].get("variants")),
    )  # fmt: skip
    record.foundation = foundation_facts(federation, tasks)
    record.status = "ok"


def _needed(task: Task) -> str:
    """The option without which its dataset is not prepared for a task, to follow the dataset in a command."""
    return f" -o {task.meta.needs}=true" if task.meta.needs else ""


def _took_part(spec: RunSpec, plugins: Resolved) -> list[tuple[str, str]]:
    """(kind, name) of everything that may have raised."""
    parts = plugins_of(spec, plugins)
    parts += [("views", name) for name in plugins.views] + [("metrics", name) for name in plugins.metrics]
    foundation = spec.params["stage"].get("foundation")
    return parts + [("foundations", str(foundation))] * (foundation in registry.names("foundations"))


def _round(done: Round) -> RoundRecord:
    return RoundRecord(
        round=done.round, loss=done.loss, valid=dict(done.valid), bytes_up=done.bytes_up,
        bytes_down=done.bytes_down, seconds=round(done.seconds, 4), clients=done.clients,
        reports=dict(done.reports), faults={fault: list(clients) for fault, clients in done.faults.items()},
    )  # fmt: skip


def main_scores(record: Record) -> dict[tuple[str, str], float]:
    """(view, task) -> main test metric, for the terminal."""
    scores = {}
    for evaluation in record.evaluations:
        main = next(iter(evaluation.metrics.values()), None)
        if main is not None and main.value is not None:
            scores[(evaluation.view, evaluation.task)] = main.value
    return scores
