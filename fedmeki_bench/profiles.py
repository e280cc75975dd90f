"""Profiles: named budgets. A profile is part of a result's identity and is printed over every table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fedmeki_bench.errors import UsageError, nearest
from fedmeki_bench.options import later


class EncoderChoice(BaseModel):
    """Which encoder reads a modality, with its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    params: dict[str, Any] = Field(default_factory=dict)


class Profile(BaseModel):
    """Model sizes and training budget of a run; every field can be set with ``-o field=value``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="name of the budget")
    rounds: int = Field(ge=1, le=100_000, description="communication rounds")
    local_epochs: int = Field(1, ge=1, le=1000, description="passes over a client's own data per round")
    local_steps: int = later(
        0, since="0.2.0", ge=0, le=1_000_000, description="optimiser steps of each task at a client per round, in the "
        "place of local_epochs: the same however much a client holds; 0 goes by epochs",
    )  # fmt: skip
    batch_size: int = Field(64, ge=1, description="samples per optimiser step")
    lr: float = Field(1e-4, gt=0, description="learning rate of the clients' optimiser")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="the clients' optimiser, fresh each round")
    momentum: float = later(
        0.0, since="0.1.0", ge=0, lt=1, description="momentum of sgd, from nothing each round; adam has its own"
    )
    lr_decay: float = later(
        1.0, since="0.1.0", gt=0, le=1, description="factor on the clients' learning rate after each round"
    )
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty inside the optimiser")
    clip: float = Field(1.0, gt=0, description="largest gradient norm; larger gradients are scaled down to it")
    participation: float = Field(1.0, gt=0, le=1, description="share of the clients that train in a round")
    delay: Literal["halfnormal", "samples"] = later(
        "halfnormal",
        since="0.1.0",
        description="how long a client takes on the simulated clock of asynchronous "
        "rules: drawn anew each time, as in FedBuff's paper, or in proportion to its samples",
    )
    weighting: Literal["samples", "uniform"] = Field(
        "samples", description="weights of the mean: sample counts, or uniform as in the published code"
    )
    exchange: Literal["round", "task"] = Field(
        "round", description="exchange once per round, or after every task as in the published code"
    )
    image_size: int = Field(224, ge=16, le=1024, description="side of the pictures the model sees, in pixels")
    volume_size: tuple[int, int, int] = Field(
        (16, 32, 32), description="largest depth, height and width of the volumes the model sees, in voxels"
    )
    precision: Literal["float32", "bf16"] = Field("float32", description="arithmetic of the forward pass")
    threads: int = Field(
        1, ge=0, le=512, description="threads per run; 0 means all cores (same bits need the same number)"
    )
    encoders: dict[str, EncoderChoice] = Field(description="encoder per modality")
    client_encoders: tuple[str, ...] = later(
        (),
        since="0.1.0",
        description="encoders that differ between clients: of each modality those named here are "
        "taken in turn, as they are by default; for rules that combine no weights, such as fedmd",
    )
    decoder_hidden: dict[str, int] = Field(
        default_factory=dict, description="hidden width of the decoder behind a modality; 0 or absent: linear"
    )

    @field_validator("volume_size")
    @classmethod
    def _bearable(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 1 or max(value) > 1024:
            raise ValueError("depth, height and width are from 1 to 1024")
        return value

    @model_validator(mode="after")
    def _momentum_of_sgd(self) -> Profile:
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum is a setting of optimizer=sgd, not of {self.optimizer}")
        return self

    @field_validator("encoders", mode="before")
    @classmethod
    def _plain_names(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {m: {"name": c} if isinstance(c, str) else c for m, c in value.items()}
        return value


def _demo() -> Profile:
    return Profile(
        name="demo", rounds=12, local_epochs=2, batch_size=16, lr=2e-3, image_size=64, threads=1,
        encoders={
            "image": EncoderChoice(name="small_image"),
            "signal": EncoderChoice(name="small_signal"),
            "volume": EncoderChoice(name="small_volume"),
            "clinical": EncoderChoice(name="clinical", params={"width": 64, "hidden": 64, "heads": 4}),
            "labs": EncoderChoice(name="labs", params={"width": 64, "hidden": 64, "heads": 4}),
        },
    )  # fmt: skip


def _paper() -> Profile:
    # FedMEKI, section "Implementation": 10 rounds, 1 local epoch, batch 64, Adam 1e-4, clip 1.
    return Profile(
        name="paper", rounds=10, local_epochs=1, batch_size=64, lr=1e-4, image_size=224,
        volume_size=(32, 256, 256), threads=0,
        encoders={
            "image": EncoderChoice(name="deit_tiny"),
            "signal": EncoderChoice(name="published_signal"),
            "volume": EncoderChoice(name="vit3d"),
            "clinical": EncoderChoice(name="clinical"),
            "labs": EncoderChoice(name="labs"),
        },
        decoder_hidden={"image": 128},
    )  # fmt: skip


PROFILES = {"demo": _demo, "paper": _paper}

_LATER: dict[str, tuple[str, ...]] = {"volume": ("volume_size",), "labs": ()}
"""Modalities that came after results did -> further fields of a profile that are theirs alone."""


def concerning(values: Mapping[str, Any], modalities: Collection[str]) -> dict[str, Any]:
    """A profile's values without those that concern only modalities which came later and which no task here reads.

    So a new modality, too, leaves the names of finished runs alone (see :func:`fedmeki_bench.options.later`).
    """
    absent = [modality for modality in _LATER if modality not in modalities]
    fields = {field for modality in absent for field in _LATER[modality]}
    kept = {name: value for name, value in values.items() if name not in fields}
    return kept | {"encoders": {m: choice for m, choice in kept["encoders"].items() if m not in absent}}


def profile(name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        UsageError: no such profile.
    """
    if name not in PROFILES:
        raise UsageError(f"unknown profile {name!r}; {nearest(name, PROFILES)}")
    return PROFILES[name]()
