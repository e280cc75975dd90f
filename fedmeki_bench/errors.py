"""Every error a user can meet, each with its documented exit code.

The message is one sentence that says what is wrong, where (file and row), and what to do. Anything else
that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedmeki_bench.plain import one_line


class FedmekiError(Exception):
    """Base of the errors that are reported as one line instead of a traceback."""

    exit_code = 4
    goes_on = False
    """Whether the same command, given again, goes on where this one stopped."""
    again = ""
    """That command, where the command line knows it."""

    def __str__(self) -> str:
        """The sentence in one line, fit to be shown whatever names and texts of strangers stand in it."""
        return one_line(super().__str__())


class CheckFailed(FedmekiError):
    """A check the user asked for did not hold (a stale table, a failed conformance clause)."""

    exit_code = 1


class UsageError(FedmekiError):
    """The command line names something that does not exist or does not fit together."""

    exit_code = 2


class InputError(FedmekiError):
    """Data, a file or an option value is missing or bad."""

    exit_code = 3


class TasksFailed(InputError):
    """Some tasks could not be prepared; the others are.

    Attributes:
        failed: task -> why.
        prepared: the cohorts of the others.
    """

    goes_on = True

    def __init__(self, failed: Mapping[str, str], prepared: Sequence[Any] = ()) -> None:
        self.failed, self.prepared = dict(failed), tuple(prepared)
        named = "; ".join(f"{task}: {reason}" for task, reason in self.failed.items())
        others = f", the other {len(self.prepared)} were" if self.prepared else ""
        plural = "s" if len(self.failed) > 1 else ""
        super().__init__(f"{len(self.failed)} task{plural} could not be prepared{others}: {named}")


class RunFailed(FedmekiError):
    """A training run stopped with an error; its record says which."""

    exit_code = 4


class SiteLost(RunFailed):
    """A place with clients can't be reached any more; the run stands as interrupted and keeps its checkpoint."""

    goes_on = True


class Unfinished(RunFailed):
    """Some of what was asked for failed or is not done; the rest is."""

    goes_on = True


class Interrupted(FedmekiError):
    """The user, or the system, ended the command."""

    exit_code = 130


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """The end of an "unknown name" sentence: the nearest known names, or all of them if few; private ones are not said.

    Returns text such as ``did you mean 'fedavg_s'?``; empty when nothing is known.
    """
    names = sorted({name for name in known if not name.startswith("_")})
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f"known: {shown}" + (", ..." if len(names) > 12 else "")
