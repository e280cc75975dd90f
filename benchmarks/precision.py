"""Whether bfloat16 costs quality: FedAvg in both precisions on the same seeds, paired, and what it saves.

    OMP_NUM_THREADS=1 python benchmarks/precision.py [--tasks lung_opacity ecg_abnormal] [--seeds 5] [--records 600]
                                                     [--options rounds=12] [--json FILE]

Stand-ins of RSNA pneumonia pictures and PTB-XL, the demo profile, five clients. A seed names partition, weights and
batches, so a difference is within a seed; its interval is Student's, 95 %, over seeds. Time is that of all rounds on
the processor, one thread; the order of the two precisions changes from seed to seed. Bfloat16 is fast only where the
processor has instructions for it; elsewhere it is emulated.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from scipy import stats

import fedmeki_bench as fb
from fedmeki_bench import registry
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.events import Event, RoundEnded, RunStarted
from fedmeki_bench.processes import keep_pages

RELEASES = {"lung_opacity": ("rsna", {"image_size": 64}), "ecg_abnormal": ("ptbxl", {}), "mortality": ("mimic3", {})}
PRECISIONS = ("float32", "bf16")


def prepared(task: str, folder: Path, records: int) -> Path:
    """The task's cohort, of a stand-in of its dataset."""
    release, options = RELEASES[task]
    raw, out = folder / f"raw-{release}-{records}", folder / f"data-{records}"
    if not (out / task).is_dir():
        preparer = registry.load("datasets", release)()
        raw.mkdir(parents=True)
        preparer.synthesize(raw, size=records, seed=0)
        prepare(preparer, raw, out, [registry.load("tasks", task)()], preparer.Options(**options), workers=1)
    return out


def trained(task: str, precision: str, seed: int, data: Path, options: dict[str, Any]) -> tuple[float, float]:
    """The main metric on the test split, and seconds of all rounds on the processor."""
    begun = ended = 0.0

    def listen(event: Event) -> None:
        nonlocal begun, ended
        if isinstance(event, RunStarted):
            begun = time.process_time()
        if isinstance(event, RoundEnded):
            ended = time.process_time()

    main = registry.load("tasks", task)().meta.metrics[0]
    with tempfile.TemporaryDirectory() as results:
        (record,) = fb.run(
            "fedavg_s", data, tasks=[task], seed=seed, results=results, listener=listen,
            options={**options, "precision": precision},
        )  # fmt: skip
    return record.evaluations[0].metrics[main].value, ended - begun


def compared(task: str, seeds: int, data: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Metrics and times of both precisions, seed by seed."""
    for precision in PRECISIONS:
        trained(task, precision, seeds, data, {**options, "rounds": 1})  # memory and code have been touched
    pairs = []
    for seed in range(seeds):
        found = {p: trained(task, p, seed, data, options) for p in (PRECISIONS if seed % 2 else PRECISIONS[::-1])}
        pairs.append([found[p] for p in PRECISIONS])
    differences = [bf16[0] - single[0] for single, bf16 in pairs]
    half = stats.t.ppf(0.975, seeds - 1) * statistics.stdev(differences) / math.sqrt(seeds)
    mean = statistics.mean(differences)
    return {
        "task": task, "seeds": seeds,
        "float32": statistics.mean(single[0] for single, _ in pairs),
        "bf16": statistics.mean(bf16[0] for _, bf16 in pairs),
        "difference": mean, "low": mean - half, "high": mean + half,
        "time_ratio": statistics.median(bf16[1] / single[1] for single, bf16 in pairs),
        "pairs": [[single[0], bf16[0]] for single, bf16 in pairs],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=[*RELEASES], default=["lung_opacity", "ecg_abnormal"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--records", type=int, default=600, help="of each stand-in; about 70%% train")
    parser.add_argument("--options", nargs="*", default=[], help="settings of the profile, as key=value")
    parser.add_argument("--data", type=Path, help="where stand-ins are kept; by default they are made anew")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_pages()
    options = {key: json.loads(value) for key, _, value in (each.partition("=") for each in chosen.options)}
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        print("| task | seeds | float32 | bf16 | difference, 95 % | time, bf16 / float32 |")
        print("|---|---:|---:|---:|---|---:|")
        for task in chosen.tasks:
            data = prepared(task, chosen.data or Path(temporary), chosen.records)
            row = compared(task, chosen.seeds, data, options)
            found.append(row)
            print(
                f"| {task} | {row['seeds']} | {row['float32']:.3f} | {row['bf16']:.3f} | "
                f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}) | {row['time_ratio']:.2f} |",
                flush=True,
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
