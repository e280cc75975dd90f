"""Training without labels as an option of a run: ``-o pretext=simclr``.

Every training task of the run becomes its self-supervised twin: the same cohort, clients and units, with the pretext's
head and loss. The run leaves encoders to start others from, and no scores on the test split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from fedmeki_bench import registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.axes import PRETRAIN as PRETRAIN
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import parse_options

if TYPE_CHECKING:
    from fedmeki_bench.models.pretext import Pretext
    from fedmeki_bench.profiles import Profile

SECTION = "pretext"


class PretextChoice(BaseModel):
    """The section ``pretext``: absent from runs that train on labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field("", description="train without labels: simclr, mae; also written pretext=simclr")
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="the pretext's own options, each also written pretext.KEY, e.g. pretext.masked",
    )


def resolved(given: Mapping[str, Any], algorithm: Algorithm) -> dict[str, Any]:
    """The section with all parameters; empty without a pretext.

    Raises:
        UsageError: there is no such pretext.
        InputError: it has no such option, or the algorithm can't be trained without labels.
    """
    choice = parse_options(PretextChoice, given, owner="the pretext")
    if not choice.kind:
        if choice.params:
            raise InputError(f"pretext.{next(iter(choice.params))} needs a pretext, as in -o pretext=simclr")
        return {}
    cls = registry.load("pretexts", choice.kind)
    params = parse_options(cls.Params, choice.params, owner=f"pretext {choice.kind}").model_dump(mode="json")
    if algorithm.stage != "none":
        raise InputError(
            f"pre-training reads no labels, and the stage {algorithm.stage!r} of {algorithm.name} learns from some: "
            f"pre-train with {algorithm.rule}_{algorithm.scope}, then start {algorithm.name} from what it leaves"
        )
    if not registry.load("rules", algorithm.rule).trains:
        raise InputError(f"rule {algorithm.rule!r} trains nothing, so it can't be pre-trained")
    return {"kind": choice.kind, "params": params}


def made(section: Mapping[str, Any] | None) -> Pretext | None:
    """The pretext of a run, from its section; None for a run that trains on labels."""
    if not section:
        return None
    cls = registry.load("pretexts", section["kind"])
    found: Pretext = cls(cls.Params(**section["params"]))
    return found


def notes(pretext: Pretext, name: str, counts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What a record of such a run says of itself.

    Args:
        counts: task -> what each client holds, with its number of samples ``n``.
    """
    said = [f"trained by {name} without labels: it has no test scores, and is there for others to start from"]
    for task, held in counts.items():
        few = sum(0 < client["n"] < pretext.least for client in held)
        if few:
            said.append(f"{task}: {few} of {len(held)} clients took no part: {name} compares {pretext.least} samples")
    return said


def check_encoders(pretext: Pretext, settings: Profile, modalities: set[str]) -> None:
    """Refuse encoders that can't be trained so, before anything is.

    Raises:
        InputError: names the encoder.
    """
    from fedmeki_bench.models.inputs import encoder_of

    pretext.check({modality: encoder_of(modality, settings) for modality in sorted(modalities)})
    if settings.batch_size < pretext.least:
        raise InputError(
            f"batch_size={settings.batch_size} is too small: {pretext.least} samples at least are compared"
        )


def check_parameters(settings: Profile, modalities: set[str]) -> None:
    """Refuse parameters that an encoder lacks, before anything is trained.

    Raises:
        InputError: names the parameter, and the encoder.
    """
    from fedmeki_bench.models.inputs import encoder_of

    for modality in sorted(modalities & settings.encoders.keys()):
        choice = settings.encoders[modality]
        parse_options(encoder_of(modality, settings).Params, choice.params, owner=f"encoder {choice.name}")
