"""What is left of an exception that ended a run: a sentence for its record, and the whole traceback beside it."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from fedmeki_bench import registry
from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.files import UNWRITABLE, write_atomically
from fedmeki_bench.plain import plain_text
from fedmeki_bench.records.record import RunError
from fedmeki_bench.runs.plugins import portable

TRACEBACK = "traceback.txt"
"""The file in a run's folder that holds the traceback of the exception that ended it."""


def failure(error: BaseException, plugins: Iterable[tuple[str, str]]) -> RunError:
    """What the record says of an exception.

    One that passed through a plug-in names the plug-in, with the file and line of it that was reached last.

    Args:
        plugins: (kind, name) of those that took part in the run.
    """
    name = type(error).__name__
    if isinstance(error, FedmekiError):
        return RunError(type=name, message=without_places(str(error)))
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        sentence = f"cannot write{f' {error.filename}' if error.filename else ''}: {error.strerror}"
        return RunError(type=name, message=without_places(sentence), where=where)
    sentence = str(error) or name
    files = dict(_files(plugins))
    for frame in reversed(frames):
        if (found := files.get(_resolved(frame.filename))) is not None:
            kind, plugin = found
            at = f"{portable(frame.filename)}, line {frame.lineno}, in {frame.name}"
            told = "" if sentence == name else f": {sentence}"
            sentence = f"{kind[:-1]} {portable(plugin)!r} failed in {at}: {name}{told}"
            break
    return RunError(type=name, message=without_places(sentence), where=where)


def leave_traceback(folder: Path, error: BaseException | None) -> None:
    """Write the traceback of an exception into a run's folder, and remove what an earlier one left there.

    None, and an error that says all there is to know in its sentence, leave no file.
    """
    path = folder / TRACEBACK
    with contextlib.suppress(OSError):  # a full disk: the record, which comes next, says so
        path.unlink(missing_ok=True)
        if error is not None and not isinstance(error, FedmekiError):
            text = without_places("".join(traceback.format_exception(error)))
            write_atomically(path, plain_text(text).encode("utf-8", "backslashreplace"))


def pointer(folder: Path) -> str:
    """The end of a sentence that says where the traceback of a failed run is; empty where it left none."""
    path = folder / TRACEBACK
    return f" (the whole traceback: {path})" if path.is_file() else ""


def without_places(text: str) -> str:
    """A text without the folders of this machine: the working folder goes, the home folder becomes ``~``."""
    here, home = str(Path.cwd().resolve()), str(Path.home())
    text = text.replace(here + "/", "").replace(here, ".")
    return text.replace(home, "~") if len(home) > 1 else text


def _files(plugins: Iterable[tuple[str, str]]) -> Iterator[tuple[Path, tuple[str, str]]]:
    """The source files of plug-ins, with those of the classes of their own packages that they descend from."""
    for kind, name in plugins:
        try:
            value = registry.load(kind, name)
        except FedmekiError:
            continue
        cls = value if isinstance(value, type) else type(value)
        top = cls.__module__.split(".")[0]
        for above in cls.__mro__:
            module = sys.modules.get(above.__module__)
            file = getattr(module, "__file__", None)
            if file is not None and above.__module__.split(".")[0] == top and not _core(above.__module__):
                yield _resolved(file), (kind, name)


def _core(module: str) -> bool:
    return module.startswith("fedmeki_bench.") and not module.startswith("fedmeki_bench.builtin.")


def _resolved(file: str) -> Path:
    return Path(file).resolve()
