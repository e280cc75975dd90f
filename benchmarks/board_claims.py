"""How often what a leaderboard says of differences and places is right, in populations whose truth is known.

    python benchmarks/board_claims.py [--repetitions 1000] [--tables coverage error width best unequal ...]

Prints Markdown tables. A patient is positive with the share given and has 1 to 5 samples; a row's score of a sample is
normal, and its variance is 1 in either class: a part that all rows share (how hard the sample is), a part of the row's
own, and a part of the single training (a quarter), 60 % of each part between patients. Positives stand higher by a
shift that belongs to the training, so the AUROC of a training is Phi(shift / sqrt 2), and the standard deviation of the
shift over seeds is chosen such that the AUROC's is the one given.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from fedmeki_bench.statistics import ScoreTable, over_seeds, rank_intervals, tied_for_first
from fedmeki_bench.statistics.crossed import Contrasts, Crossed, combined, contrasts
from fedmeki_bench.statistics.intervals import auroc_interval
from fedmeki_bench.statistics.maxt import family
from fedmeki_bench.statistics.places import may_be_best, places

OF_TRAINING = 0.25
COMMON = 0.6
"""Share of what is not of the training that all rows have in common."""
OF_PATIENT = 0.6
MOST_SAMPLES = 5
ROWS = 8
ALPHA = 0.05
AGAINST_FIRST = tuple((row, 0) for row in range(1, ROWS))
ALL_PAIRS = tuple((a, b) for a in range(ROWS) for b in range(a))

PATIENTS, POSITIVE, AREAS, SEED_SDS = (60, 200), (0.3, 0.5), (0.8, 0.9), (0.005, 0.015, 0.03, 0.06)


@dataclass(frozen=True)
class World:
    """Patients, their share of positives, the AUROC at the mean shift and the AUROC's standard deviation over seeds."""

    patients: int
    share: float
    area: float
    seed_sd: float = 0.0

    @property
    def cells(self) -> str:
        """The start of a line of a table."""
        return f"| {self.patients} | {100 * self.share:.0f} % | {self.area} |"


WORLDS = tuple(World(g, s, a) for g in PATIENTS for s in POSITIVE for a in AREAS)


@dataclass(frozen=True)
class Board:
    """Rows on one task: what is measured, and each training's true AUROC, (rows, seeds)."""

    data: Crossed
    true: np.ndarray
    positives: int


def shift_of(area: float | np.ndarray) -> np.ndarray:
    return math.sqrt(2) * np.asarray(norm.ppf(area))


@cache
def shift_sd(area: float, sd: float) -> float:
    """Standard deviation of the shift between seeds at which the AUROC's is ``sd``."""
    if sd == 0:
        return 0.0
    return float(brentq(lambda spread: _moments(area, spread)[1] - sd, 0, 3))


def mean_area(world: World) -> float:
    """Mean over seeds, a little below the AUROC at the mean shift."""
    return _moments(world.area, shift_sd(world.area, world.seed_sd))[0]


def _moments(area: float, spread: float) -> tuple[float, float]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    values = norm.cdf((shift_of(area) + spread * nodes) / math.sqrt(2))
    mean = float(weights @ values / weights.sum())
    return mean, math.sqrt(float(weights @ (values - mean) ** 2 / weights.sum()))


def draw(
    rng: np.random.Generator,
    world: World,
    seeds: int,
    *,
    areas: Sequence[float] | None = None,
    unequal: Sequence[float] | None = None,
) -> Board:
    """A board of eight rows.

    Args:
        rng: what it is drawn from.
        world: what all rows have in common.
        seeds: training runs of each row.
        areas: AUROC of each row; that of ``world`` if not given.
        unequal: factor of each row on the shift's spread between seeds.
    """
    g, rows = world.patients, len(areas) if areas is not None else ROWS
    positive = np.zeros(g, dtype=bool)
    while not 2 <= positive.sum() <= g - 2:
        positive = rng.random(g) < world.share
    sizes = rng.integers(1, MOST_SAMPLES + 1, g)
    of = np.repeat(np.arange(g), sizes)
    labels = positive[of]

    def noise(variance: float, *shape: int) -> np.ndarray:
        between = rng.normal(scale=math.sqrt(variance * OF_PATIENT), size=(*shape, g))[..., of]
        return between + rng.normal(scale=math.sqrt(variance * (1 - OF_PATIENT)), size=(*shape, len(of)))

    rest = 1 - OF_TRAINING
    scores = noise(rest * COMMON) + noise(rest * (1 - COMMON), rows, 1) + noise(OF_TRAINING, rows, seeds)
    middle = shift_of(np.full(rows, world.area) if areas is None else np.asarray(areas))[:, None]
    spread = shift_sd(world.area, world.seed_sd) * (np.ones(rows) if unequal is None else np.asarray(unequal))[:, None]
    shift = middle + spread * rng.normal(size=(rows, seeds))
    values, influences = measured(scores + shift[..., None] * labels, labels, sizes)
    return Board(
        Crossed(values, influences, positive.astype(int), np.zeros(rows)),
        norm.cdf(shift / math.sqrt(2)),
        int(positive.sum()),
    )


def measured(scores: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs (rows, seeds) and influences (rows, seeds, patients) of scores without ties, samples sorted by patient.

    What :func:`fedmeki_bench.statistics.influence.auroc_influence` gives, for all rows at once.
    """
    order = scores.argsort(axis=-1)
    sorted_labels = labels[order]
    below = np.where(sorted_labels, (~sorted_labels).cumsum(-1), -sorted_labels.cumsum(-1)).astype(float)
    place = np.empty_like(below)
    np.put_along_axis(place, order, below, axis=-1)
    starts = np.r_[0, sizes.cumsum()[:-1]]
    influences = np.zeros((*scores.shape[:-1], len(sizes)))
    for side, others in ((labels, ~labels), (~labels, labels)):
        mean = place[..., side].mean(axis=-1, keepdims=True)
        patients = len(np.unique(np.repeat(np.arange(len(sizes)), sizes)[side]))
        own = np.where(side, place - mean, 0.0) / side.sum() / others.sum() * math.sqrt(patients / (patients - 1))
        influences += np.add.reduceat(own, starts, axis=-1)
    values = place[..., labels].mean(axis=-1) / (~labels).sum()
    return values, influences


def seeds_apart(found: Contrasts, data: Crossed, pairs: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Half widths if each pair has the seeds' variance of its own, with S - 1 degrees of freedom: two ways.

    Satterthwaite's degrees of freedom of the whole, and the seeds' own t interval added to the patients' as squares.
    """
    first, second = (np.array([pair[i] for pair in pairs]) for i in (0, 1))
    n = data.values.shape[1]
    seeds = (data.values[first] - data.values[second]).var(axis=1, ddof=1) / n
    total = found.patients + seeds
    satterthwaite = student.isf(ALPHA / 2, total**2 / (seeds**2 / (n - 1))) * np.sqrt(total)
    quantiles = norm.isf(ALPHA / 2), student.isf(ALPHA / 2, n - 1)
    return satterthwaite, np.sqrt(quantiles[0] ** 2 * found.patients + quantiles[1] ** 2 * seeds)


def without_seeds(data: Crossed, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """p-values of the trained models' mean on other patients, as if these seeds were all there are."""
    means = (data.values, data.influences)
    one = Crossed(*(part.mean(axis=1, keepdims=True) for part in means), data.strata, data.floor)
    found = contrasts(one, pairs)
    return 2 * student.sf(np.abs(found.difference) / found.se, found.df)


def half_width(found: Contrasts) -> np.ndarray:
    return student.isf(ALPHA / 2, found.df) * found.se


def coverage(
    world: World, seeds: int, repetitions: int, *, unequal: Sequence[float] | None = None
) -> tuple[np.ndarray, float]:
    """(rows - 1,) per cent of 95 % intervals of a difference to the first row that hold 0, and their mean width."""
    rng = np.random.default_rng([1, world.patients, round(1e4 * world.seed_sd), seeds])
    held, width = np.zeros(len(AGAINST_FIRST)), 0.0
    for _ in range(repetitions):
        found = contrasts(draw(rng, world, seeds, unequal=unequal).data, AGAINST_FIRST)
        half = half_width(found)
        held += np.abs(found.difference) <= half
        width += 2 * half.mean()
    return 100 * held / repetitions, width / repetitions


def wrong_words(
    world: World, seeds: int, repetitions: int, *, unequal: Sequence[float] | None = None
) -> tuple[float, float, float]:
    """Per cent of boards of eight equal rows with a wrong statement: of algorithms, of trained models, and by Holm.

    An interval of the family is wrong about algorithms if it leaves out 0, and about trained models if it leaves out
    the difference of their true AUROCs. The third is the control: Holm on p-values that know no seeds.
    """
    rng = np.random.default_rng([2, world.patients, round(1e4 * world.seed_sd), seeds])
    found = np.zeros(3)
    for repetition in range(repetitions):
        board = draw(rng, world, seeds, unequal=unequal)
        compared = contrasts(board.data, AGAINST_FIRST)
        true = board.true.mean(axis=1)
        found += (
            misses_one(compared, np.zeros(ROWS - 1), repetition),
            misses_one(compared, true[1:] - true[0], repetition),
            without_seeds(board.data, AGAINST_FIRST).min() < ALPHA / len(AGAINST_FIRST),  # Holm's first step
        )
    of_algorithms, of_models, by_holm = 100 * found / repetitions
    return float(of_algorithms), float(of_models), float(by_holm)


def misses_one(found: Contrasts, true: np.ndarray, seed: int) -> bool:
    """Whether an interval of the family misses its true difference, without drawing where no draw can decide it."""
    p = 2 * student.sf(np.abs(found.difference - true) / found.se, found.df)
    if p.min() >= ALPHA or p.min() < ALPHA / len(p):
        return bool(p.min() < ALPHA)
    judged = family(found, alpha=ALPHA, seed=seed)
    return bool(((judged.low > true) | (judged.high < true)).any())


def widths(world: World, seeds: int, repetitions: int) -> np.ndarray:
    """(3, 2): mean width and per cent held of 95 % intervals of all pairs: seeds pooled, then :func:`seeds_apart`."""
    rng = np.random.default_rng([3, world.patients, round(1e4 * world.seed_sd), seeds])
    found = np.zeros((3, 2))
    for _ in range(repetitions):
        data = draw(rng, world, seeds).data
        pooled = contrasts(data, ALL_PAIRS)
        for i, half in enumerate((half_width(pooled), *seeds_apart(pooled, data, ALL_PAIRS))):
            found[i] += 2 * half.mean(), 100 * (np.abs(pooled.difference) <= half).mean()
    return found / repetitions


def best_of(world: World, apart: float, repetitions: int, *, tasks: int = 2) -> np.ndarray:
    """(2, 3): of the set of rows that may be the best, per cent that hold the best, per cent that hold all, mean size.

    First line: all pairs of rows on the mean over the tasks, whose patients differ. Second, the control: the bootstrap
    of tasks. On each task a row's AUROC is that of ``world`` plus a part of its own and one of the row on this task,
    each with standard deviation ``apart``; one seed was trained.
    """
    rng = np.random.default_rng([4, world.patients, round(1e4 * apart), tasks])
    found = np.zeros((2, 3))
    names = [str(row) for row in range(ROWS)]
    for repetition in range(repetitions):
        own = apart * rng.normal(size=ROWS)
        areas = [np.clip(world.area + own + apart * rng.normal(size=ROWS), 0.5, 0.995) for _ in range(tasks)]
        boards = [draw(rng, world, 1, areas=one) for one in areas]
        patients = [[f"{task}.{patient}" for patient in range(world.patients)] for task in range(tasks)]
        data = combined([board.data for board in boards], patients, [1 / tasks] * tasks)
        judged = family(contrasts(data, ALL_PAIRS), alpha=ALPHA, seed=repetition)
        certain = [
            (names[a], names[b]) if low > 0 else (names[b], names[a])
            for (a, b), low, high in zip(ALL_PAIRS, judged.low, judged.high, strict=True)
            if low > 0 or high < 0
        ]
        means = dict(zip(names, data.values[:, 0].tolist(), strict=True))
        cells = [
            (name, str(task), 0, float(board.data.values[row, 0]))
            for task, board in enumerate(boards)
            for row, name in enumerate(names)
        ]
        table = ScoreTable.from_rows(cells, dict.fromkeys(map(str, range(tasks)), True))
        drawn = tied_for_first(rank_intervals(table, seed=repetition))
        true = np.mean([board.true[:, 0] for board in boards], axis=0)
        winner = names[int(true.argmax())]
        for i, best in enumerate((may_be_best(places(means, certain)), drawn)):
            found[i] += 100 * (winner in best), 100 * (len(best) == ROWS), len(best)
    return found / repetitions


def mean_over_seeds(world: World, seeds: int, repetitions: int) -> tuple[float, float]:
    """Per cent of intervals of one row's mean over seeds that hold the mean of all seeds, and their mean width."""
    rng = np.random.default_rng([5, world.patients, round(1e4 * world.seed_sd), seeds])
    true, held, width = mean_area(world), 0, 0.0
    for _ in range(repetitions):
        board = draw(rng, world, seeds, areas=[world.area])
        runs = []
        for value, influence in zip(board.data.values[0], board.data.influences[0], strict=True):
            one = auroc_interval(float(value), influence, board.positives, world.patients - board.positives)
            runs.append((float(value), one.low, one.high))
        low, high = over_seeds(runs, (0.0, 1.0))
        held += low <= true <= high
        width += high - low
    return 100 * held / repetitions, width / repetitions


def coverage_table(repetitions: int) -> Iterator[str]:
    spread = " | ".join(f"{seeds} seeds, SD {sd}" for seeds in (3, 5) for sd in SEED_SDS)
    yield f"| patients | positive | AUROC | 1 seed | {spread} |"
    yield "|---" * (4 + 2 * len(SEED_SDS)) + "|"
    for world in WORLDS:
        settings = [(1, 0.0), *((seeds, sd) for seeds in (3, 5) for sd in SEED_SDS)]
        held = [coverage(replace(world, seed_sd=sd), seeds, repetitions)[0].mean() for seeds, sd in settings]
        yield f"{world.cells} {' | '.join(f'{h:.1f}' for h in held)} |"
    for world in CEILING_WORLDS:
        yield f"{world.cells} {coverage(world, 1, repetitions)[0].mean():.1f} |{' – |' * 2 * len(SEED_SDS)}"


CEILING_WORLDS = (World(40, 0.15, 0.95), World(40, 0.15, 0.99), World(200, 0.5, 0.99))
ERROR_WORLDS = (World(60, 0.5, 0.8), World(200, 0.5, 0.8), World(60, 0.3, 0.9), World(200, 0.3, 0.9))


def error_table(repetitions: int) -> Iterator[str]:
    spread = " | ".join(f"SD {sd}" for sd in SEED_SDS)
    yield f"| patients | positive | AUROC | {spread} | control: {spread} |"
    yield "|---" * (3 + 2 * len(SEED_SDS)) + "|"
    for world in ERROR_WORLDS:
        found = [wrong_words(replace(world, seed_sd=sd), 3, repetitions) for sd in SEED_SDS]
        yield f"{world.cells} {' | '.join(f'{f[i]:.1f}' for i in (0, 2) for f in found)} |"


def one_seed_table(repetitions: int) -> Iterator[str]:
    yield "| patients | positive | AUROC | trained models, SD 0 | trained models, SD 0.03 | algorithms, SD 0.03 |"
    yield "|---|---|---|---|---|---|"
    for world in ERROR_WORLDS:
        equal, unequal = (wrong_words(replace(world, seed_sd=sd), 1, repetitions) for sd in (0.0, 0.03))
        yield f"{world.cells} {equal[1]:.1f} | {unequal[1]:.1f} | {unequal[0]:.1f} |"


def width_table(repetitions: int) -> Iterator[str]:
    yield "| patients | seeds | seed SD | pooled | held | pair by pair | held | squares added | held | ratio |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for patients in (100, 200):
        for seeds in (3, 5):
            for sd in (0.015, 0.03, 0.06):
                found = widths(World(patients, 0.5, 0.8, sd), seeds, repetitions)
                cells = " | ".join(f"{width:.3f} | {held:.1f}" for width, held in found)
                yield f"| {patients} | {seeds} | {sd} | {cells} | {found[0, 0] / found[2, 0]:.2f} |"


def best_table(repetitions: int) -> Iterator[str]:
    yield "| tasks | patients | SD of AUROCs | best in the set | all | size | bootstrap: best | all | size |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for tasks, patients in ((2, 60), (2, 200), (12, 60)):
        for apart in (0.0, 0.005, 0.02):
            few = repetitions // (1 if tasks == 2 else 4)
            ours, control = best_of(World(patients, 0.5, 0.8), apart, few, tasks=tasks)
            cells = " | ".join(f"{best:.1f} | {every:.1f} | {size:.1f}" for best, every, size in (ours, control))
            yield f"| {tasks} | {patients} | {apart or 'equal'} | {cells} |"


UNEQUAL = {"one row": (1, 4, 1, 1, 1, 1, 1, 1), "the reference": (4, 1, 1, 1, 1, 1, 1, 1)}


def unequal_table(repetitions: int) -> Iterator[str]:
    yield "| patients | seeds | four times the spread | held, its differences | the others' | wrong boards |"
    yield "|---|---|---|---|---|---|"
    for patients in (60, 200):
        for seeds in (3, 5):
            for name, factors in UNEQUAL.items():
                world = World(patients, 0.5, 0.8, 0.015)
                held, _ = coverage(world, seeds, repetitions, unequal=factors)
                wrong = wrong_words(world, seeds, repetitions, unequal=factors)[0]
                its, others = (held[:1], held[1:]) if factors[0] == 1 else (held, held[:0])
                rest = f"{others.mean():.1f}" if len(others) else "–"
                yield f"| {patients} | {seeds} | {name} | {its.mean():.1f} | {rest} | {wrong:.1f} |"


SEEDS_WORLDS = (World(60, 0.3, 0.9), World(60, 0.5, 0.8), World(200, 0.3, 0.9), World(200, 0.5, 0.8))


def seeds_table(repetitions: int) -> Iterator[str]:
    yield "| patients | positive | AUROC | seed SD | 3 seeds: held | width | 5 seeds: held | width |"
    yield "|---|---|---|---|---|---|---|---|"
    for world in SEEDS_WORLDS:
        for sd in SEED_SDS:
            found = (mean_over_seeds(replace(world, seed_sd=sd), seeds, repetitions) for seeds in (3, 5))
            yield f"{world.cells} {sd} | {' | '.join(f'{held:.1f} | {width:.3f}' for held, width in found)} |"


TABLES = {
    "coverage": coverage_table, "error": error_table, "one_seed": one_seed_table, "width": width_table,
    "best": best_table, "unequal": unequal_table, "seeds": seeds_table,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--tables", nargs="*", choices=list(TABLES), default=list(TABLES))
    options = parser.parse_args()
    for name in options.tables:
        for line in TABLES[name](options.repetitions):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
