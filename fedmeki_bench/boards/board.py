"""A board: which algorithms meet on which tasks, under which budget, in one YAML file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from fedmeki_bench import registry
from fedmeki_bench.boards.axes import (
    PARTITION,
    BadValue,
    Design,
    Point,
    check_design,
    points_of,
    spelt_out,
    values_of,
    with_seeds,
    words_of,
)
from fedmeki_bench.boards.claims import Claim, claim_of
from fedmeki_bench.boards.federations import FederationChoice, federations_of, partition_words
from fedmeki_bench.boards.known import known_boards
from fedmeki_bench.boards.places import refuse, where
from fedmeki_bench.boards.rows import (
    NAME,
    BoardRow,
    Entry,
    OptionValue,
    RowSpec,
    Scalar,
    rows_of,
)
from fedmeki_bench.errors import nearest


def default_margin(metric: str) -> float:
    """The smallest difference that matters, where a board declares none."""
    from fedmeki_bench.evaluation.metric_spec import MetricSpec

    known = registry.load("metrics", metric, files=False) if metric in registry.names("metrics") else None
    return known.margin if isinstance(known, MetricSpec) else 0.01


_LATER = ("analysis", "claims", "judgement")
"""Keys that came after boards did: left out of what a page says of a board that has none."""


class SynthSpec(BaseModel):
    """How much stand-in data ``demo`` generates for a dataset."""

    model_config = ConfigDict(extra="forbid")

    size: int = Field(gt=0)
    seed: int = Field(default=0, ge=0)


class Board(BaseModel):
    """The content of a board file.

    Attributes:
        name, title, summary: identifier, heading, and one paragraph on what is compared and what it is worth.
        profile: named budget, ``demo`` or ``paper``.
        seeds, clients, partition: the federation; every algorithm gets the same.
        partitions: several partitions instead of one, e.g. ``[iid, {dirichlet: {alpha: 0.3}}]``.
        faults: heading -> what clients do wrong, e.g. ``{all honest: {}, signs flipped: {flip_signs: 0.2}}``; each has
            tables of its own, for every partition.
        axes: name -> values that are tried, the base first, e.g. ``{lr: [0.001, 0.002], partition: [iid, natural]}``
            (see :mod:`~fedmeki_bench.boards.axes`). An axis ``seed`` takes the place of ``seeds``, an axis
            ``partition`` that of ``partition``.
        design: which combinations are run: ``one_at_a_time``, ``factorial``, or ``{sample: 30, seed: 0}``.
        tasks: columns, by name.
        algorithms: rows: names of algorithms, or one name with what is the row's own (see
            :class:`~fedmeki_bench.boards.rows.RowSpec`), e.g. ``[fedavg_m, {feddyn_m: {options: {lr: 0.05}}}]``.
        reference: the row others are compared with.
        margins: metric -> the smallest difference that matters; of one that is not named ``MetricSpec.margin``, mostly
            0.01.
        questions: bound -> what is asked of every competitor about it: ``better``, or ``not_worse`` by more than the
            margin. By default pooled training is a ceiling not to fall below, every other trained bound a floor.
        groups: heading -> tasks whose main metrics are also averaged apart.
        options: the same keys as ``-o`` on the command line.
        synth, prepare: what ``demo`` generates per dataset and the options it prepares it with.
        published: name of a table of published numbers to be shown beside the measured ones.
        analysis: what its records are asked beyond the tables, by name (``list analyses``), e.g. ``[stability]``.
        claims: what is said of its rows and judged at every point (see :mod:`~fedmeki_bench.boards.claims`).
        judgement: a YAML file beside the board's: choice -> why it was made, in a person's words.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME)
    title: str = ""
    summary: str = ""
    profile: str
    seeds: list[int] = Field(min_length=1)
    clients: int = Field(default=5, ge=1)
    partition: str = "iid"
    partitions: list[str | dict[str, dict[str, Scalar]]] = Field(default_factory=list)
    faults: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    design: Design = "one_at_a_time"
    tasks: list[str] = Field(min_length=1)
    algorithms: list[Entry] = Field(min_length=1)
    reference: str | None = None
    margins: dict[str, float] = Field(default_factory=dict)
    questions: dict[str, Literal["better", "not_worse"]] | None = None
    groups: dict[str, list[str]] = Field(default_factory=dict)
    options: dict[str, OptionValue] = Field(default_factory=dict)
    synth: dict[str, SynthSpec] = Field(default_factory=dict)
    prepare: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    published: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,100}$")
    analysis: list[str] = Field(default_factory=list)
    claims: list[Any] = Field(default_factory=list)
    judgement: str | None = None
    _source: Path | None = PrivateAttr(default=None)
    _lines: dict[tuple[Any, ...], int] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> Path | None:
        """The file the board was read from."""
        return self._source

    def where(self, *place: Any) -> str:
        """Where a key or an item of a list is, in sentences: ``FILE:LINE``, or ``the board`` where there is no file."""
        return where(self._source, self._lines, place)

    def located(self, source: Path, lines: Mapping[tuple[Any, ...], int]) -> Board:
        """The board itself, which knows from now on the file it was read from and the lines of its keys there."""
        self._source, self._lines = source, dict(lines)
        return self

    @property
    def rows(self) -> list[BoardRow]:
        """The rows, in order."""
        return rows_of(self.algorithms)

    @property
    def row_names(self) -> list[str]:
        """What the rows are called, in order."""
        return [row.name for row in self.rows]

    @property
    def called(self) -> str:
        """What a command line calls it: its name where that is enough, else its file."""
        if self._source is None or known_boards().get(self.name) == self._source:
            return self.name
        text = str(self._source)
        return text if "/" in text or self._source.suffix in (".yaml", ".yml") else f"./{text}"

    def margin(self, metric: str) -> float:
        """The smallest difference of a metric that matters."""
        return self.margins.get(metric, default_margin(metric))

    @property
    def claims_made(self) -> list[Claim]:
        """The claims, in order."""
        return [claim_of(entry) for entry in self.claims]

    @property
    def federations(self) -> list[FederationChoice]:
        """The federations that are compared: one, or one for each of ``partitions`` with each of ``faults``.

        Those of an axis ``partition`` are among them.
        """
        if not self.axes:
            return federations_of(self.partitions or [self.partition], self.faults)
        found = {(point.partition, point.options, point.faults): point for point in reversed(self.points)}
        return list(reversed(found.values()))

    @property
    def points(self) -> list[Point]:
        """What every row is run under: the federations, each at every point of the design."""
        federations = federations_of(self.partitions or [self.partition], self.faults)
        return points_of(self.axes, self.design, federations, self.seeds)

    @property
    def axes_words(self) -> str:
        """The axes in a sentence; empty without any."""
        return words_of(self.points, self.design, self.axes) if self.axes else ""

    @property
    def partition_words(self) -> str:
        """The partitions in words."""
        *most, last = dict.fromkeys(partition_words(choice.partition, choice.options) for choice in self.federations)
        said = f"{', '.join(most)} and {last}" if most else last
        return f"{said} partition{'s' * bool(most)}"

    @model_validator(mode="before")
    @classmethod
    def _seeds_of_an_axis(cls, content: Any) -> Any:
        """An axis ``seed`` says which seeds there are; its first is the board's."""
        try:
            return with_seeds(content) if isinstance(content, dict) else content
        except BadValue as error:
            refuse(str(error), "axes", *error.place)

    @model_serializer(mode="wrap")
    def _as_ever_without_axes(self, handler: Callable[[Board], dict[str, Any]]) -> dict[str, Any]:
        found = handler(self)
        for key in _LATER:
            if not found.get(key):
                found.pop(key, None)
        if not self.axes:
            found.pop("axes", None), found.pop("design", None)
        elif PARTITION in self.axes:
            found.pop("partition", None), found.pop("partitions", None)
        return found

    @model_validator(mode="after")
    def _one_way_to_deal(self) -> Board:
        if self.partitions and "partition" in self.model_fields_set:
            raise ValueError("give either partition or partitions")
        if any(isinstance(entry, dict) and len(entry) != 1 for entry in self.partitions):
            raise ValueError("an entry of partitions is a name or one name with its options")
        return self

    @field_validator("axes", mode="before")
    @classmethod
    def _short_axes(cls, axes: Any) -> Any:
        return spelt_out(axes)

    @field_validator("axes")
    @classmethod
    def _axes_are_told_apart(cls, axes: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for axis, entries in axes.items():
            if len(entries) < 2:
                refuse("an axis has two values at least, of which the first is its base", axis)
        try:
            values_of(axes)
        except BadValue as error:
            refuse(str(error), *error.place)
        return axes

    @field_validator("design")
    @classmethod
    def _of_a_size(cls, design: Design, known: ValidationInfo) -> Design:
        if axes := known.data.get("axes"):
            check_design(axes, design)
        elif "axes" in known.data:
            raise ValueError("a design is one of axes, and the board has none")
        return design

    @field_validator("algorithms")
    @classmethod
    def _own_names(cls, values: list[str | dict[str, RowSpec]]) -> list[str | dict[str, RowSpec]]:
        rows = rows_of(values)
        for row in rows:
            if any(other.name == row.name for other in rows[: row.place]):
                refuse(f"{row.name!r} is listed twice; rows of one algorithm have a `name` each", row.place)
            if row.label and any(other.label == row.label for other in rows[: row.place]):
                refuse(f"the label {row.label!r} is that of another row", row.place)
        return values

    @field_validator("analysis", "claims", mode="before")
    @classmethod
    def _listed(cls, values: Any) -> Any:
        if not isinstance(values, list):
            refuse(f"a list is expected, as in [{values}]")
        return values

    @field_validator("analysis")
    @classmethod
    def _known_analyses(cls, values: list[str]) -> list[str]:
        for place, name in enumerate(values):
            if name not in (known := registry.names("analyses")):
                refuse(f"unknown analysis {name!r}; {nearest(name, known)}", place)
        return values

    @field_validator("claims")
    @classmethod
    def _readable_claims(cls, values: list[Any]) -> list[Any]:
        for place, entry in enumerate(values):
            try:
                claim_of(entry)
            except ValueError as error:
                refuse(str(error), place)
        return values

    @field_validator("seeds", "tasks", "partitions", "analysis")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        twice = [v for i, v in enumerate(values) if v in values[:i]]
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice")
        return values

    @field_validator("faults")
    @classmethod
    def _faults_differ(cls, values: dict[str, dict[str, Scalar]]) -> dict[str, dict[str, Scalar]]:
        said = list(values.items())
        for place, (heading, injected) in enumerate(said):
            if (same := next((other for other, before in said[:place] if before == injected), None)) is not None:
                raise ValueError(f"{heading!r} and {same!r} are the same faults")
        return values

    @field_validator("margins")
    @classmethod
    def _positive(cls, values: dict[str, float]) -> dict[str, float]:
        wrong = [name for name, value in values.items() if not 0 < value < math.inf]
        if wrong:
            raise ValueError(f"the margin of {wrong[0]} is not positive")
        return values

    @field_validator("seeds")
    @classmethod
    def _not_negative(cls, values: list[int]) -> list[int]:
        if min(values) < 0:
            raise ValueError("seeds are not negative")
        return values
