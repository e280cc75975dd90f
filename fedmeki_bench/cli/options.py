"""Options that several commands share, defined once so that they mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from fedmeki_bench.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def _path(
    *names: str, default: str | None, text: str, required: bool = False,
    callback: Callable[[click.Context, click.Parameter, Path | None], Path | None] | None = None,
) -> Callable[[F], F]:  # fmt: skip
    return click.option(
        *names, type=click.Path(path_type=Path), default=default, show_default=default is not None, required=required,
        help=text, callback=callback,
    )  # fmt: skip


def looked_into(_: click.Context, __: click.Parameter, folder: Path | None) -> Path | None:
    """Tasks that cohorts or records define are known from here on."""
    from fedmeki_bench.definitions.places import look_in

    if folder is not None:
        look_in(folder)
    return folder


data = _path("--data", default="data", text="Folder of prepared cohorts.", callback=looked_into)
results = _path("--results", default="results", text="Folder of records.", callback=looked_into)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
plain = click.option("--plain", is_flag=True, default=None, help="One line per event instead of a live picture.")
device = click.option("--device", default="cpu", show_default=True, help="Where models live: cpu, cuda, cuda:1.")
devices = click.option(
    "--device", default="cpu", show_default=True,
    help="Where models live: cpu, cuda, cuda:1; of cuda:0,cuda:1 the processes take one each in turn.",
)  # fmt: skip
pairs = click.option("-o", "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="Set an option; repeatable.")
jobs = click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=None, help="Processes; by default as many as fill the cores."
)
raw = _path("--raw", default=None, required=True, text="Folder of the release, in its official layout.")


def listed(text: str | None) -> list[str] | None:
    """The names in a comma-separated list; None where nothing was given."""
    return [name.strip() for name in text.split(",")] if text else None


def settings(given: Sequence[str]) -> dict[str, str]:
    """``key=value`` pairs, comma-separated; what follows a comma without ``=`` belongs to the value before it.

    Raises:
        UsageError: one has no key.
    """
    found: dict[str, str] = {}
    for text in given:
        last = ""
        for part in text.split(","):
            name, sign, value = part.partition("=")
            if sign:
                last = name.strip()
                found[last] = value
            elif last:
                found[last] += f",{part}"
            else:
                raise UsageError(f"{text!r} is not key=value")
    return found
