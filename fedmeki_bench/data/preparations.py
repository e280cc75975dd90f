"""Where data lie that a study prepares otherwise: ``DATA/@split_seed=43/TASK`` beside ``DATA/TASK``.

Such a folder holds the cohorts of the datasets that have these options. Of another dataset, what it knows of them alone
decides where its cohorts are looked for: ``DATA/@image_size=96,split_seed=43`` is, for one without pictures,
``DATA/@split_seed=43``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from fedmeki_bench import registry
from fedmeki_bench.data.preparer_options import PreparerOptions

MARK = "@"

Options: TypeAlias = tuple[tuple[str, bool | int | float | str], ...]


def folder_of(data: Path, options: Options) -> Path:
    """The data folder for these options, which differ from those of ``data``; ``data`` itself without any."""
    return data / (MARK + ",".join(sorted(f"{key}={written(value)}" for key, value in options))) if options else data


def folders_of(data: Path) -> list[Path]:
    """A data folder, and those in it that were prepared otherwise."""
    return [data, *sorted(data.glob(f"{MARK}*"))]


def place_of(data: Path, dataset: str) -> Path:
    """Where the cohorts of a dataset lie for runs that read ``data``, which may be one of these folders."""
    if not data.name.startswith(MARK):
        return data
    known = options_of(dataset)
    kept = [pair for pair in data.name.removeprefix(MARK).split(",") if pair.partition("=")[0] in known]
    return data.parent / (MARK + ",".join(kept)) if kept else data.parent


def options_of(dataset: str) -> set[str]:
    """The options that a dataset is prepared with; those of every dataset where it is not installed."""
    if dataset not in registry.names("datasets"):
        return set(PreparerOptions.model_fields)
    return set(registry.load("datasets", dataset, files=False).Options.model_fields)


def known_to(datasets: Iterable[str], options: Options) -> Options:
    """Those of the options that one of the datasets has."""
    known = set[str]().union(*map(options_of, set(datasets)))
    return tuple((key, value) for key, value in options if key in known)


def in_words(options: Options) -> str:
    """``image_size 96, split_seed 43``."""
    return ", ".join(f"{key} {written(value)}" for key, value in options)


def written(value: bool | int | float | str) -> str:
    """A value as ``-o`` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
