"""A folder of your own: a table of samples in CSV, the files that it names, and at will a definition of the task."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Definition,
    Dropped,
    Drops,
    InputError,
    LabelSpec,
    PreparerOptions,
    confined,
    defined_task,
    number,
    read_definition,
    read_table,
)

from .columns import Columns, columns_of, definition_of
from .readers import READERS

if TYPE_CHECKING:
    import pandas as pd

TABLE, DEFINITION = "table.csv", "task.yaml"


class CsvOptions(PreparerOptions):
    """Options of your own folder; those of modalities that it lacks mean nothing."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    volume_size: tuple[int, int, int] = Field((16, 32, 32), description="stored depth, height and width of a volume")
    window: tuple[float, float] | None = Field(
        None,
        description="values of a volume that become black and white, e.g. [-160, 240] in a CT; else its range",
    )
    signal_channels: int = Field(12, ge=1, le=256, description="channels of a signal")
    signal_rate: float = Field(100, gt=0, le=100_000, description="samples per second of a signal")
    signal_seconds: float = Field(10, gt=0, le=3600, description="how much of a signal is kept, from its beginning")

    @field_validator("volume_size")
    @classmethod
    def _bearable(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 1 or max(value) > 1024:
            raise ValueError("depth, height and width are from 1 to 1024")
        return value

    @field_validator("window")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("a window begins below its end")
        return value


class CsvFolder(DatasetPreparer[CsvOptions]):
    """Reads ``table.csv`` and the files that it names.

    Columns: ``sample``, ``patient``, ``site``, ``sex``, ``age``; ``label``, or ``label: NAME`` for each finding, or
    ``question`` and ``answer``; ``text``; and ``image``, ``image 2``, ..., ``signal`` or ``volume``:
    paths within the folder.
    ``task.yaml`` beside it may say more (:class:`~fedmeki_bench.api.Definition`). Nothing but files and labels is
    needed; the card says what was guessed and what is not known.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="csv",
        version=1,
        title="Your own folder: a table in CSV and the files that it names",
        modalities=("image", "signal", "volume", "text"),
        grouping="patient",
        licence="your own data: see the card",
        access="your own data",
        citation="not stated",
        url="not stated",
        real_layout="a folder with 'table.csv', the files that it names and, at will, 'task.yaml'",
    )
    pool_from: ClassVar[int] = 1000
    synthesize_size: ClassVar[int] = 200

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, bool]] = {}  # modality -> most files of a sample, whether one can have none

    def sources(self, raw: Path, options: CsvOptions) -> list[Path]:
        """The table, and the definition if there is one."""
        if not (raw / TABLE).is_file():
            raise InputError(f"{raw} lacks '{TABLE}'; dataset 'csv' expects {self.meta.real_layout}")
        columns, rows = _read(raw)
        for modality, names in columns.paths.items():
            files = [sum(bool(row[name].strip()) for name in names) for row in rows]
            self._held[modality] = len(names), min(files) == 0
        return [raw / TABLE, *([raw / DEFINITION] if (raw / DEFINITION).is_file() else [])]

    def bulk(self, raw: Path, options: CsvOptions) -> list[Path]:
        """The folder, with the files that the table names."""
        return [raw]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """The folder's name: it has no other."""
        return f"folder {raw.resolve().name}"

    def tasks(self, raw: Path, options: CsvOptions) -> list[Any]:
        """The one task that the folder defines."""
        self.sources(raw, options)
        definition, _ = _defined(raw)
        return [defined_task(definition)()]

    def table(self, raw: Path, options: CsvOptions, drops: Drops) -> pd.DataFrame:
        """One row per row of the table.

        Raises:
            InputError: a label is none of the task's; says in which row, and what is expected.
        """
        import pandas as pd

        columns, rows = _read(raw)
        definition, guessed = _defined(raw)
        drops.read = len(rows)
        for sentence in guessed:
            drops.note(sentence)
        if definition.unsaid:
            drops.note(f"not stated: {', '.join(definition.unsaid)} (fields of {DEFINITION})")
        if "patient" not in columns.plain:
            drops.note("patients are not known: rows of one patient may lie on both sides of a split")
        kept: list[dict[str, Any]] = []
        seen: set[str] = set()
        for position, row in enumerate(rows, start=1):
            try:
                sample = _sample(raw, row, position, columns, definition)
                if sample["sample_id"] in seen:
                    raise Dropped("the sample occurs a second time")
            except Dropped as dropped:
                drops.add(dropped.reason, f"row {position} ({row.get('sample', '')[:40]})")
                continue
            seen.add(sample["sample_id"])
            kept.append(sample)
        names = ["sample_id", "group_id", "site", "source", "sex", "age", "label", "answer", "question", "text"]
        return pd.DataFrame(kept, columns=names, dtype=object)

    def grouping(self, options: CsvOptions) -> str:
        """Patients where the table has them; the card's notes say where it has not."""
        return self.meta.grouping

    def arrays(self, options: CsvOptions) -> dict[str, ArraySpec]:
        """Of every modality that can be read: which there are is the task's business."""
        found = {}
        for modality, reader in READERS.items():
            many, optional = self._held.get(modality, (1, False))
            found[modality] = replace(reader.spec(options), many=many, optional=optional)
        return found

    def decode(self, raw: Path, source: str, options: CsvOptions) -> Decoded:
        """Read the files of one sample."""
        named: dict[str, list[str]] = json.loads(source)
        return Decoded(
            {
                modality: [READERS[modality].read(confined(raw, path), options) for path in paths]
                for modality, paths in named.items()
            }
        )

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _read(raw: Path) -> tuple[Columns, list[dict[str, str]]]:
    table = read_table(raw / TABLE, ())
    rows = [{str(k).strip(): str(v) for k, v in row.items()} for row in table.to_dict("records")]
    return columns_of([str(name).strip() for name in table.columns], raw / TABLE), rows


def _defined(raw: Path) -> tuple[Definition, list[str]]:
    columns, rows = _read(raw)
    path = raw / DEFINITION
    said = read_definition(path) if path.is_file() else {}
    return definition_of(said, columns, rows, raw, str(path if path.is_file() else raw / TABLE))


def _sample(raw: Path, row: dict[str, str], position: int, columns: Columns, definition: Definition) -> dict[str, Any]:
    """A row with its label read and its files named; Dropped where a file's name can't be used."""
    name = row.get("sample", "").strip() or f"row-{position}"
    paths: dict[str, list[str]] = {}
    for modality in definition.arrays:
        named = [row[column].strip() for column in columns.paths[modality]]
        paths[modality] = [path for path in named if path]
        for path in paths[modality]:
            confined(raw, path)
    return {
        "sample_id": name,
        "group_id": row.get("patient", "").strip() or f"sample {name}",
        "site": row.get("site", "").strip(),
        "source": json.dumps(paths, sort_keys=True),
        "sex": row.get("sex", "").strip(),
        "age": _age(row.get("age", "")),
        "label": _label(row, columns, definition, f"{raw / TABLE}, row {position}"),
        "answer": row.get("answer", "").strip(),
        "question": row.get("question", "").strip(),
        "text": " ".join(row.get("text", "").split()),
    }


def _label(row: dict[str, str], columns: Columns, definition: Definition, where: str) -> Any:
    """The label that a row states, None where it states none."""
    spec = definition.labels
    if not spec.how.labelled:
        return None
    if columns.findings:
        cells = [row[columns.findings[name]].strip() for name in spec.classes]
        said = [_cell(cell, LabelSpec("binary"), where) if cell else None for cell in cells]
        return None if all(one is None for one in said) else tuple(said)
    cell = row.get("label", "").strip()
    return _cell(cell, spec, where) if cell else None


def _cell(cell: str, spec: LabelSpec, where: str) -> Any:
    try:
        return spec.how.from_cell(cell, spec)
    except ValueError as error:
        raise InputError(f"{where}: the label is {cell[:60]!r}; expected is {error}") from None


def _age(text: str) -> float | None:
    try:
        age = number(text)
    except ValueError:
        return None
    return age if age is not None and 0 <= age <= 120 else None
