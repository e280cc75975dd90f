"""Tasks that can't be prepared: each is left out with its reason, and the others go on."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedmeki_bench.errors import FedmekiError, InputError, TasksFailed


class Failing:
    """The tasks that failed so far, each with what was raised."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}

    @contextmanager
    def around(self, task: str) -> Iterator[None]:
        """Take down what a task's own code raises, and go on after the block."""
        try:
            yield
        except (Exception, SystemExit) as error:  # a task may raise anything
            self.errors[task] = error

    def check(self, prepared: Sequence[Any]) -> None:
        """Raise if a task failed.

        Args:
            prepared: the cohorts of the others.

        Raises:
            InputError: there is nothing for any of them in the input.
            TasksFailed: says which failed, and why.
        """
        if not self.errors:
            return
        first = next(iter(self.errors.values()))
        if not prepared and all(isinstance(error, InputError) for error in self.errors.values()):
            raise first
        raise TasksFailed({task: reason(error) for task, error in self.errors.items()}, prepared) from first


def reason(error: BaseException) -> str:
    """What was raised, with file and line unless it is a sentence of its own."""
    if isinstance(error, FedmekiError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    at = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{at}: {error}"
