"""What the terminal shows: listeners of the events of runs, and plain tables.

State is never shown by colour alone: every glyph has a word in the legend. Without a terminal, with
``NO_COLOR`` or with ``plain=True`` there is one timestamped line per event instead of a moving picture.
"""

from fedmeki_bench.cli.view.echo import echo, escape
from fedmeki_bench.cli.view.live import PrepareView, RunView, is_plain, make_console
from fedmeki_bench.cli.view.state import clock, plain_line, score, size, sparkline
from fedmeki_bench.cli.view.sweep import SweepView
from fedmeki_bench.cli.view.tables import print_table

__all__ = [
    "PrepareView",
    "RunView",
    "SweepView",
    "clock",
    "echo",
    "escape",
    "is_plain",
    "make_console",
    "plain_line",
    "print_table",
    "score",
    "size",
    "sparkline",
]
