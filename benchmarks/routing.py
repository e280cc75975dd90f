"""A case planted for routing: two tasks that need opposite answers to the same picture.

    python benchmarks/routing.py --seeds 5

Both tasks show the same pictures, a bright blob left or right, under the same question; only the task description,
which the gate alone reads, tells them apart. One asks for left, the other for right. Compared are M3OE with its learned
gate, M3OE with the gate frozen at 1 / P, and one LoRA of the same total rank, each with the same budget. Without a gate
the two tasks are indistinguishable, so the best anyone can do is 0.5; what the gate makes of it is measured here.
A second setting gives the two tasks different questions: then every adapter could tell them apart by the prompt.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from fedmeki_bench.federation.injecting import inject
from fedmeki_bench.models.client_model import ClientModel, Input
from fedmeki_bench.models.foundation.build import build
from fedmeki_bench.models.injected import AdapterChoice, Injected, description
from fedmeki_bench.task import Clinical, Task, TaskMeta


def planted(name: str, what: str, question: str) -> Task:
    class Planted(Task):
        meta = TaskMeta(
            name=name, version=1, title=name, dataset="planted", modalities=("image",), kind="classification",
            role="training", clinical=Clinical(what, "nobody", "never"), licence="", access="", citation="",
            grouping="picture",
        )  # fmt: skip

        def prompt(self, text: str) -> str:
            return f"{question} Reply with yes or no.\nAnswer:"

    return Planted()


class Pictures:
    """Blobs on noise; ``side`` 1 means right. Answers the questions the trainer has of a cohort."""

    def __init__(self, n: int, seed: int, opposite: bool) -> None:
        rng = np.random.default_rng(seed)
        self.side = rng.integers(0, 2, n)
        y, x = np.mgrid[0:64, 0:64]
        middle = np.where(self.side == 1, 46, 18) + rng.normal(0, 3, n)
        blob = np.exp(-((x[None] - middle[:, None, None]) ** 2 + (y[None] - 32) ** 2) / 200)
        noisy = 90 * blob + rng.normal(80, 25, (n, 64, 64))
        self.pictures = noisy.clip(0, 255).astype(np.uint8)[:, None]
        self.labels = 1 - self.side if opposite else self.side
        self.answers = np.where(self.labels == 1, "yes", "no")
        self.questions = np.full(n, "")

    def __len__(self) -> int:
        return len(self.side)

    def batch(self, index: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": self.pictures[index]}


CHOICES = {
    "M3OE, learned gate": AdapterChoice("m3oe", rank=8, experts=4, dropout=0.0),
    "M3OE, uniform gate": AdapterChoice("m3oe", rank=8, experts=4, dropout=0.0, gate="uniform"),
    "one LoRA of rank 32": AdapterChoice("lora", rank=32, alpha=128.0, dropout=0.0),
}


def one(choice: AdapterChoice, seed: int, same_question: bool, epochs: int, samples: int) -> tuple[float, float]:
    """Mean accuracy over both tasks on fresh pictures, and how far the two gates lie apart (L1)."""
    questions = ("Is it there?", "Is it there?") if same_question else ("Is it on the right?", "Is it on the left?")
    tasks = {
        "right": planted("right", "Does the bright spot lie on the right side?", questions[0]),
        "left": planted("left", "Does the bright spot lie on the left side?", questions[1]),
    }
    model = ClientModel(
        {"right": ("image",), "left": ("image",)}, {"image": Input((1, 64, 64), 1 / 255)},
        {"image": ("small_image", {})}, hidden={}, seed=seed,
    )  # fmt: skip
    language = build("tiny")
    injected = Injected(language, model, choice, seed=seed)
    public = {name: Pictures(samples, 10 * seed + 1, name == "left") for name in tasks}
    inject(
        injected, model, public, tasks, seed=seed, round=0, rounds=1, epochs=epochs, lr=2e-3, betas=(0.9, 0.95),
        eps=1e-6, weight_decay=1e-4, warmup=0.1, micro_batch=16, accumulation=1, clip=1.0,
    )  # fmt: skip
    injected.eval()
    right = []
    for name, task in tasks.items():
        test = Pictures(100, 10 * seed + 2, name == "left")
        with torch.no_grad(), injected.merged(description(task), ("image",)):
            soft, there = injected.soft(model, ("image",), model.to_inputs(test.batch(np.arange(100))))
            scores = language.score(soft, there, [task.prompt("")] * 100, ["no", "yes"])
        right.append(float((scores.argmax(dim=1).numpy() == test.labels).mean()))
    with torch.no_grad():
        gates = [injected.alpha(description(task), ("image",)) for task in tasks.values()]
    apart = 0.0 if gates[0] is None else float((gates[0] - gates[1]).abs().sum())
    return statistics.mean(right), apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=128)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for same in (True, False):
        print("the same question in both tasks" if same else "a question of its own in each task")
        for name, choice in CHOICES.items():
            started = time.perf_counter()
            found = [one(choice, seed, same, chosen.epochs, chosen.samples) for seed in range(chosen.seeds)]
            accuracy = [a for a, _ in found]
            spread = f" ± {statistics.stdev(accuracy):.3f}" if len(accuracy) > 2 else ""
            print(
                f"  {name:<22} accuracy {statistics.mean(accuracy):.3f}{spread} "
                f"({', '.join(f'{a:.2f}' for a in accuracy)}), gates apart {statistics.mean(d for _, d in found):.3f}, "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
