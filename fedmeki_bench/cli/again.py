"""The command that goes on where another one stopped: what the user gave, fit to be pasted into a shell."""

from __future__ import annotations

import functools
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from fedmeki_bench.errors import FedmekiError, Interrupted

P = ParamSpec("P")
R = TypeVar("R")

PROGRAM = "fedmeki-bench"
Unless = Mapping[str, Collection[Any]]


def goes_on(**unless: Collection[Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a command that fails half-way, or is interrupted, name the command that goes on.

    Args:
        unless: parameter -> values that are left out of that command, because with them it would not go on.
    """

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def watched(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except KeyboardInterrupt:
                error = Interrupted("interrupted")
                error.again = command_given(click.get_current_context(), unless)
                raise error from None
            except FedmekiError as error:
                if error.goes_on:
                    error.again = command_given(click.get_current_context(), unless)
                raise

        return watched

    return decorate


def command_given(ctx: click.Context, unless: Unless | None = None) -> str:
    """The command line of a context, quoted for a shell: what was given, and nothing that is a default.

    Args:
        unless: parameter -> values that are left out.
    """
    options: list[str] = []
    arguments: list[str] = []
    for parameter in ctx.command.params:
        name = parameter.name or ""
        value = ctx.params.get(name)
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE or value in (unless or {}).get(name, ()):
            continue
        if isinstance(parameter, click.Option):
            options += _option(parameter, value)
        else:
            arguments += map(str, _several(parameter, value))
    if any(text.startswith("-") for text in arguments):
        arguments.insert(0, "--")
        return shlex.join([*program(), str(ctx.info_name), *options, *arguments])
    return shlex.join([*program(), str(ctx.info_name), *arguments, *options])


def _option(option: click.Option, value: Any) -> Iterator[str]:
    longest = max(option.opts, key=len)
    if option.is_flag:
        yield longest if value else max(option.secondary_opts, key=len)
        return
    name = min(option.opts, key=len) if option.multiple else longest
    for one in _several(option, value):
        text = str(one)
        yield from [f"{name}={text}"] if text.startswith("-") and name.startswith("--") else [name, text]


def _several(parameter: click.Parameter, value: Any) -> Collection[Any]:
    return value if parameter.multiple or parameter.nargs != 1 else (value,)


def program() -> list[str]:
    """How this program was called: by its name where the shell finds it under that, else as it was typed."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "fedmeki_bench":
        return [sys.orig_argv[0], "-m", "fedmeki_bench"]
    if called.name != PROGRAM:  # a program that calls the command line's functions
        return [PROGRAM]
    found = shutil.which(PROGRAM)
    same = found is not None and called.exists() and called.samefile(found)
    return [PROGRAM] if same else [sys.argv[0]]
