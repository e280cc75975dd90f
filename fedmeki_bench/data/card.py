"""The data card: what a cohort depends on, in one JSON file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedmeki_bench.bounded import bounded_json, first_problem, regular_text
from fedmeki_bench.data.content import canonical, text_digest
from fedmeki_bench.data.contract import SYNTHETIC_MARKER
from fedmeki_bench.data.holdings import columns_of
from fedmeki_bench.data.splits import EXTERNAL, SPLITS
from fedmeki_bench.digests import known_digest
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.kinds.kind import LabelSpec

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
CARD = "card.json"
SAMPLES = "samples.parquet"
STORED_ROLES = {"training": "training", "zero_shot": "validation"}
"""Role of a task -> its word on the card: schema 1 has always said validation, and the card's hash names runs."""
STORED_KINDS = {"binary": "classification"}
"""Kind of a task -> its word on the card, where schema 1 has always had another one."""

_LARGEST = 50_000_000  # bytes; a card with statistics of a hundred variables has a thousandth of it

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}$")]
_Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class _File(_Strict):
    bytes: _Count
    sha256: str


class _Array(_Strict):
    shape: list[_Count]
    dtype: Annotated[str, Field(pattern=r"^([<>|=]?[biuf][0-9]{1,2}|bool|u?int[0-9]{1,2}|float[0-9]{2})$")]
    scale: float
    unit: str
    many: Annotated[int, Field(ge=1)] = 1
    optional: bool = False


class _Dropped(_Strict):
    n: _Count
    examples: list[str]


class _Labels(_Strict):
    classes: list[str]
    unit: str
    centre: float
    spread: Annotated[float, Field(gt=0)]


class _Card(_Strict):
    """What every command may rely on; a card can say more. Names of files stay within the cohort's folder."""

    dataset: str
    task: str
    kind: _Name
    role: Literal["training", "validation"]
    modalities: list[_Name]
    release: str
    synthetic: bool
    options: dict[str, Any]
    rows: dict[str, _Count]
    dropped: dict[str, _Dropped]
    excluded: dict[str, _Count]
    splits: dict[str, dict[str, _Count | dict[str, _Count]]]
    split_mode: Literal["patient", "published", "test only"]
    grouping: str
    groups: _Count
    shortcuts: list[str]
    notes: list[str]
    audit: dict[str, _Count]
    arrays: dict[_Name, _Array]
    content: dict[_Name, str]
    files: dict[_Name, _File]
    sources: dict[str, str | None] = Field(default_factory=dict)
    statistics: dict[str, Any] = Field(default_factory=dict)
    registry: str | None = None
    labels: _Labels | None = None
    concepts: list[str] = Field(default_factory=list)
    definition: dict[str, Any] | None = None


def card_hash(card: Mapping[str, Any]) -> str:
    """SHA-256 of the card's canonical JSON, without ``files``.

    ``files`` holds hashes of the files as written, which depend on the version of the Parquet writer; the
    card's ``content`` holds hashes of the values themselves, so that the same data has one hash everywhere.
    """
    return text_digest(canonical({key: value for key, value in card.items() if key != "files"}))


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a prepared cohort.

    Raises:
        InputError: there is none, it is damaged, or it comes from another version of the format.
    """
    path = folder / CARD
    try:
        card = bounded_json(regular_text(path, _LARGEST, "card"))
    except OSError:
        raise InputError(f"{folder} holds no cohort: there is no {CARD}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): prepare the cohort again") from None
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        found = card.get("schema") if isinstance(card, dict) else type(card).__name__
        raise InputError(f"{path} has schema {found!r}, this version reads {SCHEMA}: prepare the cohort again")
    try:
        _Card.model_validate(card)
    except ValidationError as error:
        raise InputError(f"{path} is damaged ({first_problem(error)}): prepare the cohort again") from None
    return card


def labels_of(card: Mapping[str, Any]) -> LabelSpec:
    """What the labels of a cohort are.

    Raises:
        InputError: no kind of that name is installed.
    """
    name = next((kind for kind, stored in STORED_KINDS.items() if stored == card["kind"]), card["kind"])
    found = LabelSpec.from_json(name, card.get("labels"))
    try:
        found.how  # noqa: B018 - looked up here, so that a missing plug-in is named here
    except UsageError as error:
        raise InputError(f"the cohort of task {card['task']!r} is of a kind that is not installed: {error}") from None
    return found


def check_files(folder: Path, card: Mapping[str, Any]) -> None:
    """Raise InputError if a file of the cohort is missing or is not the one that its card describes."""
    for name, facts in card["files"].items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"the cohort {folder} is incomplete, '{name}' is missing: prepare it again")
        size = path.stat().st_size
        if size != facts["bytes"]:
            raise InputError(f"{path} has {size} bytes where its card says {facts['bytes']}: prepare the cohort again")
        if known_digest(path) != facts["sha256"]:
            raise InputError(f"{path} was changed after it was prepared: prepare the cohort again")


def synthetic_facts(raw: Path) -> dict[str, Any] | None:
    """What SYNTHETIC.json says of a stand-in; ``None`` for a real release. A damaged marker still marks."""
    path = raw / SYNTHETIC_MARKER
    if not path.exists():
        return None
    try:
        facts = bounded_json(regular_text(path, _LARGEST, "marker"))
    except (InputError, ValueError, OSError):
        return {}
    return facts if isinstance(facts, dict) else {}


def counts(samples: pd.DataFrame, labels: LabelSpec, counted: Sequence[str] = ()) -> dict[str, Any]:
    """Samples, groups and labels per split and per site; of ``counted`` modalities how many samples have any."""
    sites = sorted(set(samples["site"].tolist()))
    splits = (*SPLITS, *[EXTERNAL] * int((samples["split"] == EXTERNAL).any()))
    return {
        "splits": {name: _count(samples[samples["split"] == name], labels, counted) for name in splits},
        "sites": {site: _count(samples[samples["site"] == site], labels, counted) for site in sites},
    }


def _count(samples: pd.DataFrame, labels: LabelSpec, counted: Sequence[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"samples": len(samples), "groups": int(samples["group_id"].nunique())}
    if labels.how.labelled:
        facts |= labels.how.counts(labels.how.read(samples["label"].tolist(), labels), labels)
    if counted:
        facts["present"] = {m: int((samples[columns_of(m)[1]] > 0).sum()) for m in counted}
    return facts


def audit(samples: pd.DataFrame) -> dict[str, int]:
    """Leakage inside the cohort: groups, sources and identical arrays that occur in more than one split."""
    found: dict[str, int] = {}
    twins = samples[samples["digest"] != ""].groupby("digest")["source"].nunique()
    found["sets_of_identical_arrays"] = int((twins > 1).sum())
    for column, name in (("group_id", "groups"), ("source", "sources"), ("digest", "identical_arrays")):
        known = samples[samples[column] != ""]
        spread = known.groupby(column)["split"].nunique()
        shared = spread[spread > 1].index
        found[f"{name}_shared_between_splits"] = len(shared)
        found[f"samples_of_shared_{name}"] = int(known[column].isin(shared).sum())
    return found
