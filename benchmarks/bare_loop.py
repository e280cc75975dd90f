"""What a round costs beside a bare PyTorch loop over the same samples, as ratios in one run, and peak memory.

    OMP_NUM_THREADS=1 python benchmarks/bare_loop.py [--encoders clinical signal image] [--profiles demo paper]
                                                     [--clients 5 100] [--rounds 5] [--records 600] [--json FILE]

The bare loop does what FedAvg must: for each client load the global weights, make an Adam, take the steps (the same
loss, the same clipping, batches of the same sizes, all tensors in memory beforehand), add the weights up. The harness
does the same through `Federation`, reading its samples from the prepared cohort. Both take turns, round by round, in
one process and on one thread; a ratio is the median over rounds, of time on the processor, which other work on the
machine disturbs least. Validation and checkpoints are left out.

`--clients 100` shares as many samples out that each client has about four, so one step: then what is paid per client
shows. Peak memory is measured in processes of their own; the last column is its ratio to that of the fewest clients.
Goals: 1.05 at 5 clients, 1.15 at 100, and 1.1 x the memory.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.processes import keep_pages
from fedmeki_bench.runs.assemble import assemble, assignment
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify

TASKS = {"clinical": ("mimic3", "mortality"), "signal": ("ptbxl", "ecg_abnormal"), "image": ("rsna", "lung_opacity")}
RECORDS = 600  # of which about 420 train


def prepared(encoder: str, folder: Path, records: int = RECORDS) -> Path:
    """A stand-in of the encoder's dataset as a cohort; pictures at the size of the release, 224."""
    release, task = TASKS[encoder]
    raw, out = folder / f"raw-{release}-{records}", folder / f"data-{records}"
    if not raw.is_dir():
        preparer = registry.load("datasets", release)()
        raw.mkdir(parents=True)
        preparer.synthesize(raw, size=records, seed=0)
        prepare(preparer, raw, out, [registry.load("tasks", task)()], preparer.Options(), workers=1)
    return out


def federation(encoder: str, profile: str, clients: int, data: Path) -> Any:
    """FedAvg of one task, not run yet."""
    task = TASKS[encoder][1]
    (spec,) = specify(
        resolve("fedavg_s"), [task], profile_name=profile, clients=clients,
        options={"rounds": 1000, "local_epochs": 1},
    )  # fmt: skip
    plugins, cohorts = resolve_plugins(spec), open_cohorts(spec, data)
    return assemble(spec, plugins, cohorts, assignment(spec, plugins, cohorts))


class Bare(nn.Module):
    """Encoder and decoder of a client model as an ordinary module with tensors of its own."""

    def __init__(self, model: Any, task: str) -> None:
        super().__init__()
        (modality,) = model.tasks[task]
        self.encoder, self.decoder = copy.deepcopy(model.encoders[modality]), copy.deepcopy(model.decoders[task])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch,)."""
        return self.decoder(self.encoder.pooled(x)).squeeze(-1)


class BareLoop:
    """Rounds of FedAvg in plain PyTorch."""

    def __init__(self, made: Any, task: str) -> None:
        self.settings = made.settings
        self.model = Bare(made.model, task).train()
        (modality,) = made.model.tasks[task]
        self.clients = []
        for client in made.clients:
            if task not in client.data or not len(part := client.data[task]):
                continue
            batch = made.model.batch(task, part, torch.arange(len(part)).numpy(), torch.from_numpy(part.targets))
            self.clients.append((batch.inputs[modality], batch.labels.float()))
        self.samples = sum(len(labels) for _, labels in self.clients)
        self.state = {name: value.clone() for name, value in self.model.state_dict().items()}

    def round(self) -> None:
        """One communication round."""
        size, total = self.settings.batch_size, None
        for inputs, labels in self.clients:
            self.model.load_state_dict(self.state)
            optimiser = torch.optim.Adam(
                self.model.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay
            )
            for index in torch.randperm(len(labels)).split(size):
                optimiser.zero_grad()
                logits = self.model(inputs[index])
                nn.functional.binary_cross_entropy_with_logits(logits, labels[index]).backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
                optimiser.step()
            share, sent = len(labels) / self.samples, self.model.state_dict()
            if total is None:
                total = {name: value * share for name, value in sent.items()}
            else:
                for name, value in sent.items():
                    total[name] += (value * share).to(total[name].dtype)
        self.state = {name: value.to(self.state[name].dtype) for name, value in (total or {}).items()}


def compared(encoder: str, profile: str, clients: int, rounds: int, data: Path) -> dict[str, Any]:
    """Seconds of a round on the processor, ours and bare, taking turns."""
    made = federation(encoder, profile, clients, data)
    bare, ours = BareLoop(made, TASKS[encoder][1]), made.run()
    next(ours), bare.round()  # both have touched their memory
    pairs = []
    for number in range(rounds):
        seconds = {}
        for who in ("ours", "bare") if number % 2 else ("bare", "ours"):
            started = time.process_time()
            next(ours) if who == "ours" else bare.round()
            seconds[who] = time.process_time() - started
        pairs.append((seconds["ours"], seconds["bare"]))
    return {
        "encoder": encoder, "profile": profile, "clients": len(bare.clients), "samples": bare.samples,
        "ratio": statistics.median(ours / bare for ours, bare in pairs),
        "ours_ms": 1000 * min(ours for ours, _ in pairs), "bare_ms": 1000 * min(bare for _, bare in pairs),
    }  # fmt: skip


def peak(encoder: str, profile: str, clients: int, data: Path) -> float:
    """MB of memory at the most, of a process that runs two rounds and nothing else."""
    command = [sys.executable, __file__, "--peak", encoder, profile, str(clients), str(data)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        encoder, profile, clients, data = sys.argv[2:]
        torch.set_num_threads(1)
        keep_pages()
        rounds = federation(encoder, profile, int(clients), Path(data)).run()
        next(rounds), next(rounds)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", choices=[*TASKS], default=[*TASKS])
    parser.add_argument("--profiles", nargs="+", choices=["demo", "paper"], default=["demo", "paper"])
    parser.add_argument("--clients", nargs="+", type=int, default=[5, 100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=RECORDS, help="of each stand-in; about 70%% train")
    parser.add_argument("--data", type=Path, help="where stand-ins are kept; by default they are made anew")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_pages()
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.data or Path(temporary)
        print("| encoder, profile | clients | samples | ours / bare | ms per client, ours and bare | peak MB | x |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for encoder in chosen.encoders:
            data = prepared(encoder, folder, chosen.records)
            for profile in chosen.profiles:
                least = 0.0
                for clients in sorted(chosen.clients):
                    row = compared(encoder, profile, clients, chosen.rounds, data)
                    row["peak_mb"] = peak(encoder, profile, clients, data)
                    least = least or row["peak_mb"]
                    row["peak_ratio"] = row["peak_mb"] / least
                    found.append(row)
                    n = row["clients"]
                    print(
                        f"| {encoder}, {profile} | {n} | {row['samples']} | {row['ratio']:.2f} | "
                        f"{row['ours_ms'] / n:.1f}, {row['bare_ms'] / n:.1f} | {row['peak_mb']:.0f} | "
                        f"{row['peak_ratio']:.2f} |",
                        flush=True,
                    )
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
