"""From nothing to raw files, from raw files to cohorts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench import registry
from fedmeki_bench.data.prepare.failing import reason
from fedmeki_bench.errors import InputError, TasksFailed, nearest
from fedmeki_bench.options import parse_options

if TYPE_CHECKING:
    from fedmeki_bench.data.prepare.prepare import PreparedCohort
    from fedmeki_bench.data.preparer_options import PreparerOptions
    from fedmeki_bench.task import Task

Progress = Callable[[int, int, str], None]
"""Takes (done, total, text); ``total`` is 0 where it is unknown."""


def releases() -> dict[str, str]:
    """Dataset -> the release it reads; two datasets may read one."""
    return {name: preparer.release_name or name for name, preparer in registry.working("datasets").items()}


def synth(dataset: str, out: str | Path, *, size: int | None = None, seed: int = 0) -> Path:
    """Write a synthetic stand-in for a dataset, in the release's own raw layout, all of it or nothing.

    What is learnt from a stand-in says nothing about patients; everything computed from it is stamped SYNTHETIC.

    Args:
        dataset: a name from ``fedmeki-bench list datasets``.
        out: the folder to write; new or empty.
        size: how many samples; the dataset's own choice by default.
        seed: of everything random.

    Returns:
        The folder written.

    Raises:
        UsageError: no such dataset.
        InputError: a size or seed that makes no sense, or ``out`` holds something already.
    """
    out = Path(out)
    preparer = registry.load("datasets", dataset)()
    count = preparer.synthesize_size if size is None else size
    if count < 1:
        raise InputError(f"the size cannot be {count}: at least 1 sample is needed")
    if seed < 0:
        raise InputError(f"the seed cannot be {seed}: it is not negative")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out} is not empty: name a new folder, nothing is overwritten")
    from fedmeki_bench.data.prepare.storage import install, partial_folder

    out.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(out) as folder:
        preparer.synthesize(folder, size=count, seed=seed)
        if out.is_dir():
            out.rmdir()
        install(folder, out)
    return out


def prepare(
    dataset: str, raw: str | Path, out: str | Path, *, split: Literal["patient", "published"] = "patient",
    options: Mapping[str, Any] | None = None, workers: int | None = None, progress: Progress | None = None,
) -> list[PreparedCohort]:  # fmt: skip
    """Turn a dataset's release into one cohort per task that reads it.

    Records that are missing or corrupt are dropped, counted and named on the card. A second call with unchanged input
    does nothing.

    Args:
        dataset: a name from ``fedmeki-bench list datasets``.
        raw: the folder of the release, in its official layout.
        out: the folder of cohorts, each in a folder of its task's name.
        split: by whole patients, or by rows as the papers did (which leaks, and is marked on every table).
        options: of the dataset, such as ``{"image_size": 64}``; ``fedmeki-bench info DATASET`` lists them.
        workers: decoding processes; the number of processors by default.
        progress: called with (done, total, text) now and then.

    Returns:
        The cohorts, each with name, path, card, and whether it was there already.

    Raises:
        UsageError: no such dataset.
        InputError: the release is missing or bad as a whole, an option is unknown or out of range, or no row is left.
        TasksFailed: some tasks raised an error or are wrong, it says which; the cohorts of all others are prepared.
    """
    from fedmeki_bench.data.prepare.prepare import prepare as prepare_tasks

    preparer = registry.load("datasets", dataset)()
    given = {"split": split} | dict(options or {})
    chosen = parse_options(type(preparer).Options, given, owner=f"dataset {dataset}")
    tasks, failed = _tasks_of(dataset, chosen)
    tasks += preparer.tasks(Path(raw), chosen)
    try:
        done = prepare_tasks(preparer, Path(raw), Path(out), tasks, chosen, workers=workers, progress=progress)
    except TasksFailed as error:
        raise TasksFailed(failed | error.failed, error.prepared) from error
    if failed:
        raise TasksFailed(failed, done)
    return done


def _tasks_of(dataset: str, options: PreparerOptions) -> tuple[list[Task], dict[str, str]]:
    """The tasks that read a dataset under these options; and why those that can't be made are none, by name."""
    tasks: list[Task] = []
    failed: dict[str, str] = {}
    for name, cls in registry.working("tasks").items():
        if cls.meta.dataset != dataset or cls.definition is not None:
            continue
        if cls.meta.needs and not getattr(options, cls.meta.needs):
            continue
        if cls.meta.name != name:
            failed[name] = f"it is registered under this name, and its meta names it {cls.meta.name!r}"
            continue
        try:
            tasks.append(cls())
        except (Exception, SystemExit) as error:  # its own code may raise anything
            failed[name] = reason(error)
    return tasks, failed


def strays() -> dict[str, str]:
    """Why no dataset will ever give these tasks a cohort, by name."""
    known = registry.names("datasets")
    return {
        name: f"no dataset is called {task.meta.dataset!r}; {nearest(task.meta.dataset, known)}"
        for name, task in registry.working("tasks").items()
        if task.meta.dataset not in known
    }


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder of releases holds.

    Attributes:
        folders: dataset -> its folder.
        options: dataset -> the options meant for it.
        absent: releases without a folder.
    """

    folders: Mapping[str, Path]
    options: Mapping[str, Mapping[str, Any]]
    absent: tuple[str, ...] = field(default=())


def found_in(raw: Path, options: Mapping[str, Any]) -> Found:
    """The datasets that have a folder of their release's name under ``raw``.

    Args:
        options: ``image_size`` is meant for all datasets that have it, ``rsna.image_size`` for one.

    Raises:
        InputError: no dataset has a folder there, or no dataset has an option that was given.
    """
    named = releases()
    there = {name: raw / release for name, release in named.items() if (raw / release).is_dir()}
    if not there:
        names = ", ".join(sorted(set(named.values())))
        raise InputError(f"{raw} has no folder named after a dataset; expected one or more of {names}")
    absent = sorted({release for name, release in named.items() if name not in there})
    fields = {name: preparer.Options.model_fields for name, preparer in registry.working("datasets").items()}
    chosen: dict[str, dict[str, Any]] = {name: {} for name in there}
    for key, value in options.items():
        owner, dot, name = key.partition(".")
        takers = [owner] if dot and owner in fields else [n for n in fields if key in fields[n]]
        if not takers:
            known = sorted({f for model in fields.values() for f in model})
            raise InputError(f"no dataset has the option {key!r}; {nearest(key, known)}")
        for taker in takers:
            if taker in chosen:
                chosen[taker][name if dot else key] = value
    return Found(there, chosen, tuple(absent))
