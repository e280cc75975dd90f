"""How worker processes begin, and how all processes end: workers with their command, and in order when told to."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing import parent_process
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from fedmeki_bench.files import is_running

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h
_ENDING = ("SIGTERM", "SIGHUP", "SIGINT")
_JOBS = (("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"), ("SLURM_JOB_ID",), ("SUBMITIT_LOCAL_JOB_ID",))
_PRELOADED = (
    "fedmeki_bench.runs.assemble", "fedmeki_bench.runs.execute", "numpy.random", "pandas", "pyarrow.parquet",
    "scipy.stats",
)  # fmt: skip
"""What every run imports sooner or later, from torch to what writes and scores its predictions."""
_begun: list[dict[str, str]] = []  # the environment in which this process's fork server began, once it has


def worker_context() -> BaseContext:
    """How worker processes are started: forked from a server that has imported torch and the project, once for all.

    A new interpreter imports for a second before it trains. The server only imports: it starts no thread and touches no
    accelerator, so what is forked from it is as good as new. It keeps the environment in which it began; where that has
    changed since, and on systems without a fork that is safe, every worker is a new interpreter.
    """
    if not sys.platform.startswith("linux"):  # macOS's own libraries are unsafe after a fork; Windows has none
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    environment = dict(os.environ)
    if not _begun:
        _begun.append(environment)
        forkserver.set_forkserver_preload([*_PRELOADED])
    if _begun[0] != environment:
        return multiprocessing.get_context("spawn")
    forkserver.ensure_running()  # imports while the command gets on with its own work
    return multiprocessing.get_context("forkserver")


def end_with_parent() -> None:
    """Leave when the parent is killed: a pool's worker would otherwise wait for work for ever."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def interrupt_once() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: by KeyboardInterrupt, so that records are written.

    Only the first signal counts, so that a second one can't cut off what the first one set going. A signal that was
    ignored from the start (``nohup``) stays ignored. Only the main thread may call this.
    """

    def interrupt(number: int, frame: Any) -> None:
        for name in _known():
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in _known():
        if signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, interrupt)


def keep_pages() -> None:
    """Let glibc keep the memory of large vectors instead of giving it back and asking for it again; elsewhere nothing.

    A round frees and allocates vectors of a model's size for every client, and pages that are touched for the first
    time cost more than the arithmetic on them. For whole processes, so commands and workers call it, never a library.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 << 20)


def began(process: int) -> str | None:
    """When a process that is there began, as the system counts it; empty where it doesn't say, None if there is none.

    One that is dead and that its parent has not noticed yet is gone.
    """
    try:
        facts = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "" if not Path("/proc/self/stat").exists() and is_running(process) else None
    except OSError:
        return ""
    return None if facts[0] in "ZX" else facts[19]


def job_id() -> str:
    """This process's job on a cluster, e.g. ``123_4``; empty elsewhere."""
    return next(("_".join(os.environ[n] for n in names) for names in _JOBS if all(n in os.environ for n in names)), "")


def _known() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
