"""The contract of a stage: what the server does with public data after each aggregation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from fedmeki_bench.options import bracketed

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.server import Server, ServerContext
    from fedmeki_bench.foundation.injected import Injected
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.task import Task


ParamsT = TypeVar("ParamsT", bound=BaseModel, default=Any)


class Stage(Generic[ParamsT]):
    """Base of all stages: the server's step after combining; the base class does nothing (``none``).

    Attributes:
        version: raised whenever the stage's numbers change; part of every run's identity.
        views: the views it adds to those of the rule.
        instead: view of a rule -> the view that takes its place, where clients train something else than decoders.
        variants: suffixes of algorithm names that mean this stage -> (view that is scored, mark in tables); a suffix
            ``star`` makes ``fedavg_m_star``. Without any, the stage's registered name is the suffix.
    """

    title: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paper: ClassVar[str] = ""
    views: ClassVar[tuple[str, ...]] = ()
    instead: ClassVar[Mapping[str, str]] = {}
    variants: ClassVar[Mapping[str, tuple[str, str]]] = {}

    class Params(BaseModel):
        """The stage's own parameters, validated; none by default."""

        model_config = ConfigDict(extra="forbid")

    params: ParamsT

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Params" not in vars(cls) and (found := bracketed(cls)) is not None:
            cls.Params = found  # type: ignore[misc,assignment]

    def __init__(self, params: ParamsT | None = None) -> None:
        self.params = params if params is not None else self.Params()  # type: ignore[assignment]

    def client_model(self, tasks: Mapping[str, Task], **how: Any) -> ClientModel:
        """What clients train: by default an encoder for each modality and a decoder for each task.

        Args:
            tasks: the training tasks by name.
            how: the other arguments of :class:`~fedmeki_bench.models.client_model.ClientModel`.
        """
        from fedmeki_bench.models.client_model import ClientModel

        return ClientModel({name: task.meta.modalities for name, task in tasks.items()}, **how)

    def run(self, server: Server, public: Mapping[str, CohortPart], ctx: ServerContext) -> None:
        """Change ``server.model`` (and ``server.memory``) using the public split of every task."""

    def foundation(self, server: Server, ctx: ServerContext) -> Injected | None:
        """The injected foundation model as it stands on the server; None for stages without one."""
        return None
