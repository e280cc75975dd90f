"""What a clause is, and how a table of clauses is run on a plug-in: whatever it raises becomes a failed clause."""

from __future__ import annotations

import contextlib
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.errors import FedmekiError

if TYPE_CHECKING:
    from fedmeki_bench.conformance.subject import Subject

DOCS = "docs/conformance.md"
LOADS = "loads"

Status = Literal["passed", "failed", "skipped", "undecided"]
Check = Callable[[Any], None]


class Violation(Exception):
    """A clause does not hold: what was found, and what was expected where that is narrower than the clause."""

    def __init__(self, found: str, *, expected: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected


class NotApplicable(Exception):
    """A clause has nothing to check on this plug-in, for this reason."""


class Undecided(Exception):
    """A clause can't be asked on the data at hand; the sentence says why, and how to go on."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One sentence that must be true of every plug-in of a kind.

    Attributes:
        kind: ``rules``, ``stages``, ``tasks`` or ``datasets``.
        name: short and stable, e.g. ``resumes``.
        expected: the sentence.
        check: takes the subject; raises :class:`Violation`, :class:`NotApplicable` or :class:`Undecided`.
    """

    kind: str
    name: str
    expected: str
    check: Check

    @property
    def read(self) -> str:
        """Where the docs explain it."""
        return f"{DOCS}#{LOADS if self.name == LOADS else f'{self.kind}-{self.name}'}"

    def run(self, subject: Subject) -> Outcome:
        """Check the clause; nothing but a keyboard interrupt escapes."""
        expected, found, status = self.expected, "", "passed"
        try:
            with undisturbed():
                self.check(subject)
        except NotApplicable as reason:
            status, found = "skipped", str(reason)
        except Undecided as reason:
            status, found = "undecided", str(reason)
        except Violation as violation:
            status, found, expected = "failed", violation.found, violation.expected or expected
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the boundary: a plug-in may fail in any way, SystemExit included
            status, found = "failed", told(error, subject.file)
        return Outcome(self.name, status, expected, found, self.read)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one clause.

    Attributes:
        clause: its name.
        status: ``passed``, ``failed``, ``skipped`` (nothing to check) or ``undecided`` (not with these data).
        expected: what was expected.
        found: what happened, or why it was skipped or undecided; empty if it passed.
        read: where to read on.
    """

    clause: str
    status: Status
    expected: str
    found: str
    read: str

    @property
    def message(self) -> str:
        """Three sentences: what was expected, what happened, where to read."""
        return f"Expected: {self.expected}\nFound: {self.found}\nRead: {self.read}"

    def as_json(self) -> dict[str, str]:
        """The row of ``--json``."""
        return {name: getattr(self, name) for name in ("clause", "status", "expected", "found", "read")}


def run(
    clauses: Sequence[Clause], subject: Subject, *, told: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Run clauses in order; if loading fails, the other checks are skipped.

    Args:
        clauses: one kind's table.
        subject: the plug-in.
        told: called with each outcome as it comes.
    """
    outcomes: list[Outcome] = []
    broken = False
    for clause in clauses:
        if broken:
            outcome = Outcome(clause.name, "skipped", clause.expected, "it does not load", clause.read)
        else:
            outcome = clause.run(subject)
        broken = broken or (clause.name == LOADS and outcome.status == "failed")
        outcomes.append(outcome)
        told(outcome)
    return outcomes


def told(error: BaseException, file: str = "") -> str:
    """An error in one sentence, with the last frame of its traceback and the last one in the plug-in's own file."""
    text = " ".join(str(error).split())
    sentence = f"it raised {type(error).__name__}{': ' + text if text else ''}"
    if isinstance(error, SyntaxError):
        return sentence
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if file and f.filename == file]
    places = [f"{Path(f.filename).name}:{f.lineno} in {f.name}" for f in (*own[-1:], *frames[-1:])]
    if not places or (isinstance(error, FedmekiError) and not own):
        return f"{sentence}."
    return f"{sentence} ({', raised at '.join(dict.fromkeys(places))})."


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, a plug-in may print, reseed and set what torch lets it set: outside nothing has changed."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        state = random.getstate()
        stack.callback(random.setstate, state)
        if "numpy" in sys.modules:
            import numpy as np

            stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 - the global state is the point
        if "torch" in sys.modules:
            import torch

            stack.callback(torch.random.set_rng_state, torch.random.get_rng_state())
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
            torch.set_num_threads(1)
        yield
