"""The entry point: finds the command, turns errors into one sentence and the documented exit code.

Exit codes: 0 ok, 1 a check failed, 2 usage, 3 data missing or bad, 4 a run failed, 130 interrupted.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

import click

from fedmeki_bench import __version__
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import FedmekiError, Interrupted, RunFailed, nearest
from fedmeki_bench.files import UNWRITABLE
from fedmeki_bench.processes import interrupt_once, keep_pages

# command -> (module, one-line help); the module is imported when the command runs, so that --help stays fast
_COMMANDS = {
    "list": ("show", "List tasks, algorithms, rules, stages, datasets, ... with where they come from."),
    "info": ("show", "Parameters, defaults, paper, licence and origin of anything that has a name."),
    "synth": ("data", "Write a synthetic stand-in for a dataset, in the release's own layout."),
    "prepare": ("data", "Turn a dataset's release into cohorts: decoded, split by patient, audited."),
    "audit": ("audit", "Leakage inside and across cohorts, duplicates, shortcuts, class balance."),
    "run": ("run", "Train one algorithm and score it; leaves a record."),
    "sweep": ("boards", "Run what a board lacks."),
    "tune": ("tune", "Choose options of a board's rows on `valid`, with one budget for all."),
    "status": ("boards", "The board's grid: done, missing (and why), failed, estimated time."),
    "leaderboard": ("boards", "Build a board's tables from its records, or check the committed ones."),
    "stability": ("stability", "Would other choices have said the same? Claims in every world of a board."),
    "plan": ("plan", "Seeds and patients that a board needs to find a difference, from its own records."),
    "compare": ("compare", "Two algorithms of a board, or two records: paired differences with intervals."),
    "reproduce": ("reproduce", "Run a record again and report the difference per metric."),
    "rescore": ("rescore", "Metrics anew from stored predictions, without training."),
    "merge": ("merge", "The results of several machines in one folder."),
    "clean": ("clean", "What of a folder of results no board needs; removed with --yes."),
    "score": ("score", "Score stored answers, under this project's rules or the published ones."),
    "new": ("new", "A commented skeleton of a rule, stage, task, dataset or encoder, as a package of its own."),
    "doctor": ("doctor", "Check environment, devices, data found and determinism."),
    "check": ("check", "Conformance tests on any rule, stage, task, dataset preparer or encoder."),
    "site": ("site", "Hospital sites: deal data over them, serve one, reached through Flower."),
    "demo": ("demo", "Synthetic data, preparation, sweep and leaderboard, end to end."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"fedmeki_bench.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"unknown command {args[0]!r}; {nearest(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fedmeki-bench")
def cli() -> None:
    """Benchmark federated medical knowledge injection: data, algorithms, evaluation, leaderboards.

    Start with `fedmeki-bench demo`. Exit codes: 0 ok, 1 a check failed, 2 usage, 3 data missing or bad, 4 a run
    failed, 130 interrupted.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows ASCII or Latin-1 alone shows ? for the rest
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        cli.main(args=None if args is None else list(args), prog_name="fedmeki-bench", standalone_mode=False)
    except click.exceptions.Abort:
        _leave("interrupted", 130)
    except click.ClickException as error:
        said = io.StringIO()  # it repeats the command line, with names of files that strangers gave
        error.show(said)
        echo(said.getvalue(), err=True, nl=False)
        sys.exit(error.exit_code)
    except FedmekiError as error:
        sentence = str(error) if isinstance(error, Interrupted) else f"error: {error}"
        _leave(sentence + (f"\ngo on with: {error.again}" if error.again else ""), error.exit_code)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except BrokenPipeError:  # the reader of a pipe went away, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a full or read-only disk can show anywhere; any other such error is a bug
        if error.errno not in UNWRITABLE:
            raise
        place = f" {error.filename}" if error.filename else ""
        _leave(f"error: cannot write{place}: {error.strerror}", RunFailed.exit_code)


def run() -> None:
    """The command line as a process of its own, which SIGTERM and SIGHUP end as Ctrl-C does."""
    interrupt_once()
    keep_pages()
    main()


def _leave(text: str, code: int) -> None:
    echo(text, err=True)
    sys.exit(code)
