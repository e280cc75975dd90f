"""Injection: training by the foundation model's next-token loss on the answers of public data, as in the papers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fedmeki_bench import seeds
from fedmeki_bench.foundation.injected import known_modalities
from fedmeki_bench.models.training import Diverged, schedule

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.server import Server, ServerContext
    from fedmeki_bench.foundation.choices import InjectionTraining
    from fedmeki_bench.foundation.injected import Injected
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.task import Task

OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
"""``adamw``: decay beside the gradient (Loshchilov & Hutter, ICLR 2019), which DeepSpeed's "Adam" is and FedKIM's
published code thereby runs; ``adam``: decay inside the gradient, which erases weights that get none."""

Moments = dict[str, dict[str, Tensor]]
"""Parameter -> the optimiser's state of it."""


def learning_rate(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate at a step (0-based): linear warm-up over ``warmup`` of all steps, linear decay."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (total - step) / max(1, total - rising))


def inject(
    injected: Injected, server: Server, public: Mapping[str, CohortPart], ctx: ServerContext, how: InjectionTraining
) -> float:
    """Train encoders, projectors, adapters and gate on public data, for one round; returns the mean loss per step.

    The encoders go back to ``server.model``, the rest to ``ctx.memory``. A step touches the encoders and projectors of
    its own task, the adapters and the gate. It sees ``micro_batch * accumulation`` samples; its gradient is the mean
    over all their answer tokens, however they fall into micro-batches. Encoders run in evaluation mode: batch-norm
    statistics stay those of the clients. The warm-up and decay run over all rounds; where tasks follow one another,
    over those of each phase, or the last would train at a vanishing rate. With ``moments="kept"`` the optimiser's
    moments of what stays at the server go on from round to round; those of the encoders, which the next aggregation
    replaces, start afresh.

    Args:
        injected: see :func:`fedmeki_bench.foundation.injected.injected`.
        public: task -> public samples.

    Raises:
        Diverged: the loss is not finite.
    """
    ctx.model.load(server.model)
    known = ctx.memory.get("injection_moments", {}) if how.moments == "kept" else {}
    loss, moments = _train(injected, public, ctx, how, known)
    server.model.load(ctx.model.values)
    ctx.memory["injected"] = {name: value.clone() for name, value in injected.state_dict().items()}
    ctx.memory["injection_loss"] = [*ctx.memory.get("injection_loss", []), loss]
    if how.moments == "kept":
        ctx.memory["injection_moments"] = moments
    return loss


def _train(
    injected: Injected, public: Mapping[str, CohortPart], ctx: ServerContext, how: InjectionTraining, known: Moments
) -> tuple[float, Moments]:
    """One round in ``ctx.model`` and ``injected``; mean loss, and the optimiser's state of what is ``injected``'s."""
    model = ctx.model
    known_modalities(how.frozen, "frozen", ctx)
    model.eval()
    injected.train()
    encoders = {
        unit: nn.Parameter(model.values.segment(unit, trained_only=True))
        for unit in model.values.units
        if unit.startswith("encoder.") and unit not in model.frozen and unit.removeprefix("encoder.") not in how.frozen
    }
    own = {name: weight for name, weight in injected.named_parameters() if weight.requires_grad}
    trained = [*encoders.values(), *own.values()]
    if not trained or not how.epochs:
        return 0.0, known
    optimiser = OPTIMISERS[how.optimizer](
        trained, lr=how.lr, betas=how.betas, eps=how.eps, weight_decay=how.weight_decay
    )
    for name, state in known.items():
        optimiser.state[own[name]] = _cloned(state)
    stream = ("server", "inject", "round", ctx.elapsed)
    size = how.micro_batch * how.accumulation
    steps = list(schedule(public, epochs=how.epochs, batch_size=size, seed=ctx.seed, stream=stream))
    answers = {task: _answers(part, how.answers, ctx.seed, task) for task, part in public.items()}
    total = 0.0
    with torch.enable_grad():
        for number, step in enumerate(steps):
            # the optimiser passes over what has no gradient: a zero would still be moved by momentum and weight decay,
            # so that a step of one task would reach the encoders and projectors of the others
            for weight in trained:
                weight.grad = None
            for unit in model.units(step.task, public[step.task].take(step.index).lacking):
                if unit in encoders:
                    encoders[unit].grad = model.grads.segment(unit, trained_only=True).zero_()
            seeds.restart(model.device, seeds.derive(ctx.seed, "dropout", step.task, *stream, step.number))
            tokens, summed = _backward(
                injected, model, public[step.task], ctx.tasks[step.task], step.index, answers[step.task],
                how.micro_batch,
            )  # fmt: skip
            for weight in trained:
                if weight.grad is not None:
                    weight.grad.div_(tokens)
            routing = injected.routing_loss(ctx.tasks.values())
            if routing is not None:
                routing.backward()
            nn.utils.clip_grad_norm_(trained, how.clip)
            factor = learning_rate(ctx.elapsed * len(steps) + number, ctx.rounds * len(steps), how.warmup)
            for group in optimiser.param_groups:
                group["lr"] = how.lr * factor
            optimiser.step()
            total += summed / tokens
    loss = total / len(steps) if steps else 0.0
    if not math.isfinite(loss):
        raise Diverged(f"the injection's loss became {loss} in round {ctx.round + 1}; a smaller stage.lr may help")
    return loss, {name: _cloned(optimiser.state[w]) for name, w in own.items() if w in optimiser.state}


def _cloned(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in state.items()}


def _answers(part: CohortPart, which: str, seed: int, task: str) -> np.ndarray:
    """The answers trained on: the samples' own, or these shuffled among the samples."""
    if which == "own":
        return part.answers
    order = seeds.generator(seed, "shuffled answers", task).permutation(len(part))
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
        inputs = model.read(part, chosen)
        prompts = [task.ask(str(questions[i])) for i in chosen]
        losses, counts = injected.losses(model, task, inputs, prompts, [str(answers[i]) for i in chosen])
        loss = losses.sum()
        if loss.requires_grad:  # else all that this task uses is frozen
            loss.backward()
        tokens += int(counts.sum())
        summed += float(loss.detach())
    return tokens, summed


def _portions(index: np.ndarray, size: int) -> Iterable[np.ndarray]:
    return (index[start : start + size] for start in range(0, len(index), size))
