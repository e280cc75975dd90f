"""The contract of a stage: what the server does with public data after each aggregation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import CohortPart
    from fedmeki_bench.federation.server import Server, ServerContext


class Stage:
    """Base of all stages: the server's step after combining; the base class does nothing (``none``).

    Attributes:
        version: raised whenever the stage's numbers change; part of every run's identity.
        views: the views it adds to those of the rule.
    """

    title: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paper: ClassVar[str] = ""
    views: ClassVar[tuple[str, ...]] = ()

    class Params(BaseModel):
        """The stage's own parameters, validated; none by default."""

        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: BaseModel | None = None) -> None:
        self.params = params if params is not None else self.Params()

    def run(self, server: Server, public: Mapping[str, CohortPart], ctx: ServerContext) -> None:
        """Change ``server.model`` (and ``server.memory``) using the public split of every task."""
