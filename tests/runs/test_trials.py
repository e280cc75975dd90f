"""Which trial is chosen: by `valid` alone, in the metric's direction, never one that diverged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.evaluation.metrics import BUILT_IN
from fedmeki_bench.evaluation.number_metrics import MAE
from fedmeki_bench.records.record import Record
from fedmeki_bench.runs.execute import UNSCORED
from fedmeki_bench.runs.trials import Trial, best_of, check_numbers, combinations, edges, scored, trial_of

AUROC = BUILT_IN["auroc"]
LR = {"lr": [0.001, 0.01, 0.1]}


def record(valid: dict[str, Any], *, loss: float | None = 0.5, status: str = "ok", test: float = 0.0) -> Record:
    error = None if status == "ok" else {"type": UNSCORED if status == "interrupted" else "E", "message": "why"}
    return Record.model_validate({
        "key": "k", "setting": "s", "status": status, "algorithm": "fedavg_m", "rule": "fedavg", "scope": "m",
        "stage": "none", "profile": "demo", "seed": 0, "clients": 2, "partition": "iid", "tasks": list(valid),
        "history": [{"round": 0, "loss": 0.9, "valid": dict.fromkeys(valid, 0.99)},
                    {"round": 1, "loss": loss, "valid": valid}],
        "error": error, "views": ["aggregated"],
        "evaluations": [{"view": "aggregated", "task": task, "n": 9, "metrics": {"auroc": {"value": test}}}
                        for task in valid],
    })  # fmt: skip


def trials(*valid: dict[str, Any], **changes: Any) -> list[Trial]:
    """Trials of lr on these final values."""
    values = [{"lr": lr} for lr in LR["lr"]]
    return [trial_of(v, {str(i): ("", record(found, **changes), "")})
            for i, (v, found) in enumerate(zip(values, valid, strict=True))]  # fmt: skip


def right_one(select: Callable[[Sequence[Trial]], Trial | None]) -> None:
    """What a selector must do: the second is best by its last round on `valid`, and worst on test."""
    made = [
        trial_of({"lr": lr}, {str(i): ("", record({"a": valid}, test=test, status=status), "")})
        for i, (lr, valid, test, status) in enumerate(
            [(0.001, 0.7, 0.9, "ok"), (0.01, 0.8, 0.1, "interrupted"), (0.1, 0.6, 0.8, "ok")]
        )
    ]  # fmt: skip
    found, _ = scored(made, {"a": AUROC})
    best = select(found)
    assert best is not None
    assert best.values == {"lr": 0.01}


def test_the_best_on_valid_is_chosen():
    right_one(best_of)


@pytest.mark.parametrize("wrong", [lambda found: found[0], lambda found: found[-1], lambda found: min(
    found, key=lambda t: t.score)], ids=["first", "last", "worst"])  # fmt: skip
def test_a_wrong_selector_fails_the_test_above(wrong):
    with pytest.raises(AssertionError):
        right_one(wrong)


def test_evaluations_are_never_looked_at():
    class Sealed(Record):
        def __getattribute__(self, name: str) -> Any:
            assert name != "evaluations", "the test split was read"
            return super().__getattribute__(name)

    sealed = Sealed.model_validate(record({"a": 0.7}).model_dump(by_alias=True))
    assert trial_of({"lr": 0.1}, {"k": ("", sealed, "")}).valid == {("", "a"): 0.7}


def test_the_mean_is_over_tasks_and_partitions():
    one = trial_of({"lr": 1}, {"k": ("iid", record({"a": 0.7, "b": 0.9}), ""), "l": ("skewed", record({"a": 0.5}), "")})
    (found,), said = scored([one], {"a": AUROC, "b": AUROC})
    assert found.score == pytest.approx(0.7)
    assert said == "mean over tasks on valid"


def test_lower_is_better_where_the_metric_says_so():
    found, said = scored(trials({"a": 3.0}, {"a": 2.0}, {"a": 4.0}), {"a": MAE})
    best = best_of(found)
    assert best is not None
    assert best.values == {"lr": 0.01}
    assert "sign turned" in said


def test_metrics_that_differ_are_averaged_by_rank():
    made = trials({"a": 0.9, "b": 30.0}, {"a": 0.8, "b": 1.0}, {"a": 0.7, "b": 2.0})
    found, said = scored(made, {"a": AUROC, "b": MAE})
    assert [t.score for t in found] == [2.0, 2.5, 1.5]
    assert "rank" in said
    best = best_of(found)
    assert best is not None
    assert best.values == {"lr": 0.01}


@pytest.mark.parametrize(
    ("lost", "changes", "status"),
    [
        ({"a": math.nan}, {}, "diverged"), ({}, {}, "diverged"), ({"a": 0.95}, {"loss": None}, "diverged"),
        ({"a": 0.95}, {"status": "failed"}, "failed"),
    ],
)  # fmt: skip
def test_what_diverged_is_never_chosen(lost, changes, status):
    made = trials({"a": 0.6}, {"a": 0.7}, {"a": 0.5})
    made[0] = trial_of({"lr": 0.001}, {"k": ("", record(lost, **changes), "")})
    found, _ = scored(made, {"a": AUROC})
    assert (found[0].status, found[0].score) == (status, None)
    assert found[0].reason
    best = best_of(found)
    assert best is not None
    assert best.values == {"lr": 0.01}
    assert best_of(found[:1]) is None


def test_of_equal_ones_the_first():
    found, _ = scored(trials({"a": 0.6}, {"a": 0.7}, {"a": 0.7 + 1e-15}), {"a": AUROC})
    best = best_of(found)
    assert best is not None
    assert best.values == {"lr": 0.01}


def test_the_edge_of_the_grid_is_said():
    found, _ = scored(trials({"a": 0.6}, {"a": 0.7}, {"a": 0.8}), {"a": AUROC})
    assert edges(found[2], found) == ["lr 0.1 is the largest that was tried: a better one may lie beyond"]
    assert edges(found[1], found) == []
    words = [Trial({"optimizer": o}, {}) for o in ("adam", "sgd")]
    assert edges(words[0], words) == []


def test_valid_splits_that_say_nothing_are_an_error():
    found, _ = scored(trials({}, {}, {}), {})
    with pytest.raises(InputError, match="no task has a number on valid"):
        check_numbers(found, "fedavg_m")


def test_combinations_are_in_order_and_drawn_alike():
    over = {"lr": [1, 2, 3], "mu": [0.1, 0.2]}
    whole = combinations(over, None, 0)
    assert whole[:3] == [{"lr": 1, "mu": 0.1}, {"lr": 1, "mu": 0.2}, {"lr": 2, "mu": 0.1}]
    assert len(whole) == 6
    assert combinations(over, 6, 0) == combinations(over, 9, 1) == whole
    drawn = combinations(over, 3, 0)
    assert drawn == combinations(over, 3, 0)
    assert len(drawn) == 3
    assert [one for one in whole if one in drawn] == drawn
    assert len({str(combinations(over, 3, seed)) for seed in range(9)}) > 1


@pytest.mark.parametrize(
    ("over", "trials", "says"),
    [
        ({}, None, "no option"), ({"lr": []}, None, "no value"), ({"lr": [1, 1.0]}, None, "given twice"),
        ({"lr": [1]}, 0, "at least 1"), ({str(i): list(range(10)) for i in range(7)}, 3, "10000000 combinations"),
    ],
)  # fmt: skip
def test_grids_that_are_none(over, trials, says):
    with pytest.raises(UsageError, match=says):
        combinations(over, trials, 0)
