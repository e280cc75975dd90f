"""How much memory is left: of the machine, and of the group (container, batch job) that this process may not leave."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_MEMINFO, _GROUPS, _OWN_GROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available() -> tuple[int, int] | None:
    """Bytes that can still be taken, and all there are, by the tightest of the limits; None where the system says none.

    Pages that only cache files count as free.
    """
    limits = [*_of_machine(), *_of_groups()]
    return min(limits) if limits else None


def resident(process: int | None) -> int:
    """Bytes that a process holds now; 0 where there is none or the system doesn't say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _of_machine() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (line.partition(":") for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        facts = {name: int(value.split()[0]) * 1024 for name, _, value in lines}
        yield facts["MemAvailable"], facts["MemTotal"]


def _of_groups() -> Iterator[tuple[int, int]]:
    """Of the process's own control group and all above it, of either version."""
    try:
        lines = [line.split(":", 2) for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers == "":
            root, names = _GROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, names = _GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(root):
                yield from _of_group(group, *names)


def _of_group(group: Path, limit: str, usage: str, cached: str) -> Iterator[tuple[int, int]]:
    with contextlib.suppress(OSError, ValueError):  # ``max``, or a group without limits
        largest, used = int((group / limit).read_text()), int((group / usage).read_text())
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield max(0, largest - used + int(facts.get(cached, 0))), largest
