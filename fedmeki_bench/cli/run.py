"""``run``: one algorithm, trained and scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.again import goes_on
from fedmeki_bench.cli.view.echo import echo

if TYPE_CHECKING:
    from fedmeki_bench.cli.view import RunView
    from fedmeki_bench.records.record import MetricValue
    from fedmeki_bench.runs.spec import RunSpec
    from fedmeki_bench.workflow.reading import Records


@click.command("run")
@click.argument("algorithm")
@options.data
@click.option("--tasks", default=None, help="Comma-separated; by default every prepared training task.")
@click.option("--profile", default="demo", show_default=True, help="Budget: demo (minutes on 2 cores) or paper.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of partition, weights and batches.")
@click.option("--clients", type=int, default=5, show_default=True, help="Number of hospitals.")
@click.option("--partition", default="iid", show_default=True, help="How private samples are assigned to clients.")
@click.option("--variant", default=None, help="Scope and stage for a bare rule or file.py:Rule, e.g. m_plus.")
@options.results
@options.pairs
@options.device
@click.option("--engine", default="sequential", show_default=True, help="Where clients are: see `list engines`.")
@click.option(
    "-e", "--engine-option", "engine_pairs", multiple=True, metavar="KEY=VALUE", help="Of the engine; repeatable."
)
@click.option("--keep-model", is_flag=True, help="Keep the trained model beside the record; adapters in PEFT's format.")
@click.option("--resume/--fresh", default=True, show_default=True, help="Go on from a checkpoint, or forget it.")
@options.as_json
@options.plain
@goes_on(resume=[False])
def run_command(
    algorithm: str, data: Path, tasks: str | None, profile: str, seed: int, clients: int, partition: str,
    variant: str | None, results: Path, pairs: Sequence[str], device: str, engine: str,
    engine_pairs: Sequence[str], keep_model: bool, resume: bool, as_json: bool, plain: bool | None,
) -> None:  # fmt: skip
    """Train ALGORITHM on prepared cohorts and score it on their test splits.

    ALGORITHM is a name from `list algorithms`, <rule>_<scope>[_<stage>], or file.py:Rule with --variant. Scope s
    trains once per task, scope m once over all of them. A finished run is not repeated; a killed one goes on.
    """
    from fedmeki_bench.options import split_pairs
    from fedmeki_bench.runs.engines import EngineChoice
    from fedmeki_bench.workflow.training import before_training, specified, train

    chosen = EngineChoice(engine, split_pairs(engine_pairs)).checked()
    specs = specified(
        algorithm, data, tasks=options.listed(tasks), profile=profile, seed=seed, clients=clients, partition=partition,
        variant=variant, options=split_pairs(pairs),
    )  # fmt: skip
    notes = list(before_training(specs, data, results, device=device))
    for note in notes:
        echo(note, err=True)
    plain = True if as_json else plain
    records = train(
        specs, data, results, device=device, fresh=not resume, keep_model=keep_model, notes=notes, engine=chosen,
        building=partial(stand_in_view, plain=plain), watch=partial(run_view, plain=plain),
    )  # fmt: skip
    if as_json:
        echo(json.dumps([json.loads(r.to_json()) for r in records], indent=1, ensure_ascii=False))
    else:
        _report(records)
    records.check()


def run_view(spec: RunSpec, *, plain: bool | None, title: str = "") -> RunView:
    """The picture of one run."""
    from fedmeki_bench.cli.view import RunView

    return RunView(f"{title}{spec.algorithm} · {', '.join(spec.tasks)} · seed {spec.seed}", plain=plain)


@contextmanager
def stand_in_view(name: str, *, plain: bool | None) -> Iterator[Callable[[int, int], None]]:
    """How far a stand-in foundation model is."""
    from fedmeki_bench.cli.view import PrepareView

    with PrepareView(name, plain=plain) as view:
        yield lambda done, total: view(done, total, "pre-training the stand-in, once per machine")


def _report(records: Records) -> None:
    """One table per set of metrics: classification and generation have different ones."""
    from fedmeki_bench.cli.view import print_table
    from fedmeki_bench.workflow.partitions import partition_in_words

    partitions = ", ".join(dict.fromkeys(partition_in_words(r.partition, r.params) for r in records))
    tables: dict[tuple[str, ...], list[list[object]]] = {}
    for record in records:
        synthetic = {c.task: c.synthetic for c in record.cohorts}
        for evaluation in record.evaluations:
            stamp = "SYNTHETIC" if synthetic.get(evaluation.task) else "real"
            names = tuple(n for n in evaluation.metrics if n != "unparsed")
            cells = [_interval(evaluation.metrics[n]) for n in names]
            unread = evaluation.metrics.get("unparsed")
            said = "–" if unread is None or unread.value is None else f"{unread.value:.0%}"
            if names:
                tables.setdefault(names, []).append(
                    [evaluation.task, evaluation.view, evaluation.n, *cells, said, stamp]
                )
            else:
                echo(f"{evaluation.task}, {evaluation.view}: {evaluation.note}")
    for names, rows in tables.items():
        columns = ["task", "view", "n", *names, "unparsed", "data"]
        print_table("test split, 95 % intervals over patients", columns, rows)
    from fedmeki_bench.evaluation.view import in_words

    views = {e.view for record in records for e in record.evaluations if e.metrics}
    echo(f"partition: {partitions}")
    if any(in_words(name) for name in views):
        echo(
            "views in words: accuracy, F1 and their like come from the answers, an unparsed one counting as wrong; "
            "AUROC and its like from the probability of yes"
        )
    for said in dict.fromkeys(e.note for r in records for e in r.evaluations if e.view == "constant_answer" and e.note):
        echo(f"constant_answer: {said}")
    for said in dict.fromkeys(note for record in records for note in record.notes):
        echo(f"remark: {said}")
    for name, value in {item for record in records for item in record.assumed.items()}:
        echo(f"remark: the rule's paper assumes {name}={value}, which this run has not")
    for record in records:
        echo(f"record: {records.folder / record.key / 'record.json'} ({record.status})")


def _interval(value: MetricValue) -> str:
    if value.value is None:
        return "undefined"
    return f"{value.value:.3f} [{value.low:.2f}, {value.high:.2f}]" if value.low is not None else f"{value.value:.3f}"
