"""``run``: one algorithm, trained and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import RunFailed, UsageError

if TYPE_CHECKING:
    from fedmeki_bench.foundation.tiny_config import TinyConfig


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
@click.option("--keep-model", is_flag=True, help="Keep the trained model beside the record; adapters in PEFT's format.")
@click.option("--resume/--fresh", default=True, show_default=True, help="Go on from a checkpoint, or forget it.")
@options.as_json
@options.plain
def run_command(
    algorithm: str, data: Path, tasks: str | None, profile: str, seed: int, clients: int, partition: str,
    variant: str | None, results: Path, pairs: Sequence[str], device: str, keep_model: bool, resume: bool,
    as_json: bool,
    plain: bool | None,
) -> None:  # fmt: skip
    """Train ALGORITHM on prepared cohorts and score it on their test splits.

    ALGORITHM is a name from `list algorithms`, <rule>_<scope>[_<stage>], or file.py:Rule with --variant. Scope s
    trains once per task, scope m once over all of them. A finished run is not repeated; a killed one goes on.
    """
    from fedmeki_bench.algorithms import resolve
    from fedmeki_bench.evaluation.view import answers_zero_shot
    from fedmeki_bench.options import split_pairs
    from fedmeki_bench.runs.spec import specify

    row = resolve(algorithm, variant)
    training, zero_shot = _chosen(tasks, data)
    if tasks and zero_shot and not answers_zero_shot(row.view):
        raise UsageError(
            f"{zero_shot[0]!r} is a zero-shot task, which only a foundation view answers: use {row.rule}_{row.scope}_fm"
        )
    specs = specify(
        row, training, profile_name=profile, seed=seed, clients=clients, partition=partition,
        options=split_pairs(pairs), zero_shot=zero_shot,
    )  # fmt: skip
    check_device(device)
    records = _execute(
        specs, data, results, device=device, fresh=not resume, keep_model=keep_model, plain=True if as_json else plain
    )
    if as_json:
        echo(json.dumps([json.loads(r.to_json()) for r in records], indent=1, ensure_ascii=False))
    else:
        _report(records, results)
    failed = [r for r in records if r.status != "ok"]
    if failed:
        error = failed[0].error
        raise RunFailed(f"{len(failed)} of {len(records)} runs failed: {error.message if error else 'unknown reason'}")


def _chosen(tasks: str | None, data: Path) -> tuple[list[str], list[str]]:
    """Training and zero-shot tasks that were named; without names, all that are prepared.

    Zero-shot tasks alone mean that every prepared training task is trained on.
    """
    from fedmeki_bench.data.cohort import prepared
    from fedmeki_bench.runs.spec import by_role

    known = set(registry.names("tasks"))
    named = [name.strip() for name in tasks.split(",")] if tasks else [n for n in prepared(data) if n in known]
    training, zero_shot = by_role(named)
    return training or prepared_training_tasks(data), zero_shot


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
    from fedmeki_bench.data.cohort import prepared
    from fedmeki_bench.errors import InputError

    training = {n for n in registry.names("tasks") if registry.load("tasks", n).meta.role == "training"}
    names = [name for name in prepared(data) if name in training]
    if not names:
        raise InputError(f"no cohort of a training task in {data}; prepare one with `fedmeki-bench prepare` first")
    return names


def build_stand_in(specs: Sequence[Any], *, plain: bool | None) -> None:
    """Build the stand-in foundation models that a run wants, each once per machine; shows how far it is."""
    from fedmeki_bench.cache import cache_folder
    from fedmeki_bench.foundation.tiny_config import STAND_INS

    for name in sorted({str(spec.params["stage"].get("foundation")) for spec in specs} & set(STAND_INS)):
        config = STAND_INS[name]
        if not (cache_folder() / f"tiny-{config.key}" / "config.json").is_file():
            _pretrain(name, config, plain=plain)


def _pretrain(name: str, config: TinyConfig, *, plain: bool | None) -> None:
    from fedmeki_bench.cli.view import PrepareView
    from fedmeki_bench.foundation.tiny import tiny_folder

    with PrepareView(name, plain=plain) as view:
        tiny_folder(
            config, progress=lambda done, total, loss: view(done, total, "pre-training the stand-in, once per machine")
        )


def _execute(
    specs: Sequence[Any], data: Path, results: Path, *, device: str, fresh: bool, keep_model: bool, plain: bool | None
) -> list[Any]:
    from fedmeki_bench.cli.view import RunView
    from fedmeki_bench.records.store import RecordStore
    from fedmeki_bench.runs.execute import execute, open_cohorts
    from fedmeki_bench.runs.superseded import sentence, superseded

    for spec in specs:  # a missing cohort is told before the first training, not after
        cards = {task: cohort.card_hash for task, cohort in open_cohorts(spec, data).items()}
        store = RecordStore(results)
        if not store.path(spec.key(cards)).exists() and (found := superseded(spec, cards, store.all())) is not None:
            echo(f"{spec.algorithm} on {', '.join(spec.tasks)}: {sentence(found)}", err=True)
    build_stand_in(specs, plain=plain)
    records = []
    for spec in specs:
        with RunView(f"{spec.algorithm} · {', '.join(spec.tasks)} · seed {spec.seed}", plain=plain) as view:
            done = execute(
                spec, data, RecordStore(results), device=device, fresh=fresh, listener=view, keep_model=keep_model
            )
            records.append(done)
    return records


def _report(records: Sequence[Any], results: Path) -> None:
    """One table per set of metrics: classification and generation have different ones."""
    from fedmeki_bench.cli.view import print_table
    from fedmeki_bench.cli.view.dealt import dealt_as

    dealt = ", ".join(dict.fromkeys(dealt_as(r.partition, r.params) for r in records))
    tables: dict[tuple[str, ...], list[list[Any]]] = {}
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
    views = {e.view for record in records for e in record.evaluations if e.metrics}
    echo(f"dealt: {dealt}")
    if "foundation" in views:
        echo(
            "foundation views: accuracy, F1 and their like come from the answers, an unparsed one counting as wrong; "
            "AUROC and its like from the probability of yes"
        )
    for said in dict.fromkeys(e.note for r in records for e in r.evaluations if e.view == "constant_answer" and e.note):
        echo(f"constant_answer: {said}")
    for said in dict.fromkeys(note for record in records for note in record.notes):
        echo(f"remark: {said}")
    for record in records:
        echo(f"record: {results / record.key / 'record.json'} ({record.status})")


def _interval(value: Any) -> str:
    if value.value is None:
        return "undefined"
    return f"{value.value:.3f} [{value.low:.2f}, {value.high:.2f}]" if value.low is not None else f"{value.value:.3f}"
