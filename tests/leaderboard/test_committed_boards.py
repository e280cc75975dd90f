"""What the committed boards must show of injection: a working one told from broken ones, and where routing decides."""

from __future__ import annotations

import statistics

import pytest
from committed_boards import main_values, means

from fedmeki_bench.boards.loading import find_board

STRONG, NONE = ["atelectasis", "ectopic_beats"], ["enlarged_cardiomediastinum"]
WORKING = ["fedavg_m_fm", "fedavg_m_kim"]


class Board:
    """The AUROCs of a committed board, by algorithm, task and seed."""

    def __init__(self, name: str) -> None:
        self.board = find_board(name)
        self.values = main_values(name, "auroc")

    def seeds(self, algorithm: str, tasks: list[str]) -> list[float]:
        """Per seed the mean over tasks."""
        return [
            statistics.fmean(self.values[algorithm, task, seed] for task in tasks) for seed in self.board.seeds
        ]  # fmt: skip

    def mean(self, algorithm: str, tasks: list[str]) -> float:
        return statistics.fmean(self.seeds(algorithm, tasks))


@pytest.fixture(scope="module")
def transfer() -> Board:
    return Board("transfer")


@pytest.mark.parametrize("algorithm", WORKING)
def test_a_working_injection_transfers_by_meaning_and_to_nothing_else(transfer, algorithm):
    assert transfer.mean(algorithm, STRONG) >= 0.85
    assert 0.45 <= transfer.mean(algorithm, NONE) <= 0.55


def test_shuffled_answers_are_a_coin_toss_in_the_mean_over_zero_shot_tasks(transfer):
    assert 0.45 <= transfer.mean("fm_shuffled", transfer.board.groups["Zero-shot"]) <= 0.55


@pytest.mark.parametrize("broken", ["fm_shuffled", "fm_untrained", "fm_unrelated"])
def test_every_broken_injection_stays_far_behind_on_what_is_strongly_related(transfer, broken):
    assert all(transfer.mean(algorithm, STRONG) - transfer.mean(broken, STRONG) >= 0.2 for algorithm in WORKING)


@pytest.fixture(scope="module")
def conflict() -> Board:
    return Board("conflict")


def test_a_conflicting_pair_is_a_coin_toss_without_routing(conflict):
    """On the same pictures exactly: same score, opposite label."""
    pairs = [("ward_tumor", "surgery_tumor"), ("ward_collapse", "surgery_collapse")]
    for algorithm in ("fedavg_m_fm", "lora32"):
        for seed in conflict.board.seeds:
            for pair in pairs:
                assert sum(conflict.values[algorithm, task, seed] for task in pair) == pytest.approx(1, abs=1e-9)
    routed = [
        conflict.values["fedavg_m_kim_routed", t, s] for pair in pairs for t in pair for s in conflict.board.seeds
    ]
    assert statistics.fmean(routed) > 0.55  # the control: with routing they do not


def test_routing_decides_in_every_seed(conflict):
    groups = conflict.board.groups
    conflicting = conflict.seeds("fedavg_m_kim_routed", groups["Conflict"])
    assert min(conflicting) >= 0.65
    assert max(conflict.seeds("lora32", groups["Conflict"])) <= 0.55
    routed, lora = (conflict.seeds(name, groups["All eight"]) for name in ("fedavg_m_kim_routed", "lora32"))
    ahead = [a - b for a, b in zip(routed, lora, strict=True)]
    assert statistics.fmean(ahead) >= 0.1
    assert sorted(ahead)[1] >= 0.08  # in every seed but one, which falls short by 0.01
    assert min(ahead) >= 0.05


def test_what_clients_know_counts_where_public_pictures_are_few():
    small = Board("conflict_small")
    groups = small.board.groups
    whole, public = (small.seeds(name, groups["All eight"]) for name in ("kim_oracle", "kim_oracle_public"))
    ahead = [a - b for a, b in zip(whole, public, strict=True)]
    assert statistics.fmean(ahead) > 0.1
    assert sum(gain > 0 for gain in ahead) >= 4  # in one of the five seeds the two are level


ATTACKS = ["signs flipped", "model replaced", "noise"]


@pytest.mark.parametrize("algorithm", ["median_m", "trimmedmean_m", "krum_m", "multikrum_m", "rfa_m"])
def test_robust_rules_lose_little_to_two_adversaries_of_ten(algorithm):
    found = means("adversaries", "auroc")
    for attack in ATTACKS:
        assert found[algorithm, attack] >= found[algorithm, "all honest"] - 0.03


def test_the_plain_mean_falls_under_the_same_adversaries_and_clipping_is_not_enough():
    found = means("adversaries", "auroc")
    assert all(found["fedavg_m", attack] < found["fedavg_m", "all honest"] - 0.1 for attack in ATTACKS)
    assert any(found["normclip_m", attack] < found["normclip_m", "all honest"] - 0.03 for attack in ATTACKS)


@pytest.mark.parametrize("width", [16, 32, 64])
def test_more_labels_bring_more_than_pre_training_does(width):
    """All labels beat 3 % of them at every width; the best start from pre-training does not make up for that."""
    found = means("scaling", "auroc")

    def at(*moved: str) -> float:
        own = [f"encoders.image.width {width}"] * (width != 16) + list(moved)
        return statistics.fmean(
            found["fedavg_s", ", ".join([*seed, *own]) or "base"] for seed in ([], ["seed 1"])
        )  # fmt: skip

    started = "pretrain simclr, pretrain.batch_size 32"
    assert at() - at("labelled 0.03") > 0.1
    assert at() > at("labelled 0.1", started)
