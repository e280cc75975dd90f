"""Raw release -> cohorts: every source decoded once, every row accounted for, nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data import card as cards
from fedmeki_bench.data.content import canonical, text_digest
from fedmeki_bench.data.contract import SYNTHETIC_MARKER, DatasetPreparer, Dropped, Drops
from fedmeki_bench.data.prepare import joining, shared_arrays, storage
from fedmeki_bench.data.prepare.failing import Failing
from fedmeki_bench.data.prepare.task_share import Plan, completed, label_rows, look_up, sample_table
from fedmeki_bench.data.prepare.write_card import card_of, nothing_left, options_told, statistics_of
from fedmeki_bench.data.pseudonyms import KEY, write_key
from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.sources import class_source
from fedmeki_bench.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from fedmeki_bench.data.contract import ArraySpec, Decoded, PreparerOptions

Progress = Callable[[int, int, str], None]
_REQUIRED = ("sample_id", "group_id", "site", "source")


@dataclass(frozen=True, slots=True)
class PreparedCohort:
    """One cohort on disk; ``unchanged`` means that the input was the same and nothing was touched."""

    name: str
    path: Path
    unchanged: bool
    card: dict[str, Any]

    @property
    def card_hash(self) -> str:
        """The identity of the data, as records give it."""
        return cards.card_hash(self.card)


def prepare(
    preparer: DatasetPreparer,
    raw: Path,
    out: Path,
    tasks: Sequence[Task],
    options: PreparerOptions,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[PreparedCohort]:
    """Write ``out/<task>/`` for each of ``tasks`` that reads this preparer's dataset.

    Args:
        raw: folder of the release, in its official layout.
        workers: decoding processes; the number of processors by default.
        progress: called with (done, total, text) now and then.

    Raises:
        InputError: the input is missing or bad as a whole, or no row is left. Single bad records are counted
            on the card instead. Whatever is raised, a cohort that stood there before still stands.
        TasksFailed: some of the tasks raised an error, or are wrong; all others are prepared.
    """
    tell = progress or (lambda done, total, text: None)
    chosen = [task for task in tasks if task.meta.dataset == preparer.meta.name]
    if not chosen:
        raise InputError(f"no known task reads dataset {preparer.meta.name!r}")
    tables = preparer.sources(raw, options)  # first, so that a wrong folder creates nothing
    with (
        storage.one_writer(out, lambda: tell(0, 0, f"waiting for another prepare into {out}")),
        _disk_errors(out),
    ):
        evidence = _evidence(preparer, raw, tables, options)
        standing: dict[str, PreparedCohort] = {}
        plans: list[Plan] = []
        failing = Failing()
        for task in chosen:
            digest = _digest(preparer, task, options, evidence)
            search = joining.wanted(options, task.meta.role)
            if (kept := _unchanged(out / task.meta.name, task, digest, search)) is not None:
                standing[task.meta.name] = kept
            else:
                with failing.around(task.meta.name):
                    plans.append(Plan(task, digest, _specs(preparer, task, options), Drops()))
        if plans:
            workers = workers or os.cpu_count() or 1
            written = _write(preparer, raw, out, plans, options, evidence, workers, tell, failing)
            standing |= {cohort.name: cohort for cohort in written}
    done = [standing[task.meta.name] for task in chosen if task.meta.name in standing]
    failing.check(done)
    return done


def _write(
    preparer: DatasetPreparer,
    raw: Path,
    out: Path,
    plans: list[Plan],
    options: PreparerOptions,
    evidence: dict[str, str],
    workers: int,
    tell: Progress,
    failing: Failing,
) -> list[PreparedCohort]:
    tell(0, 0, f"reading the tables of {preparer.meta.name}")
    drops = Drops()
    table = preparer.table(raw, options, drops)
    _check_table(preparer, table, drops)
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    zero_shot = any(plan.task.meta.role == "zero_shot" for plan in plans)
    registry = preparer.registry(raw, table, options) if zero_shot else None
    for plan in plans:
        plan.drops = drops.copy()
        look_up(plan, preparer, registry)
        with failing.around(plan.task.meta.name):
            label_rows(plan, rows, options)
    plans = [plan for plan in plans if plan.task.meta.name not in failing.errors]
    if not plans:
        return []
    shared_arrays.follow(plans)
    with contextlib.ExitStack() as stack:
        folders = {p.task.meta.name: stack.enter_context(_partial(out, p)) for p in plans}
        search = any(joining.wanted(options, plan.task.meta.role) for plan in plans)
        collector = joining.Collector() if search else None
        everything = table["source"].tolist() if search else []
        attributes, digests = _decode(preparer, raw, plans, everything, options, workers, tell, collector)
        table = completed(table, attributes)
        if collector:
            tell(0, 0, f"looking for near-duplicates in {preparer.meta.name}")
        joined = collector.joined(table) if collector else joining.Joined()
        written: dict[str, dict[str, Any]] = {}
        for plan in plans:
            name = plan.task.meta.name
            samples = sample_table(plan, table, digests, options, preparer, joined)
            if samples.empty:
                failing.errors[name] = InputError(nothing_left(plan, raw, preparer))
                continue
            card = card_of(preparer, raw, table, plan, samples, options, joined) | _sources(preparer, plan.task)
            write_key(folders[name], preparer.meta.name, evidence)
            _finish_arrays(plan, folders, out)
            written[name] = _finish(folders[name], plan, samples, card, preparer)
            if joining.wanted(options, plan.task.meta.role):
                joining.write(folders[name], joined)
        # all are complete before the first one is shown
        for name in written:
            storage.install(folders[name], out / name)
    return [PreparedCohort(name, out / name, False, card) for name, card in written.items()]


def _evidence(preparer: DatasetPreparer, raw: Path, tables: Iterable[Path], options: PreparerOptions) -> dict[str, str]:
    """Name -> digest of everything that is read: tables whole, bulk folders by names and sizes."""
    tables = list(tables)
    for path in tables:
        if not path.is_file():  # a pipe would make the reader wait for ever
            raise InputError(f"{path} is no regular file")
    found = {f"table:{k}:{path.name}": file_digest(path) for k, path in enumerate(tables)}
    bulk = preparer.bulk(raw, options)
    found |= {f"bulk:{k}:{path.name}": storage.folder_digest(path) for k, path in enumerate(bulk)}
    for folder in (raw, *preparer.companions(raw, options)):
        marker = folder / SYNTHETIC_MARKER
        if marker.is_file():
            name = marker.name if folder is raw else f"{folder.name}/{marker.name}"
            found[f"table:{name}"] = file_digest(marker)
    return found


def _digest(preparer: DatasetPreparer, task: Task, options: PreparerOptions, evidence: dict[str, str]) -> str:
    identity = {
        "schema": cards.SCHEMA,
        "dataset": [preparer.meta.name, preparer.meta.version],
        "task": [task.meta.name, task.meta.version],
        "options": options_told(task, options),
        "evidence": evidence,
        **_sources(preparer, task),
    }
    return text_digest(canonical(identity))


def _sources(preparer: DatasetPreparer, task: Task) -> dict[str, dict[str, str]]:
    """Digests of dataset, task and kind that are not built in: edited, they give other data under the same version."""
    parts = {"dataset": type(preparer), "task": type(task), "kind": type(task.meta.labels.how)}
    found = {what: class_source(part) for what, part in parts.items()}
    sources = {what: source for what, source in found.items() if source is not None}
    return {"sources": sources} if sources else {}


def _unchanged(folder: Path, task: Task, digest: str, search: bool) -> PreparedCohort | None:
    try:
        card = cards.read_card(folder)
        if card.get("input_digest") != digest or (search and not joining.searched(folder)):
            return None
        cards.check_files(folder, card)
    except (InputError, KeyError, TypeError, AttributeError):  # absent or damaged: written anew
        return None
    return PreparedCohort(task.meta.name, folder, True, card)


def _specs(preparer: DatasetPreparer, task: Task, options: PreparerOptions) -> dict[str, ArraySpec]:
    offered = preparer.arrays(options)
    missing = [m for m in task.meta.modalities if m not in offered and m != "text"]
    if missing:
        raise InputError(
            f"task '{task.meta.name}' wants modality {missing[0]!r}, dataset '{preparer.meta.name}' offers "
            + (", ".join(offered) or "none")
        )
    return {m: offered[m] for m in task.meta.modalities if m in offered}


def _check_table(preparer: DatasetPreparer, table: pd.DataFrame, drops: Drops) -> None:
    lacking = [name for name in _REQUIRED if name not in table]
    name = preparer.meta.name
    if lacking:
        raise RunFailed(f"preparer '{name}' returned a table without the column {lacking[0]!r}")
    if not table["sample_id"].is_unique:
        twice = table["sample_id"][table["sample_id"].duplicated()].iloc[0]
        raise RunFailed(f"preparer '{name}' returned the sample id {twice!r} twice")
    left_out = sum(drops.left_out.values())
    if drops.read != drops.merged + drops.total + left_out + len(table):
        raise RunFailed(
            f"preparer '{name}' lost rows: read {drops.read}, merged {drops.merged}, dropped {drops.total}, "
            f"left out {left_out}, returned {len(table)}"
        )


@contextlib.contextmanager
def _partial(out: Path, plan: Plan) -> Any:
    with storage.partial_folder(out / plan.task.meta.name) as folder:
        specs = plan.specs if plan.like is None else {}
        plan.writers = {m: storage.ArrayWriter(folder / f"{m}.npy", s) for m, s in specs.items()}
        try:
            yield folder
        finally:
            for writer in plan.writers.values():
                writer.close()


def _decode(
    preparer: DatasetPreparer,
    raw: Path,
    plans: Sequence[Plan],
    everything: Iterable[str],
    options: PreparerOptions,
    workers: int,
    tell: Progress,
    collector: joining.Collector | None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Decode each distinct source once and hand it to every task that wants it.

    ``everything`` is decoded whether a task wants it or not: the search for near-duplicates looks at all sources.
    """
    readers = [plan for plan in plans if plan.specs]
    sources = sorted(set(everything).union(*(plan.wanted for plan in readers))) if readers else []
    attributes: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    done = 0
    for source, outcome in preparer.decode_all(raw, sources, options, workers):
        done += 1
        if done % 50 == 0 or done == len(sources):
            tell(done, len(sources), f"decoding {preparer.meta.name}")
        if isinstance(outcome, Dropped):
            for plan in readers:
                plan.bad[source] = outcome.reason
            continue
        attributes[source] = {k: v for k, v in outcome.attributes.items() if v is not None}
        digests[source] = _content(outcome)
        if collector:
            collector.add(source, outcome)
        for plan in readers:
            if source in plan.wanted:
                plan.take(source, outcome)
    if done != len(sources):
        raise RunFailed(f"preparer '{preparer.meta.name}' decoded {done} of {len(sources)} sources")
    return attributes, digests


def _content(decoded: Decoded) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for modality in sorted(decoded.arrays):
        arrays = decoded.of(modality)
        if len(arrays) != 1:
            digest.update(f"{len(arrays)} of {modality}".encode())
        for array in arrays:
            digest.update(array.tobytes())
    return digest.hexdigest()


def _finish_arrays(plan: Plan, folders: Mapping[str, Path], out: Path) -> None:
    """Close the arrays of a task, and share them with the tasks that store the same."""
    folder = folders[plan.task.meta.name]
    if plan.like is not None:
        for modality in plan.specs:
            name = f"{modality}.npy"
            shared_arrays.link_or_copy(folders[plan.like.task.meta.name] / name, folder / name)
        plan.content = plan.like.content
        return
    for modality, writer in plan.writers.items():
        plan.content[modality] = writer.finish()
        array = folder / f"{modality}.npy"
        shared_arrays.share_with_standing(array, file_digest(array), out, without=folders)


def _finish(
    folder: Path, plan: Plan, samples: pd.DataFrame, card: dict[str, Any], preparer: DatasetPreparer
) -> dict[str, Any]:
    """Write the files; the card, with their hashes, last."""
    samples.to_parquet(folder / cards.SAMPLES, index=False)
    values = samples.to_csv(index=False, lineterminator="\n")
    content = {"samples": text_digest(values), **plan.content}
    statistics = statistics_of(folder, plan, samples, preparer)
    if statistics:
        card = card | {"statistics": statistics}
    names = [cards.SAMPLES, KEY, *(f"{modality}.npy" for modality in plan.specs)]
    files = {name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    card = card | {"content": content, "files": files}
    storage.write_json(folder / cards.CARD, card)
    return card


@contextlib.contextmanager
def _disk_errors(out: Path) -> Any:
    try:
        yield
    except OSError as error:
        place = Path(str(error.filename or out))
        if error.errno == errno.EACCES and out not in (place, *place.parents):
            raise InputError(f"{place} cannot be read: {error.strerror}") from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise RunFailed(f"cannot write into {out}: {error.strerror}") from None
        raise
