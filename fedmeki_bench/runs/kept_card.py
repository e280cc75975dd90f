"""What lies beside kept tensors: ``model.json``, from which a model can be put together again without its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fedmeki_bench.bounded import bounded_json, first_problem, regular_text
from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

CARD, MODEL, INJECTED, FOLDER = "model.json", "model.safetensors", "injected.safetensors", "model"

_LARGEST = 10_000_000  # bytes; a card of a hundred tasks has a hundredth of it


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeptInput(_Strict):
    """How the model takes a modality: see :class:`~fedmeki_bench.models.encoder.Input`."""

    shape: tuple[int, ...]
    scale: float
    facts: dict[str, Any]


class KeptLabels(_Strict):
    """What a decoder was trained on, see :class:`~fedmeki_bench.kinds.kind.LabelSpec`; absent means yes or no."""

    kind: str
    classes: tuple[str, ...] = ()
    unit: str = ""
    centre: float = 0.0
    spread: float = 1.0


class KeptTask(_Strict):
    """A task that the model was trained on or asked, its version, and the hash of its cohort's card.

    ``optional`` modalities are those that a sample may lack.
    """

    version: int
    modalities: tuple[str, ...]
    optional: tuple[str, ...] = ()
    role: str
    cohort: str
    synthetic: bool
    labels: KeptLabels | None = None


class KeptCard(_Strict):
    """Everything about a kept model that is not a tensor.

    Attributes:
        key: of the run that left it.
        seed: of that run.
        profile: its resolved profile: encoders, sizes, precision.
        rule: its rule.
        stage, stage_version, stage_params: its stage; a path of a foundation model as records hold it.
        foundation: what the foundation model is (its recipe or the digest of its files), or None.
        tasks: name -> what the model was trained on (role ``training``) or asked.
        inputs: modality -> how it is taken, with the series' statistics, so that no cohort is needed.
        pretext: what it learnt in the place of labels; empty of a model that answers its tasks.
        units: units of exchange (``encoder.image``) of the client model.
        files: name -> SHA-256 of the tensor files.
    """

    schema_version: Literal[2] = 2
    key: str
    algorithm: str
    rule: str
    stage: str
    stage_version: int
    stage_params: dict[str, Any]
    foundation: str | None = None
    seed: int
    profile: dict[str, Any]
    tasks: dict[str, KeptTask]
    inputs: dict[str, KeptInput]
    pretext: str = ""
    units: tuple[str, ...]
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """16 hex digits of the content of the client model: what a run that starts from it is named by."""
        return self.files[MODEL][:16]


def kept_folder(place: Path | str) -> Path:
    """The folder that holds ``model.json``: the one given, or ``model`` in a run's folder.

    Raises:
        InputError: there is none.
    """
    place = Path(place)
    for folder in (place, place / FOLDER):
        if (folder / CARD).is_file():
            return folder
    if not any((folder / MODEL).is_file() for folder in (place, place / FOLDER)):
        raise InputError(f"no kept model in {place}: name the folder RESULTS/KEY of a run made with --keep-model")
    raise InputError(f"the model kept in {place} has no {CARD}, so it can't be opened: run again with --keep-model")


def read_kept(folder: Path) -> KeptCard:
    """The card of a kept model.

    Raises:
        InputError: it is missing or damaged.
    """
    path = folder / CARD
    try:
        card = KeptCard.model_validate(bounded_json(regular_text(path, _LARGEST, "card of a kept model")))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is missing") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from error
    except ValueError as error:
        raise InputError(f"{path}: is damaged: {error}") from error
    if MODEL not in card.files or len(card.files[MODEL]) < 16:
        raise InputError(f"{path}: names no digest of {MODEL}")
    return card


def kept_tensors(folder: Path, card: KeptCard, name: str) -> Mapping[str, Tensor]:
    """The tensors of one file, by name, on the CPU.

    Raises:
        InputError: the file is missing, or is not what the card says.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / name
    try:
        if file_digest(path) != card.files.get(name):
            raise InputError(f"{path} is damaged: it is not the file that {CARD} was written with")
        found: Mapping[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: the kept model is not whole") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return found
