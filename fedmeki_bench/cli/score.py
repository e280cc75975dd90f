"""``score``: turn a file of stored answers into metrics, under this project's rules or the published ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import UsageError

if TYPE_CHECKING:
    from fedmeki_bench.kinds.kind import LabelSpec


@click.command("score")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--kind", required=True, help="What the answers are, as in `list kinds`: binary, multiclass, generation, ..."
)
@click.option(
    "--classes", default="", metavar="NAME,NAME", help="Classes, levels (lowest first) or findings of the kind."
)
@click.option(
    "--protocol", type=click.Choice(["strict", "published"]), default="strict", show_default=True,
    help="strict: unparsed answers are wrong and counted. published: the rules behind the FedMEKI tables.",
)  # fmt: skip
@click.option("--metrics", default=None, metavar="NAME,NAME", help="Only these; all that the rows allow by default.")
@click.option(
    "--resamples", type=click.IntRange(min=0), default=1000, show_default=True,
    help="Bootstrap resamples of groups for the 95 % intervals; 0 for none.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@options.as_json
def score_command(
    file: Path, kind: Any, classes: str, protocol: Any, metrics: str | None, resamples: int, seed: int, as_json: bool
) -> None:
    """Score the answers in FILE, a JSON list or JSON Lines.

    Each row has `label` and `answer` (text), or `label` and `score` (probability of yes), and optionally `group`, the
    patient, which is the unit of the intervals. With --classes, `label` is a class's name or a list of findings, and
    `score` a number per class.
    """
    from fedmeki_bench.evaluation.answer_files import read_answers
    from fedmeki_bench.evaluation.labelled_files import read_labelled, score_labelled
    from fedmeki_bench.evaluation.protocols import READ_BY_PROTOCOLS, metrics_of, score_answers

    spec = _spec(kind, classes)
    names = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None
    if kind in READ_BY_PROTOCOLS:
        answers = read_answers(file, kind, protocol)
        found = score_answers(answers, kind=kind, protocol=protocol, names=names, seed=seed, resamples=resamples)
        specs = metrics_of(kind, protocol)
        n, groups = len(answers.gold), len(set(answers.group))
    else:
        if protocol != "strict":
            raise UsageError(f"the published protocol reads {' and '.join(READ_BY_PROTOCOLS)} answers, not {kind}")
        said = read_labelled(file, spec)
        found, specs = score_labelled(said, names=names, seed=seed, resamples=resamples)
        n, groups = len(said.sample_id), len(set(said.group_id))
    if as_json:
        content = {
            "file": str(file),
            "kind": kind,
            "protocol": protocol,
            "n": n,
            "groups": groups,
            "resamples": resamples,
            "seed": seed,
            "metrics": {
                name: {
                    "title": specs[name].title,
                    "direction": specs[name].direction,
                    "value": _finite(e.value),
                    "low": _finite(e.low),
                    "high": _finite(e.high),
                    "note": e.note,
                }
                for name, e in found.items()
            },
        }
        echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
        return
    from fedmeki_bench.cli.view import print_table

    rows = [
        [specs[name].title, _shown(e.value), _interval(e.low, e.high), specs[name].direction, e.note]
        for name, e in found.items()
    ]
    unit = f"{n} rows" if groups == n else f"{n} rows of {groups} groups"
    title = f"{file}: {kind}, {protocol} protocol, {unit}"
    print_table(title, ["metric", "value", "95 % interval", "better", "note"], rows)


def _spec(kind: str, classes: str) -> LabelSpec:
    from fedmeki_bench.kinds.kind import LabelSpec

    found = LabelSpec(kind, tuple(name.strip() for name in classes.split(",") if name.strip()))
    if found.how.classed != bool(found.classes):
        raise UsageError(
            f"answers of the kind {kind} " + ("need --classes" if found.how.classed else "have no classes")
        )
    if len(set(found.classes)) < max(found.how.smallest, len(found.classes)):
        raise UsageError(f"--classes needs {found.how.smallest} or more different names for the kind {kind}")
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float) -> str | None:
    return f"{value:.4f}" if math.isfinite(value) else None


def _interval(low: float, high: float) -> str | None:
    return f"{low:.4f} to {high:.4f}" if math.isfinite(low) else None
