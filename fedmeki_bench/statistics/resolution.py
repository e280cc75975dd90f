"""What a grid of a given size can separate at best, before any score is known."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resolution:
    """The finest differences that a table of this size can call significant.

    Attributes:
        algorithms: rows of the table.
        tasks: columns of the table.
        seeds: training seeds per cell.
        level: 1 - the significance level.
        critical_difference: Nemenyi's least significant difference of two mean ranks; None with one algorithm.
        largest_difference: the largest difference of two mean ranks there can be.
        task_p: smallest two-sided p of a sign-flip (or Wilcoxon) test of two algorithms over the tasks.
        task_p_holm: the same after Holm over the comparisons of one reference with all other algorithms.
        seed_p: smallest two-sided p of a sign-flip test over the seeds of one task.
        seed_p_holm: the same after Holm over these comparisons.
    """

    algorithms: int
    tasks: int
    seeds: int
    level: float
    critical_difference: float | None
    largest_difference: int
    task_p: float
    task_p_holm: float
    seed_p: float
    seed_p_holm: float

    @property
    def sentence(self) -> str:
        """One or two plain sentences for the line below a table."""
        if self.critical_difference is None:
            return "One algorithm alone: there is nothing to compare."
        grid = f"With {_count(self.tasks, 'task')} and {self.algorithms} algorithms"
        most = f"{self.largest_difference}"
        if self.critical_difference >= self.largest_difference:
            first = (
                f"{grid} no two mean ranks can differ significantly: {self.critical_difference:.1f} would have to lie "
                f"between them, and at most {most} can (Nemenyi)."
            )
        else:
            first = (
                f"{grid} two mean ranks differ significantly only if at least {self.critical_difference:.1f} of at "
                f"most {most} lie between them (Nemenyi)."
            )
        return f"{first} {self._flips()}"

    def _flips(self) -> str:
        alpha = 1 - self.level
        over = f"Over {_count(self.tasks, 'task')} no sign-flip or Wilcoxon test of two algorithms can fall below"
        if _above(self.task_p, alpha):
            return f"{over} p = {_p(self.task_p)}, so none can be significant here."
        if self.algorithms == 2:
            return f"{over} p = {_p(self.task_p)}."
        family = f"after Holm over {self.algorithms - 1} comparisons with a reference"
        tests = f"{over} p = {_p(self.task_p)}, or {_p(self.task_p_holm)} {family}"
        return f"{tests}, so none of these can be significant here." if _above(self.task_p_holm, alpha) else f"{tests}."


def resolution(algorithms: int, tasks: int, seeds: int, level: float = 0.95) -> Resolution:
    """What a table of this size can separate.

    Nemenyi's critical difference is q sqrt(k (k + 1) / (6 N)) for k algorithms on N tasks, with q the quantile of the
    studentised range (infinite degrees of freedom) over sqrt 2 (Demšar 2006, section 3.2.2); it rests on a normal
    approximation. n differences have 2^n patterns of signs, so the smallest two-sided p is 2 / 2^n, and the smallest
    of m p-values is multiplied by m (Holm 1979).

    Args:
        algorithms: number compared.
        tasks: number they are ranked on.
        seeds: number of training seeds per task.
        level: 1 - the significance level.

    Raises:
        ValueError: a count below 1, or a level outside (0, 1).
    """
    if min(algorithms, tasks, seeds) < 1 or not 0 < level < 1:
        raise ValueError(f"need at least one algorithm, task and seed and a level between 0 and 1, got {level}")
    critical = None
    if algorithms > 1:
        from scipy.stats import studentized_range

        q = float(studentized_range.ppf(level, algorithms, math.inf)) / math.sqrt(2)
        critical = q * math.sqrt(algorithms * (algorithms + 1) / (6 * tasks))
    comparisons = max(1, algorithms - 1)
    task_p, seed_p = smallest_p(tasks), smallest_p(seeds)
    return Resolution(
        algorithms=algorithms,
        tasks=tasks,
        seeds=seeds,
        level=level,
        critical_difference=critical,
        largest_difference=algorithms - 1,
        task_p=task_p,
        task_p_holm=min(1.0, comparisons * task_p),
        seed_p=seed_p,
        seed_p_holm=min(1.0, comparisons * seed_p),
    )


def smallest_p(differences: int) -> float:
    """Smallest two-sided p of an exact sign-flip test of so many differences: 2 / 2^n, and 1 of none."""
    return min(1.0, 2.0 ** (1 - differences))


def _above(p: float, alpha: float) -> bool:
    return p > alpha * (1 + 1e-9)  # 1 - 0.95 is not quite 0.05


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _p(p: float) -> str:
    return f"{p:.3g}"
