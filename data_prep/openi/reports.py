"""Reading one report of the Indiana University collection: its sections, its pictures' names, its index terms."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.api import Dropped

from .layout import SECTIONS

_LIMIT = 1_000_000  # bytes; a report has five thousand
_DECLARED = re.compile(r"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
_HIDDEN = re.compile(r"\bX{3,}\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Report:
    """One report; texts are on one line, without what anonymisation left of names and dates.

    Attributes:
        name: its id in the collection, ``CXR123``.
        sections: heading -> text, blank for those that are not there.
        pictures: names of the picture files, without ending, in the order of the report.
        terms: the major index terms (MeSH and others) that people gave it.
    """

    name: str
    sections: dict[str, str]
    pictures: tuple[str, ...]
    terms: tuple[str, ...]


def read_report(path: Path) -> Report:
    """One report from its file.

    A file that declares a document type or entities is not parsed: those of the collection do not, and an entity can
    grow without bound or name another file.

    Raises:
        Dropped: the file can't be read, is no XML, or names no report.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_LIMIT + 1)
    except OSError:
        raise Dropped("the report can't be read") from None
    if len(data) > _LIMIT:
        raise Dropped("the report is implausibly large")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Dropped("the report is not UTF-8 text") from None
    if _DECLARED.search(text):
        raise Dropped("the report declares a document type or entities, which no report needs")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError):
        raise Dropped("the report is no valid XML (cut?)") from None
    identity = root.find(".//uId")
    name = "" if identity is None else (identity.get("id") or "").strip()
    if not name:
        raise Dropped("the report has no uId")
    sections: dict[str, str] = dict.fromkeys(SECTIONS, "")
    for part in root.iter("AbstractText"):
        label = (part.get("Label") or "").strip().upper()
        if label in sections:
            sections[label] = f"{sections[label]} {readable(''.join(part.itertext()))}".strip()
    pictures = tuple((picture.get("id") or "").strip() for picture in root.iter("parentImage"))
    terms = tuple(" ".join("".join(term.itertext()).split()) for term in root.iter("major"))
    return Report(name, sections, pictures, terms)


def readable(text: str) -> str:
    """The text on one line without what stands for hidden words, and without sentences that consist of nothing else.

    A list's numbers and everything else stay as they are.
    """
    kept = []
    for sentence in _SENTENCE.split(" ".join(text.split())):
        if _HIDDEN.search(sentence):
            rest = _HIDDEN.sub(" ", sentence)
            if not _LETTER.search(rest):
                continue
            rest = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(rest.split()))
            sentence = re.sub(r"^[\s,;:.-]+|(?<=,),+|[,;:]+(?=\.$)", "", rest)
        kept.append(sentence)
    return " ".join(kept).strip()
