"""The clauses for encoders. What each one asks for stands in docs/conformance.md."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedmeki_bench.conformance import loading
from fedmeki_bench.conformance.clause import LOADS, Check, Clause, NotApplicable, Violation
from fedmeki_bench.conformance.encoder_samples import Samples, samples
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.evaluation.metrics import AUROC
from fedmeki_bench.models.encoder import Encoder
from fedmeki_bench.models.encoders.clinical import SeriesEncoder
from fedmeki_bench.models.flat import FlatTensors, flatten
from fedmeki_bench.options import parse_options

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LEARNT, _STEPS, _BATCH, _TRAINED = 0.8, 60, 16, 48
_FEW = 16  # samples where the number does not matter
_CLOSE = 1e-3  # of the largest feature: float32, summed in another order


def _samples(subject: Subject) -> Samples:
    return subject.once("samples", lambda: samples(subject.value))


def _make(subject: Subject, *, seed: int = 0) -> Encoder:
    """A fresh encoder, its weights drawn from ``seed`` as a run draws them."""
    cls = subject.value
    params = parse_options(cls.Params, subject.options, owner=subject.name)
    shape = _samples(subject).taken.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder: Encoder = cls(shape, params)
    return encoder.eval()


def _inputs(subject: Subject, encoder: Encoder, count: int = _FEW) -> Tensor:
    """Physical inputs of the first samples, (count, *shape)."""
    return _samples(subject).inputs(encoder, slice(0, count))


def _close(one: Tensor, other: Tensor) -> bool:
    scale = float(one.abs().max()) if one.numel() else 0.0
    return one.shape == other.shape and torch.allclose(one, other, rtol=_CLOSE, atol=_CLOSE * max(scale, 1e-6))


def _real(encoder: Encoder, x: Tensor, tokens: Tensor) -> Tensor:
    """Which tokens are real, (batch, tokens)."""
    there = encoder.mask(x)
    return torch.ones(tokens.shape[:2], dtype=torch.bool) if there is None else there


def _loads(subject: Subject) -> None:
    loading.loads(subject)
    cls = subject.value
    modality = getattr(cls, "modality", None)
    if not isinstance(modality, str) or not _NAME.fullmatch(modality):
        raise Violation(f"its modality is {modality!r}; a name such as 'image' or 'my_modality' is expected.")
    width = getattr(_make(subject), "width", None)
    if not isinstance(width, int) or width < 1:
        raise Violation(f"its width is {width!r} once it is built, not the number of features per token.")


def _input(subject: Subject) -> None:
    encoder, given = _make(subject), _samples(subject)
    taken = given.taken
    if json.loads(json.dumps(taken.facts)) != taken.facts:
        raise Violation("the facts of taken() do not come back from JSON, in which a kept model holds them.")
    if given.read() != taken:
        raise Violation("taken() says something else when it is asked again.")
    x = _inputs(subject, encoder)
    if not isinstance(x, Tensor) or x.dtype != torch.float32 or x.shape != (_FEW, *taken.shape):
        raise Violation(f"to_input() gives {_described(x)}; float32 of shape {(_FEW, *taken.shape)} is expected.")
    if not x.isfinite().all():
        raise Violation("to_input() gives values that are not finite.")
    for row in range(4):
        if not torch.equal(given.inputs(encoder, slice(row, row + 1))[0], x[row]):
            raise Violation("to_input() makes another input of a sample when it comes alone than in a batch.")
    if given.inputs(encoder, slice(0, 2), device=torch.device("meta")).device.type != "meta":
        raise Violation("to_input() leaves its result on another device than the one it was given.")


def _described(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _shape(subject: Subject) -> None:
    encoder = _make(subject)
    x = _inputs(subject, encoder)
    for mode, batch in (("training", x), ("evaluation", x), ("evaluation", x[:1])):
        encoder.train(mode == "training")
        with torch.no_grad():
            tokens, pooled, there = encoder(batch), encoder.pooled(batch), encoder.mask(batch)
        where = f"for {len(batch)} samples in {mode} mode"
        fits = isinstance(tokens, Tensor) and tokens.dim() == 3 and tokens.shape[1] > 0
        if not fits or tokens.shape[::2] != (len(batch), encoder.width) or tokens.dtype != torch.float32:
            raise Violation(
                f"forward() gives {_described(tokens)} {where}; float32 (batch, tokens, {encoder.width}) is expected."
            )
        if _described(pooled) != f"torch.float32 of shape {(len(batch), encoder.width)}":
            raise Violation(
                f"pooled() gives {_described(pooled)} {where}; float32 {(len(batch), encoder.width)} is expected."
            )
        if not (tokens.isfinite().all() and pooled.isfinite().all()):
            raise Violation(f"tokens or pooled features are not finite {where}.")
        if there is not None and (there.dtype != torch.bool or there.shape != tokens.shape[:2]):
            raise Violation(f"mask() gives {_described(there)}; bool {tuple(tokens.shape[:2])} is expected.")


@torch.no_grad()
def _pooled(subject: Subject) -> None:
    encoder = _make(subject)
    x = _inputs(subject, encoder)
    tokens = encoder(x)
    real = _real(encoder, x, tokens).unsqueeze(-1).to(tokens.dtype)
    if not _close((tokens * real).sum(dim=1) / real.sum(dim=1), encoder.pooled(x)):
        raise Violation("pooled() is not the mean of the real tokens that forward() gives.")


def _reseeded(number: int) -> None:
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - the global stream is what an encoder must not draw from


def _deterministic(subject: Subject) -> None:
    _reseeded(1)
    encoder = _make(subject)
    _reseeded(2)
    again = _make(subject)
    for (name, one), other in zip(encoder.state_dict().items(), again.state_dict().values(), strict=True):
        if not torch.equal(one, other):
            raise Violation(f"{name!r} is another one in a second encoder of the same seed; draw from torch alone.")
    x = _inputs(subject, encoder)
    for mode, seeds in ((False, (1, 2)), (True, (1, 1))):
        results = []
        for number, seed in enumerate(seeds):
            _reseeded(number)
            torch.manual_seed(seed)
            twin = _make(subject).train(mode)
            with torch.no_grad():
                results.append((twin(x), twin.pooled(x)))
        if not all(torch.equal(one, other) for one, other in zip(*results, strict=True)):
            raise Violation(
                "two passes of one seed in training mode give two results."
                if mode
                else "in evaluation mode the result depends on torch's random stream."
            )


@torch.no_grad()
def _alone(subject: Subject) -> None:
    encoder = _make(subject)
    x = _inputs(subject, encoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    tokens, pooled = encoder(x), encoder.pooled(x)
    real = _real(encoder, x, tokens)
    for row in range(4):
        for other in (x[row : row + 1], x.flip(0)[: _FEW - row]):  # alone, and last behind other samples
            same = _close(tokens[row][real[row]], encoder(other)[0 if len(other) == 1 else -1][real[row]])
            if not same or not _close(pooled[row], encoder.pooled(other)[0 if len(other) == 1 else -1]):
                raise Violation("in evaluation mode a sample's tokens depend on the other samples of its batch.")
    if any(not torch.equal(value, before[name]) for name, value in encoder.state_dict().items()):
        raise Violation("passes in evaluation mode change what the encoder holds.")


@torch.no_grad()
def _padding(subject: Subject) -> None:
    encoder, given = _make(subject), _samples(subject)
    if given.lengths is None:
        raise NotApplicable("samples of this modality do not differ in length")
    x = _inputs(subject, encoder)
    tokens, pooled, there = encoder(x), encoder.pooled(x), encoder.mask(x)
    if there is None:
        raise Violation("mask() says that all tokens are real, although samples differ in length.")
    if not there.any(dim=1).all():
        raise Violation("mask() leaves a sample without a real token.")
    others = {"stored rows": _samples(subject).with_noise_beyond_the_end().inputs(encoder, slice(0, _FEW))}
    if isinstance(encoder, SeriesEncoder):
        others["padded hours of the input"] = noisy = x.clone()
        noisy[..., :-1][noisy[..., -1] > 0.5] = 9.0
    for what, other in others.items():
        same = _close(tokens[there], encoder(other)[there]) and _close(pooled, encoder.pooled(other))
        if not same or not torch.equal(there, _real(encoder, other, tokens)):
            raise Violation(
                f"other values in {what}, beyond the end of a sample, change its real tokens or their mean."
            )


def _gradients(subject: Subject) -> None:
    encoder = _make(subject)  # in evaluation mode: a bias before batch norm has no gradient in training
    trained = {name: weight for name, weight in encoder.named_parameters() if weight.requires_grad}
    if not trained:
        raise NotApplicable("it has no parameter to train")
    features = encoder.pooled(_inputs(subject, encoder))
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    (features * weights).sum().backward()
    for name, weight in trained.items():
        if weight.grad is None or not weight.grad.any():
            raise Violation(f"no gradient reaches {name!r}: it travels and is averaged, and never learns.")
        if not weight.grad.isfinite().all():
            raise Violation(f"the gradient of {name!r} is not finite.")


class _Pooled(nn.Module):
    """An encoder as the client model calls it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.encoder.pooled(x)
        return pooled


@torch.no_grad()
def _functional(subject: Subject) -> None:
    one, other = (_Pooled(_make(subject, seed=seed)) for seed in (0, 1))
    x = _inputs(subject, one.encoder)
    values: Mapping[str, Tensor] = {name: value.clone() for name, value in other.state_dict().items()}
    if not _close(other(x), torch.func.functional_call(one, dict(values), (x,))):
        raise Violation("called with the weights of another encoder it does not compute what that one does.")


def _flat(encoder: Encoder) -> FlatTensors:
    values, _ = flatten(encoder, {f"encoder.{encoder.modality}": encoder})
    return values


def _state(subject: Subject) -> None:
    encoder, fresh = _make(subject), _make(subject, seed=1)
    values, others = _flat(encoder), _flat(fresh)
    x = _inputs(subject, encoder)
    trained = [weight for weight in encoder.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-3) if trained else None
    encoder.train()
    for _ in range(3):
        loss = encoder.pooled(x).square().mean()
        if optimiser is not None:
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=False)
    encoder.eval()
    with torch.no_grad():
        others.load(values)
        if not torch.equal(encoder.pooled(x), fresh.pooled(x)):
            raise Violation(
                "a fresh encoder with the parameters and float buffers of a trained one gives other features; register "
                "what it remembers as a buffer and change it in place."
            )


def _learns(subject: Subject) -> None:
    given = _samples(subject)
    if given.labels is None:
        raise NotApplicable(f"the suite has no easy problem for the modality {subject.value.modality!r}")
    encoder = _make(subject).train()
    x, labels = given.inputs(encoder, slice(0, _TRAINED)), torch.from_numpy(given.labels[:_TRAINED])
    stream = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head = nn.Linear(encoder.pooled(x[:2]).shape[-1], 1)
    weights = [w for w in (*encoder.parameters(), *head.parameters()) if w.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=1e-3)
    for _ in range(_STEPS):
        chosen = torch.randperm(_TRAINED, generator=stream)[:_BATCH]
        loss = nn.functional.binary_cross_entropy_with_logits(
            head(encoder.pooled(x[chosen])).squeeze(-1), labels[chosen]
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    encoder.eval()
    with torch.no_grad():
        scores = head(encoder.pooled(x)).squeeze(-1)
    score = float(AUROC(labels.numpy(), scores.numpy()))
    if not score >= _LEARNT:
        raise Violation(
            f"after {_STEPS} steps with a linear layer behind it, the AUROC on the {_TRAINED} samples of an easy "
            f"problem is {score:.2f}; at least {_LEARNT} is expected."
        )


def _clause(name: str, expected: str, check: Check) -> Clause:
    return Clause("encoders", name, expected, check)


CLAUSES = (
    _clause(LOADS, loading.EXPECTED, _loads),
    _clause("input", "stored samples become finite float32 inputs, each by itself, on the device asked for.", _input),
    _clause("shape", "tokens are (batch, tokens, width), pooled features (batch, width), float32 and finite.", _shape),
    _clause("pooled", "pooled features are the mean of the real tokens.", _pooled),
    _clause("deterministic", "one seed gives the same weights and features, whatever global streams hold.",
            _deterministic),
    _clause("alone", "in evaluation mode a sample's tokens do not depend on its batch, and nothing changes.", _alone),
    _clause("padding", "what lies beyond the end of a sample has no influence.", _padding),
    _clause("gradients", "a gradient reaches every parameter that is trained.", _gradients),
    _clause("functional", "it computes with the weights that it is called with.", _functional),
    _clause("state", "all that it learns and remembers is in its parameters and float buffers.", _state),
    _clause("learns", "it learns an easy problem of its modality.", _learns),
)  # fmt: skip
