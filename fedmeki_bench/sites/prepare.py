"""Deal a prepared data folder: one folder for the server, without a sample of any client, and one per site."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.card import CARD, SAMPLES
from fedmeki_bench.data.clients.holding import Holding
from fedmeki_bench.data.holdings import columns_of, spread
from fedmeki_bench.data.pseudonyms import KEY
from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import InputError
from fedmeki_bench.files import write_atomically
from fedmeki_bench.runs.deal import SERVER, SITE, Deal, Group, identity_of, together

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.clients.assignment import Assignment
    from fedmeki_bench.data.cohort import Cohort
    from fedmeki_bench.runs.spec import RunSpec


def deal_out(
    spec: RunSpec, cohorts: Mapping[str, Cohort], assigned: Mapping[tuple[str, ...], Assignment], sites: int, out: Path,
    *, beside: Mapping[str, Cohort],
) -> list[Path]:  # fmt: skip
    """Write ``out/server`` and ``out/site-0`` to ``out/site-<n-1>``; client k goes to site k modulo their number.

    Every site gets the public, valid and test samples, which are common in a benchmark: rules that learn from public
    samples need them, and clients' own models are scored where they are.

    Args:
        spec: names clients, seed, partition and availability.
        cohorts: task -> what is dealt.
        assigned: tasks that are trained together -> who has which samples.
        sites: how many.
        beside: cohorts of zero-shot tasks, which the server asks about.
        out: a folder that holds none of these yet.

    Returns:
        The folders, the server's first.

    Raises:
        InputError: one exists already, or there are more sites than clients.
    """
    if not 1 <= sites <= spec.clients:
        raise InputError(f"{spec.clients} clients can't be dealt over {sites} sites: at least one client for each")
    folders = [out / "server", *(out / f"site-{number}" for number in range(sites))]
    if there := next((folder for folder in folders if folder.exists()), None):
        raise InputError(f"{there} exists already: choose another --out, or remove it")
    everything = tuple(sorted(cohorts))
    cards = {task: cohort.card_hash for task, cohort in cohorts.items()}
    groups = {names: assigned[tuple(names)] for names in map(tuple, together(everything))}
    whole = [
        task for task in everything
        if len(_private(task, groups, range(spec.clients))) == len(cohorts[task].part("client"))
    ]  # fmt: skip
    common = {"identity": identity_of(spec), "sites": sites, "cards": cards, "whole": whole}
    for task, cohort in {**cohorts, **beside}.items():
        _write(cohort, _rows(cohort), folders[0] / task, keyed=True)
    told = [
        Group(
            tasks=list(names), digest=private.digest,
            holdings=[{task: Holding.of(part).to_json() for task, part in held.items()} for held in private.parts],
        )
        for names, private in groups.items()
    ]  # fmt: skip
    _say(folders[0] / SERVER, Deal(**common, groups=told))
    for number, folder in enumerate(folders[1:]):
        own = [client for client in range(spec.clients) if client % sites == number]
        kept = {task: _private(task, groups, own) for task in everything}
        for task, cohort in cohorts.items():
            _write(cohort, _rows(cohort, list(kept[task])), folder / task, keyed=False)
        _say(folder / SITE, Deal(**common, site=number, groups=[_at_site(n, g, own, kept) for n, g in groups.items()]))
    return folders


def _private(task: str, groups: Mapping[tuple[str, ...], Assignment], own: Sequence[int]) -> dict[int, int]:
    """Row of the cohort -> its position among the private rows of these clients, in the order of the cohort."""
    rows = {
        int(row)
        for private in groups.values()
        for client in own
        if task in private.parts[client]
        for row in private.parts[client][task].rows
    }
    return {row: position for position, row in enumerate(sorted(rows))}


def _at_site(
    names: tuple[str, ...], private: Assignment, own: Sequence[int], kept: Mapping[str, Mapping[int, int]]
) -> Group:
    held = {client: private.parts[client] for client in own}
    rows = {
        str(c): {t: [kept[t][int(row)] for row in part.rows] for t, part in parts.items()} for c, parts in held.items()
    }
    lacking = {str(c): {t: sorted(part.hidden) for t, part in parts.items()} for c, parts in held.items()}
    return Group(tasks=list(names), digest=private.digest, rows=rows, lacking=lacking)


def _rows(cohort: Cohort, private: Sequence[int] = ()) -> np.ndarray:
    """The rows of the sample table that a folder gets, in order: all but clients' ones, and these of them."""
    import numpy as np

    split = np.asarray(cohort.samples()["split"].tolist())
    mine = np.zeros(len(split), dtype=bool)
    mine[np.asarray(private, dtype=np.intp)] = True
    return np.flatnonzero((split != "client") | mine)


def _write(cohort: Cohort, rows: np.ndarray, folder: Path, *, keyed: bool) -> None:
    """A cohort of these rows alone, under the same card: it is the same data, of which not all lies here."""
    import numpy as np
    import pyarrow as pa
    from pyarrow.parquet import read_table, write_table

    folder.mkdir(parents=True)
    table = read_table(cohort.path / SAMPLES)
    where = {modality: cohort.rows(modality) for modality in cohort.arrays}
    table = table.take(pa.array(rows))
    for modality, (first, count) in where.items():
        first, count = first[rows], count[rows]
        np.save(folder / f"{modality}.npy", np.asarray(cohort.array(modality)[spread(first, count)]))
        name = columns_of(modality)[0] if modality in cohort.counted else "array_row"
        at = table.schema.get_field_index(name)
        begins = pa.array(np.cumsum(count) - count, table.schema.field(at).type)
        table = table.set_column(at, table.schema.field(at), begins)
    write_table(table, folder / SAMPLES)
    if keyed and (cohort.path / KEY).is_file():  # pseudonyms are the evaluation's, which is the server's
        (folder / KEY).write_bytes((cohort.path / KEY).read_bytes())
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for path in sorted(folder.iterdir())
    }
    card: dict[str, Any] = {**cohort.card, "files": files}
    write_atomically(folder / CARD, json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False).encode())


def _say(path: Path, deal: Deal) -> None:
    write_atomically(path, (deal.model_dump_json(indent=1) + "\n").encode())
