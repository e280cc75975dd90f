"""Lexicons: from words to the concept they name. An open one lies beside this file; a user's UMLS is read from disk."""

from __future__ import annotations

import contextlib
import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.cache import cache_folder
from fedmeki_bench.digests import known_digest
from fedmeki_bench.errors import InputError
from fedmeki_bench.files import replacing
from fedmeki_bench.lexicon.words import Words, compared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TERMS = Path(__file__).with_name("terms.txt")
VERSION = 1
"""Of the open lexicon and of the rules by which texts are read; raised whenever a text may name other concepts."""

VARIABLE = "FEDMEKI_UMLS"
"""The environment variable that names a user's MRCONSO.RRF."""

NEVER_DENIED = frozenset(("organ", "modality"))
"""Sorts of the open lexicon that a denial does not reach: "no effusion in the left lung" denies no lung."""

_COLUMNS = 15  # of MRCONSO.RRF up to the string; SUPPRESS, when there, is two further
_CUI, _LANGUAGE, _STRING, _SUPPRESS = 0, 1, 14, 16
_NUMBER = re.compile(r"C[0-9]{7}")
_LONGEST = 8  # words of a name
_LONGEST_LINE = 100_000
_SHORTEST = 3  # letters that the longest word of a name must have, else "no", "at" and "3" are concepts
_FUNCTION_WORDS = frozenset(
    (
        "and", "are", "but", "can", "did", "due", "for", "from", "had", "has", "have", "her", "his", "into", "its",
        "may", "neither", "never", "nor", "not", "off", "one", "or", "out", "over", "see", "seen", "she", "that",
        "their", "them", "then", "there", "these", "they", "this", "those", "too", "two", "was", "were", "which",
        "who", "with", "without", "you", "absent", "absence", "also", "both", "either", "here", "other", "than", "what",
        "when", "where", "will", "would", "yet", "present", "evidence", "finding", "likely", "possible", "noted",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Term:
    """What a name stands for.

    Attributes:
        concept: the concept's name, or its identifier in UMLS.
        sort: ``finding``, ``device``, ``organ`` or ``modality``; empty in UMLS.
        absent: the name says that the concept is not there ("heart size is normal").
    """

    concept: str
    sort: str = ""
    absent: bool = False


class Lexicon:
    """From words to terms.

    Attributes:
        longest: words of its longest name.
    """

    longest: int

    def get(self, words: Words) -> Term | None:
        """What these words name, as a whole; None if nothing."""
        raise NotImplementedError


class OpenLexicon(Lexicon):
    """The lexicon of this project: a few hundred concepts of radiology, in plain words."""

    def __init__(self) -> None:
        self.terms: dict[Words, Term] = {}
        for name, term in _entries(TERMS.read_text(encoding="utf-8")):
            if (known := self.terms.setdefault(compared(name), term)) != term:
                raise ValueError(f"{name!r} names {known.concept!r} and {term.concept!r}")
        self.longest = max(map(len, self.terms))

    def get(self, words: Words) -> Term | None:
        """See :class:`Lexicon`."""
        return self.terms.get(words)


def _entries(text: str) -> Iterator[tuple[str, Term]]:
    sort = concept = ""
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            sort = line.strip("[]")
            continue
        absent = line.startswith("-")
        names = [name.strip() for name in line.removeprefix("-").split("|")]
        concept = concept if absent else names[0]
        for name in names:
            yield name, Term(concept, sort, absent)


class Umls(Lexicon):
    """The English names of a MRCONSO.RRF that are neither obsolete nor suppressed, each with its concept (CUI).

    Of several concepts with one name the lowest number is taken. Left out: names of more than eight words, those
    without a word of three letters, and single function words. Names are kept as 64-bit digests, and the digests of a
    file in the cache folder: a whole release takes a minute or two to read, once.

    Args:
        path: the file, as the UMLS Metathesaurus is released.

    Raises:
        InputError: it can't be read, or is no MRCONSO.RRF.
    """

    longest = _LONGEST

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{VARIABLE} names {path}, which is no file; expected is MRCONSO.RRF of the UMLS")
        try:
            kept = cache_folder() / "umls" / f"{known_digest(path)[:32]}-{VERSION}.npy"
            table = _kept(kept)
            if table is None:
                table = _table(path)
                with contextlib.suppress(OSError):
                    _keep(kept, table)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from error
        self._keys, self._concepts = (memoryview(row) for row in table)

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, words: Words) -> Term | None:
        """See :class:`Lexicon`."""
        key = _digest(words)
        at = bisect_left(self._keys, key)
        return Term(f"C{self._concepts[at]:07d}") if at < len(self) and self._keys[at] == key else None


def _table(path: Path) -> NDArray[np.uint64]:
    """(2, names): sorted digests of names, and the number of each one's concept."""
    import numpy as np

    digests, numbers = array("Q"), array("Q")
    for words, number in _english(path):
        digests.append(_digest(words))
        numbers.append(number)
    if not digests:
        raise InputError(f"{path}: no line holds an English name; expected is MRCONSO.RRF of the UMLS")
    keys, values = np.asarray(digests, dtype=np.uint64), np.asarray(numbers, dtype=np.uint64)
    order = np.lexsort((values, keys))
    keys, values = keys[order], values[order]
    first = np.r_[True, keys[1:] != keys[:-1]]
    return np.stack([keys[first], values[first]])


def _kept(path: Path) -> NDArray[np.uint64] | None:
    """The table that was kept, or None."""
    import numpy as np

    try:
        table: NDArray[np.uint64] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = table.dtype == np.uint64 and table.ndim == 2 and len(table) == 2 and table.shape[1]
    return table if whole else None


def _keep(path: Path, table: NDArray[np.uint64]) -> None:
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, table, allow_pickle=False)


def _digest(words: Words) -> int:
    return int.from_bytes(blake2b(" ".join(words).encode(), digest_size=8).digest(), "little")


def _english(path: Path) -> Iterator[tuple[Words, int]]:
    """The words and concept of each name that takes part."""
    number = 0
    with path.open(encoding="utf-8") as lines:
        while line := lines.readline(_LONGEST_LINE):
            number += 1
            fields = line.rstrip("\n").split("|")
            cui = fields[_CUI]
            if len(fields) < _COLUMNS or not _NUMBER.fullmatch(cui):
                raise InputError(
                    f"{path}, line {number}: expected are {_COLUMNS} or more fields between '|', the first a concept "
                    "such as C0000039, as in MRCONSO.RRF of the UMLS"
                )
            if fields[_LANGUAGE] != "ENG" or (len(fields) > _SUPPRESS and fields[_SUPPRESS] in ("O", "E", "Y")):
                continue
            words = compared(fields[_STRING])
            if _takes_part(words):
                yield words, int(cui[1:])


def _takes_part(words: Words) -> bool:
    if not 0 < len(words) <= _LONGEST or (len(words) == 1 and words[0] in _FUNCTION_WORDS):
        return False
    return any(len(word) >= _SHORTEST and not word.isdigit() for word in words)


@cache
def open_lexicon() -> OpenLexicon:
    """The open lexicon, read once."""
    return OpenLexicon()


def umls_path() -> Path | None:
    """The user's UMLS file; None where none is named."""
    named = os.environ.get(VARIABLE, "").strip()
    return Path(named) if named else None


@cache
def umls(path: Path) -> Umls:
    """A user's UMLS, read once per process."""
    return Umls(path)


def chosen_lexicon() -> Lexicon:
    """The user's UMLS if one is named, else the open lexicon.

    Raises:
        InputError: what is named can't be read.
    """
    path = umls_path()
    return open_lexicon() if path is None else umls(path)
