"""Text on its way to the terminal: whatever strangers wrote into it, it only shows."""

from __future__ import annotations

import click

from fedmeki_bench.plain import plain_text


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a text without control characters; all commands print through this, or through tables and views."""
    click.echo(plain_text(text), err=err, nl=nl)


def escape(text: str) -> str:
    """A text for rich markup: neither markup nor control characters of its own."""
    from rich.markup import escape as escape_markup

    return escape_markup(plain_text(text))
