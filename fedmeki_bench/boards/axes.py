"""Axes of a board: choices that a study varies, and the points at which it runs every row.

An axis is a name with a list of values; the first of each is its base. A design says which combinations are points:
the base with each axis moved alone, all of them, or a random sample of all that holds the base.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fedmeki_bench import seeds
from fedmeki_bench.boards.federations import FederationChoice, partition_words
from fedmeki_bench.boards.rows import Scalar
from fedmeki_bench.errors import nearest

BASE = "base"
"""Label of the point where every axis has its first value."""

SEED, PARTITION = "seed", "partition"
"""Axes whose values are the seeds and the partitions of runs; those of others are options or preparations."""

PREPARE, ROWS = "prepare", "rows"
"""Keys of a value that are no options: how data are prepared, and options of single rows."""

MOST = 10_000
"""Points that a board may have."""

_LARGEST = 1_000_000
"""Combinations that a sample is drawn from at most."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
_IN_A_NAME = re.compile(r"[A-Za-z0-9._+-]{1,60}")

Options: TypeAlias = tuple[tuple[str, Scalar | list[Scalar]], ...]
Preparation: TypeAlias = tuple[tuple[str, Scalar], ...]
"""Options of datasets, sorted by name."""


class SampleSpec(BaseModel):
    """A design of points drawn from all combinations.

    Attributes:
        sample: how many points, the base among them.
        seed: of the draw.
    """

    model_config = ConfigDict(extra="forbid")

    sample: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)


def _design(given: Any) -> Any:
    """Refuse in one sentence what is no design; what is one is taken as it is."""
    if isinstance(given, Mapping):
        numbers = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in given.values())
        known = numbers and bool(given.get("sample")) and set(given) <= {"sample", "seed"}
    else:
        known = isinstance(given, SampleSpec) or given in ("one_at_a_time", "factorial")
    if not known:
        raise ValueError("a design is one_at_a_time, factorial, or a sample of all, as in {sample: 30, seed: 0}")
    return given


Design: TypeAlias = Annotated[Literal["one_at_a_time", "factorial"] | SampleSpec, BeforeValidator(_design)]


class BadValue(ValueError):
    """A value of an axis is wrong; ``place`` is its number in the list, None for the axis as a whole."""

    def __init__(self, axis: str, place: int | None, sentence: str) -> None:
        super().__init__(sentence)
        self.place = (axis,) if place is None else (axis, place)


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis: what it changes, and nothing else.

    Attributes:
        label: in words, e.g. ``lr 0.002`` or ``dirichlet alpha 0.3``.
        options: laid over the board's.
        rows: row -> options laid over its own.
        preparation: options with which data are prepared.
        partition: name and options of the partition; None where the axis leaves it alone.
        seed: of the runs; None where the axis leaves it alone.
    """

    label: str
    options: Options = ()
    rows: tuple[tuple[str, Options], ...] = ()
    preparation: Preparation = ()
    partition: tuple[str, tuple[tuple[str, Scalar], ...]] | None = None
    seed: int | None = None

    @property
    def sets(self) -> set[str]:
        """What it decides; two axes can't decide the same."""
        found = {key.removeprefix("profile.") for key, _ in self.options}
        found |= {f"{key} of row {row}" for row, given in self.rows for key, _ in given}
        return found | {f"{PREPARE} {key}" for key, _ in self.preparation}


@dataclass(frozen=True, slots=True)
class Point(FederationChoice):
    """A combination of choices under which every row is run; a board without axes has one per federation.

    Attributes:
        seeds: of its runs.
        settings: options laid over the board's.
        rows: row -> options laid over its own.
        preparation: how data are prepared, as far as the axes say.
        place: axis -> label of its value there; empty without axes.
        moved: the axes that do not stand at their base.
        federation: label of the faults and the partition beside the axes.
    """

    seeds: tuple[int, ...] = ()
    settings: Options = ()
    rows: tuple[tuple[str, Options], ...] = ()
    preparation: Preparation = ()
    place: tuple[tuple[str, str], ...] = ()
    moved: tuple[str, ...] = ()
    federation: str = ""

    def of_row(self, name: str) -> Options:
        """What it lays over the options of a row."""
        return tuple(item for row, given in self.rows if row == name for item in given)


def values_of(axes: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Value, ...]]:
    """The values of every axis as the board writes them.

    Raises:
        BadValue: one is written wrongly, listed twice, or decides what another axis decides.
    """
    found: dict[str, tuple[Value, ...]] = {}
    for axis, entries in axes.items():
        values: list[Value] = []
        if not _NAME.fullmatch(axis):
            raise BadValue(axis, None, f"{axis!r} is no name of an axis: letters, digits, '.', '_' and '-'")
        for place, entry in enumerate(entries):
            try:
                value = _value(axis, entry)
            except ValueError as error:
                raise BadValue(axis, place, str(error)) from None
            if any(value.label == other.label for other in values):
                raise BadValue(axis, place, f"{value.label!r} is listed twice")
            values.append(value)
        _check_preparations(axis, values)
        mine = {what for value in values for what in value.sets}
        for other, theirs in found.items():
            if shared := sorted(mine & {what for value in theirs for what in value.sets}):
                raise BadValue(axis, None, f"{shared[0]} is decided by the axis {other}, too")
        found[axis] = tuple(values)
    return found


def points_of(
    axes: Mapping[str, Sequence[Any]], design: Design, federations: Sequence[FederationChoice],
    base_seeds: Sequence[int],
) -> list[Point]:  # fmt: skip
    """Every point of a board: under each federation those of the design, the base first.

    Args:
        axes: as the board writes them; without any, a point is a federation.
        federations: of the board's ``partitions`` and ``faults``.
        base_seeds: of the runs at every point, unless an axis varies them.
    """
    axes = {name: entries for name, entries in axes.items() if entries}
    values = values_of(axes)
    combinations = _chosen([len(found) for found in values.values()], design, tuple(values))
    return [
        _point(federation, values, combination, tuple(base_seeds), alone=len(combinations) == 1)
        for federation in federations
        for combination in combinations
    ]


def size_of(axes: Mapping[str, Sequence[Any]], design: Design) -> int:
    """How many points a design has under one federation."""
    lengths = [len(entries) for entries in axes.values()]
    if design == "one_at_a_time":
        return 1 + sum(n - 1 for n in lengths)
    every = math.prod(lengths)
    return every if not isinstance(design, SampleSpec) else min(design.sample, every)


def with_seeds(content: dict[Any, Any]) -> dict[Any, Any]:
    """What a board's file holds, with the first of an axis ``seed`` as its only seed.

    Raises:
        BadValue: it has seeds or partitions beside an axis of them.
    """
    axes = content.get("axes")
    if not isinstance(axes, dict):
        return content
    if PARTITION in axes and any(content.get(key) for key in ("partition", "partitions")):
        raise BadValue(PARTITION, None, "give either partition or an axis partition")
    listed = axes.get(SEED)
    if not isinstance(listed, list) or not listed:
        return content
    if content.get("seeds", listed[:1]) != listed[:1]:
        raise BadValue(SEED, None, "give either seeds or an axis seed")
    return content | {"seeds": listed[:1]}


def spelt_out(axes: Any) -> Any:
    """The axes with ``{seed.init: [0, 1]}`` as ``[{seed.init: 0}, {seed.init: 1}]``, and ``prepare`` likewise."""
    if not isinstance(axes, Mapping):
        return axes
    found: dict[Any, Any] = {}
    for axis, given in axes.items():
        short = isinstance(given, Mapping) and len(given) == 1 and isinstance(next(iter(given.values())), list)
        found[axis] = [{key: one} for key, listed in given.items() for one in listed] if short else given
    return found


def check_rows(axes: Mapping[str, Sequence[Any]], names: Sequence[str]) -> None:
    """Refuse options of rows that the board does not have.

    Raises:
        BadValue: names the nearest row.
    """
    for axis, values in values_of(axes).items():
        for place, value in enumerate(values):
            if (row := next((name for name, _ in value.rows if name not in names), None)) is not None:
                raise BadValue(axis, place, f"{row!r} is not among its algorithms; {nearest(row, names)}")


def check_design(axes: Mapping[str, Sequence[Any]], design: Design) -> None:
    """Refuse a design that is too large.

    Raises:
        ValueError: says how many points are the most.
    """
    every = math.prod(len(entries) for entries in axes.values())
    if isinstance(design, SampleSpec) and every > _LARGEST:
        raise ValueError(f"these axes make {every} combinations; {_LARGEST} are the most that a sample is drawn from")
    if (points := size_of(axes, design)) > MOST:
        raise ValueError(f"this design has {points} points; {MOST} are the most: draw a sample")


def words_of(points: Sequence[Point], design: Design, axes: Mapping[str, Sequence[Any]]) -> str:
    """The axes, and which combinations were run, in a sentence."""
    said = "; ".join(f"{axis}: {', '.join(v.label for v in values)}" for axis, values in values_of(axes).items())
    n = len({point.place for point in points})
    if isinstance(design, SampleSpec):
        how = f"{n} of {math.prod(map(len, axes.values()))} combinations, drawn with seed {design.seed}"
    else:
        how = f"{n} points, " + ("one axis moved at a time" if design == "one_at_a_time" else "all combinations")
    return f"Axes, the base of each first ({how}): {said}."


def _point(
    federation: FederationChoice, values: Mapping[str, tuple[Value, ...]], combination: Sequence[int],
    base_seeds: tuple[int, ...], *, alone: bool,
) -> Point:  # fmt: skip
    here = {axis: found[at] for (axis, found), at in zip(values.items(), combination, strict=True)}
    moved = tuple(axis for axis, at in zip(here, combination, strict=True) if at)
    own = ", ".join(here[axis].label for axis in moved) or BASE
    label = ", ".join(filter(None, [federation.label, "" if alone else own]))
    partition = next((v.partition for v in here.values() if v.partition), (federation.partition, federation.options))
    seed = next((v.seed for v in here.values() if v.seed is not None), None)
    return Point(
        partition[0], partition[1], federation.faults, label,
        seeds=base_seeds if seed is None else (seed,),
        settings=tuple(item for value in here.values() for item in value.options),
        rows=tuple(item for value in here.values() for item in value.rows),
        preparation=tuple(sorted(item for value in here.values() for item in value.preparation)),
        place=tuple((axis, value.label) for axis, value in here.items()),
        moved=moved, federation=federation.label,
    )  # fmt: skip


def _chosen(lengths: Sequence[int], design: Design, names: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Which value of each axis the points have, the base first."""
    if design == "one_at_a_time":
        base = [0] * len(lengths)
        alone = [(*base[:axis], at, *base[axis + 1 :]) for axis, n in enumerate(lengths) for at in range(1, n)]
        return [tuple(base), *alone]
    every = math.prod(lengths)
    if isinstance(design, SampleSpec) and design.sample < every:
        drawn = seeds.generator(design.seed, "design", *names).choice(every - 1, design.sample - 1, replace=False)
        return [_nth(lengths, index) for index in (0, *sorted(1 + int(one) for one in drawn))]
    return list(product(*map(range, lengths)))


def _nth(lengths: Sequence[int], index: int) -> tuple[int, ...]:
    found: list[int] = []
    for n in reversed(lengths):
        index, at = divmod(index, n)
        found.insert(0, at)
    return tuple(found)


def _value(axis: str, entry: Any) -> Value:
    """A value as the board writes it; a ValueError says what is wrong with it."""
    if axis == SEED:
        if isinstance(entry, bool) or not isinstance(entry, int) or entry < 0:
            raise ValueError(f"a seed is a number that is not negative, not {entry!r}")
        return Value(f"seed {entry}", seed=entry)
    if axis == PARTITION:
        return _partition(entry)
    if isinstance(entry, Mapping):
        return _mapping(entry)
    _check_option(axis, entry)
    return Value(_words([(axis, entry)]), options=((axis, entry),))


def _partition(entry: Any) -> Value:
    if isinstance(entry, str):
        return Value(entry, partition=(entry, ()))
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, given),) = entry.items()
        if isinstance(name, str) and isinstance(given, Mapping) and all(_is_scalar(one) for one in given.values()):
            options = tuple((str(key), one) for key, one in given.items())
            return Value(partition_words(name, options), partition=(name, options))
    raise ValueError("a partition is a name, or one name with its options, as in {dirichlet: {alpha: 0.3}}")


def _mapping(entry: Mapping[Any, Any]) -> Value:
    options, rows, preparation = [], [], []
    for key, given in entry.items():
        if not isinstance(key, str):
            raise ValueError(f"{key!r} is no option")
        if key in (SEED, PARTITION, "partitions", "seeds"):
            raise ValueError(f"the values of {key.removesuffix('s')} are an axis of that name")
        if key in (PREPARE, ROWS) and not (isinstance(given, Mapping) and given):
            raise ValueError(f"{key} is a mapping, as in {{{_EXAMPLES[key]}}}")
        if key == PREPARE:
            preparation += [_prepared(*item) for item in given.items()]
        elif key == ROWS:
            rows += [(str(row), _options_of_row(own)) for row, own in given.items()]
        else:
            _check_option(key, given)
            options.append((key, given))
    said = [_words(options), *(f"{row} {_words(own)}" for row, own in rows), _words(preparation)]
    label = ", ".join(dict.fromkeys(filter(None, said))) or AS_IT_IS
    return Value(label, tuple(options), tuple(rows), tuple(sorted(preparation)))


PRETRAIN, AS_IT_IS = "pretrain", "as it is"
"""The option by which runs start from a pre-training (see ``runs/pretraining.py``); the label of what sets nothing."""

_EXAMPLES = {PREPARE: "prepare: {split_seed: 43}", ROWS: "rows: {fedprox_m: {mu: 0.1}}"}


def _options_of_row(given: Any) -> Options:
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"options of a row are a mapping, as in {{{_EXAMPLES[ROWS]}}}")
    for key, value in given.items():
        _check_option(str(key), value)
    return tuple((str(key), value) for key, value in given.items())


def _prepared(key: Any, given: Any) -> tuple[str, Scalar]:
    """An option of a preparation, which becomes part of a folder's name."""
    if not isinstance(key, str) or not _IN_A_NAME.fullmatch(key):
        raise ValueError(f"{key!r} is no option of a dataset")
    if not _is_scalar(given) or not _IN_A_NAME.fullmatch(str(given)):
        raise ValueError(f"{key} is to be a number, a word, true or false, as folders are called by it")
    return key, given


def _check_option(key: str, given: Any) -> None:
    if not all(map(_is_scalar, given if isinstance(given, list) else [given])):
        raise ValueError(f"{key} is to be a number, a text, true or false, or a list of these")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _check_preparations(axis: str, values: Sequence[Value]) -> None:
    """Every value must say how data are prepared if one does: else no record could tell which it was made for."""
    keys = sorted({key for value in values for key, _ in value.preparation})
    for place, value in enumerate(values):
        lacking = next((key for key in keys if key not in dict(value.preparation)), None)
        if lacking is not None:
            raise BadValue(axis, place, f"it does not say with which {lacking} data are prepared, and others do")


def _words(options: Sequence[tuple[str, Any]]) -> str:
    return ", ".join(_said(options))


def _said(options: Sequence[tuple[str, Any]]) -> Iterator[str]:
    for key, value in options:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield f"{key.removeprefix('profile.').removeprefix('rule.')} {text}"
