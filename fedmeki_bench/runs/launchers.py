"""Where a sweep's runs are carried out: by processes of this machine, or by jobs of a cluster. Chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from fedmeki_bench.errors import UsageError, nearest
from fedmeki_bench.events import Listener
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.plan import Planned
from fedmeki_bench.runs.slurm import checked_parameters


@dataclass(frozen=True, slots=True)
class Orders:
    """How runs are to be carried out.

    Attributes:
        jobs: processes of this machine.
        device: where models live; of several, comma-separated, the processes of this machine take one each in turn.
        array: how many of a cluster's jobs may run at once; None leaves that to the cluster.
        slurm: what a job asks of the cluster, by Slurm's names of it.
        wait: go on until all have ended.
        done: runs of the board, by whose records time and memory are judged.
        board: its name.
        told: takes what is to be said of jobs, in sentences.
    """

    jobs: int = 1
    device: str = "cpu"
    array: int | None = None
    slurm: Mapping[str, str] = field(default_factory=dict)
    wait: bool = True
    done: Sequence[Planned] = ()
    board: str = ""
    told: Callable[[str], None] = lambda sentence: None


Launcher = Callable[[Sequence[Planned], Path, RecordStore, Orders, Listener], None]
"""Carries out runs: (runs, folder of cohorts, records, how, who is told)."""

# name -> (where it is, what of the orders is its own, whether its runs see this machine's devices)
LAUNCHERS = {
    "local": ("fedmeki_bench.runs.sweep:local", ("jobs",), True),
    "slurm": ("fedmeki_bench.runs.jobs:slurm", ("array", "slurm", "wait"), False),
    "slurm-here": ("fedmeki_bench.runs.jobs:slurm_here", ("array", "slurm", "wait"), False),
}
"""``slurm-here`` does what ``slurm`` does in processes of this machine, to try it where there is no cluster."""

_OWN = ("jobs", "array", "slurm", "wait")


def check_orders(launcher: str, given: Sequence[str], slurm: Mapping[str, str]) -> None:
    """Refuse a launcher that there isn't, orders that it would not heed, and parameters that Slurm would not.

    Args:
        given: names of the orders that were given.
        slurm: what a job is to ask of Slurm.

    Raises:
        UsageError: names the launchers that there are, or that heed the order; or submitit, which submits, isn't there.
        InputError: a time that is none.
    """
    if launcher not in LAUNCHERS:
        raise UsageError(f"unknown launcher {launcher!r}; {nearest(launcher, LAUNCHERS)}")
    for order in (one for one in _OWN if one in given and one not in LAUNCHERS[launcher][1]):
        others = " or ".join(name for name, (_, own, _) in LAUNCHERS.items() if order in own)
        option = "--no-wait" if order == "wait" else f"--{order}"
        raise UsageError(f"{option} is an option of the launcher {others}, not of {launcher}")
    if "slurm" in LAUNCHERS[launcher][1]:
        checked_parameters(slurm)


def sees_devices(launcher: str) -> bool:
    """Whether a launcher's runs see the devices of this machine, so that one that isn't there can be refused."""
    return LAUNCHERS[launcher][2]


def launcher_named(name: str) -> Launcher:
    """The launcher of that name."""
    module, _, function = LAUNCHERS[name][0].partition(":")
    found: Launcher = getattr(import_module(module), function)
    return found
