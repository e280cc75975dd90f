"""The analysis ``stability``: what of a board stands under other choices, after PCS inference (Yu and Kumbier 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from fedmeki_bench.boards.claims import Claim
from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.studies.beside_tables import beside_tables
from fedmeki_bench.leaderboard.studies.judged import (
    Judged,
    base_ranks,
    best_in,
    claims_read_off,
    judge,
    ranks_in,
)
from fedmeki_bench.leaderboard.studies.study import Study, StudyRow, StudyTable
from fedmeki_bench.leaderboard.studies.worlds import Worlds, worlds_of_board
from fedmeki_bench.statistics.perturbation import moves, one_at_a_time, orders, perturbation_interval

if TYPE_CHECKING:
    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.leaderboard.collect import Collected
    from fedmeki_bench.leaderboard.grid import Facts
    from fedmeki_bench.leaderboard.page import Context, Page

TITLE = "Stability: would other choices have said the same?"
KEPT = 0.9
"""A pair of rows keeps its order if it is the same in so many of the cells that decide it."""
_SPELT = 3
_SHOWN = 20

WORLD = (
    "World",
    "One way in which everything was done: one value of every axis (partition, preparation, options) and one seed. "
    "Worlds are choices and no sample of anything, so shares of them are counts, not probabilities.",
)
VERDICTS = (
    "Held, tied, failed, undefined",
    "Of a claim in one world: the values there agree with it, are equal, contradict it, or are not there. A difference "
    "counts however small it is; whether other patients would show it is the matter of the tables below.",
)


def stability(page: Page, context: Context) -> Study:
    """Claims in every world, intervals over worlds, what moves the numbers, and what was screened out."""
    return study_of_board(page.board, page.collected, page.facts)


def study_of_board(board: Board, collected: Collected, facts: Facts) -> Study:
    """The study of a board's records, with what these hold beside its cells."""
    return study_of_worlds(board, worlds_of_board(board, collected, facts), collected)


def study_of_worlds(
    board: Board, worlds: Worlds, collected: Collected, repeated: Mapping[str, str] | None = None
) -> Study:  # fmt: skip
    """As :func:`study_of_board`, of worlds that are at hand.

    Args:
        repeated: row -> how well a run of it agreed with its repetition, where that was asked for.
    """
    return study_of(worlds, board.claims_made, further=beside_tables(worlds, collected, repeated))


def study_of(
    worlds: Worlds, claims: Sequence[Claim] = (), *, further: Sequence[StudyTable] = (), notes: Sequence[str] = ()
) -> Study:  # fmt: skip
    """The study of a board's numbers in all its worlds.

    Args:
        worlds: the numbers.
        claims: as the board makes them; without any, they are read off its base, which the study says.
        further: tables of what else is known: other sites, wordings, cost.
        notes: sentences of the method beside the usual ones.
    """
    judged = [judge(claim, worlds) for claim in claims or claims_read_off(worlds)]
    winners = [best_in(worlds, world) for world in range(len(worlds.worlds))]
    tables = [
        _claims_table(judged, made=bool(claims)), _rows_table(worlds, winners), *_moves_tables(worlds), *further,
    ]  # fmt: skip
    return Study(
        "stability", TITLE, tuple(_verdict(worlds, judged, winners, made=bool(claims))),
        tuple(table for table in tables if table is not None), draw=_drawing(worlds, judged),
        notes=(*_screening(worlds), *_failures(worlds), *notes), content=_content(worlds, judged, winners),
    )  # fmt: skip


def _verdict(
    worlds: Worlds, judged: Sequence[Judged], winners: Sequence[Sequence[str]], *, made: bool
) -> list[str]:  # fmt: skip
    """What was found, the plainest first."""
    decided = [found for found in winners if found]
    first = {found[0] for found in decided if len(found) == 1}
    ever = list(dict.fromkeys(row for found in decided for row in found))
    n = len(worlds.worlds)
    said = [f"Done in {n} ways that all seem reasonable, this comparison"]
    if not decided:
        return [f"In none of {n} worlds is there enough signal to compare the rows."]
    if len(ever) == 1:
        said[0] += f" has the same winner every time: {worlds.rows[ever[0]]}."
    elif len(first) > 1 or len(ever) > 1:
        counts = sorted(((sum(row in f for f in decided), row) for row in ever), key=lambda c: (-c[0], c[1]))
        top = ", ".join(f"{worlds.rows[row]} in {k}" for k, row in counts[:_SPELT])
        more = f", {len(counts) - _SPELT} more in the others" if len(counts) > _SPELT else ""
        said[0] += f" has {len(ever)} different winners: {top}{more}."
    everywhere = [one for one in judged if one.judged and one.count("held") == one.judged]
    claims = "claim" if len(judged) == 1 else "claims"
    source = f"{claims} that this board makes" if made else f"{claims} read off this board's base"
    n = len(everywhere)
    said.append(f"Of {len(judged)} {source}, {n} hold{'s' * (n == 1)} in every world.")
    pairs = orders(_cells(worlds))
    if pairs.kept:
        kept = sum(share >= KEPT for share in pairs.kept)
        said.append(
            f"Of {len(pairs.kept)} pairs of rows, {kept} keep{'s its' if kept == 1 else ' their'} order in "
            f"{100 * KEPT:.0f} % of the cells (tasks in worlds) where they differ; the median pair keeps it in "
            f"{100 * (pairs.median or 0):.0f} %, the steadiest in {100 * pairs.kept[-1]:.0f} %, and "
            f"{100 * pairs.tied:.0f} % of all cells are ties."
        )
    return said


def _cells(worlds: Worlds) -> dict[str, list[float | None]]:
    """Competitor -> its value in every cell that carries signal, in one order."""
    cells = [
        (task, world)
        for task in worlds.ranked_tasks
        for world in range(len(worlds.worlds))
        if (task, world) not in worlds.silent
    ]
    return {row: [worlds.score(row, task, world) for task, world in cells] for row in worlds.competitors}


def _claims_table(judged: Sequence[Judged], *, made: bool) -> StudyTable | None:
    if not judged:
        return None
    columns = (
        Column("held", "Held", "Worlds in which the claim holds.", term=""),
        Column("tied", "Tied", "Worlds in which both sides are equal.", term=""),
        Column("failed", "Failed", "Worlds in which the opposite holds.", term=""),
        Column("undefined", "Undefined", "Worlds in which a number is lacking.", term=""),
        Column("of", "Worlds", "Worlds in which it was judged; those without signal are left out.", term=""),
        Column(
            "turns", "Turns most with",
            "The axis whose values differ most in how often the claim holds, with how often it does, of the worlds "
            "where it is decided. With few worlds per value, chance moves this, too.",
        ),
        Column("broken", "Fails in", "Worlds in which it fails.", term=""),
    )  # fmt: skip
    rows = tuple(
        StudyRow(
            one.text,
            (
                *(Entry(str(one.count(w)), float(one.count(w))) for w in ("held", "tied", "failed", "undefined")),
                Entry(str(one.judged), float(one.judged)), Entry(one.turning), Entry(_some(one.broken)),
            ),
            one.claim.left,
        )
        for one in judged
    )  # fmt: skip
    note = (
        "A comparison of two rows is by mean rank over the tasks among all competitors, unless the claim names a task "
        "or a difference."
    )
    own = "" if made else " The board makes no claims; these are read off its base, so they were chosen after the fact."
    return StudyTable("claims", "Claims in every world", "Claim", columns, rows, (note + own,), (WORLD, VERDICTS))


def _rows_table(worlds: Worlds, winners: Sequence[Sequence[str]]) -> StudyTable:
    n = sum(bool(found) for found in winners)
    columns = [
        Column("best", "Best in", f"Of {n} worlds, those in which no competitor has a better mean rank.", term=""),
        Column("rank", "Mean rank", "Mean over worlds of the mean rank over tasks, with the best and the worst.",
               term="Mean rank over worlds"),
    ]  # fmt: skip
    for task, title in worlds.tasks.items():
        metric = worlds.metrics[task].title
        columns += [
            Column(task, f"{title}: {metric}", "At the base: mean over its seeds [95 % interval over patients and "
                   "seeds].", term="At the base"),
            Column(f"{task}_worlds", "Over worlds", "5 % to 95 % of the values over worlds: the perturbation interval, "
                   "which is about choices as the other is about patients.",
                   term="Over worlds (perturbation interval)"),
        ]  # fmt: skip
    means = base_ranks(worlds)
    every = [ranks_in(worlds, world) for world in range(len(worlds.worlds))]
    rows = []
    for row in sorted(worlds.rows, key=lambda r: (r not in worlds.bounds, means.get(r, 1e9))):
        found = [ranks[row] for ranks in every if row in ranks]
        wins = sum(row in found for found in winners)
        entries = [
            Entry("–") if row in worlds.bounds else Entry(f"{wins} of {n}", float(wins)),
            Entry("–") if not found else Entry(
                f"{fmean(found):.1f}", fmean(found), f"[{min(found):.1f}, {max(found):.1f}]"),
        ]  # fmt: skip
        for task in worlds.tasks:
            at, over = worlds.at_base(row, task), perturbation_interval(_values(worlds, row, task))
            entries.append(
                Entry("–") if at.value is None
                else Entry(f"{at.value:.3f}", at.value, "" if at.low is None else f"[{at.low:.2f}, {at.high:.2f}]")
            )  # fmt: skip
            entries.append(Entry("–") if over is None else Entry(f"{over[0]:.3f} to {over[1]:.3f}", over[1] - over[0]))
        rows.append(StudyRow(worlds.rows[row], tuple(entries), row))
    return StudyTable("worlds", "Rows over patients and over worlds", "Row", tuple(columns), tuple(rows),
                      definitions=(WORLD,))  # fmt: skip


def _values(worlds: Worlds, row: str, task: str) -> list[float | None]:
    """A row's main metric in the worlds where the task carries signal."""
    found = worlds.numbers.get((row, task), ())
    return [None if (task, i) in worlds.silent else n.value for i, n in enumerate(found)]


def _moves_tables(worlds: Worlds) -> list[StudyTable]:
    found = moved(worlds)
    if not found:
        return []
    tasks = [task for task in worlds.tasks if any((axis, task) in found for axis, _ in found)]
    columns = []
    for task in tasks:
        columns += [
            Column(f"{task}_range", f"{worlds.tasks[task]}: range", "How far the values of an axis lie apart: largest "
                   "minus smallest mean, the median over competitors.", term="Range along an axis"),
            Column(f"{task}_share", "Share", "What an axis explains of the variance over worlds by itself, the mean "
                   "over competitors.", term="Share of variance"),
        ]  # fmt: skip
    rows = []
    for axis in dict.fromkeys(axis for axis, _ in found):
        entries: list[Entry] = []
        for task in tasks:
            if (axis, task) not in found:
                entries += [Entry("–"), Entry("–")]
                continue
            spread, share = found[axis, task]
            entries += [
                Entry(f"{spread:.3f}", spread), Entry("–") if share is None else Entry(f"{100 * share:.0f} %", share)
            ]  # fmt: skip
        rows.append(StudyRow(axis, tuple(entries)))
    note = (
        "One axis is moved at a time; shares are those of the axes' variances together."
        if one_at_a_time(worlds.worlds)
        else "Shares are first-order: what they lack to 100 % is interaction of the axes, or the luck of single runs."
    )
    return [StudyTable("moves", "What moves the numbers", "Axis", tuple(columns), tuple(rows), (note,))]


def moved(worlds: Worlds) -> dict[tuple[str, str], tuple[float, float | None]]:
    """(axis, task) -> the range along the axis (median over competitors) and its share of variance (mean over them)."""
    found: dict[tuple[str, str], tuple[float, float | None]] = {}
    for task in worlds.tasks:
        per_row = [moves(_values(worlds, row, task), worlds.worlds) for row in worlds.competitors
                   if (row, task) in worlds.numbers]  # fmt: skip
        for axis in dict.fromkeys(axis for one in per_row for axis in one):
            shares = [one[axis].share for one in per_row if axis in one]
            known = [share for share in shares if share is not None]
            ranges = [one[axis].range for one in per_row if axis in one]
            found[axis, task] = median(ranges), fmean(known) if known else None
    return found


def _screening(worlds: Worlds) -> list[str]:
    if not worlds.pooled or not worlds.floor:
        return ["Nothing was screened: the board has no row trained on pooled data beside one that learns nothing."]
    rule = (
        f"Screening: a task carries no signal in a world where the interval of {worlds.rows[worlds.pooled]} does not "
        f"lie above {worlds.rows[worlds.floor]}, and is left out there."
    )
    if not worlds.silent:
        return [f"{rule} None was."]
    named = [f"{worlds.tasks[t]}, {worlds.worlds[w].label} ({why})" for (t, w), why in worlds.silent.items()]
    return [f"{rule} Left out: {_some(named, 6)}."]


def _failures(worlds: Worlds) -> list[str]:
    """Runs without a number: a choice under which a row fails is a finding, and no world."""
    failed = [
        f"{worlds.rows[row]} on {worlds.tasks[task]}, {worlds.worlds[w].label} ({n.reason})"
        for (row, task), numbers in worlds.numbers.items()
        for w, n in enumerate(numbers)
        if n.value is None and n.reason and not n.reason.startswith("not applicable")
    ]
    return [f"{len(failed)} cells have no number: {_some(failed)}."] if failed else []


def _some(names: Sequence[str], most: int = _SPELT) -> str:
    """Names in words, not all of very many."""
    if not names:
        return "–"
    shown = "; ".join(names[:most])
    return shown + (f"; {len(names) - most} more" if len(names) > most else "")


def _drawing(worlds: Worlds, judged: Sequence[Judged]) -> Callable[[], Sequence[Any]]:
    def draw() -> Sequence[Any]:
        from fedmeki_bench.leaderboard.studies import stability_pictures as pictures

        return pictures.draw(worlds, judged[:_SHOWN], moved(worlds))

    return draw


def _content(worlds: Worlds, judged: Sequence[Judged], winners: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The same as plain values."""
    pairs = orders(_cells(worlds))
    return {
        "worlds": [
            {"label": w.label, "place": dict(w.place), "winners": list(found)}
            for w, found in zip(worlds.worlds, winners, strict=True)
        ],
        "claims": [
            {
                "claim": one.claim.text,
                **{word: one.count(word) for word in ("held", "tied", "failed", "undefined")},
                "worlds": one.judged,
                "verdicts": list(one.verdicts),
                "turns_with": one.axis,
                "axes": {axis: {v: list(c) for v, c in turn.held.items()} for axis, turn in one.turns.items()},
            }
            for one in judged
        ],
        "pairs": {
            "pairs": len(pairs.kept), "keep_order": sum(share >= KEPT for share in pairs.kept),
            "median": pairs.median, "steadiest": pairs.kept[-1] if pairs.kept else None, "tied": pairs.tied,
        },
        "moves": [
            {"axis": axis, "task": task, "range": spread, "share": share}
            for (axis, task), (spread, share) in moved(worlds).items()
        ],
        "silent": [
            {"task": task, "world": worlds.worlds[w].label, "why": why} for (task, w), why in worlds.silent.items()
        ],
    }  # fmt: skip
