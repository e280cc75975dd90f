"""Two algorithms on the same patients with the same seeds: the scores behind a paired difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.estimates import columns, gold_of
from fedmeki_bench.evaluation.predictions import (
    Predictions,
    TextPredictions,
)
from fedmeki_bench.evaluation.rescoring import predictions_file, stored
from fedmeki_bench.leaderboard.collect import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.results.record import Evaluation, Record
    from fedmeki_bench.statistics import Paired

Reader = Callable[["Record", "Evaluation"], "Predictions | TextPredictions | None"]


def reader(folder: Callable[[str], Path]) -> Reader:
    """Reads predictions below ``folder(record.key)``; None where the record names no file.

    A file is read once; it raises InputError if it is gone, damaged or was changed, and names it as it lies below the
    results.
    """
    known: dict[Path, Predictions | TextPredictions] = {}

    def read(record: Record, evaluation: Evaluation) -> Predictions | TextPredictions | None:
        if evaluation.predictions is None:
            return None
        path, name = predictions_file(evaluation, folder(record.key)), f"{record.key}/{evaluation.predictions}"
        if path not in known:
            if not path.is_file():
                raise InputError(f"the predictions {name} are needed, and the file is gone")
            try:
                known[path] = stored(evaluation, folder(record.key))
            except InputError as error:
                raise type(error)(str(error).replace(str(path), name)) from error
        return known[path]

    return read


def paired(
    a: Sequence[Outcome], b: Sequence[Outcome], metric: MetricSpec, read: Reader, read_b: Reader
) -> list[Paired]:
    """The seeds that both sides finished, aligned by sample; each side is read by its own reader.

    Raises:
        InputError: predictions are missing, or the two sides were not scored on the same samples.
    """
    from fedmeki_bench.statistics import Paired

    by_seed = {o.cell.seed: o for o in b if o.status == "ok"}
    found = []
    for left in a:
        right = by_seed.get(left.cell.seed)
        if left.status != "ok" or right is None:
            continue
        labels, groups, ours, ids, gold = _values(left, metric, read)
        _, _, theirs, ids_b, gold_b = _values(right, metric, read_b)
        order = _aligned(ids, ids_b)
        if not (gold == gold_b[order]).all():
            raise InputError(f"labels differ between the runs {_key(left)} and {_key(right)}: they rest on other data")
        if ours.ndim == theirs.ndim == 2 and len(ours) != len(theirs):
            raise InputError(
                f"{len(ours)} and {len(theirs)} clients have models of their own: run both with as many clients"
            )
        found.append(Paired(labels, groups, ours, theirs[..., order]))
    return found


def _key(outcome: Outcome) -> str:
    return outcome.record.key if outcome.record else "?"


def _aligned(ids: NDArray[np.str_], others: NDArray[np.str_]) -> NDArray[np.intp]:
    """Where each of ``ids`` stands among ``others``."""
    import numpy as np

    place = {name: i for i, name in enumerate(others)}
    if set(place) != set(ids) or len(place) != len(others) or len(ids) != len(others):
        raise InputError("the two runs were not scored on the same samples; compare runs on the same cohorts")
    return np.array([place[name] for name in ids], dtype=np.intp)


def _values(
    outcome: Outcome, metric: MetricSpec, read: Reader
) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.float64], NDArray[np.str_], NDArray[np.str_]]:
    """Labels, groups, scores, sample ids and gold answers of one outcome: the columns behind its cell."""
    import numpy as np

    assert outcome.record is not None
    assert outcome.evaluation is not None
    found = read(outcome.record, outcome.evaluation)
    if found is None:
        raise InputError(f"record {outcome.record.key} names no predictions")
    try:
        taken = columns(found, metric)
    except InputError as error:
        raise InputError(f"record {outcome.record.key}: {error}") from error
    ids = np.asarray([str(s) for s in found.sample_id])
    groups = np.asarray([str(g) for g in found.group_id])
    return taken.labels, groups, taken.scores, ids, gold_of(found)
