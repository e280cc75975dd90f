"""Indiana University chest X-ray collection (Open-i): reports in XML, each with its frontal and lateral picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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
    natural,
    require_folder,
)

from .layout import PICTURES, REPORTS
from .reports import Report, read_report

if TYPE_CHECKING:
    import pandas as pd

_MOST = 2
_LONGEST_INDICATION = 300  # characters
_COLUMNS = (
    "sample_id", "group_id", "site", "source", "images", "section", "report", "findings", "impression", "indication",
    "terms",
)  # fmt: skip
_WANTED: Mapping[str, tuple[str, ...]] = {
    "findings": ("FINDINGS",), "impression": ("IMPRESSION",), "both": ("FINDINGS", "IMPRESSION"),
}  # fmt: skip


class OpenIOptions(PreparerOptions):
    """Options of the Open-i preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    section: Literal["findings", "impression", "both"] = Field(
        "findings", description="the part of a report that tasks are about"
    )


class OpenI(DatasetPreparer[OpenIOptions]):
    """One sample per report: its first two pictures (mostly frontal and lateral) and its text.

    Tasks get ``report`` (the text of option ``section``, blank where a report lacks it), ``section``, ``indication``
    (why the study was asked for), ``findings``, ``impression``, and ``terms``: the major index terms, joined by ``|``.
    Anonymised words (``XXXX``) are taken out of all texts.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="openi",
        version=1,
        title="Indiana University chest X-ray collection (Open-i)",
        modalities=("image", "text"),
        grouping="report",
        licence="CC BY-NC-ND 4.0",
        access="open",
        citation="Demner-Fushman D, et al. Preparing a collection of radiology examinations for distribution and "
        "retrieval. Journal of the American Medical Informatics Association 23(2):304-310 (2016)",
        url="https://openi.nlm.nih.gov/faq",
        real_layout=f"a folder with '{REPORTS}/<n>.xml' (NLMCXR_reports.tgz) and the PNG files of NLMCXR_png.tgz in "
        "'images', in 'NLMCXR_png' or beside it",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ("images",)
    shortcuts: ClassVar[tuple[str, ...]] = (
        "no patient ids are released: reports of one patient, if there are any, may lie on both sides of a split",
        "normal reports repeat the same sentences: a constant answer scores well on the overlap of words",
        "the release does not say which picture is the lateral one; the order is that of the report",
    )

    def sources(self, raw: Path, options: OpenIOptions) -> list[Path]:
        """The reports; also checks that the folder is the collection's."""
        require_folder(raw, self.meta, (REPORTS,))
        found = sorted((raw / REPORTS).glob("*.xml"), key=lambda path: natural(path.name))
        if not found:
            raise InputError(f"{raw / REPORTS} holds no XML file; dataset 'openi' expects {self.meta.real_layout}")
        return found

    def bulk(self, raw: Path, options: OpenIOptions) -> list[Path]:
        """The pictures."""
        return [_pictures(raw)]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of reports."""
        rows = int(table.attrs.get("rows_read", 0))
        return "Open-i Indiana University" + ("" if rows == 3955 else f", {rows} reports instead of 3,955")

    def table(self, raw: Path, options: OpenIOptions, drops: Drops) -> pd.DataFrame:
        """One row per report with a picture, in the order of the files' numbers."""
        import pandas as pd

        kept: list[dict[str, Any]] = []
        seen: set[str] = set()
        more = 0
        for path in self.sources(raw, options):
            drops.read += 1
            try:
                report = read_report(path)
                if not report.pictures:
                    drops.leave_out("the report has no picture")
                    continue
                if report.name in seen:
                    raise Dropped("the id of the report occurs a second time")
                kept.append(_row(report, options))
            except Dropped as dropped:
                drops.add(dropped.reason, path.name)
                continue
            seen.add(report.name)
            more += len(report.pictures) > _MOST
        drops.note("no patient ids are released: every report is a group of its own")
        if more:
            drops.note(f"{more} reports have more than {_MOST} pictures, of which the first {_MOST} are taken")
        table: pd.DataFrame = pd.DataFrame(kept, columns=list(_COLUMNS), dtype=object)
        table.attrs["rows_read"] = drops.read
        return table

    def arrays(self, options: OpenIOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255, one or two pictures; they are stretched to a square."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey", many=_MOST)}

    def decode(self, raw: Path, source: str, options: OpenIOptions) -> Decoded:
        """Read the pictures of one report."""
        folder, names = _pictures(raw), source.split("|")
        return Decoded({"image": [grey_array(confined(folder, _file(name)), options.image_size) for name in names]})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _pictures(raw: Path) -> Path:
    """The folder with the pictures."""
    return next((raw / name for name in PICTURES if (raw / name).is_dir()), raw)


def _file(name: str) -> str:
    return f"{name}.png" if name else ""


def _row(report: Report, options: OpenIOptions) -> dict[str, Any]:
    names = report.pictures[:_MOST]
    for name in names:
        confined(Path(), _file(name))
        if "|" in name:
            raise Dropped("the name of a picture is no name of a file")
    said = [report.sections[section] for section in _WANTED[options.section]]
    return {
        "sample_id": report.name,
        "group_id": report.name,
        "site": "",
        "source": "|".join(names),
        "images": len(names),
        "section": options.section,
        "report": " ".join(text for text in said if text),
        "findings": report.sections["FINDINGS"],
        "impression": report.sections["IMPRESSION"],
        "indication": report.sections["INDICATION"].replace("<", " ")[:_LONGEST_INDICATION].strip(),
        "terms": "|".join(report.terms),
    }
