"""A case planted for routing: two tasks that need opposite answers to the same picture.

    python benchmarks/routing.py --seeds 5

Both tasks show the same pictures, a bright or a dark blob somewhere, under the same question; only the task's
description, which the gate alone reads, tells them apart. One asks for bright, the other for dark. Compared are M3OE
with the paper's gate, with the gate of ``_kim_routed``, with the published means against idle experts (top-k, load
balancing), frozen at 1 / P, with an oracle that sends each task to an expert of its own, and one LoRA of the same total
rank, each with the same budget. Without a gate the two tasks are indistinguishable, so the best anyone can do is 0.5;
the oracle shows that the budget suffices. ``--different`` gives each task a question of its own: then every adapter
could tell them apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from fedmeki_bench.federation.server import Server, ServerContext
from fedmeki_bench.foundation.build import build
from fedmeki_bench.foundation.choices import AdapterChoice, InjectionTraining
from fedmeki_bench.foundation.injected import Injected, described
from fedmeki_bench.foundation.training import inject
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Input
from fedmeki_bench.profiles import profile
from fedmeki_bench.task import Clinical, Task, TaskMeta


def planted(name: str, what: str, question: str) -> Task:
    class Planted(Task):
        meta = TaskMeta(
            name=name, version=1, title=name, dataset="planted", modalities=("image",), kind="binary",
            role="training", clinical=Clinical(what, "nobody", "never"), licence="", access="", citation="",
            grouping="picture",
        )  # fmt: skip

        def prompt(self, text: str) -> str:
            return f"Yes or no, {question}"

    return Planted()


class Pictures:
    """Blobs on noise, bright or dark. Answers the questions the trainer has of a cohort.

    A blob left or right would ask the foundation model for a sense of place besides: with the oracle gate ``tiny`` then
    learns it in some seeds only, and budget and routing are mixed up.
    """

    def __init__(self, n: int, seed: int, opposite: bool) -> None:
        rng = np.random.default_rng(seed)
        bright = rng.integers(0, 2, n)
        y, x = np.mgrid[0:64, 0:64]
        middle = rng.uniform(16, 48, (2, n, 1, 1))
        blob = np.exp(-((x[None] - middle[0]) ** 2 + (y[None] - middle[1]) ** 2) / 200)
        noisy = 70 * np.where(bright, 1, -1)[:, None, None] * blob + rng.normal(120, 25, (n, 64, 64))
        self.pictures = noisy.clip(0, 255).astype(np.uint8)[:, None]
        self.labels = 1 - bright if opposite else bright
        self.answers = np.where(self.labels == 1, "yes", "no")
        self.questions = np.full(n, "")

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": self.pictures[index]}


_M3OE = AdapterChoice("m3oe", rank=8, experts=4, dropout=0.0)
_READING = replace(_M3OE, normalise=True)
CHOICES = {
    "oracle gate": replace(_M3OE, gate="oracle"),
    "routed (_kim_routed)": replace(_READING, routing=0.5),
    "paper's gate (_kim)": _M3OE,
    "uniform gate": replace(_M3OE, gate="uniform"),
    "top-1 of 4": replace(_READING, top_k=1),
    "top-2 of 4": replace(_READING, top_k=2),
    "load balancing 0.5": replace(_READING, balance=0.5),
    "routing, as embedded": replace(_M3OE, routing=0.5),
    "one LoRA of rank 32": AdapterChoice("lora", rank=32, alpha=128.0, dropout=0.0),
}


def one(choice: AdapterChoice, seed: int, same_question: bool, epochs: int, samples: int) -> tuple[float, float]:
    """Mean accuracy over both tasks on fresh pictures, and how far the two gates lie apart (L1)."""
    questions = ("is there a nodule",) * 2 if same_question else ("is there a nodule", "is there a cavity")
    tasks = {
        "bright": planted("bright", "Is the spot brighter than what is around it?", questions[0]),
        "dark": planted("dark", "Is the spot darker than what is around it?", questions[1]),
    }
    model = ClientModel(
        {"bright": ("image",), "dark": ("image",)}, {"image": Input((1, 64, 64), 1 / 255)},
        {"image": ("small_image", {})}, hidden={}, seed=seed,
    )  # fmt: skip
    language = build("tiny")
    injected = Injected(language, model, choice, seed=seed, contexts=list(tasks))
    public = {name: Pictures(samples, 10 * seed + 1, name == "dark") for name in tasks}
    ctx = ServerContext(model, profile("demo"), seed=seed, tasks=tasks)
    how = InjectionTraining(epochs=epochs, lr=2e-3, micro_batch=16, accumulation=1)
    inject(injected, Server(model.values.clone(), clients=0), public, ctx, how)
    injected.eval()
    right = []
    for name, task in tasks.items():
        test = Pictures(100, 10 * seed + 2, name == "dark")
        with torch.no_grad(), injected.merged(described(task)):
            soft, there = injected.soft(model, ("image",), model.to_inputs(test.batch(np.arange(100))))
            scores = language.score(soft, there, [task.prompt("")] * 100, ["no", "yes"])
        right.append(float((scores.argmax(dim=1).numpy() == test.labels).mean()))
    with torch.no_grad():
        gates = [injected.alpha(described(task)) for task in tasks.values()]
    apart = 0.0 if gates[0] is None else float((gates[0] - gates[1]).abs().sum())
    return statistics.mean(right), apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--different", action="store_true", help="a question of its own in each task")
    parser.add_argument("--only", nargs="*", help="rows whose name contains one of these")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name, choice in CHOICES.items():
        if chosen.only and not any(part in name for part in chosen.only):
            continue
        started = time.perf_counter()
        found = [one(choice, s, not chosen.different, chosen.epochs, chosen.samples) for s in range(chosen.seeds)]
        accuracy = [a for a, _ in found]
        print(
            f"{name:<22} accuracy {statistics.mean(accuracy):.3f} ({', '.join(f'{a:.2f}' for a in accuracy)}), "
            f"at least 0.95 in {sum(a >= 0.95 for a in accuracy)} of {len(accuracy)}, gates apart "
            f"{', '.join(f'{d:.3f}' for _, d in found)}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
