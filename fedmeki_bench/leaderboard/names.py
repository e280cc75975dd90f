"""Display names of algorithms inside running text, so that every format writes them with real sub- and superscripts."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm

_SIZE = 0.72  # of sub- and superscripts, in sizes of the text around them
_DOWN, _UP = 0.22, 0.4  # how far they are shifted, in em of that text


class Names:
    """Finds the names of a page's algorithms in plain text; only those that have a sub- or superscript matter."""

    def __init__(self, algorithms: Iterable[Algorithm]) -> None:
        self._known = {a.title: a for a in algorithms if a.base and (a.sub or a.sup)}
        longest_first = sorted(self._known, key=lambda title: (-len(title), title))
        names = "|".join(re.escape(title) for title in longest_first)
        self._pattern = re.compile(rf"(?<!\w)(?:{names})(?![\w^])") if names else None

    def parts(self, text: str) -> Iterator[str | Algorithm]:
        """The text in pieces: plain ones, and in place of each name its algorithm."""
        at = 0
        for found in self._pattern.finditer(text) if self._pattern else ():
            if found.start() > at:
                yield text[at : found.start()]
            yield self._known[found[0]]
            at = found.end()
        if at < len(text):
            yield text[at:]

    def write(self, text: str, plain: Callable[[str], str], name: Callable[[Algorithm], str]) -> str:
        """The text with plain pieces and names each written in their own way."""
        return "".join(plain(part) if isinstance(part, str) else name(part) for part in self.parts(text))


def svg_name(algorithm: Algorithm) -> str:
    """The name as content of an SVG ``text`` element, by shifts, as Firefox lacks ``baseline-shift``."""
    written, level = html.escape(algorithm.base, quote=False), 0.0
    for text, wanted in ((algorithm.sub, _DOWN), (algorithm.sup, -_UP)):
        if text:
            shift = f"{(wanted - level) / _SIZE:.2f}em"
            written += f'<tspan dy="{shift}" font-size="{_SIZE:.0%}">{html.escape(text, quote=False)}</tspan>'
            level = wanted
    return written


def back(algorithm: Algorithm) -> str:
    """The shift that brings what follows :func:`svg_name` back to the base line; empty without one."""
    level = -_UP if algorithm.sup else _DOWN if algorithm.sub else 0.0
    return f"{-level:.2f}em" if level else ""
