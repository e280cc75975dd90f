"""The five sections of PCS documentation (Yu and Kumbier, Veridical data science, PNAS 2020) for a board."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.boards.axes import values_of
from fedmeki_bench.boards.claims import Claim, claim_of
from fedmeki_bench.data.card import CARD, card_hash, read_card
from fedmeki_bench.data.preparations import place_of
from fedmeki_bench.documentation.document import Code, Document, Part
from fedmeki_bench.documentation.judgement import Judgement
from fedmeki_bench.documentation.pictures import balance
from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.leaderboard.grid import Column, Entry
from fedmeki_bench.leaderboard.studies.study import Study, StudyRow, StudyTable
from fedmeki_bench.leaderboard.studies.worlds import Worlds
from fedmeki_bench.leaderboard.tables import SYNTHETIC

if TYPE_CHECKING:
    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.leaderboard.collect import Collected
    from fedmeki_bench.leaderboard.page import Context
    from fedmeki_bench.records.record import Record

LEAD = (
    "Documentation in the five sections that Yu and Kumbier (2020) ask for: what the question is, where the data come "
    "from, how they were cleaned, what was concluded under which choices, and what follows. Reasons are a person's; "
    "where none was told, this page says so. The last table of section 4 has every number with the key of its run."
)


def _plain(*headers: str) -> tuple[Column, ...]:
    """Columns that need no explanation."""
    return tuple(Column(header.lower().replace(" ", "_"), header, "", term="") for header in headers)


def document_of(
    board: Board, worlds: Worlds, study: Study, collected: Collected, context: Context, judgement: Judgement,
    data: Path | None = None,
) -> Document:  # fmt: skip
    """The documentation of a board.

    Args:
        board, worlds, study, collected, context: the board with what its records say.
        judgement: a person's reasons.
        data: the folder of cohorts, for their cards; without it, or where a card is not that of the records, the page
            says that it is not at hand.
    """
    cards = dict(_cards(collected, data))
    stamps = (SYNTHETIC,) * worlds.synthetic
    parts = (
        Part("1. Domain problem formulation", tuple(_domain(board, worlds, context, collected, judgement))),
        Part("2. Data collection and storage", tuple(_collection(collected, cards))),
        Part("3. Data cleaning and visualisation", tuple(_cleaning(collected, cards, judgement, worlds))),
        Part("4. PCS inference", tuple(_inference(board, worlds, study, judgement))),
        Part("5. Conclusions", tuple(_conclusions(board, study, judgement))),
    )
    return Document(f"{board.title or board.name}: PCS documentation", stamps, LEAD, parts, worlds.algorithms)


def _domain(
    board: Board, worlds: Worlds, context: Context, collected: Collected, judgement: Judgement
) -> Iterator[Any]:  # fmt: skip
    yield judgement.why("domain")
    rows = []
    for task, title in worlds.tasks.items():
        meta, metric = context.tasks.get(task), worlds.metrics[task]
        clinical = meta.clinical if meta is not None else None
        told = (clinical.what, clinical.who, clinical.when) if clinical is not None else ("–", "–", "–")
        rows.append(StudyRow(title, (*map(Entry, told), Entry(metric.title))))
    notes = (f"Why these tasks: {judgement.why('tasks')}", f"Why this metric: {judgement.why('metric')}")
    columns = _plain("What is asked", "About whom", "When", "Main metric")
    yield StudyTable("pcs_tasks", "Tasks", "Task", columns, tuple(rows), notes)
    if not board.claims:
        yield "The board makes no claims; those of section 4 were read off its base, after the fact."
        return
    began = min((r.started for r in collected.records if r.started is not None), default=None)
    rows = [StudyRow(one.text, tuple(map(Entry, _introduced(board, one, began)))) for one in board.claims_made]
    note = "A commit's date is what its author's machine said; it shows an order and proves none."
    columns = _plain("Introduced by", "Before the first of these records?")
    yield StudyTable("pcs_claims", "Claims, and when they were made", "Claim", columns, tuple(rows), (note,))


def _introduced(board: Board, claim: Claim, began: datetime | None) -> tuple[str, str]:
    """The first commit whose board holds the claim, and whether it is older than the first record."""
    unknown = "not known: the board is not under version control here"
    if board.source is None:
        return unknown, "chosen after the fact, as far as can be told"
    text = next((str(e) for e in board.claims if not isinstance(e, Mapping) and claim_of(e) == claim), claim.text)
    try:
        found = subprocess.run(
            ["git", "log", "--reverse", "--format=%h %at", "-S", text, "--", board.source.name],
            cwd=board.source.parent, capture_output=True, text=True, timeout=30, check=True,
        ).stdout.split("\n")[0].split()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        found = []
    if len(found) != 2:
        return unknown, "chosen after the fact, as far as can be told"
    commit, date = found[0], datetime.fromtimestamp(int(found[1]), tz=timezone.utc)
    when = f"{commit}, {date.date().isoformat()}"
    if began is None or date < began:
        return when, "yes"
    return when, "no: chosen after the fact"


def _cards(collected: Collected, data: Path | None) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """(task, card hash) -> the card, of those that are at hand and are the records' own."""
    if data is None:
        return
    for (task, digest), cohort in _cohorts(collected).items():
        folders = {data, place_of(data, cohort.name), *(f for f in data.glob("@*") if f.is_dir())}
        for folder in sorted(folders):
            try:
                card = read_card(folder / task) if (folder / task / CARD).is_file() else None
            except FedmekiError:
                continue
            if card is not None and card_hash(card) == digest:
                yield (task, digest), card
                break


def _cohorts(collected: Collected) -> dict[tuple[str, str], Any]:
    """(task, card hash) -> the cohort as records name it, those of the first cells first."""
    records: dict[str, Record] = {o.record.key: o.record for o in collected.outcomes if o.record is not None}
    return {(c.task, c.card): c for record in records.values() for c in record.cohorts}


def _collection(collected: Collected, cards: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[Any]:
    rows = []
    for (task, digest), cohort in _cohorts(collected).items():
        card = cards.get((task, digest), {})
        options = ", ".join(f"{key} {value}" for key, value in sorted(cohort.options.items()) if value is not None)
        told = [cohort.name, card.get("release", "card not at hand"), card.get("licence", "–")]
        told += [card.get("grouping", "–"), options or "defaults"]
        rows.append(StudyRow(f"{task} {digest[:8]}", tuple(Entry(str(one)) for one in told)))
    columns = _plain("Dataset", "Release", "Licence", "Never split", "Prepared with")
    note = (
        "A cohort is known by the digest of its card, which holds the digests of its arrays and of the release. "
        "Private samples stay with simulated clients; the evaluation alone opens the test split and held-out sites."
    )
    yield StudyTable("pcs_cohorts", "Cohorts", "Cohort", columns, tuple(rows), (note,))
    for name in dict.fromkeys(cohort.name for cohort in _cohorts(collected).values()):
        citation = next((str(card["citation"]) for card in cards.values() if card["dataset"] == name), "")
        if citation:
            yield f"{name}: {citation}."


def _cleaning(
    collected: Collected, cards: Mapping[tuple[str, str], Mapping[str, Any]], judgement: Judgement, worlds: Worlds
) -> Iterator[Any]:  # fmt: skip
    if not cards:
        yield "No card is at hand: give the folder of cohorts with --data to see what was read, kept and left out."
        return
    names = ("read", "merged", "kept", "dropped", "excluded")
    splits = ("client", "valid", "public", "test", "external")
    rows = []
    for (task, digest), card in cards.items():
        counts = [card["rows"].get(name, 0) for name in names]
        counts += [card["splits"].get(name, {}).get("samples", 0) for name in splits]
        rows.append(StudyRow(f"{task} {digest[:8]}", tuple(Entry(str(n), float(n)) for n in counts)))
    yield StudyTable(
        "pcs_rows", "Samples read, kept and left out, and their splits", "Cohort", _plain(*names, *splits), tuple(rows)
    )
    said: dict[str, None] = {}
    for (task, _), card in cards.items():
        said |= dict.fromkeys(f"{task}: {note}." for note in card["notes"])
        said |= dict.fromkeys(f"{task}: {n} left out: {reason}." for reason, n in card["excluded"].items())
        said |= dict.fromkeys(f"{task}: {facts['n']} dropped: {reason}." for reason, facts in card["dropped"].items())
        said |= dict.fromkeys(f"Known shortcut in {card['dataset']}: {one}." for one in card["shortcuts"])
    yield from said
    if any(card["options"].get("hold_out") for card in cards.values()):
        yield f"Why this site is held out: {judgement.why('hold_out')}"
    first = {task: card for (task, _), card in reversed(list(cards.items()))}  # of the base
    if (picture := balance(first, worlds.tasks)) is not None:
        yield picture


def _inference(board: Board, worlds: Worlds, study: Study, judgement: Judgement) -> Iterator[Any]:
    yield (
        "Target: the order of the rows, and the claims about it. Perturbations are the worlds below; each choice is a "
        "person's, and none of them is a sample of anything."
    )
    axes = values_of(board.axes) if board.axes else {}
    listed = {axis: [value.label for value in values] for axis, values in axes.items()}
    for world in worlds.worlds:
        for axis, value in world.place.items():
            if axis not in axes and value not in listed.setdefault(axis, []):
                listed[axis].append(value)
    columns = _plain("Values, the base first", "Why")
    rows = tuple(StudyRow(axis, (Entry("; ".join(v)), Entry(judgement.why(axis)))) for axis, v in listed.items())
    yield StudyTable("pcs_axes", "Perturbations", "Choice", columns, rows)
    yield from study.notes
    yield from study.draw()
    yield from study.tables
    yield _every_number(worlds)


def _every_number(worlds: Worlds) -> StudyTable:
    """Every number that the study depends on, with the key of its run."""
    rows = [
        StudyRow(
            f"{worlds.rows[row]}, {worlds.tasks[task]} ({worlds.metrics[task].title})",
            (
                Entry(worlds.worlds[i].label),
                Entry("–" if n.value is None else f"{n.value:.3f}", n.value,
                      "" if n.low is None or n.high is None else f"[{n.low:.2f}, {n.high:.2f}]"),
                Entry(n.key or n.reason),
            ), row,
        )
        for (row, task), numbers in worlds.numbers.items()
        for i, n in enumerate(numbers)
    ]  # fmt: skip
    return StudyTable(
        "pcs_numbers", "Every number with its run", "Row and task", _plain("World", "Value", "Run"), tuple(rows)
    )


def _conclusions(board: Board, study: Study, judgement: Judgement) -> Iterator[Any]:
    yield " ".join(study.verdict)
    yield judgement.why("conclusions")
    yield "To do it again:"
    yield Code((
        f"fedmeki-bench sweep {board.called} --raw RAW --data data --results results",
        f"fedmeki-bench leaderboard {board.called} --results results",
        f"fedmeki-bench stability {board.called} --results results --data data --document pcs",
        "fedmeki-bench reproduce results/KEY",
    ))  # fmt: skip
