"""``run``: one algorithm, trained and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fedmeki_bench.cli import options
from fedmeki_bench.errors import RunFailed, UsageError


@click.command("run")
@click.argument("algorithm")
@options.data
@click.option("--tasks", default=None, help="Comma-separated; by default every prepared training task.")
@click.option("--profile", default="demo", show_default=True, help="Budget: demo (minutes on 2 cores) or paper.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of partition, weights and batches.")
@click.option("--clients", type=int, default=5, show_default=True, help="Number of hospitals.")
@click.option("--partition", default="iid", show_default=True, help="How private samples are dealt to the clients.")
@click.option("--variant", default=None, help="Scope and stage for a bare rule or file.py:Rule, e.g. m_plus.")
@options.results
@options.pairs
@options.device
@click.option("--resume/--fresh", default=True, show_default=True, help="Go on from a checkpoint, or forget it.")
@options.as_json
@options.plain
def run_command(
    algorithm: str, data: Path, tasks: str | None, profile: str, seed: int, clients: int, partition: str,
    variant: str | None, results: Path, pairs: Sequence[str], device: str, resume: bool, as_json: bool,
    plain: bool | None,
) -> None:  # fmt: skip
    """Train ALGORITHM on prepared cohorts and score it on their test splits.

    ALGORITHM is a name from `list algorithms`, <rule>_<scope>[_<stage>], or file.py:Rule with --variant. Scope s
    trains once per task, scope m once over all of them. A finished run is not repeated; a killed one goes on.
    """
    from fedmeki_bench.algorithms import resolve
    from fedmeki_bench.options import split_pairs
    from fedmeki_bench.runs.spec import specify

    row = resolve(algorithm, variant)
    names = tasks.split(",") if tasks else prepared_training_tasks(data)
    specs = specify(
        row, [name.strip() for name in names], profile_name=profile, seed=seed, clients=clients, partition=partition,
        options=split_pairs(pairs),
    )  # fmt: skip
    check_device(device)
    records = _execute(specs, data, results, device=device, fresh=not resume, plain=True if as_json else plain)
    if as_json:
        click.echo(json.dumps([json.loads(r.to_json()) for r in records], indent=1, ensure_ascii=False))
    else:
        _report(records, results)
    failed = [r for r in records if r.status != "ok"]
    if failed:
        error = failed[0].error
        raise RunFailed(f"{len(failed)} of {len(records)} runs failed: {error.message if error else 'unknown reason'}")


def check_device(device: str) -> None:
    """Refuse a device that is not there before anything is trained.

    Raises:
        UsageError: not a device name, or none of that kind.
    """
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r} can't be used: {str(error).splitlines()[0]}") from error


def prepared_training_tasks(data: Path) -> list[str]:
    """Training tasks that have a cohort in ``data``.

    Raises:
        InputError: there is none.
    """
    from fedmeki_bench import registry
    from fedmeki_bench.cohort.format import prepared
    from fedmeki_bench.errors import InputError

    training = {n for n in registry.names("tasks") if registry.load("tasks", n).meta.role == "training"}
    names = [name for name in prepared(data) if name in training]
    if not names:
        raise InputError(f"no cohort of a training task in {data}; prepare one with `fedmeki-bench prepare` first")
    return names


def _execute(
    specs: Sequence[Any], data: Path, results: Path, *, device: str, fresh: bool, plain: bool | None
) -> list[Any]:
    from fedmeki_bench.console import RunView
    from fedmeki_bench.results.store import RecordStore
    from fedmeki_bench.runs.execute import execute, open_cohorts

    for spec in specs:  # a missing cohort is told before the first training, not after
        open_cohorts(spec, data)
    records = []
    for spec in specs:
        with RunView(f"{spec.algorithm} · {', '.join(spec.tasks)} · seed {spec.seed}", plain=plain) as view:
            records.append(execute(spec, data, RecordStore(results), device=device, fresh=fresh, listener=view))
    return records


def _report(records: Sequence[Any], results: Path) -> None:
    from fedmeki_bench.console import print_table

    rows = []
    for record in records:
        synthetic = {c.task: c.synthetic for c in record.cohorts}
        for evaluation in record.evaluations:
            metrics = [_interval(value) for value in evaluation.metrics.values()]
            stamp = "SYNTHETIC" if synthetic.get(evaluation.task) else "real"
            rows.append([evaluation.task, evaluation.n, *metrics, stamp])
    if rows:
        names = list(records[0].evaluations[0].metrics) if records[0].evaluations else []
        print_table("test split, 95 % intervals over patients", ["task", "n", *names, "data"], rows)
    for record in records:
        click.echo(f"record: {results / record.key / 'record.json'} ({record.status})")


def _interval(value: Any) -> str:
    if value.value is None:
        return "undefined"
    return f"{value.value:.3f} [{value.low:.2f}, {value.high:.2f}]" if value.low is not None else f"{value.value:.3f}"
