"""The analysis ``continual``: what is kept, forgotten and carried over where tasks follow one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.grid import Column, Entry, Facts
from fedmeki_bench.leaderboard.studies.courses import (
    AVOIDED,
    GAP_JOINT,
    GAP_SPECIALISED,
    JOINT,
    SPECIALISED,
    Course,
    Measured,
    common_seeds,
    courses_of,
    in_seeds,
    measure,
    of_seeds,
    reference_of,
)
from fedmeki_bench.leaderboard.studies.study import Study, StudyRow, StudyTable
from fedmeki_bench.statistics.continual import ACCURACY, BACKWARD, FORGETTING, FORWARD, Estimate

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Context, Page

TITLE = "Continual: what is left of a task after others were learnt?"

_COLUMNS = {
    ACCURACY: ("Accuracy", "Mean over the tasks of their main metric at the end.", True),
    FORGETTING: (
        "Forgetting",
        "Mean over all tasks but the last of the best score after an earlier phase less the score at the end "
        "(Chaudhry et al., ECCV 2018); a negative value means that the task got better.",
        False,
    ),
    AVOIDED: ("Avoided", "By how much less the same row forgets than without rehearsal, on the same patients.", True),
    BACKWARD: (
        "Backward transfer",
        "Mean over all tasks but the last of the score at the end less that after the task's own phase "
        "(Lopez-Paz and Ranzato, NeurIPS 2017).",
        True,
    ),
    FORWARD: (
        "Forward transfer",
        "Mean over all tasks but the first of the score just before the task's own phase less that of the untrained "
        "model; it can be negative (Lopez-Paz and Ranzato, NeurIPS 2017).",
        True,
    ),
    GAP_JOINT: (
        "Gap to joint",
        "Accuracy less that of the same row trained on all tasks at once, for as many rounds.",
        True,
    ),
    GAP_SPECIALISED: (
        "Gap to specialised",
        "Accuracy less the mean of trainings of each task alone, for as many rounds as all phases together.",
        True,
    ),
}

_NOTES = (
    "What is kept where: at the clients, their own rows of earlier tasks on their own disks, which are never sent; the "
    "bytes grow by the units of the earlier tasks and by nothing else. At the server, public samples alone. Which "
    "patients are rehearsed follows from the seed, so not even their numbers are stored. Without rehearsal nothing of "
    "an earlier task is used again.",
    "What the server and the clients remember of their rules, such as moments and control variates, goes on from phase "
    "to phase.",
    "Nothing was chosen by these numbers: all are on the test split, scored after every phase.",
)


def continual(page: Page, context: Context) -> Study:
    """Measures with intervals, the scores after every phase, and curves."""
    facts = page.facts
    mains = {task: names[0] for task, names in page.collected.metrics.items() if names}
    every = courses_of(page.board, page.collected.outcomes)
    courses = [c for c in every if not (c.phased and set(c.order) != set(page.board.tasks) & set(c.order))]
    found = measure(courses, facts, mains, context.read)
    seeds = common_seeds(courses)
    shown = of_seeds(courses, seeds) if seeds else []
    over = _over(seeds, page.board.seeds)
    tables = [_measures_table(found, facts, mains, over), _matrix_table(shown, facts, mains, over)]
    return Study(
        "continual", TITLE, tuple(_verdict(found, facts, seeds)), tuple(t for t in tables if t is not None),
        draw=lambda: _draw(page, shown), notes=(*_cautions(courses, facts), *_NOTES, *_intervals(seeds)),
        content=_content(found, seeds),
    )  # fmt: skip


def _over(seeds: Sequence[int], asked: Sequence[int]) -> str:
    """Which seeds the numbers are over, in a sentence."""
    if not seeds:
        return ""
    if set(asked) <= set(seeds):
        return f"All numbers are over {in_seeds(seeds)}."
    return (
        f"All numbers are over {in_seeds(seeds)}: no training in phases has finished more of the board's "
        f"{in_seeds(sorted(asked))}."
    )


def _intervals(seeds: Sequence[int]) -> list[str]:
    """What the intervals are over, in a sentence."""
    if len(seeds) == 1:
        return [
            "Intervals are 95 %, one by one, and over patients alone, as there is one seed: what another seed would "
            "change is not in them."
        ]
    return ["Intervals are 95 %, over patients and seeds, one by one; with three seeds or fewer they are wide."]


def _verdict(found: Sequence[Measured], facts: Facts, seeds: Sequence[int]) -> list[str]:
    """What was found, the plainest first."""
    plain = [one for one in found if one.course.regime == "sequential" and one.found]
    if not plain:
        why = next((one.why for one in found if one.why), "no finished training has its tasks one after another")
        return [f"Whether a model forgets what it has learnt can't be said here: {why}."]
    said = []
    first = next(iter(plain)).course.algorithm
    for one in plain:
        if one.course.algorithm.name != first.name or one.course.rest != plain[0].course.rest:
            continue
        titles = [facts.task_title(task) for task in one.course.order]
        lost = one.found[FORGETTING]
        learnt = " and ".join(titles[1:])
        sentence = f"Taught {titles[0]} first and then {learnt}, the model of {first.title} {_lost(lost)}"
        helped = [
            other for other in found
            if AVOIDED in other.found and (other.course.algorithm.name, other.course.order, other.course.rest)
            == (first.name, one.course.order, one.course.rest)
        ]  # fmt: skip
        if helped and lost.low > 0:
            best = min(helped, key=lambda other: other.found[FORGETTING].value)
            sentence += f"; when {best.course.rehearsing}, {best.found[FORGETTING].value:.2f}"
        said.append(sentence + ".")
    said[0] += " A score of 1 is perfect and 0.5 is guessing, where it is an AUROC."
    clear = [one for one in found if AVOIDED in one.found]
    if clear:
        sure = [one for one in clear if one.found[AVOIDED].low > 0]
        said.append(
            f"Of {len(clear)} trainings that rehearse and differ from those that do not, {len(sure)} forget less by "
            f"more than {'patients and seeds explain' if len(seeds) > 1 else 'patients alone explain'}."
        )
    if len(seeds) == 1:
        said.append(f"All of this is over {in_seeds(seeds)} alone, and the intervals over patients alone.")
    return said


def _lost(one: Estimate) -> str:
    """What became of earlier tasks, in a clause that claims no more than the interval."""
    between = f"95 % interval {one.low:.2f} to {one.high:.2f}"
    if one.low > 0:
        return f"lost {one.value:.2f} of its score on what it had learnt before ({between})"
    if one.high < 0:
        return f"got better by {-one.value:.2f} at what it had learnt before ({between} of loss)"
    return f"is not shown to have lost anything of what it had learnt before ({one.value:.2f} of its score, {between})"


def _within(one: Estimate) -> str:
    return f"[{one.low:.2f}, {one.high:.2f}]"


def _measures_table(
    found: Sequence[Measured], facts: Facts, mains: Mapping[str, str], over: str
) -> StudyTable | None:  # fmt: skip
    known = [name for name in _COLUMNS if any(name in one.found for one in found)]
    if not known:
        return None
    spec = facts.metrics.get(mains.get(found[0].course.order[0], ""))
    lower = spec is not None and spec.direction == "lower"
    columns = tuple(
        Column(name, _COLUMNS[name][0], _COLUMNS[name][1],
               higher=not lower if name == ACCURACY else _COLUMNS[name][2])
        for name in known
    )  # fmt: skip
    rows: list[StudyRow] = []
    lacking: list[str] = []
    for one in found:
        name = f"{one.course.name}: " + " → ".join(facts.task_title(task) for task in one.course.order)
        if one.why:
            lacking.append(f"{name} is left out: {one.why}.")
            continue
        entries = tuple(_entry(one.found.get(column), signed=column != ACCURACY) for column in known)
        rows.append(StudyRow(name, entries, one.course.algorithm.name))
        lacking += [f"{name} has no {gap}: {why}." for gap, why in one.lacking.items()]
    notes = [over, *lacking]
    if lower:
        notes.append(
            "The main metric is better when lower. Accuracy is that metric itself; of the differences, more forgetting "
            "is worse and a positive transfer or gap is better, as everywhere."
        )
    return StudyTable("continual", "Kept, forgotten, carried over", "Training", columns, tuple(rows), tuple(notes))


def _entry(one: Estimate | None, *, signed: bool) -> Entry:
    if one is None:
        return Entry("–")
    return Entry(f"{one.value:+.3f}" if signed else f"{one.value:.3f}", one.value, _within(one))


def _matrix_table(courses: Sequence[Course], facts: Facts, mains: Mapping[str, str], over: str) -> StudyTable | None:
    """R: the scores of every task after every phase, the mean over the seeds of the measures."""
    phased = [c for c in courses if c.phased]
    tasks = list(dict.fromkeys(e.task for c in phased for record in c.records for e in record.phases))
    if not tasks:
        return None
    columns = []
    for task in tasks:
        metric = facts.metrics.get(mains.get(task, ""))
        columns.append(
            Column(task, facts.task_title(task), "On test, mean over seeds: "
                   + (metric.title if metric else "main metric") + ".",
                   higher=metric is None or metric.direction == "higher", term="")
        )  # fmt: skip
    rows = []
    for course in phased:
        order = [facts.task_title(task) for task in course.order]
        for phase in range(len(order) + 1):
            when = "untrained" if phase == 0 else f"after {order[phase - 1]}"
            entries = tuple(_mean(course, phase, task) for task in tasks)
            rows.append(StudyRow(f"{course.name}, {' → '.join(order)}: {when}", entries, course.algorithm.name))
    note = (
        f"{over} Rows of one training stand in the order of its phases; a task that was not learnt yet is scored, too."
    )
    return StudyTable(
        "phases", "Scores after every phase (R)", "After which phase", tuple(columns), tuple(rows), (note,), heat=True
    )  # fmt: skip


def _mean(course: Course, phase: int, task: str) -> Entry:
    values = []
    for seed in course.runs:
        outcome = course.at(phase, task, seed)
        main = next(iter(outcome.evaluation.metrics.values()), None) if outcome and outcome.evaluation else None
        if main is not None and main.value is not None:
            values.append(main.value)
    whole = values and len(values) == len(course.runs)
    return Entry(f"{fmean(values):.3f}", fmean(values)) if whole else Entry("–")


def _cautions(courses: Sequence[Course], facts: Facts) -> list[str]:
    """What these runs can't show."""
    phased = [c for c in courses if c.phased]
    if not phased:
        return []
    found = []
    tasks = sorted({task for c in phased for task in c.order if task in facts.tasks})
    apart = [
        f"{facts.task_title(a)} and {facts.task_title(b)}" for a, b in combinations(tasks, 2)
        if not set(facts.tasks[a].arrays) & set(facts.tasks[b].arrays)
    ]  # fmt: skip
    found.append(
        "In the aggregated view tasks forget one another inside a modality only, where they share an encoder"
        + (f"; {', '.join(apart)} share none, so that nothing is forgotten there by construction, and a 0 is no result."
           if apart else ".")
    )  # fmt: skip
    rounds = {len(record.history) // len(c.order) for c in phased for record in c.records}
    said = " or ".join(map(str, sorted(rounds)))
    found.append(
        f"Phases have {said} rounds here. Forgetting takes rounds to show: short phases show nothing, and that nothing "
        "was forgotten in them says little."
    )
    beside = {c.algorithm.title: (c, reference_of(c, courses, SPECIALISED)) for c in phased}
    others = [
        f"{own} with {ref.algorithm.title}" for own, (c, ref) in beside.items()
        if ref is not None and ref.algorithm.rule != c.algorithm.rule
    ]  # fmt: skip
    if others:
        found.append(f"The gap to specialised is to another rule's tasks alone: {', '.join(others)}.")
    if not any(c.regime == JOINT for c in courses):
        found.append("The board has no training on all tasks at once, so that there is no gap to it.")
    return found


def _draw(page: Page, courses: Sequence[Course]) -> Sequence[Any]:
    from fedmeki_bench.leaderboard.studies import continual_pictures as pictures

    return pictures.draw(page, courses)


def _content(found: Sequence[Measured], seeds: Sequence[int]) -> dict[str, Any]:
    """The same as plain values; ``seeds`` are those of every measure, a course's own those that it finished."""
    return {
        "seeds": list(seeds),
        "courses": [
            {
                "algorithm": one.course.algorithm.name, "order": list(one.course.order), "regime": one.course.regime,
                "rest": one.course.rest, "seeds": one.course.seeds, "why": one.why, "lacking": dict(one.lacking),
                "measures": {name: [e.value, e.low, e.high] for name, e in one.found.items()},
            }
            for one in found
        ],
    }  # fmt: skip
