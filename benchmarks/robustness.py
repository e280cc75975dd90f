"""Rules under faults: the main metric on `test` of every rule with every fault, as a Markdown table.

    fedmeki-bench synth ptbxl --out raw/ptbxl --size 700
    fedmeki-bench prepare ptbxl --raw raw/ptbxl --out data
    python benchmarks/robustness.py --data data --results robustness

Ten clients share the training records of one task; two of them have the fault, or each client has it with some chance
in each round. Runs are kept as records: what is there is not run again. A run that ends in a failure is told as one.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import fedmeki_bench as fb
from fedmeki_bench.runs.execute import main_scores

RULES = ("fedavg", "fedadam", "scaffold", "normclip", "median", "trimmedmean", "krum", "multikrum", "rfa")
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "dropout 0.3": {"faults.dropout": 0.3},
    "straggle 0.5": {"faults.straggle": 0.5, "faults.straggle_work": 0.25},
    "flip_labels 0.2": {"faults.flip_labels": 0.2},
    "flip_signs 0.2": {"faults.flip_signs": 0.2},
    "noise 0.2": {"faults.noise": 0.2},
    "replace 0.2": {"faults.flip_labels": 0.2, "faults.replace": 0.2},  # the model that turned labels teach, boosted
    "nan 0.2": {"faults.nan": 0.2},
}


def score(rule: str, fault: str, seed: int, chosen: argparse.Namespace) -> float | None:
    """The main metric of one run; None if it failed."""
    (record,) = fb.run(
        f"{rule}_s", chosen.data, tasks=[chosen.task], seed=seed, clients=chosen.clients, options=FAULTS[fault],
        results=chosen.results, check=False,
    )  # fmt: skip
    return main_scores(record)["aggregated", chosen.task] if record.status == "ok" else None


def cell(found: Sequence[float | None]) -> str:
    """Mean over seeds and their range; failures are counted, not left out."""
    values = [value for value in found if value is not None]
    failed = f"{len(found) - len(values)} of {len(found)} failed" if len(values) < len(found) else ""
    if not values:
        return failed
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}" + (f", {failed}" if failed else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--task", default="ecg_abnormal")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rules", nargs="+", default=[*RULES])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| rule | " + " | ".join(FAULTS) + " |")
    print("|---|" + "---|" * len(FAULTS))
    for rule in chosen.rules:
        cells = [cell([score(rule, fault, seed, chosen) for seed in chosen.seeds]) for fault in FAULTS]
        print(f"| `{rule}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
