"""Folders of results: several machines' in one, and what of one no board needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import CheckFailed, InputError, UsageError
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import cleaning, merging
from fedmeki_bench.runs.cleaning import Cleaning, Needed
from fedmeki_bench.runs.folders import MODELS, DiskUse, RunFolder, survey
from fedmeki_bench.runs.merging import MergedRun
from fedmeki_bench.runs.plan import plan
from fedmeki_bench.runs.plugins import placeless
from fedmeki_bench.runs.recorded import is_file
from fedmeki_bench.runs.rows import resolve_rows
from fedmeki_bench.workflow.boards import AnyBoard, board_of


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of the runs of several folders.

    Attributes:
        into: the folder that holds them now.
        runs: one per key that the other folders have, in order of keys.
        use: of ``into``.
        dry_run: whether nothing was written.
    """

    into: Path
    runs: tuple[MergedRun, ...]
    use: DiskUse
    dry_run: bool = False

    def of(self, state: merging.State) -> tuple[MergedRun, ...]:
        """Those in one state."""
        return tuple(run for run in self.runs if run.state == state)

    def check(self) -> None:
        """Raise if ``into`` lacks a run that some folder has.

        Raises:
            CheckFailed: runs contradict each other, or could not be taken; names the first of each.
        """
        said = []
        if apart := self.of("contradicting"):
            one, more = apart[0], len(apart[0].differences) - 1
            said.append(
                f"{_counted(apart)} contradict{'s' * (len(apart) == 1)} what another folder holds under the same key, "
                f"first {named(one)}: {one.differences[0].text}" + (f", and {more} more" if more else "")
            )
        if lost := self.of("left out"):
            were = "was" if len(lost) == 1 else "were"
            said.append(f"{_counted(lost)} {were} left out, first {named(lost[0])}: {lost[0].reason}")
        if said:
            raise CheckFailed("; ".join(said))


def merge(
    results: str | Path | Sequence[str | Path], into: str | Path, *, checkpoints: bool = False, dry_run: bool = False,
    check: bool = True,
) -> Merged:  # fmt: skip
    """Join folders of results, such as those of several machines; killed at any moment, a second call goes on.

    Of a run that several folders hold the finished one is taken. Two finished ones must agree in everything but times,
    environment and folders, computed numbers up to rounding (1e-6); where they do not, neither is written.

    Args:
        results: a folder of records, or several; their order decides nothing.
        into: the folder that is to hold all of them; it may hold runs already.
        checkpoints: take those of unfinished runs, too.
        dry_run: say what would become of each run, and write nothing.
        check: raise if runs contradict each other or were left out; without it the result says so.

    Raises:
        UsageError: ``into`` is one of the folders, or one lies in the other.
        InputError: a folder is not there or holds no run.
        CheckFailed: with ``check``; all other runs were merged.
        RunFailed: ``into`` can't be written to.
    """
    target = Path(into)
    given = [Path(results)] if isinstance(results, str | Path) else [Path(one) for one in results]
    folders = list({folder.resolve(): folder for folder in given}.values())
    if not folders:
        raise UsageError("name at least one folder of results to merge")
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is no folder")
    for folder in folders:
        _check_apart(folder, target)
        if not survey(folder).runs:
            raise InputError(f"{folder} holds no run" if folder.is_dir() else f"{folder} is no folder of records")
    runs = merging.merge([RecordStore(f) for f in folders], RecordStore(target), checkpoints=checkpoints,
                         dry_run=dry_run)  # fmt: skip
    merged = Merged(target, tuple(runs), survey(target).use, dry_run)
    if check:
        merged.check()
    return merged


def clean(results: str | Path = "results", *, boards: Iterable[AnyBoard] | None = None, yes: bool = False) -> Cleaning:
    """What of a folder of results no board needs: checkpoints of finished runs, and what killed processes left.

    Args:
        results: the folder of records.
        boards: given, runs that none of these boards needs, too.
        yes: remove it. What is not the harness's, lies behind a link or is being run stays in any case.

    Raises:
        UsageError: no such board.
        InputError: there is no such folder, or a board's file is bad.
        RunFailed: the folder can't be written to.
    """
    folder = Path(results)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of records; `fedmeki-bench run` and `sweep` make one")
    store = RecordStore(folder)
    found = cleaning.removable(store, None if boards is None else _needed(boards, store))
    return cleaning.remove(found) if yes else found


def named(run: MergedRun) -> str:
    """A run in words: its key, algorithm, tasks and seed."""
    if run.record is None:
        return run.key
    return f"{run.key} ({run.record.algorithm} on {', '.join(run.record.tasks)}, seed {run.record.seed})"


def _counted(runs: Sequence[MergedRun]) -> str:
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"


def _check_apart(folder: Path, into: Path) -> None:
    source, target = folder.resolve(), into.resolve()
    if source == target:
        raise UsageError(f"{into} can't be merged into itself: leave it out, what it holds stays")
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise UsageError(f"{folder} and {into} lie one in the other: choose a folder of its own to merge into")


def _needed(boards: Iterable[AnyBoard], store: RecordStore) -> Needed:
    """Which runs some of the boards need.

    What can't be told for sure is needed: runs of rules and partitions in files, whatever their version, and kept
    models where a board has runs that start from one.
    """
    look_in(store.root)
    records = list(store.all())
    settings: set[str] = set()
    files: set[str] = set()
    starts = False
    for board in map(board_of, boards):
        entries = plan(board, records)
        settings |= {cell.setting for entry in entries for cell in entry.cells}
        settings |= {entry.spec.setting for entry in entries if entry.serves}
        rows = resolve_rows(board, load=False)
        names = {*(row.trained.rule for row in rows), *(choice.partition for choice in board.federations)}
        files |= {placeless(name) for name in names if is_file(name)}
        options = {*board.options, *(key for row in rows for key, _ in row.row.options)}
        starts = starts or any(key.rpartition(".")[2] == "from" for key in options)

    def needed(record: Record, run: RunFolder) -> bool:
        of_file = {placeless(record.rule), placeless(record.partition)} & files
        return record.setting in settings or bool(of_file) or (starts and bool(run.of(MODELS)))

    return needed
