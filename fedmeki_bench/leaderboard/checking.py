"""Every number on a page is compared with the predictions behind it before it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fedmeki_bench.errors import FedmekiError, InputError
from fedmeki_bench.evaluation.estimates import SCORING_VERSION, value_of
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.evaluation.predictions import PredictionsChanged
from fedmeki_bench.leaderboard.collect import Check, Status
from fedmeki_bench.leaderboard.reading import Reader
from fedmeki_bench.records.record import Evaluation, Record

_ROUNDING = 1e-9


def checking(read: Reader, metrics: Mapping[str, MetricSpec]) -> Check:
    """A check of an evaluation's main metric against its predictions.

    A number that differs, or whose predictions were changed, is bad; one whose predictions are gone or can't be read
    stands, with a remark; one of another version of its metric is left to ``rescore``.
    """

    def check(record: Record, evaluation: Evaluation) -> tuple[Status, str]:
        name, recorded = next(iter(evaluation.metrics.items()))
        where = f"{record.key}, {evaluation.view} of {evaluation.task}"
        versions = record.versions
        if evaluation.predictions is None:
            return "ok", f"{where}: names no predictions, so its numbers can't be checked"
        try:
            said = read(record, evaluation)
        except PredictionsChanged as error:
            return "bad", str(error)
        except InputError as error:
            return "ok", f"{where}: its numbers can't be checked: {error}"
        if said is None or name not in metrics:
            return "ok", ""
        if (versions.scoring, versions.metrics.get(name)) != (SCORING_VERSION, metrics[name].version):
            return "ok", ""
        try:
            found = value_of(said, metrics[name])
        except FedmekiError as error:
            return "bad", str(error)
        if recorded.value is None:
            return (
                ("ok", "")
                if math.isnan(found)
                else ("bad", f"{name} is undefined in the record, {found:.6g} by its predictions")
            )
        if not abs(found - recorded.value) <= _ROUNDING:
            return "bad", f"{name} is {recorded.value:.6g} in the record, {found:.6g} by its predictions"
        return "ok", ""

    return check
