"""``synth`` and ``prepare``: from nothing to raw files, from raw files to cohorts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.errors import InputError


@click.command("synth")
@click.argument("dataset")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must be new or empty.")
@click.option("--size", type=int, default=None, help="How many samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
def synth_command(dataset: str, out: Path, size: int | None, seed: int) -> None:
    """Write a synthetic stand-in for DATASET in the release's own raw layout.

    What is learnt from it says nothing about patients; everything computed from it is stamped SYNTHETIC.
    """
    synthesize(dataset, out, size=size, seed=seed)
    click.echo(f"{out}: synthetic {dataset} written; next: fedmeki-bench prepare {dataset} --raw {out} --out data")


def synthesize(dataset: str, out: Path, *, size: int | None, seed: int) -> None:
    """Write the stand-in into ``out``, all of it or nothing.

    Raises:
        InputError: a size or seed that makes no sense, or ``out`` holds something already.
    """
    preparer = registry.load("datasets", dataset)()
    count = preparer.synthesize_size if size is None else size
    if count < 1:
        raise InputError(f"--size cannot be {count}: at least 1 sample is needed")
    if seed < 0:
        raise InputError(f"--seed cannot be {seed}: it is not negative")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out} is not empty: name a new folder, nothing is overwritten")
    from fedmeki_bench.cohort.storage import install, partial_folder

    out.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(out) as folder:
        preparer.synthesize(folder, size=count, seed=seed)
        if out.is_dir():
            out.rmdir()
        install(folder, out)


@click.command("prepare")
@click.argument("dataset")
@options.raw
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of cohorts, one per task.")
@click.option(
    "--split", type=click.Choice(["patient", "published"]), default="patient", show_default=True,
    help="Deal whole patients, or rows as the papers did (leaks; marked on every table).",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Decoding processes; all cores by default.")
@options.pairs
@options.as_json
@options.plain
def prepare_command(
    dataset: str, raw: Path, out: Path, split: str, workers: int | None, pairs: Sequence[str], as_json: bool,
    plain: bool | None,
) -> None:  # fmt: skip
    """Turn the release of DATASET in RAW into one cohort per task under OUT.

    Records that are missing or corrupt are dropped, counted and named. A second call with unchanged input does nothing.
    """
    from fedmeki_bench.console import print_table

    found = prepare_dataset(dataset, raw, out, {"split": split}, pairs, workers=workers, plain=plain)
    cards = [(cohort, cohort.card) for cohort in found]
    if as_json:
        import json

        content = [{"cohort": c.name, "path": str(c.path), "unchanged": c.unchanged, "card": card} for c, card in cards]
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    columns = ["cohort", "records", "groups", "negative", "positive", "client", "valid", "public", "test", "dropped",
               "shared between splits", "state"]  # fmt: skip
    rows = []
    for cohort, card in cards:
        splits = card["splits"]
        classes = [sum(s.get(c, 0) for s in splits.values()) for c in ("negative", "positive")]
        rows.append([
            cohort.name, card["rows"]["kept"], card["groups"], *classes,
            *(splits[s]["samples"] for s in ("client", "valid", "public", "test")), card["rows"]["dropped"],
            card["audit"]["groups_shared_between_splits"],
            "unchanged" if cohort.unchanged else "prepared" + (", SYNTHETIC" if card["synthetic"] else ""),
        ])  # fmt: skip
    print_table(f"{dataset}, {cards[0][1]['release']}, split by {split}", columns, rows)
    for cohort, card in cards:
        for reason, facts in card["dropped"].items():
            click.echo(f"{cohort.name}: dropped {facts['n']}: {reason} (e.g. {', '.join(facts['examples'][:3])})")
        for reason, count in card["excluded"].items():
            click.echo(f"{cohort.name}: left out {count}: {reason}")
        for note in card["notes"]:
            click.echo(f"{cohort.name}: {note}")


def prepare_dataset(
    dataset: str, raw: Path, out: Path, base: dict[str, Any], pairs: Sequence[str] = (), *,
    workers: int | None = None, plain: bool | None = None,
) -> list[Any]:  # fmt: skip
    """Prepare every known task of a dataset; returns the cohorts."""
    from fedmeki_bench.cohort.prepare import prepare
    from fedmeki_bench.console import PrepareView
    from fedmeki_bench.options import parse_options, split_pairs

    preparer = registry.load("datasets", dataset)()
    chosen = parse_options(type(preparer).Options, base | split_pairs(pairs), owner=f"dataset {dataset}")
    tasks = [registry.load("tasks", p.name)() for p in registry.describe("tasks") if not p.broken]
    with PrepareView(dataset, plain=plain) as view:
        return prepare(preparer, raw, out, tasks, chosen, workers=workers, progress=view)
