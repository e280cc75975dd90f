"""PMC-CaseReport: questions about case reports of PubMed Central, each with the figures that its text refers to."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Dropped,
    Drops,
    InputError,
    PreparerOptions,
    confined,
    grey_array,
    official_overlap,
    read_table,
    require_folder,
)

from .layout import COLUMNS, FIGURES, MOST, PARTS, figure_file

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "sample_id", "group_id", "site", "source", "figures", "context", "question", "answer", "official_split",
)  # fmt: skip
_ARTICLE = re.compile(r"PMC[0-9]{1,12}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_LONGEST = 10_000  # characters of one list of figures


class PmcCaseReportOptions(PreparerOptions):
    """Options of the PMC-CaseReport preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    context_sentences: int = Field(
        5, ge=0, le=100, description="sentences of the case before a question: the first and the last ones; 0: no case"
    )


class PmcCaseReport(DatasetPreparer[PmcCaseReportOptions]):
    """One sample per question: up to eight figures of its article, the case, the question and its answer.

    Tasks get ``context`` (shortened as option ``context_sentences`` says), ``question`` and ``answer`` without the
    ``Q:`` and ``A:`` before them, ``figures`` (how many) and ``official_split``. Groups are articles.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="pmc_casereport",
        version=1,
        title="PMC-CaseReport",
        modalities=("image", "text"),
        grouping="article",
        licence="of each article, as PubMed Central's open-access subset states it",
        access="open",
        citation="Wu C, et al. Towards generalist foundation model for radiology by leveraging web-scale 2D&3D medical "
        "data. Nature Communications (2025), arXiv:2308.02463",
        url="https://huggingface.co/datasets/chaoyi-wu/PMC-CaseReport",
        real_layout="a folder with 'train.csv' and 'test.csv' (or 'casa_report_train.csv' and so on, as RadFM names "
        f"them; columns {', '.join(COLUMNS)}) and '{FIGURES}/<PMC_id>_<figure>.jpg'",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ("figures", "official_split")
    shortcuts: ClassVar[tuple[str, ...]] = (
        "questions and answers were written by a language model from the article's text, not by readers of figures",
        "the case before the question may tell the answer without any figure",
    )
    synthesize_size: ClassVar[int] = 600

    def sources(self, raw: Path, options: PmcCaseReportOptions) -> list[Path]:
        """The tables; also checks that the folder is PMC-CaseReport's."""
        require_folder(raw, self.meta, (FIGURES,))
        found = [path for _, path in _tables(raw)]
        if not found:
            raise InputError(f"{raw} has neither 'train.csv' nor 'test.csv'; expected is {self.meta.real_layout}")
        return found

    def bulk(self, raw: Path, options: PmcCaseReportOptions) -> list[Path]:
        """The figures."""
        return [raw / FIGURES]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of questions; the release's own number is not stated by a source that we could read."""
        return f"PMC-CaseReport, {int(table.attrs.get('rows_read', 0))} questions"

    def table(self, raw: Path, options: PmcCaseReportOptions, drops: Drops) -> pd.DataFrame:
        """One row per question with a figure, in the order of the tables."""
        import pandas as pd

        kept: list[dict[str, Any]] = []
        more = 0
        for part, path in _tables(raw):
            rows: list[dict[str, str]] = read_table(path, COLUMNS).to_dict("records")  # type: ignore[assignment]
            drops.read += len(rows)
            for position, item in enumerate(rows, start=1):
                try:
                    figures = figure_names(item["img_ref"])
                    if not figures:
                        drops.leave_out("the question refers to no figure")
                        continue
                    kept.append(_row(item, figures[:MOST], part, position, options))
                except Dropped as dropped:
                    drops.add(dropped.reason, f"{path.name} row {position}")
                    continue
                more += len(figures) > MOST
        if more:
            drops.note(f"{more} questions refer to more than {MOST} figures, of which the first {MOST} are taken")
        pairs = [(row["group_id"], row["official_split"]) for row in kept]
        table: pd.DataFrame = pd.DataFrame(kept, columns=list(_COLUMNS), dtype=object)
        table.attrs["rows_read"] = drops.read
        table.attrs["official_split"] = official_overlap(
            pairs, dataset=self.meta.name, seed=options.split_seed, unit="article"
        )
        return table

    def arrays(self, options: PmcCaseReportOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255, one to eight figures; they are stretched to a square."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey", many=MOST)}

    def decode(self, raw: Path, source: str, options: PmcCaseReportOptions) -> Decoded:
        """Read the figures of one question; one that is missing or damaged drops it, none is made up."""
        names = source.split("|")
        return Decoded({"image": [grey_array(confined(raw / FIGURES, name), options.image_size) for name in names]})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def figure_names(text: str) -> tuple[str, ...]:
    """The figures of ``['Fig1', 'Fig2']``, each once, in their order; none of an empty cell or list.

    Raises:
        Dropped: it is no list of texts.
    """
    if not text.strip():
        return ()
    if len(text) > _LONGEST:
        raise Dropped("the list of figures is implausibly long")
    try:
        found = ast.literal_eval(text.strip())  # reads literals and runs nothing
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise Dropped("img_ref is no list of figures") from None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise Dropped("img_ref is no list of figures")
    return tuple(dict.fromkeys(name.strip() for name in found))


def shortened(text: str, sentences: int) -> str:
    """The first sentence and the last ones, on one line and without ``<``, which would begin a mark."""
    said = _SENTENCE.split(" ".join(text.replace("<", " ").split()))
    if len(said) > sentences:
        said = [*said[: min(sentences, 1)], *said[len(said) - max(sentences - 1, 0) :]]
    return " ".join(said)


def _tables(raw: Path) -> list[tuple[str, Path]]:
    """(official part, table); one of the parts may be absent."""
    found: list[tuple[str, Path]] = []
    for part, names in PARTS.items():
        there = [raw / name for name in names if (raw / name).is_file()]
        if len(there) > 1:
            raise InputError(f"{raw} has both {there[0].name} and {there[1].name}: keep one of them")
        found += [(part, path) for path in there]
    return found


def _row(
    item: Mapping[str, str], figures: tuple[str, ...], part: str, position: int, options: PmcCaseReportOptions
) -> dict[str, Any]:
    article = item["PMC_id"].strip()
    if not _ARTICLE.fullmatch(article):
        raise Dropped("PMC_id is not PMC and a number")
    files = [figure_file(article, figure) for figure in figures]
    for figure, file in zip(figures, files, strict=True):
        confined(Path(), file)
        if not figure or "|" in figure:
            raise Dropped("img_ref names no figure")
    question, answer = (_plain(item[name], mark) for name, mark in (("question", "Q:"), ("answer", "A:")))
    if not question or not answer:
        raise Dropped("the question or its answer is blank")
    return {
        "sample_id": f"{part}-{position}",
        "group_id": article,
        "site": "",
        "source": "|".join(files),
        "figures": len(files),
        "context": shortened(item["context"], options.context_sentences),
        "question": question.replace("<", " "),
        "answer": answer,
        "official_split": part,
    }


def _plain(text: str, mark: str) -> str:
    return " ".join(text.split()).removeprefix(mark).strip()
