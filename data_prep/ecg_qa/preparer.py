"""ECG-QA over PTB-XL: questions about ECGs that lie in a PTB-XL release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fedmeki_bench.api import (
    SYNTHETIC_MARKER,
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Dropped,
    Drops,
    InputError,
    PreparerOptions,
    natural,
    question_rows,
    require_folder,
    synthetic_facts,
    text,
    training_assignment,
    whole,
)

from ..ptbxl.layout import RECORDS
from ..ptbxl.preparer import PtbXl
from .layout import PARTS, STAND_IN

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "sample_id", "group_id", "site", "source", "sex", "age", "question", "answer", "attribute_type",
    "question_type", "template_id", "official_split",
)  # fmt: skip


class EcgQaOptions(PreparerOptions):
    """Options of the ECG-QA preparer."""

    ptbxl: Path | None = Field(None, description="folder of the PTB-XL release; by default 'ptbxl' beside RAW")
    phrasing: Literal["template", "paraphrased"] = Field("template", description="which wording of the questions")


class EcgQa(DatasetPreparer[EcgQaOptions]):
    """One sample per question about a single ECG that the PTB-XL release holds.

    Tasks get ``question``, ``answer`` (several are joined by ", "), ``attribute_type``, ``question_type``,
    ``template_id`` and ``official_split``. Group is PTB-XL's patient, site PTB-XL's site.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="ecg_qa",
        version=1,
        title="ECG-QA over PTB-XL",
        modalities=("signal",),
        grouping="patient",
        licence="CC BY 4.0",
        access="open",
        citation="Oh J, et al. ECG-QA: A Comprehensive Question Answering Dataset Combined With Electrocardiogram. "
        "NeurIPS Datasets and Benchmarks (2023)",
        url="https://github.com/Jwoo5/ecg-qa",
        real_layout="a folder with 'ptbxl/template/{train,valid,test}/<n>.json' (or 'ecgqa/ptbxl/...'), and a PTB-XL "
        "release named by the option 'ptbxl'",
    )
    extra_columns: ClassVar[tuple[str, ...]] = (
        "sex", "age", "attribute_type", "question_type", "template_id", "official_split",
    )  # fmt: skip
    shortcuts: ClassVar[tuple[str, ...]] = (
        "the official parts ignore PTB-XL's own division: an ECG of the test part may be one that training has seen",
        "verify questions are answered yes or no: the question's wording alone guesses half of them",
    )
    registry_name: ClassVar[str] = "ptbxl"
    pool_from: ClassVar[int] = PtbXl.pool_from
    synthesize_size: ClassVar[int] = 1200

    def sources(self, raw: Path, options: EcgQaOptions) -> list[Path]:
        """The question files and PTB-XL's table; also checks both folders."""
        require_folder(raw, self.meta, ())
        files = [path for _, path in _files(raw, options)]
        return [*files, *PtbXl().sources(_ptbxl(raw, options), options)]

    def bulk(self, raw: Path, options: EcgQaOptions) -> list[Path]:
        """PTB-XL's 100 Hz records."""
        return [_ptbxl(raw, options) / RECORDS]

    def companions(self, raw: Path, options: EcgQaOptions) -> list[Path]:
        """The PTB-XL release."""
        return [_ptbxl(raw, options)]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """The phrasing and number of the questions, and the PTB-XL release."""
        return str(table.attrs.get("release", "unknown"))

    def table(self, raw: Path, options: EcgQaOptions, drops: Drops) -> pd.DataFrame:
        """One row per question about one ECG of the release, in the order of the files."""
        import pandas as pd

        folder = _ptbxl(raw, options)
        records = PtbXl().table(folder, options, Drops())
        shared = ("group_id", "site", "sex", "age")
        patients = {
            row["sample_id"]: {name: row[name] for name in shared}
            for row in records[["sample_id", *shared]].to_dict("records")
        }

        def read(item: Mapping[str, Any], part: str, position: int) -> dict[str, Any] | str:
            row = _row(item, part, position)
            if isinstance(row, str):
                return row
            if row["source"] not in patients:
                return "the PTB-XL release does not hold the ECG"
            return row | patients[row["source"]]

        kept = question_rows(_files(raw, options), read, drops)
        asked: dict[tuple[str, str], int] = {}
        for row in kept:
            key = (row["attribute_type"], row["official_split"])
            asked[key] = asked.get(key, 0) + 1
        for (kind, part), count in sorted(asked.items()):
            drops.note(f"{count} questions on {kind} of the official {part} part ask about one ECG of the release")
        table: pd.DataFrame = pd.DataFrame(kept, columns=list(_COLUMNS))
        known = PtbXl().release(folder, records)
        table.attrs["release"] = f"ECG-QA, {options.phrasing}, {drops.read} questions, over {known}"
        return table

    def registry(self, raw: Path, table: pd.DataFrame, options: EcgQaOptions) -> dict[str, str]:
        """PTB-XL's patient -> split, from PTB-XL's own table under the same options."""
        records = PtbXl().table(_ptbxl(raw, options), options, Drops())
        return training_assignment(records, options, PtbXl.meta.name)

    def arrays(self, options: EcgQaOptions) -> dict[str, ArraySpec]:
        """As PTB-XL's."""
        return PtbXl().arrays(options)

    def decode(self, raw: Path, source: str, options: EcgQaOptions) -> Decoded:
        """Read the ECG of this id."""
        number = int(source)
        name = f"{RECORDS}/{number // 1000 * 1000:05d}/{number:05d}_lr"
        return PtbXl().decode(_ptbxl(raw, options), name, options)

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _files(raw: Path, options: EcgQaOptions) -> list[tuple[str, Path]]:
    """(official part, shard), shards in natural order."""
    phrasing = options.phrasing
    for base in (raw / "ptbxl", raw / "ecgqa" / "ptbxl", raw):
        folder = base / phrasing
        found = [
            (part, path)
            for part in PARTS
            for path in sorted((folder / part).glob("*.json"), key=lambda path: natural(path.name))
        ]
        if found:
            return found
    raise InputError(f"{raw} lacks 'ptbxl/{phrasing}'; dataset 'ecg_qa' expects {EcgQa.meta.real_layout}")


def _ptbxl(raw: Path, options: EcgQaOptions) -> Path:
    """The PTB-XL release: as told, else beside ``raw``, else what a synthetic ECG-QA brings along.

    Synthetic questions fit the stand-in of the same seed only, so that another one beside them is passed by.
    """
    told = options.ptbxl
    if told is not None:
        if not told.is_dir():
            raise InputError(f"option 'ptbxl': there is no folder {told}")
        return told
    beside, inside = raw.resolve().parent / "ptbxl", raw / STAND_IN
    if beside.is_dir() and _fits(raw, beside):
        return beside
    if inside.is_dir():
        return inside
    raise InputError(
        f"there is no PTB-XL release for these questions at {beside}: name its folder with the option 'ptbxl'"
    )


def _fits(raw: Path, ptbxl: Path) -> bool:
    if not (raw / SYNTHETIC_MARKER).exists():
        return True
    questions, ecgs = synthetic_facts(raw) or {}, synthetic_facts(ptbxl) or {}
    names = ("seed", "ptbxl_generator"), ("seed", "generator")
    return [questions.get(name) for name in names[0]] == [ecgs.get(name, "none") for name in names[1]]


def _row(item: Mapping[str, Any], part: str, position: int) -> dict[str, Any] | str:
    ecgs = item.get("ecg_id")
    ecgs = ecgs if isinstance(ecgs, list) else [ecgs]
    numbers = [whole(ecg, "ecg_id") for ecg in ecgs]
    if not numbers:
        raise Dropped("the field 'ecg_id' is blank or missing")
    answers = item.get("answer")
    answers = answers if isinstance(answers, list) else [answers]
    row = {
        "sample_id": f"{part}-{text(item, 'sample_id', default=f'item{position}')}",
        "source": str(numbers[0]),
        "question": text(item, "question"),
        "answer": ", ".join(text({"answer": answer}, "answer") for answer in answers) or text({}, "answer"),
        "attribute_type": text(item, "attribute_type"),
        "question_type": text(item, "question_type", default=""),
        "template_id": text(item, "template_id", default=""),
        "official_split": part,
    }
    return row if len(numbers) == 1 else f"the question is about {len(numbers)} ECGs"
