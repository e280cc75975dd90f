"""Reads a folder with 'questions.json', a list of objects, and 'pictures'."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    PreparerOptions,
    confined,
    grey_array,
    question_rows,
    require_folder,
    text,
    training_assignment,
    write_marker,
)

QUESTIONS, PICTURES = "questions.json", "pictures"
COLUMNS = ("sample_id", "group_id", "site", "source", "patient", "question", "answer")


class SkinQaOptions(PreparerOptions):
    """How large pictures are stored."""

    image_size: int = Field(64, ge=16, le=1024, description="side of the stored square picture, in pixels")


class SkinQa(DatasetPreparer[SkinQaOptions]):
    """One sample per question; tasks get 'question' and 'answer'."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="skinqa",
        version=1,
        title="Questions about skin",
        modalities=("image",),
        grouping="patient",
        licence="CC0 1.0",
        access="open",
        citation="written for a test",
        url="https://example.org/skinqa",
        real_layout="a folder with 'questions.json' and 'pictures'",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ()

    def sources(self, raw, options):
        """The questions."""
        require_folder(raw, self.meta, (QUESTIONS, PICTURES))
        return [raw / QUESTIONS]

    def bulk(self, raw, options):
        """The pictures."""
        return [raw / PICTURES]

    def table(self, raw, options, drops):
        """One row per question, whoever asked it; a question without an answer is dropped."""
        import pandas as pd

        def row(item, part, position):
            patient = text(item, "patient")
            return {
                "sample_id": text(item, "id", default=f"question {position}"),
                "group_id": patient,
                "site": text(item, "clinic", default=""),
                "source": text(item, "picture"),
                "patient": patient,
                "question": text(item, "question"),
                "answer": text(item, "answer"),
            }

        kept = question_rows([("", raw / QUESTIONS)], row, drops)
        return pd.DataFrame(kept, columns=list(COLUMNS), dtype=object)

    def registry(self, raw, table, options):
        """Training tasks and zero-shot tasks read one release: who was trained on is known."""
        return training_assignment(table, options, self.meta.name)

    def arrays(self, options):
        """Grey values."""
        return {"image": ArraySpec((1, options.image_size, options.image_size), "uint8", 1 / 255, "grey")}

    def decode(self, raw, source, options):
        """One picture."""
        return Decoded({"image": grey_array(confined(raw / PICTURES, source), options.image_size)})

    def synthesize(self, out, *, size, seed):
        """See ``standin.py``."""
        from .standin import write

        write(out, size=size, seed=seed)
        write_marker(out, dataset="skinqa", generator=1, size=size, seed=seed, difficulty="a mole 50 levels darker")
