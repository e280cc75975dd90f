"""``list`` and ``info``: what there is, and what it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence, Sized
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo, escape
from fedmeki_bench.errors import UsageError, nearest

_LISTED = {
    "tasks": "what is learnt and asked",
    "algorithms": "rows of a board: rule, scope, stage and view under one name",
    "kinds": "of tasks: what a label is, and how it is learnt and scored",
    "rules": "what clients and server do in a round",
    "stages": "what the server does after combining",
    "datasets": "whose releases can be prepared",
    "partitions": "which client holds which samples",
    "metrics": "what predictions are scored by",
    "encoders": "how a modality becomes tokens",
    "pretexts": "how encoders are trained without labels",
    "foundations": "language models that have a name; a folder or a GGUF file will do too",
    "views": "which model answers when a run is scored",
    "engines": "where the clients of a run are",
    "analyses": "what a board's records are asked beyond its tables",
    "leaderboards": "boards that have a name",
    "profiles": "budgets",
}
"""What can be listed, in words."""


@click.command("list")
@click.argument("kind", required=False)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    callback=options.looked_into,
    default=None,
    help="With tasks: which of them have a cohort there.",
)
@options.as_json
def list_command(kind: str | None, data: Path | None, as_json: bool) -> None:
    """List everything of a KIND; a plug-in that can't be loaded is shown with the reason.

    KIND is tasks, kinds, algorithms, rules, stages, datasets, partitions, metrics, encoders, pretexts, foundations,
    views, leaderboards or profiles. Without it, how many there are of each, and how to see them.
    """
    from fedmeki_bench.cli.view import print_table

    if kind is not None and kind not in _LISTED:
        raise UsageError(f"there is no kind {kind!r} to list; {nearest(kind, _LISTED)}")
    if data is not None and kind != "tasks":
        raise UsageError("--data goes with `list tasks`: it shows which of them have a cohort")
    if kind is None:
        print_table("what there is", *_overview(), as_json)
        return
    columns, rows = _TABLES.get(kind, lambda: _plugins(kind))()
    if data is not None:
        from fedmeki_bench.data.cohort import prepared

        there = prepared(data)
        columns, rows = [*columns, "cohort"], [[*row, "prepared" if row[0] in there else "lacking"] for row in rows]
    print_table(kind, columns, rows, as_json, style=lambda column, value: "red" if column == "problem" else "")


Table = tuple[list[str], list[list[Any]]]


def _overview() -> Table:
    """Every kind with how many there are, what they are and how to see them; plug-ins are counted, not loaded."""
    from fedmeki_bench.algorithms import table
    from fedmeki_bench.boards.known import known_boards
    from fedmeki_bench.profiles import PROFILES

    others: dict[str, Callable[[], Sized]] = {
        "algorithms": table,
        "leaderboards": known_boards,
        "profiles": lambda: PROFILES,
    }
    rows: list[list[Any]] = []
    for kind, what in _LISTED.items():
        count = len(others[kind]()) if kind in others else len(registry.names(kind))
        rows.append([kind, count, what, f"fedmeki-bench list {kind}"])
    return ["kind", "count", "what", "command"], rows


def _plugins(kind: str) -> Table:
    """Name, summary and origin of every plug-in; the column `problem` only where there is one."""
    found = registry.describe(kind)
    broken = any(p.broken for p in found)
    columns = ["name", "summary", "origin", *(["problem"] if broken else [])]
    return columns, [[p.name, p.summary, p.origin, *([p.broken] if broken else [])] for p in found]


def _tasks() -> Table:
    columns = ["name", "title", "dataset", "modalities", "kind", "role", "metric", "version", "origin"]
    rows: list[list[Any]] = []
    for plugin, task in registry.loaded("tasks"):
        if plugin.broken:
            rows.append([plugin.name, "", "", [], "", "", "", None, plugin.origin, plugin.broken])
            continue
        meta = task.meta
        rows.append([
            meta.name, meta.title, meta.dataset, list(meta.modalities), meta.kind, meta.role,
            next(iter(meta.metrics), ""), meta.version, plugin.origin, "",
        ])  # fmt: skip
    return ([*columns, "problem"], rows) if any(row[-1] for row in rows) else (columns, [row[:-1] for row in rows])


def _algorithms() -> Table:
    from fedmeki_bench.algorithms import table

    columns = ["name", "title", "rule", "scope", "stage", "view", "bound", "summary"]
    rows: list[list[Any]] = [
        [
            name,
            a.title,
            a.rule,
            a.scope,
            a.stage,
            a.view,
            a.bound,
            a.summary if name == a.name else f"alias of {a.name}",
        ]
        for name, a in table().items()
    ]
    broken = [plugin for plugin, _ in registry.loaded("algorithms") if plugin.broken]
    if broken:
        columns.append("problem")
        rows = [[*row, ""] for row in rows] + [[p.name, *[""] * 7, p.broken] for p in broken]
    return columns, rows


def _leaderboards() -> Table:
    from fedmeki_bench.boards.known import known_boards
    from fedmeki_bench.boards.loading import load_board
    from fedmeki_bench.errors import InputError

    rows: list[list[Any]] = []
    for name, path in known_boards().items():
        try:
            board = load_board(path)
        except InputError as error:
            rows.append([name, "", None, None, "", str(error)])
            continue
        rows.append([name, board.title, len(board.algorithms), len(board.tasks), board.profile, ""])
    columns = ["name", "title", "algorithms", "tasks", "profile", "problem"]
    return (columns, rows) if any(row[-1] for row in rows) else (columns[:-1], [row[:-1] for row in rows])


def _profiles() -> Table:
    from fedmeki_bench.profiles import PROFILES, profile

    columns = ["name", "rounds", "local_epochs", "batch_size", "lr", "image_size", "encoders"]
    rows: list[list[Any]] = []
    for name in PROFILES:
        p = profile(name)
        encoders = [f"{m}: {c.name}" for m, c in p.encoders.items()]
        rows.append([name, p.rounds, p.local_epochs, p.batch_size, p.lr, p.image_size, encoders])
    return columns, rows


_TABLES = {"tasks": _tasks, "algorithms": _algorithms, "leaderboards": _leaderboards, "profiles": _profiles}


@click.command("info")
@click.argument("name")
@options.as_json
@click.option("--data", type=click.Path(path_type=Path), default=None, help="Cohorts to draw a partition of.")
@click.option("--clients", type=int, default=5, show_default=True, help="Number of hospitals to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the partition to draw.")
@click.option("--svg", type=click.Path(path_type=Path), default=None, help="Draw the partition into this file too.")
@options.pairs
def info_command(
    name: str, as_json: bool, data: Path | None, clients: int, seed: int, svg: Path | None, pairs: Sequence[str]
) -> None:
    """Everything known about NAME: an algorithm, rule, stage, task, kind of task, dataset, partition, metric, ...

    For a partition, --data DATA draws who would hold what, e.g. `info dirichlet --data data -o alpha=0.3`.
    """
    if data is not None:
        _draw_partition(name, data, clients=clients, seed=seed, pairs=pairs, svg=svg, as_json=as_json)
        return
    facts = describe(name)
    if as_json:
        echo(json.dumps(facts, indent=1, ensure_ascii=False, default=str))
        return
    _print_facts(name, facts)


def _draw_partition(
    name: str, data: Path, *, clients: int, seed: int, pairs: Sequence[str], svg: Path | None, as_json: bool
) -> None:
    from fedmeki_bench.cli.view.partition import picture, save_svg
    from fedmeki_bench.data.clients.assignment import assign
    from fedmeki_bench.data.clients.availability import Availability
    from fedmeki_bench.data.cohort import find
    from fedmeki_bench.options import parse_options, split_pairs
    from fedmeki_bench.workflow.training import prepared_training_tasks

    cls = registry.load("partitions", name)
    given = split_pairs(pairs)
    matrix = {key: given.pop(key) for key in list(given) if key in Availability.model_fields}
    how = cls(parse_options(cls.Params, given, owner=f"partition {name}"))
    cohorts = {task: find(data, task) for task in prepared_training_tasks(data)}
    assignment = assign(cohorts, how, clients, seed, parse_options(Availability, matrix))
    if svg is not None:
        save_svg(assignment.counts(), f"{name}, {clients} clients, seed {seed}", svg)
    if as_json:
        echo(json.dumps({"digest": assignment.digest, "counts": assignment.counts()}, indent=1))
    else:
        from fedmeki_bench.cli.view import make_console

        make_console().print(picture(assignment.counts(), assignment.digest))


def describe(name: str) -> dict[str, Any]:
    """Everything known about a name, by kind.

    Raises:
        UsageError: nothing has that name; offers the nearest.
    """
    from fedmeki_bench import algorithms
    from fedmeki_bench.boards.known import known_boards
    from fedmeki_bench.boards.loading import find_board
    from fedmeki_bench.profiles import PROFILES, profile

    facts: dict[str, Any] = {}
    if name in algorithms.table():
        facts["algorithm"] = _algorithm_facts(name)
    for kind in registry.KINDS:
        if kind != "algorithms" and name in registry.names(kind):
            facts[registry.singular(kind)] = _plugin_facts(kind, name)
    if name in PROFILES:
        facts["profile"] = {"fields": _fields(type(profile(name)), profile(name).model_dump())}
    if name in known_boards():
        facts["leaderboard"] = find_board(name).model_dump()
    if facts:
        return facts
    try:
        algorithms.resolve(name)
    except UsageError:
        known = [*algorithms.table(), *PROFILES, *known_boards()]
        known += [n for kind in registry.KINDS for n in registry.names(kind)]
        raise UsageError(f"nothing is called {name!r}; {nearest(name, known)}") from None
    return {"algorithm": _algorithm_facts(name)}


def _algorithm_facts(name: str) -> dict[str, Any]:
    from fedmeki_bench import algorithms

    row = algorithms.resolve(name)
    facts: dict[str, Any] = {"title": row.title} | {
        k: v for k, v in asdict(row).items() if k not in ("base", "sub", "sup")
    }
    facts["rule parameters"] = _fields(registry.load("rules", row.rule).Params)
    facts["stage parameters"] = _fields(registry.load("stages", row.stage).Params)
    return facts


def _plugin_facts(kind: str, name: str) -> dict[str, Any]:
    plugin = registry.find(kind, name)
    value = registry.load(kind, name)
    facts: dict[str, Any] = {"origin": plugin.origin, "defined in": plugin.target}
    for attribute in (
        *("title", "paper", "version", "views", "modality", "metrics", "kinds", "definition", "direction", "range"),
    ):
        found = getattr(value, attribute, None)
        if found not in (None, "", ()) and not callable(found):
            facts[attribute] = found
    if isinstance(value, type) and value.__doc__:
        facts["about"] = " ".join(value.__doc__.split())
    meta = getattr(value, "meta", None)
    if is_dataclass(meta) and not isinstance(meta, type):
        facts |= asdict(meta)
    params = getattr(value, "Params", None) or getattr(value, "Options", None)
    if params is not None:
        facts["parameters"] = _fields(params)
    return facts


def _fields(model: Any, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    from fedmeki_bench.options import describe_options

    rows = describe_options(model)
    return [row | ({"value": values[row["name"]]} if values else {}) for row in rows]


def _print_facts(name: str, facts: dict[str, Any]) -> None:
    from fedmeki_bench.cli.view import make_console

    console = make_console()
    for kind, content in facts.items():
        console.print(f"[bold]{escape(name)}[/] · {escape(kind)}")
        for key, value in content.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                console.print(f"  [cyan]{escape(key)}[/]")
                for row in value:
                    shown = row.get("value", row.get("default"))
                    console.print(
                        f"    [bold]{escape(row['name'])}[/] = {escape(str(shown))}  {escape(row['meaning'])}"
                    )
            elif isinstance(value, dict):
                console.print(f"  [cyan]{escape(key)}[/]")
                for inner, text in value.items():
                    console.print(f"    {escape(inner)}: {escape(str(text))}")
            elif value not in (None, "", [], ()):
                shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
                console.print(f"  [cyan]{escape(key)}[/]: {escape(shown)}")
        console.print()
