"""The clauses for dataset preparers. What each one asks for stands in docs/conformance.md."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.conformance import loading
from fedmeki_bench.conformance.clause import LOADS, Check, Clause, NotApplicable, Violation
from fedmeki_bench.conformance.releases import Release, any_task, changed, contents, own_release, stamps, standin
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.data.card import CARD
from fedmeki_bench.data.cohort import Cohort, prepared
from fedmeki_bench.data.contract import SYNTHETIC_MARKER, Drops, PreparerOptions
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import FedmekiError, InputError
from fedmeki_bench.task import TEXT

if TYPE_CHECKING:
    from fedmeki_bench.data.prepare.prepare import PreparedCohort

_SIZE = 60
_TEXTS = ("title", "modalities", "grouping", "licence", "access", "citation", "url", "real_layout")
_QUOTED = re.compile(r"'([^']+)'")
_PERSON = re.compile(r"(?:^|_)(?:patient|subject)(?:_?id)?$", re.IGNORECASE)
_SHARE = 3  # every third file is damaged


class _Killed(BaseException):
    """Stands for the end of the process in the middle of decoding."""


def _standin(subject: Subject) -> Release:
    return subject.once("standin", lambda: standin(subject.value, subject.options, size=_SIZE))


def _release(subject: Subject) -> Release:
    """What is only read: the user's own release where there is one. What is damaged or copied is the stand-in."""
    if subject.raw is None:
        return _standin(subject)
    raw = subject.raw
    return subject.once("own release", lambda: own_release(subject.value, subject.options, raw))


def _prepare(found: Release, out: Path, raw: Path | None = None) -> PreparedCohort:
    task = any_task(found.preparer.meta)
    preparer = type(found.preparer)()
    (done,) = prepare(preparer, raw or found.raw, out, [task], found.options, workers=1)
    return done


def _reference(subject: Subject, found: Release) -> PreparedCohort:
    return subject.once(f"{found.raw} prepared", lambda: _prepare(found, found.room / "reference"))


def _loads(subject: Subject) -> None:
    loading.loads(subject)
    cls = subject.value
    if not hasattr(cls, "meta"):
        raise Violation(f"{cls.__name__} has no meta.")
    if not issubclass(cls.Options, PreparerOptions):
        raise Violation("its Options do not descend from PreparerOptions, which has the options of every preparer.")
    cls()


def _meta(subject: Subject) -> None:
    loading.described(subject.value.meta, _TEXTS)
    found = _release(subject)
    offered = found.preparer.arrays(found.options)
    lacking = [m for m in subject.value.meta.modalities if m not in offered and m != TEXT]
    if lacking:
        raise Violation(f"meta.modalities has {lacking[0]!r}, which arrays() does not offer.")


def _synthetic(subject: Subject) -> None:
    one = _standin(subject)
    two, other = (standin(subject.value, subject.options, size=_SIZE, seed=seed) for seed in (0, 1))
    if name := changed(contents(one.raw), contents(two.raw)):
        raise Violation(f"synthesizing twice with one seed gives two different files {name!r}.")
    if not changed(contents(one.raw), contents(other.raw)):
        raise Violation("synthesizing with two seeds gives the same files.")
    marker = one.raw / SYNTHETIC_MARKER
    if not marker.is_file() or json.loads(marker.read_text(encoding="utf-8")).get("synthetic") is not True:
        raise Violation(f"the stand-in has no {SYNTHETIC_MARKER} that says so; call write_marker.")


def _prepares(subject: Subject) -> None:
    found = _release(subject)
    listed: Callable[[Path], Mapping[str, Any]] = stamps if found.own else contents  # a release may be terabytes
    before = listed(found.raw)
    done = _reference(subject, found)
    cohort = Cohort.open(done.path)
    cohort.verify()
    if not cohort.synthetic and not found.own:
        raise Violation("the cohort made from the stand-in is not marked as synthetic.")
    if not done.card["rows"]["kept"]:
        raise Violation(f"{found.title} leaves no sample.")
    if name := changed(before, listed(found.raw)):
        raise Violation(f"preparing changed or wrote {name!r} in the raw folder, which may be read-only.")
    again = _prepare(found, found.room / "again")
    if name := changed(contents(done.path), contents(again.path)):
        raise Violation(f"preparing the same release into two folders gives two different files {name!r}.")


def _repeat(subject: Subject) -> None:
    found = _release(subject)
    done = _reference(subject, found)

    def files() -> dict[str, Any]:
        return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in done.path.iterdir()}

    before = files()
    again = _prepare(found, found.room / "reference")
    if not again.unchanged or changed(before, files()):
        name = changed(before, files()) or CARD
        raise Violation(
            f"a second prepare of the same release wrote {name!r} again; sources() or bulk() are not stable."
        )


def _atomic(subject: Subject) -> None:
    found = _standin(subject)
    wanted = contents(_reference(subject, found).path)
    raw = found.room / "killed-raw"
    shutil.copytree(found.raw, raw)
    out = found.room / "killed"
    for after in (1, 4):
        preparer = type(found.preparer)()
        preparer.decode_all = _killed_after(preparer.decode_all, after)  # type: ignore[method-assign]
        try:
            prepare(preparer, raw, out, [any_task(found.preparer.meta)], found.options, workers=1)
        except _Killed:
            pass
        else:
            if after == 1:
                raise NotApplicable("the stand-in has a single source, so there is no middle to be killed in")
            continue
        if prepared(out):
            raise Violation(f"killed after {after} of its sources, it left a cohort that opens.")
    if name := changed(contents(found.raw), contents(raw)):
        raise Violation(f"killed in the middle, it left {name!r} in the raw folder.")
    done = _prepare(found, out, raw)
    if name := changed(wanted, contents(done.path)):
        raise Violation(f"after a kill, the next prepare wrote another {name!r} than an undisturbed one.")


def _killed_after(plain: Callable[..., Iterator[Any]], count: int) -> Callable[..., Iterator[Any]]:
    def decode_all(*args: Any) -> Iterator[Any]:
        for number, outcome in enumerate(plain(*args)):
            if number == count:
                raise _Killed
            yield outcome

    return decode_all


def _counted(subject: Subject) -> None:
    if subject.raw is not None:
        own = _release(subject)
        _adds_up(own, own.raw)
    found = _standin(subject)
    _adds_up(found, found.raw)
    files = _bulk_files(found, found.raw)
    raw = found.room / "damaged"
    shutil.copytree(found.raw, raw)
    if not files:
        _cut_table(found, raw)
        return
    for number, path in enumerate(files[::_SHARE]):
        mine = raw / path.relative_to(found.raw)
        whole = mine.read_bytes()
        mine.write_bytes(b"" if number == 0 else whole[: len(whole) // 2] if number % 2 else b"damaged" * 9)
    before = _reference(subject, found).card
    try:
        done = _prepare(found, found.room / "from-damaged", raw)
    except InputError as error:
        if "leaves no sample" in str(error):
            return  # all were dropped, and the sentence says why
        raise
    if done.card["rows"]["dropped"] <= before["rows"]["dropped"]:
        raise Violation("empty, cut and overwritten files were used as if nothing were wrong: no sample was dropped.")
    table = Cohort.open(_reference(subject, found).path)._table()
    ids = {str(name) for name in table["sample_id"] if len(str(name)) > 2}
    for reason in done.card["dropped"]:
        if not reason.strip() or any(name in reason for name in ids):
            raise Violation(f"the reason {reason!r} is empty or holds the id of a sample, so that it can't be counted.")
    _adds_up(found, raw)


def _cut_table(found: Release, raw: Path) -> None:
    """A preparer that reads tables only: one that is cut is refused in a sentence, or its rows are counted."""
    table = found.preparer.sources(raw, found.options)[0]
    table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    try:
        _prepare(found, found.room / "from-damaged", raw)
    except FedmekiError as error:
        if table.name not in str(error):
            raise Violation(f"of the cut table {table.name} it says {error}, which does not name the file.") from error


def _adds_up(found: Release, raw: Path) -> None:
    drops = Drops()
    table = type(found.preparer)().table(raw, found.options, drops)
    left_out = sum(drops.left_out.values())
    accounted = drops.merged + drops.total + left_out + len(table)
    if drops.read != accounted:
        raise Violation(
            f"table() read {drops.read} rows, merged {drops.merged}, dropped {drops.total}, left out {left_out} and "
            f"returned {len(table)}: {drops.read - accounted} are not accounted for."
        )


def _bulk_files(found: Release, raw: Path) -> list[Path]:
    folders = [folder for folder in found.preparer.bulk(raw, found.options) if raw in folder.parents]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def _groups(subject: Subject) -> None:
    found = _release(subject)
    cohort = Cohort.open(_reference(subject, found).path)
    audit = cohort.card["audit"]
    for what in ("groups", "sources"):
        if audit[f"{what}_shared_between_splits"]:
            raise Violation(f"{audit[f'{what}_shared_between_splits']} {what} are in more than one split.")
    table = type(found.preparer)().table(found.raw, found.options, Drops())
    told = cohort._table()
    final = dict(zip(told["sample_id"], told["group_id"], strict=True))
    group = table["sample_id"].astype(str).map(lambda name: final.get(name))
    for column in table.columns:
        if column in ("sample_id", "group_id", "source") or not _PERSON.search(str(column)):
            continue
        spread = group[group.notna()].groupby(table[column].astype(str)).nunique()
        if (spread > 1).any():
            raise Violation(
                f"the samples of one {column} ({spread[spread > 1].index[0]}) are in {int(spread.max())} groups, so "
                "they can come into several splits."
            )


def _confined(subject: Subject) -> None:
    found = _standin(subject)
    table = type(found.preparer)().table(found.raw, found.options, Drops())
    twin = found.room / "twin"
    shutil.copytree(found.raw, twin, dirs_exist_ok=True)
    sources = [str(source) for source in dict.fromkeys(table["source"])][:2]
    for name in [*_outside(found, twin, sources), "../../../etc/passwd", "/etc/passwd", ""]:
        try:
            type(found.preparer)().decode(found.raw, name, found.options)
        except Exception:  # refused, if not politely: keys come from the preparer's own table
            continue
        raise Violation(
            f"decode read {name.replace(str(found.room), '...')!r}, which is outside the raw folder; use confined()."
        )


def _outside(found: Release, twin: Path, sources: Sequence[str]) -> Iterator[str]:
    """Names by which a copy of the release beside the raw folder would be reached."""
    folders = {Path()} | {path.parent.relative_to(found.raw) for path in _bulk_files(found, found.raw)}
    folders |= {parent for folder in folders for parent in folder.parents}
    for source in sources:
        for folder in sorted(folders):
            inside = (folder / source).as_posix()
            yield (twin / inside).as_posix()
            for depth in range(1, 2 + max(len(f.parts) for f in folders)):
                yield "../" * depth + f"twin/{inside}"


def _wrong_folder(subject: Subject) -> None:
    found = _release(subject)
    empty = found.room / "empty"
    empty.mkdir(exist_ok=True)
    names = _QUOTED.findall(found.preparer.meta.real_layout)
    for raw in (empty, found.room / "absent"):
        try:
            type(found.preparer)().sources(raw, found.options)
        except InputError as error:
            text = str(error)
        else:
            raise Violation(f"sources() accepts {'an empty' if raw is empty else 'an absent'} folder.")
        if "\n" in text or not any(name in text for name in (*names, found.preparer.meta.real_layout)):
            raise Violation(
                f"it says {text.replace(str(raw), 'RAW')!r}, which names no file or folder that is expected."
            )
    if any(empty.iterdir()):
        raise Violation(f"it wrote {next(empty.iterdir()).name!r} into a folder that is not its own.")


def _clause(name: str, expected: str, check: Check) -> Clause:
    return Clause("datasets", name, expected, check)


CLAUSES = (
    _clause(LOADS, loading.EXPECTED, _loads),
    _clause("meta", "the metadata is complete, and its modalities are those of arrays().", _meta),
    _clause("synthetic", "the stand-in depends on its seed alone, byte for byte, and is marked synthetic.", _synthetic),
    _clause(
        "prepares",
        "the raw files become a cohort, the same every time, and stay as they were.",
        _prepares,
    ),
    _clause("repeat", "a second prepare of the same release changes no file.", _repeat),
    _clause("atomic", "killed in the middle it leaves no cohort, and the next prepare gives the same bytes.", _atomic),
    _clause("counted", "every row is accounted for, and damaged files are dropped with a reason.", _counted),
    _clause("groups", "groups never cross splits, and one patient or file is in one group.", _groups),
    _clause("confined", "file names that point outside the raw folder are refused.", _confined),
    _clause(
        "wrong-folder",
        "a folder that is not this dataset's is refused by a sentence that names what is expected.",
        _wrong_folder,
    ),
)
