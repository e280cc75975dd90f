"""``rescore``: the metrics of finished runs anew from their stored predictions."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import CheckFailed, InputError


@click.command("rescore")
@click.argument("results", type=click.Path(path_type=Path))
@options.as_json
def rescore_command(results: Path, as_json: bool) -> None:
    """Compute every metric of the records in RESULTS anew from their predictions; nothing is trained.

    For records that were scored by an older version of a metric. Exits with 1 if predictions are missing or damaged:
    those records stay as they are.
    """
    from fedmeki_bench.cli.view import print_table
    from fedmeki_bench.evaluation.rescoring import outdated, rescore
    from fedmeki_bench.records.record import Record
    from fedmeki_bench.records.store import RecordStore

    store = RecordStore(results)
    records = [record for record in store.all() if isinstance(record, Record) and record.status == "ok"]
    if not records:
        raise InputError(f"no finished run in {results}")
    rows, failed = [], []
    for record in records:
        why = list(outdated(record))
        with store.lock(record.key):
            again, problems = rescore(record, store.folder(record.key))
            changed = _changed(record, again)
            if not problems and again != record:
                store.write(again)
        failed += problems
        state = problems[0] if problems else "rescored" if again != record else "unchanged"
        rows.append([record.algorithm, record.tasks, record.seed, changed, why, state, record.key])
    columns = ["algorithm", "tasks", "seed", "values changed", "why", "state", "key"]
    if as_json:
        echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1, ensure_ascii=False))
    else:
        print_table(f"{results}: {len(records)} finished runs", columns, rows)
    if failed:
        raise CheckFailed(f"{len(failed)} evaluations could not be scored anew, first: {failed[0]}")


def _changed(before: object, after: object) -> int:
    """How many metric values of the two records differ."""

    def values(record: object) -> dict[tuple[str, str, str], float | None]:
        evaluations = getattr(record, "evaluations", ())
        return {(e.view, e.task, m): v.value for e in evaluations for m, v in e.metrics.items()}

    there, here = values(before), values(after)
    return sum(there.get(place) != here.get(place) for place in {**there, **here})
