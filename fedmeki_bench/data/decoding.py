"""What a decoded source is, and decoding many of them in order: in this process or in a pool of spawned ones."""

from __future__ import annotations

import importlib.machinery
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.processes import end_with_parent

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded source: the arrays of each modality, and attributes that only the file itself holds.

    A modality has one array, or a sequence of them where its :class:`~fedmeki_bench.data.contract.ArraySpec` allows
    several or none; one that may be absent can be left out.

    Attributes (``site``, ``sex``, ``age``, ``group_id``) replace the table's columns of the same name where not
    ``None``.
    """

    arrays: Mapping[str, np.ndarray | Sequence[np.ndarray]]
    attributes: Mapping[str, str | float | None] = field(default_factory=dict)

    def of(self, modality: str) -> tuple[np.ndarray, ...]:
        """The arrays of one modality, in their order; none if it is absent."""
        import numpy as np

        found = self.arrays.get(modality, ())
        return (found,) if isinstance(found, np.ndarray) else tuple(found)


class Dropped(Exception):
    """A record that cannot be used; the reason says what is wrong, without an id, so that it counts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Outcome = tuple[str, Decoded | Dropped]


class Decoder(Protocol):
    """What decodes: a dataset preparer."""

    pool_from: ClassVar[int]

    def decode(self, raw: Path, source: str, options: Any, /) -> Decoded:
        """Read one source, see ``DatasetPreparer``."""


def decode_in_order(
    preparer: Decoder, raw: Path, sources: Sequence[str], options: Any, workers: int
) -> Iterator[Outcome]:
    """Yield ``(source, Decoded or Dropped)`` in the order of ``sources``, whatever the number of workers."""
    if workers < 2 or len(sources) < preparer.pool_from or not _importable(type(preparer)):
        for source in sources:
            yield _decode_one(preparer, raw, source, options)
        return
    from multiprocessing import get_context

    chunks = (sources[i : i + _CHUNK] for i in range(0, len(sources), _CHUNK))
    # spawn: the parent may hold threads (torch, pyarrow), with which a forked child can deadlock
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent)
    waiting: deque[Future[list[Outcome]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_decode_chunk, preparer, raw, chunk, options))
            if len(waiting) > 2 * workers:  # bounds memory: finished chunks wait for the writer
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise RunFailed("a decoding process was killed (out of memory?): prepare again with fewer workers") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decode_one(preparer: Decoder, raw: Path, source: str, options: Any) -> Outcome:
    try:
        return source, preparer.decode(raw, source, options)
    except Dropped as dropped:
        return source, dropped


def _decode_chunk(preparer: Decoder, raw: Path, sources: Sequence[str], options: Any) -> list[Outcome]:
    return [_decode_one(preparer, raw, source, options) for source in sources]


def _importable(plugin: type) -> bool:
    """Whether a spawned process could import the plug-in by name (one loaded from a file path could not)."""
    top = plugin.__module__.partition(".")[0]
    return top != "__main__" and importlib.machinery.PathFinder.find_spec(top) is not None
