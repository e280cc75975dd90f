"""The numbers of the committed boards, from the CSV files that are committed with them."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

GENERATED = Path(__file__).parents[1] / "leaderboards" / "generated"


def means(name: str, metric: str) -> dict[tuple[str, str], float]:
    """``(algorithm, label of the federation)`` -> mean of a metric over the seeds and tasks of a committed board."""
    found: dict[tuple[str, str], list[float]] = {}
    with (GENERATED / name / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] == metric and row["value"]:
                found.setdefault((row["algorithm"], row["partition"]), []).append(float(row["value"]))
    return {key: statistics.fmean(values) for key, values in found.items()}


def main_values(name: str, metric: str) -> dict[tuple[str, str, int], float]:
    """``(algorithm, task, seed)`` -> value of a metric on a committed board."""
    with (GENERATED / name / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        return {
            (row["algorithm"], row["task"], int(row["seed"])): float(row["value"])
            for row in csv.DictReader(file)
            if row["metric"] == metric and row["value"]
        }
