"""Guards the versions of built-in plug-ins: their sources, as digests, beside the versions they were released with.

``python tests/plugin_lock.py`` says what moved; with ``--same "reason"`` it notes that the numbers stayed as they were,
and without a reason it accepts those whose version was raised. The lock is ``tests/plugin_lock.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fedmeki_bench import registry, sources
from fedmeki_bench.foundation import tiny_config

LOCK = Path(__file__).with_suffix(".json")
KINDS = (
    "rules",
    "stages",
    "tasks",
    "kinds",
    "datasets",
    "partitions",
    "encoders",
    "pretexts",
    "foundations",
    "metrics",
)


def present() -> dict[str, dict[str, Any]]:
    """``kind/name`` -> version and digest of every built-in plug-in, as the code stands now."""
    found = {}
    for kind in KINDS:
        for name in registry.names(kind):
            plugin = registry.find(kind, name)
            module = plugin.target.partition(":")[0]
            if module.split(".")[0] != sources.CORE:
                continue
            file = sources.module_file(module)
            assert file is not None, module
            digest = sources.digest(module, file, _of_folder(file.parent))
            found[f"{kind}/{name}"] = {"version": _version(kind, name), "digest": digest}
    return found


def _of_folder(folder: Path) -> sources.Follow:
    """What counts as the plug-in's own: its folder, with its neighbours; the core around it does not."""
    return lambda _, file: file.is_relative_to(folder)


def _version(kind: str, name: str) -> int | list[int]:
    if kind == "foundations" and name in tiny_config.STAND_INS:
        return [tiny_config.TEXT_VERSION, tiny_config.RECIPE_VERSION]
    if kind in ("partitions", "encoders", "kinds", "pretexts"):
        return sources.stated_version(kind, name)
    value = registry.load(kind, name)
    return int(getattr(value, "meta", value).version)


def problems(lock: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """What moved without being accounted for."""
    found = [f"{name} is not in the lock" for name in now if name not in lock]
    found += [f"{name} is gone" for name in lock if name not in now]
    for name in lock.keys() & now.keys():
        locked, current = lock[name], now[name]
        if locked["version"] != current["version"]:
            found.append(f"{name}: version {locked['version']} in the lock, {current['version']} in the code")
        elif current["digest"] not in (locked["digest"], *(note["digest"] for note in locked.get("same_numbers", ()))):
            found.append(f"{name}: its source moved, but neither its version nor a note that the numbers are the same")
    return sorted(found)


def accept(lock: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]], reason: str) -> dict[str, dict[str, Any]]:
    """The lock brought up to date: new and raised versions as they are, moved sources noted under ``reason``."""
    fresh = {}
    for name, current in sorted(now.items()):
        locked = lock.get(name)
        if locked is None or locked["version"] != current["version"]:
            fresh[name] = current
            continue
        notes = list(locked.get("same_numbers", ()))
        if current["digest"] not in (locked["digest"], *(note["digest"] for note in notes)) and reason:
            notes.append({"digest": current["digest"], "reason": reason})
        fresh[name] = locked | ({"same_numbers": notes} if notes else {})
    return fresh


def main() -> int:
    """Bring the lock up to date as far as it may be; 1 if something is left to be accounted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same", default="", metavar="REASON", help="why the numbers are the same as before")
    reason = parser.parse_args().same
    lock = json.loads(LOCK.read_text()) if LOCK.exists() else {}
    now = present()
    lock = accept(lock, now, reason)
    LOCK.write_text(json.dumps(lock, indent=1) + "\n")
    left = problems(lock, now)
    sys.stdout.write("\n".join(left or ["the lock is up to date"]) + "\n")
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
