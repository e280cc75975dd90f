"""``synth`` and ``prepare``: from nothing to raw files, from raw files to cohorts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedmeki_bench.cli import options
from fedmeki_bench.cli.again import goes_on, program
from fedmeki_bench.cli.view.echo import echo
from fedmeki_bench.data.splits import EXTERNAL
from fedmeki_bench.errors import TasksFailed
from fedmeki_bench.options import split_pairs

if TYPE_CHECKING:
    from fedmeki_bench.data.prepare.prepare import PreparedCohort

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
    from fedmeki_bench.workflow.data import releases, synth

    wanted = {release: out / release for release in releases().values()} if dataset == ALL else {dataset: out}
    for name, folder in wanted.items():
        synth(name, folder, size=size, seed=seed)
        echo(f"{folder}: synthetic {name} written")
    following = [*program(), "prepare", dataset, "--raw", str(out), "--out", "data"]
    echo(f"next: {shlex.join(following)}")


@click.command("prepare")
@click.argument("dataset")
@options.raw
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of cohorts, one per task.")
@click.option(
    "--split", type=click.Choice(["patient", "published"]), default="patient", show_default=True,
    help="Split by whole patients, or by rows as the papers did (leaks; marked on every table).",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Decoding processes; all cores by default.")
@options.pairs
@options.as_json
@options.plain
@goes_on()
def prepare_command(
    dataset: str, raw: Path, out: Path, split: str, workers: int | None, pairs: Sequence[str], as_json: bool,
    plain: bool | None,
) -> None:  # fmt: skip
    """Turn the release of DATASET in RAW into one cohort per task under OUT.

    With `all`, every dataset that has a folder of its name under RAW is prepared; `-o rsna.image_size=64` then sets an
    option of one of them, `-o image_size=64` of all that have it. Records that are missing or corrupt are dropped,
    counted and named. A task that fails is named at the end; the others are prepared. A second call with unchanged
    input does nothing.
    """
    from fedmeki_bench.workflow.data import Found, found_in, strays

    given = split_pairs(pairs)
    chosen = found_in(raw, given) if dataset == ALL else Found({dataset: raw}, {dataset: given})
    if chosen.absent:
        echo(f"left out, no folder in {raw}: {', '.join(chosen.absent)}", err=True)
    found: list[PreparedCohort] = []
    failed: dict[str, str] = strays() if dataset == ALL else {}
    for name, folder in chosen.folders.items():
        asked = {"split": split} | dict(chosen.options[name])
        try:
            found += prepare_dataset(name, folder, out, asked, workers=workers, plain=plain)
        except TasksFailed as error:
            found += error.prepared
            failed |= error.failed
    if as_json:
        content = [{"cohort": c.name, "path": str(c.path), "unchanged": c.unchanged, "card": c.card} for c in found]
        echo(json.dumps(content, indent=1, ensure_ascii=False))
    elif found:
        _report(found, split)
    if failed:
        raise TasksFailed(failed, found)


def _report(found: Sequence[PreparedCohort], split: str) -> None:
    from fedmeki_bench.cli.view import print_table

    columns = [
        "cohort", "dataset", "records", "groups", "negative", "positive", "client", "valid", "public", "test",
        "dropped", "shared between splits", "state",
    ]  # fmt: skip
    aside = any(EXTERNAL in cohort.card["splits"] for cohort in found)
    columns[10:10] = [EXTERNAL] * aside
    rows = []
    for cohort in found:
        card = cohort.card
        splits = card["splits"]
        classes = [
            sum(s[c] for s in splits.values()) if all(c in s for s in splits.values()) else None
            for c in ("negative", "positive")
        ]
        state = "unchanged" if cohort.unchanged else "prepared"
        rows.append([
            cohort.name, card["dataset"], card["rows"]["kept"], card["groups"], *classes,
            *(splits[s]["samples"] for s in ("client", "valid", "public", "test")),
            *[splits.get(EXTERNAL, {}).get("samples", 0)] * aside, card["rows"]["dropped"],
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
) -> list[PreparedCohort]:  # fmt: skip
    """Prepare every known task of a dataset under a picture of how far it is; returns the cohorts."""
    from fedmeki_bench.cli.view import PrepareView
    from fedmeki_bench.workflow.data import prepare

    with PrepareView(dataset, plain=plain) as view:
        return prepare(dataset, raw, out, options=options, workers=workers, progress=view)
