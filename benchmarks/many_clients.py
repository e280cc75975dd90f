"""Memory and time of a round with 50 clients of 100, of 1,000 and of 10,000: neither should grow with those not drawn.

    OMP_NUM_THREADS=1 python benchmarks/many_clients.py [--clients 100 1000 10000] [--drawn 50] [--rounds 40]
                                                        [--rules fedavg scaffold] [--json FILE]

Each row is a process of its own: a federation over generated signals with the smallest net, four samples per client,
one step each. All clients read from one pool of samples, as they read from one mapped file of a cohort, so what grows
is what the harness holds of a client. Times are medians over rounds after the first, on the processor, which other
work on the machine disturbs least; a checkpoint is written after every round and timed apart. `counting` is what the
loop does for every client, drawn or not: who holds what. `holding` counts the clients that keep something between
rounds: with SCAFFOLD each one that ever took part keeps a control variate of the model's size, with FedAvg nobody does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmeki_bench import registry
from fedmeki_bench.federation import checkpoint
from fedmeki_bench.federation.client import Client
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Input
from fedmeki_bench.processes import keep_pages
from fedmeki_bench.profiles import EncoderChoice, Profile

TASK, SHAPE, POOL, EACH = "many", (2, 64), 1000, 4


class Pool:
    """Generated signals and labels, shared by all clients; no arrays that would have to be shrunk."""

    arrays: Mapping[str, Any] = {}

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.signals = generator.standard_normal((POOL, *SHAPE), dtype=np.float32)
        self.labels = (self.signals[:, 0].mean(axis=1) > 0).astype(np.float32)


class Share:
    """A client's samples, as training asks for them."""

    lacking: frozenset[str] = frozenset()

    def __init__(self, pool: Pool, rows: np.ndarray) -> None:
        self.cohort, self.rows = pool, rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> np.ndarray:
        """Labels (n,)."""
        return self.cohort.labels[self.rows]

    def holding(self, modality: str) -> int:
        """All samples have a signal."""
        return len(self.rows)

    def batch(self, index: np.ndarray, leaving: Any = ()) -> dict[str, np.ndarray]:
        """Signals of the samples at ``index``."""
        return {"signal": self.cohort.signals[self.rows[index]]}


def federation(rule: str, clients: int, drawn: int, folder: Path | None = None) -> Federation:
    """A federation of many clients that has not run yet."""
    choice = EncoderChoice(name="small_signal", params={"width": 8})
    settings = Profile(
        name="many", rounds=1000, batch_size=EACH, lr=0.01, participation=drawn / clients, encoders={"signal": choice}
    )
    model = ClientModel(
        {TASK: ("signal",)}, {"signal": Input(SHAPE)}, {"signal": (choice.name, choice.params)}, hidden={}, seed=0
    )
    pool, rows = Pool(), np.arange(clients * EACH).reshape(clients, EACH) % POOL
    private = [Client(number, {TASK: Share(pool, own)}) for number, own in enumerate(rows)]
    cls = registry.load("rules", rule)
    return Federation(model, cls(cls.Params()), Stage(), private, {}, settings, seed=0, folder=folder)


def memory(field: str) -> float:
    """MB of this process: VmRSS now, VmHWM at the most. (What getrusage says is also that of who started it.)"""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"no {field} on this system")


def measured(rule: str, clients: int, drawn: int, rounds: int) -> dict[str, Any]:
    """One row, in this process."""
    before = memory("VmRSS")
    made = federation(rule, clients, drawn)
    built = memory("VmRSS")
    seconds, saved, counting = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds + 1):
            started = time.process_time()
            made.history.append(made.round(number))
            seconds.append(time.process_time() - started)
            started = time.process_time()
            made.call((TASK,))
            counting.append(time.process_time() - started)
            made.folder = Path(temporary)
            started = time.process_time()
            made._save()
            saved.append(time.process_time() - started)
        size = (Path(temporary) / checkpoint.FILE).stat().st_size
    return {
        "rule": rule, "clients": clients, "drawn": len(made.history[-1].clients), "rounds": rounds,
        "model_kb": made.model.values.nbytes / 1024, "clients_mb": built - before,
        "peak_mb": memory("VmHWM"), "round_ms": 1000 * statistics.median(seconds[1:]),
        "counting_ms": 1000 * statistics.median(counting),
        "holding": sum(any(client.state().values()) for client in made.clients),
        "checkpoint_mb": size / 1e6, "save_ms": 1000 * statistics.median(saved[1:]),
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        rule, clients, drawn, rounds = sys.argv[2:]
        torch.set_num_threads(1)
        keep_pages()
        print(json.dumps(measured(rule, int(clients), int(drawn), int(rounds))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", nargs="+", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--drawn", type=int, default=50, help="clients per round")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--rules", nargs="+", default=["fedavg", "scaffold"])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = []
    print(
        "| rule | clients | drawn | CPU ms per round | of it counting | peak MB | of it clients | holding | "
        "checkpoint MB | saving, CPU ms |"
    )
    print("|---|" + "---:|" * 9)
    for rule in chosen.rules:
        for clients in chosen.clients:
            command = [sys.executable, __file__, "--one", rule, str(clients), str(chosen.drawn), str(chosen.rounds)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found.append(row)
            print(
                f"| {rule} | {clients:,} | {row['drawn']} | {row['round_ms']:.0f} | {row['counting_ms']:.1f} | "
                f"{row['peak_mb']:.0f} | {row['clients_mb']:.1f} | {row['holding']} | "
                f"{row['checkpoint_mb']:.2f} | {row['save_ms']:.1f} |",
                flush=True,
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
