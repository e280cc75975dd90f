"""The JSON file a run leaves: what was run, on what, what came out, what it cost and where.

The schema is versioned and strict: an unknown field is an error, so a typo cannot lose information silently.
JSON has no NaN; a value that is not a finite number is stored as null, with a note that says what it was.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from fedmeki_bench.bounded import bounded_json, first_problem
from fedmeki_bench.errors import InputError
from fedmeki_bench.plain import plain_values

SCHEMA = 1

Status = Literal["ok", "failed", "interrupted"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def _lacks_value(value: Any) -> bool:
    try:
        return not math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def _nullify(data: Any, fields: tuple[str, ...]) -> Any:
    """Replace non-finite numbers in ``fields`` by null and say so in ``note``, unless a note is there."""
    if not isinstance(data, Mapping):
        return data
    data = dict(data)
    bad = [name for name in fields if name in data and _lacks_value(data[name])]
    if bad:
        said = ", ".join(f"{name} was {data[name]}" for name in bad)
        data.update(dict.fromkeys(bad))
        data["note"] = data.get("note") or said
    return data


def _without(told: dict[str, Any], *fields: str) -> dict[str, Any]:
    """What a model tells, without fields that came later where they hold nothing: older records keep their bytes."""
    return {name: value for name, value in told.items() if name not in fields or value not in (None, [])}


class MetricValue(_Strict):
    """A metric with its interval over patients; null where undefined, and then ``note`` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _no_nan(cls, data: Any) -> Any:
        return _nullify(data, ("value", "low", "high"))


class Subgroup(MetricValue):
    """The main metric on the samples of one site, sex, age band, or under one client's own model."""

    name: str
    n: int = Field(ge=0)
    groups: int | None = Field(default=None, ge=0)


class Evaluation(_Strict):
    """One view scored on one split of one task.

    ``metrics`` keeps the task's order, the main one first. ``subgroups`` maps ``site``, ``sex``, ``age`` and, where
    every client has its own model, ``client`` to the main metric on each part. ``predictions`` is a path relative to
    the record's folder, ``digest`` that of their content. Without metrics, ``note`` says why the view does not apply.
    ``phase`` is how many phases were over, where tasks follow one another; it is left out of the end's evaluations.
    ``variant`` is how questions were put, where not as in training: ``wording-1``, ``bare``, ``swapped``, ``blank``.
    """

    view: str
    task: str
    split: str = "test"
    n: int = Field(ge=0)
    groups: int | None = Field(default=None, ge=0)
    metrics: dict[str, MetricValue] = Field(default_factory=dict)
    subgroups: dict[str, list[Subgroup]] = Field(default_factory=dict)
    predictions: str | None = None
    digest: str | None = None
    note: str = ""
    phase: int | None = Field(default=None, ge=0)
    variant: str | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "phase", "variant")


class RoundRecord(_Strict):
    """One communication round; bytes are sums over clients, seconds are wall-clock."""

    round: int = Field(ge=0)
    loss: float | None = None
    valid: dict[str, float | None] = Field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    clients: list[int] = Field(default_factory=list)  # who took part; empty in records from before this was kept
    reports: dict[str, float] = Field(default_factory=dict)  # what the rule reports, such as a privacy budget spent
    faults: dict[str, list[int]] = Field(default_factory=dict)  # injected fault -> clients that took part with it
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _no_nan(cls, data: Any) -> Any:
        data = _nullify(data, ("loss",))
        if isinstance(data, dict) and isinstance(data.get("reports"), Mapping):
            data["reports"] = {k: v for k, v in data["reports"].items() if not _lacks_value(v)}
        if isinstance(data, dict) and isinstance(data.get("valid"), Mapping):
            valid = data["valid"]
            undefined = [name for name, value in valid.items() if _lacks_value(value)]
            if undefined:
                data["valid"] = {k: None if k in undefined else v for k, v in valid.items()}
                data["note"] = data.get("note") or f"undefined on valid: {', '.join(undefined)}"
        return data


class CohortRef(_Strict):
    """A cohort a run used: ``card`` is the hash of its card, hence of its data; ``options`` its preparation.

    ``concepts`` are what clients trained on where answers are free text: which of them an answer names. ``definition``
    is that of a task which no distribution brings.
    """

    name: str
    task: str
    card: str
    synthetic: bool
    split: Literal["patient", "published"] = "patient"
    options: dict[str, Any] = Field(default_factory=dict)
    concepts: list[str] = Field(default_factory=list)
    definition: dict[str, Any] | None = None

    def prepared_with(self, wanted: Iterable[tuple[str, Any]]) -> bool:
        """Whether it was prepared with these options, as far as its dataset has them; one that tells none was not."""
        wanted = tuple(wanted)
        return not wanted or (
            bool(self.options) and all(self.options.get(key, value) == value for key, value in wanted)
        )


class AssignmentCounts(_Strict):
    """Who held what: a digest of the assignment, and per task the size and positives, or classes, of each client."""

    digest: str
    counts: dict[str, list[dict[str, int | dict[str, int] | None]]] = Field(default_factory=dict)


class GateFacts(_Strict):
    """How far the gate tells tasks apart, over all pairs of tasks it was asked for.

    ``distance`` and ``largest_distance`` are the mean and largest L1 distance between two tasks' vectors, 2 at most;
    ``overlap`` is the mean weight that two tasks put on the same experts (1 less half the distance, between 0 and 1);
    ``load`` is each expert's mean weight, ``experts`` how many are in use: the exponential of the load's entropy.
    """

    distance: float
    largest_distance: float
    overlap: float
    load: list[float]
    experts: float


class FoundationFacts(_Strict):
    """What injection did to the foundation model.

    ``routing`` maps task to the gate's vector over experts, ``gate`` sums it up; ``forgetting`` holds the share of
    plain-text questions answered right before and after injection, and how many were asked; ``loss`` is the
    injection's loss per round.
    """

    name: str
    adapter: dict[str, Any] = Field(default_factory=dict)
    parameters: int = 0
    loss: list[float] = Field(default_factory=list)
    routing: dict[str, list[float]] = Field(default_factory=dict)
    gate: GateFacts | None = None
    forgetting: dict[str, float] | None = None


class Versions(_Strict):
    """Versions of everything whose change changes numbers.

    ``plugins`` holds those of partition and encoders beyond the first; ``sources`` the digests of plug-ins that are not
    built in, by what they are here (``rule``, ``task NAME``, ``encoder MODALITY``, ``metric NAME``); ``foundation``
    what the foundation model is. ``metrics`` (and their sources) and ``scoring`` are those of the scoring, which can be
    done anew.
    """

    results: int = 1
    tasks: dict[str, int] = Field(default_factory=dict)
    rule: int = 1
    stage: int = 1
    plugins: dict[str, int] = Field(default_factory=dict)
    foundation: str | None = None
    scoring: int = 1
    metrics: dict[str, int] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)


class PluginRef(_Strict):
    """Where a plug-in came from: an installed distribution, or ``file:PATH`` for one given as a file."""

    kind: str
    name: str
    origin: str


class Cost(_Strict):
    """What the run used: wall-clock seconds of its rounds, peak memory in bytes, bytes both ways, trained parameters.

    The seconds leave out the final scoring. ``client_weights`` is the bytes of weights that a client needs to train: of
    the model it trains, and of the foundation model where clients tune that.
    """

    seconds: float = 0.0
    peak_memory: int | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    parameters: int | None = None
    client_weights: int | None = None


class RunError(_Strict):
    """Why a run stopped: class of the error, its sentence, and the last frame of its traceback."""

    type: str
    message: str
    where: str = ""


class Pretraining(_Strict):
    """The run without labels that a board's run started from, and what that had cost."""

    key: str
    pretext: str
    seconds: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0


class Record(_Strict):
    """A run. ``key`` identifies it with its data, ``setting`` without: other data, same setting, new key.

    ``evaluations`` are those of the end, ``phases`` those of every phase before and on `valid` of the last one, too,
    where tasks follow one another, ``beside`` those on a held-out site (split ``external``) and of variants. ``digest``
    is that of everything else in the file, so that damage and edits are seen when it is read.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    key: str
    setting: str
    status: Status
    algorithm: str
    rule: str
    scope: Literal["s", "m"]
    stage: str
    profile: str
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seed: int
    clients: int
    partition: str
    tasks: list[str]
    views: list[str]
    versions: Versions = Field(default_factory=Versions)
    plugins: list[PluginRef] = Field(default_factory=list)
    cohorts: list[CohortRef] = Field(default_factory=list)
    assignment: AssignmentCounts | None = Field(None, validation_alias=AliasChoices("assignment", "dealt"))
    evaluations: list[Evaluation] = Field(default_factory=list)
    phases: list[Evaluation] = Field(default_factory=list)
    beside: list[Evaluation] = Field(default_factory=list)
    foundation: FoundationFacts | None = None
    history: list[RoundRecord] = Field(default_factory=list)
    cost: Cost = Field(default_factory=Cost)
    pretraining: Pretraining | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    started: AwareDatetime | None = None
    finished: AwareDatetime | None = None
    error: RunError | None = None
    notes: list[str] = Field(default_factory=list)
    assumed: dict[str, Any] = Field(default_factory=dict)  # what the rule's paper assumes of the profile, not kept here
    digest: str | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "phases", "beside")

    @property
    def scores(self) -> tuple[Evaluation, ...]:
        """Everything that was scored."""
        return (*self.evaluations, *self.phases, *self.beside)

    def to_json(self) -> str:
        """The record as indented JSON in field order, newline at the end; never contains NaN. Sets ``digest``."""
        content = self.model_dump(mode="python", by_alias=True)
        if self.pretraining is None:  # it came later: other records are written as they were
            del content["pretraining"]
        replaced: list[str] = []
        content = _plain(content, "", replaced)
        content["notes"] = [*content["notes"], *(r for r in replaced if r not in content["notes"])]
        self.digest = content["digest"] = content_digest(content)
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "record") -> Record:
        """Read a record.

        Raises:
            InputError: not JSON, another schema, a field is missing, unknown or of the wrong type, or the content is
                not that of its digest; the message begins with ``source``.
        """
        try:
            content = bounded_json(text)
        except ValueError as error:
            raise InputError(f"{source}: not valid JSON: {error}") from error
        if not isinstance(content, dict):
            raise InputError(f"{source}: a record is a JSON object, not a {type(content).__name__}")
        found = content.get("schema")
        if not isinstance(found, int):
            raise InputError(f"{source}: has no schema version")
        if found > SCHEMA:
            raise InputError(
                f"{source}: has schema {found}, newer than the {SCHEMA} this version reads: upgrade fedmeki-bench"
            )
        if found < SCHEMA:
            raise InputError(f"{source}: has the old schema {found}; run it again to get schema {SCHEMA}")
        try:
            record = cls.model_validate(plain_values(content))
        except ValidationError as error:
            raise InputError(f"{source}: {first_problem(error)}") from error
        if record.digest is not None and content_digest(content) != record.digest:
            raise InputError(f"{source}: was changed after it was written (its digest is another)")
        return record


def content_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of a record's content, without ``digest`` itself."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any, path: str, replaced: list[str]) -> Any:
    """JSON types only; a non-finite number becomes null and its path goes to ``replaced``."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{path}.{k}" if path else str(k), replaced) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{path}[{i}]", replaced) for i, v in enumerate(value)]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        replaced.append(f"{path} was {value}")
        return None
    return value
