"""A hook of mkdocs: what the pages link to outside ``docs/`` comes with the site, so that every link works anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the files outside ``docs/`` that a page links to."""
    for page in list(files.documentation_pages()):
        for _, target in _outside(page, page.content_string):
            pictures = (ROOT / target).parent.glob("*.svg") if target.suffix == ".md" else ()
            for path in (target, *(picture.relative_to(ROOT) for picture in pictures)):
                if files.get_file_from_path(path.as_posix()) is None:
                    files.append(File(path.as_posix(), str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point the links at where those files lie in the site."""
    up = "../" * page.file.src_uri.count("/")
    for link, target in _outside(page.file, markdown):
        markdown = markdown.replace(f"]({link}", f"]({up}{target.as_posix()}")
    return markdown


def _outside(page: File, markdown: str) -> Iterator[tuple[str, Path]]:
    """Links of a page that leave ``docs/``, and the files meant; of a leaderboard the page, not its Markdown."""
    docs = ROOT / "docs"
    for link in dict.fromkeys(_LINK.findall(markdown)):
        target = (docs / page.src_uri).parent.joinpath(link).resolve()
        drawn = target.with_suffix(".html")
        target = drawn if target.suffix == ".md" and drawn.is_file() else target
        if not target.is_relative_to(docs) and target.is_relative_to(ROOT) and target.is_file():
            yield link, target.relative_to(ROOT)
