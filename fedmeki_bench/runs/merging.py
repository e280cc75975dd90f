"""Several machines' folders of results in one: what is taken of each run, and what contradicts what.

Every decision rests on what the runs say, so the order in which folders are given decides nothing. A run is copied
under a temporary name and renamed, so it is there whole or not at all, and a merge that was killed goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, get_args

from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import FedmekiError, InputError
from fedmeki_bench.evaluation.rescoring import predictions_file, stored
from fedmeki_bench.files import clear_leftovers
from fedmeki_bench.plain import one_line
from fedmeki_bench.records.lease import LEASE, KeyLocked
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore, read_record
from fedmeki_bench.runs.agreement import Difference, differences
from fedmeki_bench.runs.failures import TRACEBACK
from fedmeki_bench.runs.folders import CHECKPOINTS, MODELS, PREDICTIONS, RunFolder, look, regular_file, survey
from fedmeki_bench.runs.kept_card import CARD, FOLDER, read_kept

State = Literal["taken", "already there", "contradicting", "left out", "no record"]
STATES: tuple[State, ...] = get_args(State)

_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class MergedRun:
    """What became of one run.

    Attributes:
        state: ``left out`` if no folder holds it in a usable state; ``no record`` if it was killed before it left one,
            and no checkpoint of it was asked for.
        record: of the one taken or already there, or of the first of two that contradict each other.
        source: the folder of results it was taken from.
        bytes: that were, or would be, copied.
        reason: why it was left out.
        differences: in what ``between`` (two folders of the run) contradict each other.
        aside: what could not be used, though something else could: folders with the reason, in sentences.
    """

    key: str
    state: State
    record: Record | None = None
    source: Path | None = None
    bytes: int = 0
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    between: tuple[Path, ...] = ()
    aside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A usable run in one of the folders, with the bytes of its record as it was read."""

    folder: RunFolder
    record: Record | None
    text: bytes
    own: bool  # lies in the folder that is merged into
    checkpoints: bool  # whether its checkpoint counts

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def known(self) -> Record:
        assert self.record is not None
        return self.record

    @property
    def finished(self) -> bool:
        return self.record is not None and self.record.status == "ok"

    @property
    def checkpoint(self) -> bool:
        return self.checkpoints and bool(self.folder.of(CHECKPOINTS))

    def finished_order(self) -> tuple[object, ...]:
        """Of finished runs that agree, the first is taken: with a kept model, there already, made first."""
        return not self.folder.of(MODELS), not self.own, self._ended(), self._content()

    def unfinished_order(self) -> tuple[object, ...]:
        """Of others, what goes on from furthest on."""
        rounds = len(self.record.history) if self.record else -1
        interrupted = self.record is not None and self.record.status == "interrupted"
        return not self.checkpoint, -rounds, not self.own, not interrupted, self._ended(), self._content()

    def _ended(self) -> datetime:
        return (self.record.finished if self.record else None) or _NEVER

    def _content(self) -> tuple[str, str]:
        return hashlib.sha256(self.text).hexdigest(), str(self.path)


class _Unusable(InputError):
    """A run that can't be taken as it lies there."""


class _Barred(_Unusable):
    """A run that is none of ours to touch: under way, or behind a link."""


def merge(
    sources: Sequence[RecordStore], into: RecordStore, *, checkpoints: bool = False, dry_run: bool = False
) -> Iterator[MergedRun]:
    """Take every run of the sources into ``into``, in order of keys.

    Args:
        checkpoints: take those of unfinished runs, too.
        dry_run: say what would become of them, and write nothing.
    """
    there = {store.root: {run.key: run for run in survey(store.root).runs} for store in sources}
    for key in sorted({key for runs in there.values() for key in runs}):
        found = [(store, there[store.root][key]) for store in sources if key in there[store.root]]
        before = _record_bytes(into.path(key))
        run, chosen = _decide(key, found, into, checkpoints)
        if chosen is not None and not dry_run:
            try:
                _place(chosen, into, before)
            except _Unusable as error:
                run = replace(run, state="left out", source=None, bytes=0, reason=str(error))
        yield run


def _decide(
    key: str, found: Sequence[tuple[RecordStore, RunFolder]], into: RecordStore, checkpoints: bool
) -> tuple[MergedRun, _Candidate | None]:
    """What is to become of a run, and what is to be copied for it; nothing is written."""
    usable, aside = [], []
    for store, folder in found:
        try:
            usable.append(_candidate(store, folder, checkpoints, own=False))
        except _Unusable as error:
            aside.append(str(error))
    own, own_bad = look(into.folder(key)), ""
    run = MergedRun(key, "left out", aside=tuple(aside))
    try:
        if os.path.lexists(own.path):
            usable.append(_candidate(into, own, True, own=True))
    except _Barred as error:
        return replace(run, reason=str(error)), None
    except _Unusable as error:
        own_bad = str(error)

    done = sorted((one for one in usable if one.finished), key=_Candidate.finished_order)
    for other in done[1:]:
        if apart := differences(done[0].known, done[0].path, other.known, other.path):
            between = (done[0].path, other.path)
            return replace(run, state="contradicting", record=done[0].record, differences=apart, between=between), None
    rest = [one for one in usable if one.record or one.checkpoint]
    chosen = done[0] if done else min(rest, key=_Candidate.unfinished_order, default=None)
    if own_bad and not done:
        return replace(run, reason=own_bad), None
    if chosen is None:
        return _nothing(run, usable), None
    run = replace(run, record=chosen.record)
    if chosen.own:
        return replace(run, state="already there"), None
    if own.strange:
        return replace(run, reason=f"{own.strange[0]} is not the harness's, so its folder is not replaced"), None
    size = sum(source.stat().st_size for source, _ in _files(chosen))
    said = (*aside, *([f"replaced: {own_bad}"] if own_bad else []))
    return replace(run, state="taken", source=chosen.path.parent, bytes=size, aside=said), chosen


def _nothing(run: MergedRun, usable: Sequence[_Candidate]) -> MergedRun:
    """A run of which nothing can be taken."""
    if run.aside:
        return replace(run, reason="; ".join(run.aside), aside=())
    if any(one.folder.of(CHECKPOINTS) for one in usable):
        return replace(run, state="no record", reason="killed before it left a record; it has a checkpoint")
    return replace(run, state="no record", reason="killed before it left a record or a checkpoint")


def _candidate(store: RecordStore, folder: RunFolder, checkpoints: bool, *, own: bool) -> _Candidate:
    """A run as it lies in a folder.

    Raises:
        _Unusable: it is under way, its record can't be read, or its predictions or kept model are not whole.
    """
    path = store.path(folder.key)
    if folder.path.is_symlink():
        raise _Barred(f"{folder.path} is a link, and links are not followed")
    if holder := store.holder(folder.key):
        raise _Barred(f"{folder.path} is being run by {holder}")
    if not os.path.lexists(path):
        return _Candidate(folder, None, b"", own, checkpoints)
    if regular_file(folder.path, path.name) is None:
        raise _Unusable(f"{path} is no regular file")
    try:
        text = path.read_bytes()
        record = read_record(path)
        if record.key != folder.key:
            raise InputError(f"{path} says its key is {record.key!r}")
        if record.status == "ok":
            _check(record, folder.path)
    except (FedmekiError, OSError) as error:
        raise _Unusable(one_line(str(error))) from error
    return _Candidate(folder, record, text, own, checkpoints)


def _check(record: Record, folder: Path) -> None:
    """Compare all that lies beside a finished run's record with its digests.

    Raises:
        InputError: predictions or a kept model are gone, damaged or were changed.
    """
    for evaluation in record.scores:
        if evaluation.predictions is None:
            continue
        path = predictions_file(evaluation, folder)
        if regular_file(folder, evaluation.predictions) is None:
            raise InputError(f"the predictions {path} are gone, or reached by a link")
        stored(evaluation, folder)
    if any(one.kind == MODELS for one in look(folder).held):
        card = read_kept(folder / FOLDER)
        for name, digest in card.files.items():
            file = regular_file(folder / FOLDER, name)
            if file is None or file_digest(file) != digest:
                raise InputError(f"{folder / FOLDER / name} is not the file that {CARD} was written with")


def _files(chosen: _Candidate) -> list[tuple[Path, str]]:
    """What is copied of a run: every file with its place in the run's folder."""
    names = [TRACEBACK]
    if chosen.record is not None:
        scored = chosen.record.scores
        names += ["record.json", *(e.predictions for e in scored if e.predictions)]
    # with a checkpoint go the predictions of the phases that are over
    kinds = [MODELS, *([CHECKPOINTS, PREDICTIONS] if chosen.checkpoint and not chosen.finished else [])]
    names += [one.path.relative_to(chosen.path).as_posix() for one in chosen.folder.of(*kinds)]
    found = {name: regular_file(chosen.path, name) for name in names}
    return [(path, name) for name, path in found.items() if path is not None]


def _place(chosen: _Candidate, into: RecordStore, before: bytes) -> None:
    """Copy a run, check the copy, and put it where it belongs.

    Args:
        before: the record that is to be replaced, as it was when that was decided; empty where there was none.

    Raises:
        _Unusable: it changed meanwhile, or another process runs it there.
    """
    key = chosen.folder.key
    target = into.folder(key)
    half = into.root / f".{key}.{os.getpid()}.tmp"
    aside = into.root / f".{key}.{os.getpid()}.partial"
    try:
        with into.lock(key):
            clear_leftovers(into.root, key, locked=True)
            if _record_bytes(into.path(key)) != before:
                raise _Unusable(f"{target} changed meanwhile: merge again")
            half.mkdir()
            for source, name in _files(chosen):
                _copy(source, half / name)
            _check_copy(chosen, half)
            # the lease moves along, so that whoever comes next finds it in the new folder
            with contextlib.suppress(OSError):  # a file system without hard links: then it lapses a moment early
                os.link(target / LEASE, half / LEASE)
            target.rename(aside)
            try:
                half.rename(target)
            except OSError:
                raise _Unusable(f"{target} was made by another process meanwhile: merge again") from None
    except KeyLocked as error:
        raise _Unusable(f"{target}: {error}") from error
    except FileNotFoundError as error:
        raise _Unusable(f"{chosen.path} changed while it was copied ({error.filename} is gone)") from error
    finally:
        for leftover in (half, aside):
            shutil.rmtree(leftover, ignore_errors=True)
        with contextlib.suppress(OSError):  # the folder that the lock made, where nothing came of it
            target.rmdir()


def _check_copy(chosen: _Candidate, half: Path) -> None:
    """Make sure that what was copied is one run, and that no process began it anew meanwhile."""
    holder = RecordStore(chosen.path.parent).holder(chosen.folder.key)
    if (
        holder
        or _record_bytes(chosen.path / "record.json") != chosen.text
        or chosen.text != _record_bytes(half / "record.json")
    ):
        raise _Unusable(f"{chosen.path} changed while it was copied: merge again")
    if chosen.finished:
        try:
            _check(chosen.known, half)
        except FedmekiError as error:
            raise _Unusable(f"{chosen.path} could not be copied whole: {error}") from error


def _record_bytes(path: Path) -> bytes:
    found = regular_file(path.parent, path.name)
    return found.read_bytes() if found else b""


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target, follow_symlinks=False)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
