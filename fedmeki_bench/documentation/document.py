"""A document as values: sections of paragraphs, tables, pictures and commands, written as Markdown or HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.html import study_table
from fedmeki_bench.leaderboard.names import Names
from fedmeki_bench.leaderboard.plots.theme import Picture
from fedmeki_bench.leaderboard.render import BANNERS, algorithm_name, escaped
from fedmeki_bench.leaderboard.studies.writing import table_markdown

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.studies.study import StudyTable


@dataclass(frozen=True, slots=True)
class Code:
    """Commands, one per line."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A section: its heading and what stands below it, in order.

    ``blocks`` are sentences (plain text), tables, pictures and commands.
    """

    title: str
    blocks: tuple[str | StudyTable | Picture | Code, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A titled document; ``stamps`` say what all of it depends on, ``algorithms`` how names are typeset."""

    title: str
    stamps: tuple[str, ...]
    lead: str
    parts: tuple[Part, ...]
    algorithms: tuple[Algorithm, ...] = ()


def markdown(document: Document) -> str:
    """The document for GitHub; pictures are in the HTML page alone, and their captions say what they show."""
    names = Names(document.algorithms)

    def say(text: str) -> str:
        return names.write(" ".join(text.split()), escaped, lambda a: algorithm_name(a.html))

    lines = [f"# {say(document.title)}", ""]
    lines += [f"> **{stamp}.** {BANNERS[stamp]}\n" for stamp in document.stamps]
    lines += [say(document.lead), ""]
    for part in document.parts:
        lines += [f"## {say(part.title)}", ""]
        for block in part.blocks:
            if isinstance(block, str):
                lines += [say(block), ""]
            elif isinstance(block, Code):
                lines += ["```", *block.lines, "```", ""]
            elif isinstance(block, Picture):
                lines += [f"*{say(block.title)}: {say(block.caption)}*", ""]
            else:
                lines += table_markdown(block, say)
    return "\n".join(lines).rstrip("\n") + "\n"


def page(document: Document) -> str:
    """The document as one self-contained HTML file: no network, no script, light and dark."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    names = Names(document.algorithms)

    def named(text: str) -> Markup:
        return Markup(names.write(text, lambda plain: html.escape(plain), lambda a: a.html))

    loader = ChoiceLoader([
        PackageLoader("fedmeki_bench.documentation", "."), PackageLoader("fedmeki_bench.leaderboard", "."),
    ])  # fmt: skip
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True,
                              undefined=StrictUndefined)  # fmt: skip
    environment.filters["named"] = named
    text: str = environment.get_template("document.html.j2").render(
        document=document,
        banners=BANNERS,
        parts=[(part.title, _shown(part.blocks)) for part in document.parts],
        style="\n".join(loader.get_source(environment, name)[0] for name in ("page.css", "study.css")),
    )
    return text + "\n"


def _shown(blocks: Sequence[Any]) -> list[tuple[str, Any]]:
    """What kind each block is, and what the template needs of it."""
    found: list[tuple[str, Any]] = []
    for block in blocks:
        if isinstance(block, str):
            found.append(("text", block))
        elif isinstance(block, Code):
            found.append(("code", "\n".join(block.lines)))
        elif isinstance(block, Picture):
            found.append(("picture", block))
        else:
            found.append(("table", study_table(block)))
    return found
