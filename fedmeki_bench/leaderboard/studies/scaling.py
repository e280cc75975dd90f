"""The analysis ``scaling``: what more labels, a bigger model and pre-training bring, as laws with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.studies.curves import (
    LABELS,
    PARAMETERS,
    Cell,
    Measured,
    cells_of,
    curves_of,
    on_common_seeds,
)
from fedmeki_bench.leaderboard.studies.study import Study, StudyRow, StudyTable
from fedmeki_bench.statistics import pareto

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Context, Page

TITLE = "Scaling: what more labels and a bigger model bring"
ENOUGH_TASKS = 6
"""Tasks from which exponents are correlated with what tasks are like."""

LAW = (
    "Law",
    "error = E + A times size to the power of minus alpha, where the error is 1 less the main metric. E is what no "
    "size removes, alpha how fast the rest goes: with 0.5, four times the size halves it. Fitted by weighted least "
    "squares on the logit of the error; intervals (95 %) come from drawing patients and seeds again. E is not "
    "identified where most draws find it at a bound, 0 or the smallest error: then larger sizes would have to tell it.",
)
SEEN = (
    "Falls, rises, no scaling seen",
    "Whether the interval of alpha lies above 0, below, or holds it. No scaling seen is not no scaling: a small test "
    "split sees little.",
)
SLOPE = (
    "Slope as published",
    "Of the logarithm of the metric on the logarithm of the size, by least squares, as BioVFM reports it (Liu et al., "
    "arXiv 2505.09329). The metric is bounded, so it is no law and has no interval; it is there to be compared.",
)


def scaling(page: Page, context: Context) -> Study:
    """Laws over labelled patients and over parameters, their cost, and what is cheapest."""
    cells = cells_of(page)
    curves = curves_of(cells, page, context)
    tables = [_laws(curves, page), _costs(curves, page), _front(cells, page), _factors(curves, page)]
    return Study(
        "scaling", TITLE, tuple(_verdict(curves, cells, page)), tuple(table for table in tables if table is not None),
        draw=_drawing(curves, page), notes=tuple(_notes(page, cells)), content=_content(curves),
    )  # fmt: skip


def _verdict(curves: Sequence[Measured], cells: Sequence[Cell], page: Page) -> list[str]:
    """What was found, the plainest first."""
    if not curves:
        return [
            "Nothing here says what more data or a bigger model bring: no axis of this board varies them, or too few "
            "of its runs are done."
        ]
    said = []
    for over, more in ((LABELS, "labelled patients"), (PARAMETERS, "parameters")):
        mine = [curve for curve in curves if curve.over == over]
        fitted = [curve for curve in mine if curve.law is not None]
        if fitted:
            counts = {word: sum(c.law.seen == word for c in fitted if c.law) for word in ("falls", "rises")}
            rest = len(fitted) - sum(counts.values())
            first = f"With more {more}, errors fall in {counts['falls']} of {len(fitted)} comparisons"
            said.append(
                first + (f", rise in {counts['rises']}" if counts["rises"] else "")
                + (f", and in {rest} it can't be told from no change at all." if rest else ".")
            )  # fmt: skip
            best = max(fitted, key=lambda c: _ratio(c))
            said.append(
                f"The most was gained on {page.facts.task_title(best.task)} ({best.named}): from {best.sizes[0]:,.0f} "
                f"to {best.sizes[-1]:,.0f} {more} the error went from {best.errors[0]:.3f} to {best.errors[-1]:.3f}."
            )
        elif mine:
            said.append(f"Of {len(mine)} curves over {more} none could be fitted: {mine[0].reason}.")
    said += _pretrained(cells, page)
    return said


def _ratio(curve: Measured) -> float:
    first, last = curve.errors[0], curve.errors[-1]
    return first / last if last > 0 else math.inf


def _pretrained(cells: Sequence[Cell], page: Page) -> list[str]:
    """In how many settings a start from a pre-training did better than one from scratch; a sentence for each."""
    axes = dict.fromkeys(axis for cell in cells for axis in cell.place)
    gains: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for axis in axes:
        beside: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in cells:
            rest = tuple((a, v) for a, v in cell.place.items() if a != axis)
            beside.setdefault((cell.row, cell.task, rest), []).append(cell)
        for mine in beside.values():
            scratch = next((cell for cell in mine if not cell.pretext), None)
            for cell in mine if scratch is not None else ():
                common = scratch.values.keys() & cell.values.keys() if scratch is not None else set()
                if cell.pretext and common and scratch is not None:
                    gain = cell.under(common).signed - scratch.under(common).signed
                    gains.setdefault((cell.pretext, cell.place[axis]), []).append((gain, cell.task))
    pretexts = [pretext for pretext, _ in gains]
    said = []
    for (pretext, value), found in gains.items():
        by = pretext if pretexts.count(pretext) == 1 else value.removeprefix("pretrain ")
        better = sum(gain > 0 for gain, _ in found)
        first = f"Started from pre-training without labels ({by}), the metric is better in {better} of {len(found)} "
        mean = ""
        if len({_scale(task, page) for _, task in found}) == 1:  # else they can't be added up
            mean = f", by {sum(gain for gain, _ in found) / len(found):+.3f} in the mean (above 0 is better)"
        said.append(f"{first}settings{mean}: a count over settings that share patients and seeds, no test.")
    return said


def _scale(task: str, page: Page) -> Any:
    """Metrics of one scale can be added up: those between 0 and 1, or one metric."""
    name = next(iter(page.collected.metrics.get(task, ())), None)
    spec = page.facts.metrics.get(name) if name else None
    return (0.0, 1.0) if spec is not None and tuple(spec.range) == (0.0, 1.0) else name


def _laws(curves: Sequence[Measured], page: Page) -> StudyTable | None:
    if not curves:
        return None
    columns = (
        Column("over", "Over", "What grows along the curve.", term=""),
        Column("sizes", "Sizes", "The smallest and the largest, and how many.", term=""),
        Column("exponent", "Alpha", "The exponent of the law, with its interval.", term=""),
        Column("floor", "E", "The error that no size removes, with its interval.", term=""),
        Column("doubling", "Gain per doubling", "By how much the error would fall if the largest size were doubled, by "
               "the law, with its interval.", higher=True),
        Column("seen", "Seen", "What the interval of alpha says, or why no law was fitted.", term=""),
        Column("slope", "Slope as published", "Logarithm of the metric on the logarithm of size.", term=""),
    )  # fmt: skip
    rows = []
    for curve in curves:
        law = curve.law
        sizes = Entry(f"{curve.sizes[0]:,.0f} to {curve.sizes[-1]:,.0f} ({len(curve.sizes)})")
        slope = Entry("–") if curve.slope is None else Entry(f"{curve.slope:.3f}", curve.slope)
        if law is None:
            middle = (Entry("–"), Entry("–"), Entry("–"), Entry(f"no fit: {curve.reason}"))
        else:
            middle = (
                Entry(f"{law.exponent:.2f}", law.exponent, _interval(law.exponent_interval)),
                Entry(f"{law.floor:.3f}", law.floor, _interval(law.floor_interval, 3))
                if law.floor_identified else Entry("not identified"),
                Entry(f"{law.doubling:.3f}", law.doubling, _interval(law.doubling_interval, 3)), Entry(law.seen),
            )  # fmt: skip
        rows.append(StudyRow(_name(curve, page), (Entry(curve.over), sizes, *middle, slope), curve.row))
    return StudyTable(
        "scaling_laws", "Laws", "Curve", columns, tuple(rows),
        ("Sizes of one curve are nested subsets of the same patients, so that luck and size are not mixed.",),
        (LAW, SEEN, SLOPE),
    )  # fmt: skip


def _costs(curves: Sequence[Measured], page: Page) -> StudyTable | None:
    """What doubling a size costs, beside what it brings."""
    shown = [curve for curve in curves if len(curve.cells) > 1]
    if not shown:
        return None
    columns = (
        Column("seconds", "Seconds", "Of a run with the smallest and with the largest size, its pre-training included.",
               term=""),
        Column("twice", "Times per doubling", "By what factor seconds grow when the size doubles.", higher=False),
        Column("megabytes", "MB sent", "Of a run, both ways, all clients and rounds, its pre-training included.",
               term=""),
        Column("more", "Times per doubling (MB)", "By what factor megabytes grow when the size doubles.", higher=False),
    )  # fmt: skip
    rows = []
    for curve in shown:
        first, last = curve.cells[0], curve.cells[-1]
        doublings = math.log2(curve.sizes[-1] / curve.sizes[0])
        entries = []
        for low, high in ((first.seconds, last.seconds), (first.megabytes, last.megabytes)):
            factor = (high / low) ** (1 / doublings) if low > 0 and high > 0 else None
            entries += [
                Entry(f"{low:,.1f} to {high:,.1f}", high),
                Entry("–") if factor is None else Entry(f"{factor:.2f}", factor),
            ]
        if first.pooled:  # nothing is sent
            entries[2:] = [Entry("–"), Entry("–")]
        rows.append(StudyRow(f"{_name(curve, page)}, over {curve.over}", tuple(entries), curve.row))
    return StudyTable("scaling_costs", "What a doubling costs", "Curve", columns, tuple(rows))


def _front(cells: Sequence[Cell], page: Page) -> StudyTable | None:
    """Settings that no other beats at less cost."""
    rows = []
    for task in dict.fromkeys(cell.task for cell in cells):
        sent = on_common_seeds([cell for cell in cells if cell.task == task and not cell.pooled])
        mine = {str(number): cell for number, cell in enumerate(sent)}
        fronts = {
            what: pareto({name: (getattr(cell, what), cell.signed) for name, cell in mine.items()})
            for what in ("megabytes", "seconds")
        }
        for name in dict.fromkeys([*fronts["megabytes"], *fronts["seconds"]]):
            cell = mine[name]
            words = [said for what, said in (("megabytes", "MB"), ("seconds", "seconds")) if name in fronts[what]]
            entries = (
                Entry(f"{cell.megabytes:,.2f}", cell.megabytes), Entry(f"{cell.seconds:,.1f}", cell.seconds),
                Entry(f"{cell.score:.3f}", cell.score), _count(cell.sizes[LABELS]), _count(cell.sizes[PARAMETERS]),
                Entry(" and ".join(words)),
            )  # fmt: skip
            title = f"{page.facts.task_title(task)}, {_row(cell.row, page)}: {cell.named or 'base'}"
            rows.append(StudyRow(title, entries, cell.row))
    if not rows:
        return None
    higher = {cell.higher for cell in cells}
    columns = (
        Column("megabytes", "MB sent", "Of a run, its pre-training included.", higher=False, term=""),
        Column("seconds", "Seconds", "Of a run, its pre-training included.", higher=False, term=""),
        Column("score", "Metric", "The task's main metric, mean over seeds.",
               higher=higher.pop() if len(higher) == 1 else None, term=""),
        Column("labels", "Labelled patients", "Of all clients together.", term=""),
        Column("parameters", "Parameters", "Trained, of encoders and decoders.", term=""),
        Column("front", "Cheapest by", "Nothing that costs less in this has a metric as good.", term="Cheapest by"),
    )  # fmt: skip
    note = "A value by chance the best of its neighbours stands here, too: this is a list of what was measured."
    return StudyTable("scaling_front", "What is worth its cost", "Setting", columns, tuple(rows), (note,))


def _count(size: float) -> Entry:
    return Entry(f"{size:,.0f}", size) if size > 0 else Entry("–")


def _factors(curves: Sequence[Measured], page: Page) -> StudyTable | None:
    """Whether exponents go with what tasks are like; of very few tasks nothing is said."""
    by_task: dict[str, list[float]] = {}
    for curve in curves:
        if curve.law is not None and curve.over == LABELS:
            by_task.setdefault(curve.task, []).append(curve.law.exponent)
    if len(by_task) < ENOUGH_TASKS:
        return None
    import numpy as np
    from scipy.stats import rankdata

    exponents = [float(np.median(by_task[task])) for task in by_task]
    classes = [len(page.facts.tasks[task].classes) or 2 if task in page.facts.tasks else 2 for task in by_task]
    patients = [max(c.sizes[-1] for c in curves if c.task == task and c.over == LABELS) for task in by_task]
    rows = []
    for name, values in (("Number of classes", classes), ("Labelled patients at most", patients)):
        if len(set(values)) < 2:
            continue
        r = float(np.corrcoef(rankdata(exponents), rankdata(values))[0, 1])
        width = 1.96 * math.sqrt(1.06 / (len(by_task) - 3))  # of Fisher's z, for ranks
        z = math.atanh(max(-0.999999, min(0.999999, r)))
        rows.append(StudyRow(name, (Entry(f"{r:.2f}", r, _interval((math.tanh(z - width), math.tanh(z + width)))),)))
    column = Column("rank", "Rank correlation", f"Spearman's, of alpha over {len(by_task)} tasks, with its interval by "
                    "Fisher's z (Fieller et al. 1957).", term="Rank correlation")  # fmt: skip
    return StudyTable("scaling_factors", "What tasks scale", "Factor", (column,), tuple(rows)) if rows else None


def budget_words(page: Page, cells: Sequence[Cell]) -> str:
    """Whether runs of a curve had equal steps or equal epochs, which changes its slope."""
    steps = {
        (profile.get("local_steps") or 0, profile.get("local_epochs"))
        for cell in cells for o in cell.outcomes.values() if o.record is not None
        for profile in [o.record.params.get("profile", {})]
    }  # fmt: skip
    by = [
        f"equal steps, {s} of each task at a client per round"
        if s
        else f"equal epochs, {e} per round, so that fewer labels also mean fewer steps"
        for s, e in sorted(steps, key=str)
    ]
    return f"Budget: {'; '.join(by)}." if by else ""


def _notes(page: Page, cells: Sequence[Cell]) -> list[str]:
    found = [
        budget_words(page, cells),
        "Learning rates are the same for all sizes unless an axis varies them, which is not fair to every size.",
        "Costs of runs that start from pre-training hold that of the pre-training whole, also where several share it.",
    ]
    settings = {(cell.row, cell.task, *cell.place.items()) for cell in cells}
    asked = {
        (o.cell.algorithm.name, o.cell.task, o.cell.partition) for o in page.collected.outcomes
        if not (o.cell.algorithm.bound and not o.cell.algorithm.pooled) and o.status != "ok"
    }  # fmt: skip
    for over in (LABELS, PARAMETERS):
        if lacking := sum(not cell.sizes[over] > 0 for cell in cells):
            found.append(f"{lacking} settings have no count of {over}, and are on no curve over them.")
    if asked:
        found.append(
            f"{len(asked)} settings have no number under some seed; curves are of the {len(settings)} that do."
        )
    return [note for note in found if note]


def _name(curve: Measured, page: Page) -> str:
    return f"{page.facts.task_title(curve.task)}, {_row(curve.row, page)}: {curve.named}"


def _row(row: str, page: Page) -> str:
    titles = {o.cell.algorithm.name: o.cell.algorithm.title for o in page.collected.outcomes}
    return titles.get(row, row)


def _interval(ends: tuple[float, float], digits: int = 2) -> str:
    return f"[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def _drawing(curves: Sequence[Measured], page: Page) -> Callable[[], Sequence[Any]]:
    def draw() -> Sequence[Any]:
        from fedmeki_bench.leaderboard.studies import scaling_pictures as pictures

        titles = {curve.task: page.facts.task_title(curve.task) for curve in curves}
        return pictures.draw(curves, titles, budget_words(page, [cell for c in curves for cell in c.cells]))

    return draw


def _content(curves: Sequence[Measured]) -> dict[str, Any]:
    """The curves as plain values."""
    return {
        "curves": [
            {
                "task": c.task, "row": c.row, "over": c.over, "place": dict(c.place), "sizes": c.sizes,
                "errors": c.errors, "reason": c.reason, "slope": c.slope,
                "law": None if c.law is None else {
                    "floor": c.law.floor, "factor": c.law.factor, "exponent": c.law.exponent,
                    "exponent_interval": list(c.law.exponent_interval), "floor_interval": list(c.law.floor_interval),
                    "floor_identified": c.law.floor_identified,
                    "doubling": c.law.doubling, "doubling_interval": list(c.law.doubling_interval),
                },
            }
            for c in curves
        ]
    }  # fmt: skip
