"""``synth`` and ``prepare``: from nothing to raw files, from raw files to cohorts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.options import parse_options, split_pairs

ALL = "all"


@click.command("synth")
@click.argument("dataset")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must be new or empty.")
@click.option("--size", type=int, default=None, help="How many samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
def synth_command(dataset: str, out: Path, size: int | None, seed: int) -> None:
    """Write a synthetic stand-in for DATASET in the release's own raw layout.

    With `all`, one per dataset, each in a folder of its name under OUT. What is learnt from stand-ins says nothing
    about patients; everything computed from them is stamped SYNTHETIC.
    """
    wanted = {release: out / release for release in releases().values()} if dataset == ALL else {dataset: out}
    for name, folder in wanted.items():
        synthesize(name, folder, size=size, seed=seed)
        echo(f"{folder}: synthetic {name} written")
    echo(f"next: fedmeki-bench prepare {dataset} --raw {out} --out data")


def releases() -> dict[str, str]:
    """Dataset -> the release it reads; two datasets may read one."""
    return {n: registry.load("datasets", n).release_name or n for n in registry.names("datasets")}


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
    from fedmeki_bench.data.prepare.storage import install, partial_folder

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

    With `all`, every dataset that has a folder of its name under RAW is prepared; `-o rsna.image_size=64` then sets an
    option of one of them, `-o image_size=64` of all that have it. Records that are missing or corrupt are dropped,
    counted and named. A second call with unchanged input does nothing.
    """
    chosen = _all_in(raw, pairs) if dataset == ALL else {dataset: (raw, split_pairs(pairs))}
    found: list[Any] = []
    for name, (folder, given) in chosen.items():
        found += prepare_dataset(name, folder, out, {"split": split} | given, workers=workers, plain=plain)
    if as_json:
        content = [{"cohort": c.name, "path": str(c.path), "unchanged": c.unchanged, "card": c.card} for c in found]
        echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        _report(found, split)


def _all_in(raw: Path, pairs: Sequence[str]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Dataset -> its folder under ``raw`` and the options meant for it.

    Raises:
        InputError: no dataset has a folder there, or no dataset has an option that was given.
    """
    named = releases()
    there = {name: raw / release for name, release in named.items() if (raw / release).is_dir()}
    if not there:
        names = ", ".join(sorted(set(named.values())))
        raise InputError(f"{raw} has no folder named after a dataset; expected one or more of {names}")
    absent = sorted({release for name, release in named.items() if name not in there})
    if absent:
        echo(f"left out, no folder in {raw}: {', '.join(absent)}", err=True)
    fields = {name: registry.load("datasets", name).Options.model_fields for name in registry.names("datasets")}
    chosen: dict[str, tuple[Path, dict[str, Any]]] = {name: (folder, {}) for name, folder in there.items()}
    for key, value in split_pairs(pairs).items():
        owner, dot, field = key.partition(".")
        takers = [owner] if dot and owner in fields else [n for n in fields if key in fields[n]]
        if not takers:
            known = sorted({f for model in fields.values() for f in model})
            raise InputError(f"no dataset has the option {key!r}; {nearest(key, known)}")
        for name in takers:
            if name in chosen:
                chosen[name][1][field if dot else key] = value
    return chosen


def _report(found: Sequence[Any], split: str) -> None:
    from fedmeki_bench.cli.view import print_table

    columns = [
        "cohort", "dataset", "records", "groups", "negative", "positive", "client", "valid", "public", "test",
        "dropped", "shared between splits", "state",
    ]  # fmt: skip
    rows = []
    for cohort in found:
        card = cohort.card
        splits = card["splits"]
        binary = card["kind"] == "classification"
        classes = [sum(s.get(c, 0) for s in splits.values()) if binary else None for c in ("negative", "positive")]
        state = "unchanged" if cohort.unchanged else "prepared"
        rows.append([
            cohort.name, card["dataset"], card["rows"]["kept"], card["groups"], *classes,
            *(splits[s]["samples"] for s in ("client", "valid", "public", "test")), card["rows"]["dropped"],
            card["audit"]["groups_shared_between_splits"], state + (", SYNTHETIC" if card["synthetic"] else ""),
        ])  # fmt: skip
    print_table(f"cohorts, split by {split}", columns, rows)
    for cohort in found:
        for reason, facts in cohort.card["dropped"].items():
            echo(f"{cohort.name}: dropped {facts['n']}: {reason} (e.g. {', '.join(facts['examples'][:3])})")
        for reason, count in cohort.card["excluded"].items():
            echo(f"{cohort.name}: left out {count}: {reason}")
        for note in cohort.card["notes"]:
            echo(f"{cohort.name}: {note}")


def prepare_dataset(
    dataset: str, raw: Path, out: Path, options: Mapping[str, Any], *, workers: int | None = None,
    plain: bool | None = None,
) -> list[Any]:  # fmt: skip
    """Prepare every known task of a dataset; returns the cohorts."""
    from fedmeki_bench.cli.view import PrepareView
    from fedmeki_bench.data.prepare.prepare import prepare

    preparer = registry.load("datasets", dataset)()
    chosen = parse_options(type(preparer).Options, options, owner=f"dataset {dataset}")
    tasks = [registry.load("tasks", p.name)() for p in registry.describe("tasks") if not p.broken]
    with PrepareView(dataset, plain=plain) as view:
        return prepare(preparer, raw, out, tasks, chosen, workers=workers, progress=view)
