"""The clauses for pretexts. What each one asks for stands in docs/conformance.md."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from fedmeki_bench.conformance import loading, toys
from fedmeki_bench.conformance.clause import LOADS, Check, Clause, Violation
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.data.cohort import CohortPart
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.models.pretext import Pretext, PretextModel
from fedmeki_bench.models.training import schedule, train
from fedmeki_bench.profiles import EncoderChoice, Profile

_TASK, _BATCH, _EPOCHS, _FALLS = "left", 16, 8, 0.95
_WIDTH = 16
_PROFILE = Profile(
    name="conformance", rounds=1, batch_size=_BATCH, lr=3e-3, image_size=toys.SIDE,
    encoders={"image": EncoderChoice(name="vit_nano", params={"width": _WIDTH, "layers": 2, "heads": 2})},
)  # fmt: skip
"""The suite's encoder cuts pictures into patches and has no batch norm, so that every pretext can train it."""


def _loads(subject: Subject) -> None:
    loading.loads(subject)
    least = subject.value.least
    if not isinstance(least, int) or least < 1:
        raise Violation(f"least is {least!r}; the number of samples that a batch needs is expected.")


def _made(subject: Subject) -> Pretext:
    found: Pretext = loading.make(subject)
    return found


def _model(subject: Subject, *, seed: int = 0) -> PretextModel:
    """A fresh model that it trains, its weights drawn from ``seed`` as a run draws them."""
    chosen = {modality: (choice.name, choice.params) for modality, choice in _PROFILE.encoders.items()}
    inputs = inputs_of([toys.cohorts()[_TASK]], _PROFILE)
    return PretextModel(
        {_TASK: ("image",)}, pretext=_made(subject), inputs=inputs, encoders=chosen, hidden={}, seed=seed
    )


def _part() -> CohortPart:
    return toys.cohorts()[_TASK].part("client")


def _seen(model: PretextModel, *, training: bool, seed: int = 0, count: int = _BATCH) -> tuple[Tensor, Tensor]:
    """Losses and features of the first samples."""
    torch.manual_seed(seed)
    model.train(training)
    with torch.no_grad():
        outputs = model(_TASK, model.read(_part(), np.arange(count)))
    return outputs.logits, outputs.features


def _loss(subject: Subject) -> None:
    model = _model(subject)
    for training in (True, False):
        for count in (_BATCH, max(2, model.least)):
            losses, features = _seen(model, training=training, count=count)
            if losses.shape != (count,) or not losses.isfinite().all():
                raise Violation(
                    f"losses of {count} samples are {tuple(losses.shape)}, finite: {bool(losses.isfinite().all())}; "
                    f"({count},), one of each, is expected."
                )
            if features.dim() != 2 or len(features) != count or not features.isfinite().all():
                raise Violation(f"features of {count} samples are {tuple(features.shape)}; finite ({count}, width) is.")


def _deterministic(subject: Subject) -> None:
    model, found = _model(subject), []
    for number in (1, 2):
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002 - the global stream is what it must not draw from
        found.append(_seen(model, training=True, seed=7)[0])
    if not torch.equal(*found):
        raise Violation("two passes from one torch seed give two losses: draw views and masks from torch alone.")
    one, other = (_seen(model, training=False, seed=seed)[0] for seed in (1, 2))
    if not torch.equal(one, other):
        raise Violation("evaluated twice, the same model has two losses, so rounds could not be compared on valid.")


def _gradients(subject: Subject) -> None:
    model = _model(subject).train()
    torch.manual_seed(0)
    model(_TASK, model.read(_part(), np.arange(_BATCH))).logits.mean().backward()
    for name, weight in model.parameters_of(_TASK).items():
        if weight.grad is None or not weight.grad.any():
            raise Violation(f"no gradient reaches {name!r}: it travels and is averaged, and never learns.")


def _functional(subject: Subject) -> None:
    one, other = (_model(subject, seed=seed) for seed in (0, 1))
    other._seed = one._seed  # what is drawn in evaluation
    inputs = one.read(_part(), np.arange(_BATCH))
    with torch.no_grad():
        under = one.functional(other.values, _TASK, inputs).logits
        other.eval()
        if not torch.allclose(under, other(_TASK, inputs).logits, rtol=1e-3, atol=1e-5):
            raise Violation("called with the weights of another model it does not compute what that one does.")


def _learns(subject: Subject) -> None:
    model, part = _model(subject), {_TASK: _part()}
    before = float(_seen(model, training=False, count=64)[0].mean())
    steps = schedule(part, epochs=_EPOCHS, batch_size=_BATCH, seed=0, stream=("check",))
    train(model, part, steps, _PROFILE, seed=0, stream=("check",), where="in the check")
    after = float(_seen(model, training=False, count=64)[0].mean())
    if not after < _FALLS * before:
        raise Violation(
            f"after {_EPOCHS} passes over {len(part[_TASK])} pictures its loss on 64 of them is {after:.3f}, before it "
            f"was {before:.3f}; {_FALLS} of that at most is expected."
        )


def _clause(name: str, expected: str, check: Check) -> Clause:
    return Clause("pretexts", name, expected, check)


CLAUSES = (
    _clause(LOADS, loading.EXPECTED, _loads),
    _clause("loss", "it gives a finite loss and features of each sample, also in the smallest batch.", _loss),
    _clause("deterministic", "one torch seed gives the same losses; evaluated, they are the same every time.",
            _deterministic),
    _clause("gradients", "a gradient reaches every parameter of encoder and head.", _gradients),
    _clause("functional", "it computes with the weights that it is called with.", _functional),
    _clause("learns", "its loss falls on the pictures that it is trained on.", _learns),
)  # fmt: skip
