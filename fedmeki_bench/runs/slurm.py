"""What a job may ask of Slurm, by Slurm's names, as submitit wants it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from fedmeki_bench.errors import InputError, UsageError, nearest

_LISTS = ("setup", "teardown", "srun_args")
_REFUSED = {"array_parallelism": "--array N", "additional_parameters": "the names of single parameters"}
_TIME = re.compile(r"(?:(?P<d>\d+)-)?(?P<a>\d+)(?::(?P<b>\d+))?(?::(?P<c>\d+))?")


def the_submitit() -> Any:
    """The library, which is an extra.

    Raises:
        UsageError: it isn't there; says how to get it.
    """
    try:
        return importlib.import_module("submitit")
    except ImportError:
        said = "jobs are submitted by submitit, which isn't there: pip install 'fedmeki-bench[slurm]'"
        raise UsageError(said) from None


def checked_parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """What jobs ask of Slurm, by submitit's names of it: ``cpus-per-task`` is the same as ``cpus_per_task``.

    Raises:
        UsageError: submitit isn't there, or knows no parameter of that name.
        InputError: a time that is none.
    """
    known = set(the_submitit().SlurmExecutor._valid_parameters())
    found: dict[str, Any] = {}
    for name, value in given.items():
        own = name.strip().replace("-", "_")
        if own in _REFUSED:
            raise UsageError(f"--slurm {name} is not for you to set: use {_REFUSED[own]}")
        if own not in known:
            raise UsageError(f"--slurm {name}: submitit knows no parameter of that name; {nearest(own, known)}")
        found[own] = _minutes(value) if own == "time" else [value] if own in _LISTS else _value(value)
    return found


def _value(text: str) -> Any:
    return int(text) if text.isdecimal() else {"true": True, "false": False}.get(text.lower(), text)


def _minutes(text: str) -> int:
    """Minutes of a time as Slurm writes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S; rounded up."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--slurm time={text}: not a time, such as 90, 4:00:00 or 1-12:00:00")
    a, b, c = (int(match[name] or 0) for name in "abc")
    if match["d"] is not None or match["c"] is not None:
        hours, minutes, seconds = a, b, c
    else:
        hours, minutes, seconds = 0, a, b
    return int(match["d"] or 0) * 1440 + hours * 60 + minutes + bool(seconds)
