"""Training the way into the foundation model: next-token loss on the answers of public data (the papers' objective)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from fedmeki_bench import seeds
from fedmeki_bench.federation.training import Diverged, schedule

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import CohortPart
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.injected import Injected
    from fedmeki_bench.task import Task


def learning_rate(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate at a step (0-based): linear warm-up over ``warmup`` of all steps, linear decay."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (total - step) / max(1, total - rising))


def inject(
    injected: Injected, model: ClientModel, public: Mapping[str, CohortPart], tasks: Mapping[str, Task], *, seed: int,
    round: int, rounds: int, epochs: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float,
    warmup: float, micro_batch: int, accumulation: int, clip: float,
) -> float:  # fmt: skip
    """Train encoders, projectors, adapters and gate in place; returns the mean loss per step.

    A step touches the encoders and projectors of its own task, the adapters and the gate. It sees ``micro_batch *
    accumulation`` samples; its gradient is the mean over all their answer tokens, however they fall into
    micro-batches. Encoders run in evaluation mode: batch-norm statistics stay those of the clients. The warm-up and
    decay run over all rounds; Adam starts afresh each round.

    Raises:
        Diverged: the loss is not finite.
    """
    model.eval()
    injected.train()
    encoders = {
        unit: nn.Parameter(model.values.segment(unit, trained_only=True))
        for unit in model.values.modules
        if unit.startswith("encoder.")
    }
    trained = [*encoders.values(), *injected.trainable()]
    optimiser = torch.optim.Adam(trained, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
    stream = ("server", "inject", "round", round)
    steps = list(schedule(public, epochs=epochs, batch_size=micro_batch * accumulation, seed=seed, stream=stream))
    total = 0.0
    with torch.enable_grad():
        for number, step in enumerate(steps):
            # Adam passes over what has no gradient: a zero would still be moved by momentum and weight decay, so that
            # a step of one task would reach the encoders and projectors of the others
            for weight in trained:
                weight.grad = None
            for unit in model.units(step.task):
                if unit in encoders:
                    encoders[unit].grad = model.grads.segment(unit, trained_only=True).zero_()
            torch.manual_seed(seeds.derive(seed, "dropout", step.task, *stream, step.number))
            tokens, summed = _backward(injected, model, public[step.task], tasks[step.task], step.index, micro_batch)
            for weight in trained:
                if weight.grad is not None:
                    weight.grad.div_(tokens)
            nn.utils.clip_grad_norm_(trained, clip)
            factor = learning_rate(round * len(steps) + number, rounds * len(steps), warmup)
            for group in optimiser.param_groups:
                group["lr"] = lr * factor
            optimiser.step()
            total += summed / tokens
    mean = total / len(steps) if steps else 0.0
    if not math.isfinite(mean):
        raise Diverged(f"the injection's loss became {mean} in round {round + 1}; a smaller stage.lr may help")
    return mean


def _backward(
    injected: Injected, model: ClientModel, part: CohortPart, task: Task, index: np.ndarray, micro_batch: int
) -> tuple[int, float]:
    """Accumulate the gradient of the summed loss; returns answer tokens and summed loss."""
    questions, answers = part.questions, part.answers
    tokens, summed = 0, 0.0
    for start in range(0, len(index), micro_batch):
        chosen = index[start : start + micro_batch]
        inputs = model.to_inputs(part.batch(chosen))
        prompts = [task.prompt(str(questions[i])) for i in chosen]
        losses, counts = injected.losses(model, task, inputs, prompts, [str(answers[i]) for i in chosen])
        loss = losses.sum()
        loss.backward()
        tokens += int(counts.sum())
        summed += float(loss.detach())
    return tokens, summed
