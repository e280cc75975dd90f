"""A cell of a board: one algorithm on one task with one seed."""

from __future__ import annotations

from dataclasses import dataclass

from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.rows import Scalar


@dataclass(frozen=True, slots=True)
class Cell:
    """What a board wants to know, and from which run.

    Attributes:
        algorithm, task, seed: the place on the board.
        setting: hash of everything that defines the run but the data; several cells share a run.
        partition: label of the point it belongs to, where the board has several: a partition, faults, values of axes.
        preparation: options with which the data of its run were prepared, as far as the board's axes say.
        not_applicable: why the algorithm has no answer for the task, if so; such a cell needs no run.
    """

    algorithm: Algorithm
    task: str
    seed: int
    setting: str
    not_applicable: str = ""
    partition: str = ""
    preparation: tuple[tuple[str, Scalar], ...] = ()
