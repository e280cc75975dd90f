"""Training the way into the foundation model: next-token loss on the answers of public data (the papers' objective)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fedmeki_bench import seeds
from fedmeki_bench.foundation.choices import InjectionTraining
from fedmeki_bench.foundation.injected import known_modalities
from fedmeki_bench.models.training import Diverged, schedule

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.foundation.injected import Injected
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.task import Task

OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
"""``adamw``: decay beside the gradient (Loshchilov & Hutter, ICLR 2019), which DeepSpeed's "Adam" is and FedKIM's
published code thereby runs; ``adam``: decay inside the gradient, which erases weights that get none."""

Moments = dict[str, dict[str, Tensor]]
"""Parameter -> the optimiser's state of it."""


@dataclass
class InjectionRound:
    """What one round of injection is trained on, and what it left.

    Attributes:
        public: task -> public samples.
        tasks: the training tasks by name.
        seed, round, rounds: of the run; ``round`` is 0-based.
        moments: the optimiser's state of projectors, adapters and gate from the round before, replaced by this round's;
            empty at the start, or for a fresh start.
        loss: mean loss per step.
    """

    public: Mapping[str, CohortPart]
    tasks: Mapping[str, Task]
    seed: int
    round: int = 0
    rounds: int = 1
    moments: Moments = field(default_factory=dict)
    loss: float = 0.0


def learning_rate(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate at a step (0-based): linear warm-up over ``warmup`` of all steps, linear decay."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (total - step) / max(1, total - rising))


def inject(injected: Injected, model: ClientModel, given: InjectionRound, how: InjectionTraining) -> InjectionRound:
    """Train encoders, projectors, adapters and gate in place; returns ``given`` with loss and moments.

    A step touches the encoders and projectors of its own task, the adapters and the gate. It sees ``micro_batch *
    accumulation`` samples; its gradient is the mean over all their answer tokens, however they fall into
    micro-batches. Encoders run in evaluation mode: batch-norm statistics stay those of the clients. The warm-up and
    decay run over all rounds. The optimiser's moments of what stays at the server go on from round to round; those of
    the encoders, which the next aggregation replaces, start afresh.

    Raises:
        Diverged: the loss is not finite.
    """
    known_modalities(how.frozen, "frozen", model)
    model.eval()
    injected.train()
    encoders = {
        unit: nn.Parameter(model.values.segment(unit, trained_only=True))
        for unit in model.values.modules
        if unit.startswith("encoder.") and unit not in model.frozen and unit.removeprefix("encoder.") not in how.frozen
    }
    own = {name: weight for name, weight in injected.named_parameters() if weight.requires_grad}
    trained = [*encoders.values(), *own.values()]
    if not trained or not how.epochs:
        return given
    optimiser = OPTIMISERS[how.optimizer](
        trained, lr=how.lr, betas=how.betas, eps=how.eps, weight_decay=how.weight_decay
    )
    _restore(optimiser, own, given.moments)
    stream = ("server", "inject", "round", given.round)
    size = how.micro_batch * how.accumulation
    steps = list(schedule(given.public, epochs=how.epochs, batch_size=size, seed=given.seed, stream=stream))
    answers = {task: _answers(part, how.answers, given, task) for task, part in given.public.items()}
    total = 0.0
    with torch.enable_grad():
        for number, step in enumerate(steps):
            # the optimiser passes over what has no gradient: a zero would still be moved by momentum and weight decay,
            # so that a step of one task would reach the encoders and projectors of the others
            for weight in trained:
                weight.grad = None
            for unit in model.units(step.task):
                if unit in encoders:
                    encoders[unit].grad = model.grads.segment(unit, trained_only=True).zero_()
            torch.manual_seed(seeds.derive(given.seed, "dropout", step.task, *stream, step.number))
            tokens, summed = _backward(
                injected, model, given.public[step.task], given.tasks[step.task], step.index, answers[step.task],
                how.micro_batch,
            )  # fmt: skip
            for weight in trained:
                if weight.grad is not None:
                    weight.grad.div_(tokens)
            routing = injected.routing_loss(given.tasks.values())
            if routing is not None:
                routing.backward()
            nn.utils.clip_grad_norm_(trained, how.clip)
            factor = learning_rate(given.round * len(steps) + number, given.rounds * len(steps), how.warmup)
            for group in optimiser.param_groups:
                group["lr"] = how.lr * factor
            optimiser.step()
            total += summed / tokens
    given.loss = total / len(steps) if steps else 0.0
    if not math.isfinite(given.loss):
        raise Diverged(
            f"the injection's loss became {given.loss} in round {given.round + 1}; a smaller stage.lr may help"
        )
    given.moments = {name: _cloned(optimiser.state[w]) for name, w in own.items() if w in optimiser.state}
    return given


def _restore(optimiser: torch.optim.Optimizer, own: Mapping[str, nn.Parameter], moments: Moments) -> None:
    for name, state in moments.items():
        optimiser.state[own[name]] = _cloned(state)


def _cloned(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in state.items()}


def _answers(part: CohortPart, which: str, given: InjectionRound, task: str) -> np.ndarray:
    """The answers trained on: the samples' own, or these dealt anew among the samples."""
    if which == "own":
        return part.answers
    order = seeds.generator(given.seed, "shuffled answers", task).permutation(len(part))
    shuffled: np.ndarray = part.answers[order]
    return shuffled


def _backward(
    injected: Injected, model: ClientModel, part: CohortPart, task: Task, index: np.ndarray, answers: np.ndarray,
    micro_batch: int,
) -> tuple[int, float]:  # fmt: skip
    """Accumulate the gradient of the summed loss; returns answer tokens and summed loss."""
    questions = part.questions
    tokens, summed = 0, 0.0
    for chosen in _portions(index, micro_batch):
        inputs = model.to_inputs(part.batch(chosen))
        prompts = [task.prompt(str(questions[i])) for i in chosen]
        losses, counts = injected.losses(model, task, inputs, prompts, [str(answers[i]) for i in chosen])
        loss = losses.sum()
        if loss.requires_grad:  # else all that this task uses is frozen
            loss.backward()
        tokens += int(counts.sum())
        summed += float(loss.detach())
    return tokens, summed


def _portions(index: np.ndarray, size: int) -> Iterable[np.ndarray]:
    return (index[start : start + size] for start in range(0, len(index), size))
