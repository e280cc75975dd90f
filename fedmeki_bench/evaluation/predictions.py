"""The scores behind every number, one Parquet file per view and task, so that any metric can be redone.

The files are made to be shown: samples and groups (patients) stand under keyed hashes that pair runs on the same data
and mean nothing to anyone without the data (see ``Cohort.pseudonyms``); ages are bands.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError
from fedmeki_bench.files import replacing
from fedmeki_bench.kinds.kind import LabelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Column = NDArray[Any] | Sequence[Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_COLUMNS = ("sample_id", "group_id", "site", "label", "score")
_LISTS = ("list<element: double>", "list<element: int64>")
_ANY = ("string", "int64", "double", *_LISTS)
_TYPES: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("sample_id", "group_id", "site", "answer", "gold", "sex", "age"), ("string",)
)
_TYPES |= {"label": ("int64", "double", _LISTS[0]), "client": ("int64",), "threshold": ("double",)}
_TYPES |= {"parsed": ("int64", "string", "double", _LISTS[1]), "score": ("double", _LISTS[0])}
_LABELS = b"fedmeki_bench.labels"
"""Where a file says what its labels are; a file that doesn't holds yes and no, or free text."""

_BINARY = LabelSpec("binary")

ATTRIBUTES = ("sex", "age")
"""Attributes that a file may hold beside the site, each as the name of the sample's group."""

_TEXT_COLUMNS = ("sample_id", "group_id", "site", "answer", "parsed")


class PredictionsChanged(InputError):
    """The content of a file of predictions is not what was written."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores of one view on the test split of one task.

    Attributes:
        sample_id, group_id, site: (n,) strings; the group is the unit that is resampled (the patient).
        label: (n,) of 0 and 1, numbers of classes, or numbers; (n, K) of 0, 1 and NaN per finding.
        score: (n,) probabilities or numbers, (n, K) probabilities of classes or findings; with an axis of clients in
            front where every client has its own model.
        attributes: name (``sex``, ``age``) -> (n,) of the group each sample belongs to, for metrics per group.
        threshold: one per model, (1,) or (clients,), as chosen on `valid`; None where there is none.
        labels: what the labels are.
    """

    sample_id: NDArray[Any]
    group_id: NDArray[Any]
    site: NDArray[Any]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    attributes: Mapping[str, Column] = field(default_factory=dict)
    threshold: NDArray[np.float64] | None = None
    labels: LabelSpec = _BINARY

    @property
    def models(self) -> NDArray[np.floating[Any]]:
        """The scores with an axis of models in front: (1 or clients, n) or (1 or clients, n, K)."""
        return self.labels.by_model(self.score)

    @property
    def per_client(self) -> bool:
        """Whether every client has its own model."""
        return self.score.ndim > 1 + self.labels.how.classed


@dataclass(frozen=True, slots=True)
class TextPredictions:
    """Generated answers of one view on the test split of one task.

    Attributes:
        sample_id, group_id, site: n strings; the group is the unit that is resampled (the patient).
        gold: n labels as in :class:`Predictions`, or n gold answers.
        answer: n generated texts, as they came.
        parsed: n times what was read from them: labels, or texts; None where nothing could be read.
        score: (n,) probabilities of yes, or (n, K) scores of classes or findings; None where the model gives none.
        attributes, labels: as in :class:`Predictions`.
    """

    sample_id: Column
    group_id: Column
    site: Column
    gold: Column
    answer: Column
    parsed: Column
    score: NDArray[np.floating[Any]] | None = None
    attributes: Mapping[str, Column] = field(default_factory=dict)
    labels: LabelSpec = _BINARY

    @property
    def labelled(self) -> bool:
        """Whether the gold answers are labels, and not free text."""
        return self.labels.how.labelled and not (len(self.gold) and isinstance(self.gold[0], str))


def predictions_path(
    folder: Path, view: str, task: str, *, phase: tuple[int, str] | None = None, beside: str = ""
) -> Path:
    """``<folder>/predictions/<view>.<task>.parquet``; names that could leave the folder are refused.

    Args:
        phase: how many phases were over and the split, of a phase's scores, which end in ``.phase-1.valid.parquet``.
        beside: what a score beside the board's is of, as in ``.external.parquet`` and ``.wording-1.parquet``.
    """
    for name in (view, task):
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot be part of a file name: use letters, digits, _ and -")
    when = f".{beside}" if beside else "" if phase is None else f".phase-{phase[0]}.{phase[1]}"
    return folder / "predictions" / f"{view}.{task}{when}.parquet"


def write_predictions(path: Path, predictions: Predictions) -> str:
    """Write atomically; the same predictions give the same bytes. Returns the digest of the content.

    With one model per client the table is long: samples repeat and a column ``client`` counts the clients that hold
    the task from 0. The threshold of a model stands in every one of its rows.

    Raises:
        InputError: the columns differ in length.
    """
    import numpy as np
    import pyarrow as pa

    n = len(predictions.sample_id)
    scores = np.asarray(predictions.models, dtype=np.float64)
    clients, wide = scores.shape[0], scores.shape[2:]
    described = (predictions.group_id, predictions.site, predictions.label)
    thresholds = clients if predictions.threshold is None else len(predictions.threshold)
    if scores.shape[1] != n or any(len(column) != n for column in described) or thresholds != clients:
        raise InputError(f"{path.name}: the columns of the predictions differ in length")

    def text(values: NDArray[Any]) -> pa.Array:
        return pa.array([str(v) for v in np.tile(values, clients)], type=pa.string())

    columns = {
        "sample_id": text(predictions.sample_id),
        "group_id": text(predictions.group_id),
        "site": text(predictions.site),
        "label": _numbers(np.concatenate([np.asarray(predictions.label)] * clients)),
        "score": _numbers(scores.reshape(clients * n, *wide)),
    }
    if predictions.per_client:
        columns["client"] = pa.array(np.repeat(np.arange(clients), n))
    if predictions.threshold is not None:
        columns["threshold"] = pa.array(np.repeat(np.asarray(predictions.threshold, dtype=np.float64), n))
    columns |= {name: text(np.asarray(predictions.attributes[name])) for name in _known(predictions)}
    return _write(path, columns, predictions.labels)


def write_text_predictions(path: Path, predictions: TextPredictions) -> str:
    """Write atomically; the same predictions give the same bytes. Returns the digest of the content.

    Labels are the column ``label`` (integers), gold answers the column ``gold`` (text); ``parsed`` has the same type,
    null where unparsed. With ``score`` the file of a classification task can be read by :func:`read_predictions` too.

    Raises:
        InputError: the columns differ in length, or ``parsed`` does not have the type of ``gold``.
    """
    import numpy as np
    import pyarrow as pa

    n = len(predictions.sample_id)
    described = (predictions.group_id, predictions.site, predictions.gold, predictions.answer, predictions.parsed)
    scores = None if predictions.score is None else np.asarray(predictions.score, dtype=np.float64)
    if any(len(column) != n for column in described) or (scores is not None and len(scores) != n):
        raise InputError(f"{path.name}: the columns of the predictions differ in length")

    def text(values: Column) -> pa.Array:
        return pa.array([str(v) for v in values], type=pa.string())

    columns = {name: text(getattr(predictions, name)) for name in ("sample_id", "group_id", "site")}
    try:
        if n and predictions.labelled:
            columns["label"] = _numbers(np.asarray(predictions.gold))
            inner = pa.float64() if str(columns["label"].type) == "double" else pa.int64()
            kind = pa.list_(pa.field("element", pa.int64())) if np.ndim(predictions.gold) == 2 else inner
        else:
            kind = pa.string()
            columns["gold"] = pa.array([_python(v) for v in predictions.gold], type=kind)
        columns["answer"] = text(predictions.answer)
        columns["parsed"] = pa.array([_python(v) for v in predictions.parsed], type=kind)
    except (pa.ArrowException, TypeError) as error:
        raise InputError(
            f"{path.name}: gold and parsed answers must be labels, or texts, throughout: {error}"
        ) from error
    if scores is not None:
        columns["score"] = _numbers(scores)
    columns |= {name: text(predictions.attributes[name]) for name in _known(predictions)}
    return _write(path, columns, predictions.labels if predictions.labels.how.labelled else _BINARY)


def _known(predictions: Predictions | TextPredictions) -> list[str]:
    return [name for name in ATTRIBUTES if name in predictions.attributes]


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _numbers(values: NDArray[Any]) -> Any:
    """Numbers as a column: whole ones, others, or a list of others per row."""
    import numpy as np
    import pyarrow as pa

    if values.ndim == 2:
        flat = pa.array(values.astype(np.float64).ravel())
        offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
        return pa.ListArray.from_arrays(offsets, flat, type=pa.list_(pa.field("element", pa.float64())))
    return pa.array(values.astype(np.int64 if values.dtype.kind in "iub" else np.float64))


def _table_of(columns: dict[str, Any], labels: LabelSpec) -> Any:
    import pyarrow as pa

    told = {"kind": labels.kind, **labels.as_json()}
    return pa.table(columns, metadata=None if labels == _BINARY else {_LABELS: json.dumps(told, sort_keys=True)})


def _labels_of(table: Any) -> LabelSpec:
    told = (table.schema.metadata or {}).get(_LABELS)
    if told is None:
        return _BINARY
    try:
        facts = json.loads(told)
        return LabelSpec.from_json(str(facts.pop("kind")), facts)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"predictions say of their labels what can't be read: {error}") from error


def _write(path: Path, columns: dict[str, Any], labels: LabelSpec) -> str:
    import pyarrow.parquet as pq

    table = _table_of(columns, labels)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return _digest(table)


def _digest(table: Any) -> str:
    """SHA-256 over names and values of the columns: the same whichever version of Parquet wrote them."""
    import numpy as np

    digest = hashlib.sha256((table.schema.metadata or {}).get(_LABELS, b""))
    for name in table.column_names:
        values = table.column(name)
        digest.update(f"{name} {values.type}\n".encode())
        if str(values.type) in ("double", _LISTS[0]):  # by their bits: as text two scores could look alike
            digest.update(np.ascontiguousarray(_array(values), dtype="<f8").tobytes())
        else:
            digest.update(json.dumps(values.to_pylist(), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def read_predictions(path: Path, digest: str | None = None) -> Predictions:
    """Read a file written by :func:`write_predictions`.

    Args:
        digest: what the writer returned; without it, what is read is taken as it is.

    Raises:
        PredictionsChanged: the content is not that of ``digest``.
        InputError: no such file, not Parquet, or a column is missing or of another kind.
    """
    import numpy as np

    table = _read(path, _COLUMNS, digest)
    data = {name: _array(table.column(name)) for name in table.column_names}
    labels = _labels_of(table)
    score, n, clients = data["score"], table.num_rows, 1
    if labels.how.classed != (score.ndim == 2):
        raise InputError(f"{path}: the scores are not those of the kind {labels.kind}")
    if "client" in data:
        clients = int(data["client"].max()) + 1 if n else 1
        if (
            clients < 1
            or n % clients
            or not np.array_equal(data["client"], np.repeat(np.arange(clients), n // clients))
        ):
            raise InputError(f"{path}: the column 'client' does not list every client once per sample")
        n //= clients
        score = score.reshape(clients, n, *score.shape[1:])
    return Predictions(
        sample_id=data["sample_id"][:n],
        group_id=data["group_id"][:n],
        site=data["site"][:n],
        label=data["label"][:n],
        score=score,
        attributes={name: data[name][:n] for name in ATTRIBUTES if name in data},
        threshold=data["threshold"].reshape(clients, n)[:, 0] if "threshold" in data and n else None,
        labels=labels,
    )


def _array(column: Any) -> NDArray[Any]:
    """A column as an array; lists of one length as (n, K)."""
    import numpy as np

    if not str(column.type).startswith("list<"):
        found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return found
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    n = len(column)
    if (n and len(flat) % n) or any(len(row) * n != len(flat) for row in column):
        raise InputError("the lists of a column of predictions differ in length")
    return np.asarray(flat, dtype=np.float64).reshape(n, -1)


def read_text_predictions(path: Path, digest: str | None = None) -> TextPredictions:
    """Read a file written by :func:`write_text_predictions`; arguments and errors as :func:`read_predictions`."""
    import numpy as np

    table = _read(path, _TEXT_COLUMNS, digest)
    gold = "label" if "label" in table.column_names else "gold"
    if gold not in table.column_names:
        raise InputError(f"{path}: predictions have neither a column 'label' nor a column 'gold'")

    def objects(name: str) -> NDArray[Any]:
        # Through Python values: a null among integers would turn them into floats.
        out = np.empty(table.num_rows, dtype=object)
        out[:] = table.column(name).to_pylist()
        return out

    return TextPredictions(
        sample_id=objects("sample_id"),
        group_id=objects("group_id"),
        site=objects("site"),
        gold=_array(table.column("label")) if gold == "label" else objects("gold"),
        answer=objects("answer"),
        parsed=objects("parsed"),
        score=_array(table.column("score")) if "score" in table.column_names else None,
        attributes={name: objects(name) for name in ATTRIBUTES if name in table.column_names},
        labels=_labels_of(table) if gold == "label" else LabelSpec("generation"),
    )


def _read(path: Path, wanted: tuple[str, ...], digest: str | None) -> Any:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    if not path.is_file():
        raise InputError(f"{path}: the predictions are missing")
    try:
        with ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)  # texts that are not UTF-8 would fail only when they are looked at
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(f"{path}: cannot read predictions: {error}") from error
    lacking = [name for name in wanted if name not in table.column_names]
    if lacking:
        raise InputError(f"{path}: predictions lack the column {lacking[0]!r}")
    for name in table.column_names:
        if (kind := str(table.column(name).type)) not in _TYPES.get(name, _ANY):
            raise InputError(f"{path}: the column {name!r} of predictions holds {kind}, not {_TYPES[name][0]}")
        if name != "parsed" and table.column(name).null_count:
            raise InputError(f"{path}: the column {name!r} of predictions has blanks")
    if digest is not None and _digest(table) != digest:
        raise PredictionsChanged(f"{path}: the predictions were changed after they were written")
    return table
