"""A person's reasons for the choices of a study, from a YAML file; what it does not give is never made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from fedmeki_bench.boards.board import Board
from fedmeki_bench.bounded import regular_text
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import safe_yaml
from fedmeki_bench.plain import one_line

NO_REASON = "no reason told"

_LARGEST = 1_000_000


class Judgement:
    """Choice -> why it was made."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self._reasons = dict(reasons)

    def why(self, choice: str) -> str:
        """The reason as the person wrote it, or that there is none."""
        return self._reasons.get(choice) or NO_REASON

    @property
    def choices(self) -> list[str]:
        """What reasons are given for."""
        return list(self._reasons)


def judgement_of(board: Board) -> Judgement:
    """The reasons in the file that a board names beside its own; none where it names none.

    Raises:
        InputError: there is no such file, or it is no mapping of choices to texts.
    """
    if board.judgement is None:
        return Judgement({})
    path = Path(board.judgement)
    if board.source is not None and not path.is_absolute():
        path = board.source.parent / path
    try:
        found = safe_yaml(regular_text(path, _LARGEST, "file of reasons"))
    except OSError:
        raise InputError(
            f"{board.where('judgement')}: there is no {path}; leave the key out, or write the file"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {one_line(str(error))}") from error
    except (yaml.YAMLError, ValueError) as error:
        at = getattr(error, "problem_mark", None)
        raise InputError(f"{path}{f':{at.line + 1}' if at else ''}: is no YAML that can be read") from error
    if not isinstance(found, dict) or not all(isinstance(x, str) for pair in found.items() for x in pair):
        raise InputError(f"{path}: reasons are texts under the names of choices, as in 'partition: why these'")
    return Judgement({key: " ".join(one_line(value).split()) for key, value in found.items()})
