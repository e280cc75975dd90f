"""What a run will cost, judged by runs alike that are done: for ``status``, and for the order in which a sweep runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench import registry
from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.records.record import Cost
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.plan import Planned

_INJECTION = 20  # how much longer a round over samples takes where a language model is trained or asked


def cost(entry: Planned, entries: Sequence[Planned]) -> tuple[float | None, float | None, bool]:
    """Seconds and bytes of a run: measured if it is done, else the median of done runs like it, and whether that is so.

    None where no run alike is done.
    """
    if entry.status == "ok" and entry.record is not None:
        own = entry.record.cost
        return own.seconds, own.bytes_up + own.bytes_down, False
    found = alike(entry, entries)
    if not found:
        return None, None, True
    traffic = statistics.median(one.bytes_up + one.bytes_down for one in found)
    return statistics.median(one.seconds for one in found), traffic, True


@dataclass(frozen=True, slots=True)
class Work:
    """What is left to do of a board.

    Attributes:
        runs: how many runs it has.
        left: how many of them are not done.
        seconds, bytes: of those like which some are done, in one process, and sent both ways.
        unknown: how many are like none that is done.
    """

    runs: int
    left: int
    seconds: float
    bytes: float
    unknown: int

    @property
    def text(self) -> str:
        """In a sentence."""
        said = f"{self.runs} run{'s' * (self.runs != 1)}, {self.left} of them to do"
        if not self.left:
            return said
        if self.unknown == self.left:
            return f"{said}: hours and megabytes are not known yet, as no run alike is done"
        without = f", {self.unknown} runs like none of these not counted" if self.unknown else ""
        hours, sent = self.seconds / 3600, self.bytes / 1e6
        takes = f"{hours:.1f} h" if hours >= 0.1 else f"{self.seconds:.0f} s"
        return (
            f"{said}: about {takes} in one process and {sent:.{0 if sent >= 10 else 2}f} MB sent, judged by runs alike "
            f"that are done{without}"
        )


def work(entries: Sequence[Planned]) -> Work:
    """What the runs of a board that are not done will cost, those without data included."""
    left = [cost(entry, entries)[:2] for entry in entries if entry.status != "ok"]
    known = [(seconds, traffic) for seconds, traffic in left if seconds is not None and traffic is not None]
    return Work(
        len(entries), len(left), sum(seconds for seconds, _ in known), sum(traffic for _, traffic in known),
        len(left) - len(known),
    )  # fmt: skip


def alike(entry: Planned, entries: Sequence[Planned], *, closely: bool = False) -> list[Cost]:
    """The costs of done runs like one, over the same tasks; none of another stage where ``closely`` is asked for.

    Alike is the same rule and stage, of rows with the same options if there are any; failing that the same stage,
    failing that any competitor, for it is the stage that costs. A bound is like its own kind alone: a constant
    predictor takes no time, pooled data much.
    """
    bound, *kind = _kind(entry)
    done = [
        (_kind(e), _own(e), e.record.cost)
        for e in entries
        if e.status == "ok" and e.record is not None and e.spec.tasks == entry.spec.tasks
    ]
    ways = [[c for k, own, c in done if (k, own) == (_kind(entry), _own(entry))]]
    ways += [[c for (_, *other), _, c in done if other == kind]]
    if not bound:
        ways += [[c for (limit, _, stage, _), _, c in done if not limit and stage == kind[1]]]
        ways += [[c for (limit, *_), _, c in done if not limit]] * (not closely)
    return next((costs for costs in ways if costs), [])


def peak_memory(entry: Planned, entries: Sequence[Planned]) -> int | None:
    """Bytes that a run will hold at most; None where no run alike is done.

    A process that has run several reports the peak of them all, so every record of the same rule, stage and options is
    an upper bound, and the smallest is the best.
    """
    found = [e for e in entries if (_kind(e), _own(e), e.spec.tasks) == (_kind(entry), _own(entry), entry.spec.tasks)]
    peaks = [e.record.cost.peak_memory for e in found if e.status == "ok" and e.record is not None]
    return min((peak for peak in peaks if peak), default=None)


def longest_first(waiting: Sequence[Planned], entries: Sequence[Planned], data: Path) -> list[Planned]:
    """Runs in the order that ends soonest: the longest first, equal ones as they stand.

    What runs alike took is taken over; other runs are put between them by the samples that they go through, times
    what a sample took in the runs that are done.
    """
    sizes: dict[tuple[str, ...], int] = {}
    work = {id(entry): _work(entry, data, sizes) for entry in waiting}
    done = [
        (e.record.cost.seconds, _work(e, data, sizes)) for e in entries if e.status == "ok" and e.record is not None
    ]
    pace = statistics.median([seconds / amount for seconds, amount in done if amount] or [1.0])

    def seconds(entry: Planned) -> float:
        known = alike(entry, entries, closely=True)
        return statistics.median(one.seconds for one in known) if known else work[id(entry)] * pace

    return sorted(waiting, key=seconds, reverse=True)


def _work(entry: Planned, data: Path, sizes: dict[tuple[str, ...], int]) -> float:
    """How many samples a run goes through, a sample that a language model sees counted more; 0 where nothing trains.

    Args:
        sizes: private samples of the tasks that were looked up before.
    """
    spec = entry.spec
    settings = spec.resolved_profile()
    try:
        if not registry.load("rules", spec.rule).trains:
            return 0.0
        if spec.tasks not in sizes:
            cohorts = open_cohorts(spec, data)
            sizes[spec.tasks] = sum(len(cohorts[task].part("client")) for task in spec.tasks)
    except FedmekiError:  # it will say so itself when it is run
        return 0.0
    times = settings.rounds * settings.local_epochs * settings.participation
    return sizes[spec.tasks] * times * (_INJECTION if "foundation" in spec.params["stage"] else 1)


def _kind(entry: Planned) -> tuple[bool, str, str, bool]:
    """Whether a training fills rows of bounds alone, its rule and stage, and whether the data are pooled."""
    rows = [cell.algorithm for cell in entry.cells] or entry.serves
    stage = entry.spec.stage if entry.cells else f"{entry.spec.stage} {entry.spec.params['pretext']['kind']}"
    return all(a.bound for a in rows), entry.spec.rule, stage, all(a.pooled for a in rows)


def _own(entry: Planned) -> list[object]:
    """The options that make the rows of a training, which may cost more or less than others of their kind."""
    return [algorithm.options for algorithm in ([c.algorithm for c in entry.cells[:1]] or entry.serves[:1])]
