"""Display names of algorithms inside running text, so that every format writes them with real sub- and superscripts."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmeki_bench.algorithm import Algorithm

# Shifts are in em of the smaller letters; both scripts come after the base, so nothing has to be shifted back.
_SMALL, _DOWN, _UP, _UP_FROM_SUB = "72%", "0.35em", "-0.55em", "-0.95em"


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
    """The name as the content of an SVG ``text`` element; needs no baseline-shift, which Firefox lacks."""
    written = html.escape(algorithm.base, quote=False)
    if algorithm.sub:
        written += f'<tspan dy="{_DOWN}" font-size="{_SMALL}">{html.escape(algorithm.sub, quote=False)}</tspan>'
    if algorithm.sup:
        shift = _UP_FROM_SUB if algorithm.sub else _UP
        written += f'<tspan dy="{shift}" font-size="{_SMALL}">{html.escape(algorithm.sup, quote=False)}</tspan>'
    return written
