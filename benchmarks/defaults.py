"""Defaults of rules, chosen on `valid`: each value of a small grid, on stand-ins of four datasets.

    fedmeki-bench synth rsna --out raw/rsna --size 600          # ptbxl 600, covqu 400, mimic3 500 likewise
    fedmeki-bench prepare rsna --raw raw/rsna --out data -o image_size=64     # covqu likewise; the others as they are
    python benchmarks/defaults.py --data data --out defaults.csv

Every value gets the same budget (profile `demo`), two partitions, and seeds that no board reports. What is compared is
the mean AUROC on `valid` after the last round; no test split is opened.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.evaluation.scoring import Validation
from fedmeki_bench.evaluation.view import view
from fedmeki_bench.runs.assemble import assemble, assignment
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify

TASKS = ["covid19", "ecg_abnormal", "lung_opacity", "mortality"]
PARTITIONS = {"iid": {}, "dirichlet": {"partition.alpha": 0.3}}
GRID = [
    ("fedavg", "", (0.0,)),
    ("feddyn", "rule.alpha", (0.1, 0.3, 1.0, 3.0, 10.0)),
    ("fedprox", "rule.mu", (0.01, 0.1, 1.0)),
]
COLUMNS = ("rule", "option", "value", "partition", "seed", *TASKS)


def wanted(seeds: list[int], partitions: list[str]) -> Iterator[tuple[str, str, float, str, int]]:
    for seed in seeds:
        for partition in partitions:
            for rule, option, values in GRID:
                for value in values:
                    yield rule, option, value, partition, seed


def on_valid(rule: str, option: str, value: float, partition: str, seed: int, data: Path) -> dict[str, float]:
    """Task -> main metric on `valid` after the last round."""
    options = PARTITIONS[partition] | ({option: value} if option else {})
    (spec,) = specify(resolve(f"{rule}_m"), TASKS, seed=seed, partition=partition, options=options)
    plugins, cohorts = resolve_plugins(spec), open_cohorts(spec, data)
    federation = assemble(spec, plugins, cohorts, assignment(spec, plugins, cohorts))
    for _ in federation.run():
        pass
    return Validation(cohorts, plugins.tasks, plugins.metrics, {"aggregated": view("aggregated")})(federation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="CSV; rows that are there are not run again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--partitions", nargs="+", choices=[*PARTITIONS], default=[*PARTITIONS])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out
    if not out.exists():
        out.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with out.open(newline="", encoding="utf-8") as file:
        done = {tuple(row[c] for c in COLUMNS[:5]) for row in csv.DictReader(file)}
    for place in wanted(arguments.seeds, arguments.partitions):
        if tuple(map(str, place)) in done:
            continue
        found = on_valid(*place, arguments.data)
        with out.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow([*place, *(f"{found[t]:.6f}" for t in TASKS)])
    report(out)


def report(out: Path) -> None:
    """Mean over tasks, seeds and partitions, and per partition, with the SD over seeds of the mean over tasks."""
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for rule, option, values in GRID:
        for value in values:
            own = [r for r in rows if (r["rule"], r["value"]) == (rule, str(value))]
            said = []
            for partition in PARTITIONS:
                means = [math.fsum(float(r[t]) for t in TASKS) / len(TASKS) for r in own if r["partition"] == partition]
                if means:
                    spread = f" ± {statistics.stdev(means):.3f}" if len(means) > 2 else ""
                    said.append(f"{partition} {statistics.mean(means):.3f}{spread} (n = {len(means)})")
            named = f"{option.removeprefix('rule.')} {value:g}" if option else ""
            print(f"{rule} {named}: {', '.join(said)}")


if __name__ == "__main__":
    main()
