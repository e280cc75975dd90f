"""What of the samples is in use in a round, where tasks follow one another.

Nothing of it is stored: which patients are rehearsed follows from the seed, the task and the client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fedmeki_bench import seeds
from fedmeki_bench.data.clients.holding import Holding
from fedmeki_bench.data.clients.shares import rows_of_share
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation.curriculum import Curriculum

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.client import Client
    from fedmeki_bench.federation.rule import Rule
    from fedmeki_bench.federation.server import Server, ServerContext
    from fedmeki_bench.models.client_model import ClientModel

Told = Mapping[int, Mapping[str, Holding]]
"""Client -> task -> what is told of the samples it has in use."""


class Portions:
    """The samples in use, of clients and of the server.

    Args:
        curriculum: which tasks are active when; None for all of them in every round.
        seed: the run's.
        tell: a round -> what is told of samples that are elsewhere; asked once per phase, and only where some are.
    """

    def __init__(self, curriculum: Curriculum | None, seed: int, tell: Callable[[int], Told] | None = None) -> None:
        self._curriculum, self._seed, self._tell = curriculum, seed, tell
        self._known: dict[int, tuple[int, Mapping[str, Any], dict[str, Any]]] = {}
        self._public: tuple[int, Mapping[str, Any], dict[str, Any]] | None = None
        self._told: tuple[int, Told] | None = None

    def of(self, client: Client, round: int) -> Mapping[str, Any]:
        """Task -> what a client uses in a round: the same mapping all through a phase."""
        if self._curriculum is None:
            return client.data
        phase = self._curriculum.phase(round)
        known = self._known.get(client.number)
        if known is None or known[0] != phase or known[1] is not client.data:
            found = self._chosen(self._curriculum.active(round), client.data, round, client.number)
            self._known[client.number] = known = (phase, client.data, found)
        return known[2]

    def public(self, public: Mapping[str, CohortPart], round: int) -> Mapping[str, CohortPart]:
        """Task -> the public samples that the server uses in a round."""
        if self._curriculum is None:
            return public
        phase = self._curriculum.phase(round)
        if self._public is None or self._public[0] != phase or self._public[1] is not public:
            self._public = (phase, public, self._chosen(self._curriculum.active(round, "server"), public, round, None))
        return self._public[2]

    def tasks(self, model: ClientModel, round: int) -> tuple[str, ...]:
        """The tasks of a model that clients train in a round, in the model's order."""
        active = model.tasks if self._curriculum is None else self._curriculum.active(round)
        return tuple(task for task in model.tasks if task in active)

    def begin(self, server: Server, context: ServerContext, public: Mapping[str, CohortPart], round: int) -> None:
        """Tell the server which round it is, and of which phase."""
        server.round = context.round = round
        if self._curriculum is not None:
            server.earlier = self._curriculum.earlier(round)
            context.began, context.rounds = self._curriculum.began(round), self._curriculum.length(round)
            context.public = dict(self.public(public, round))

    def began(self, round: int) -> int:
        """The round in which the phase of a round began; 0 without phases."""
        return 0 if self._curriculum is None else self._curriculum.began(round)

    def _chosen(
        self, active: Mapping[str, float], data: Mapping[str, Any], round: int, client: int | None
    ) -> dict[str, Any]:  # fmt: skip
        return {
            task: part if active[task] == 1 else self._share(part, active[task], task, client, round)
            for task, part in data.items()
            if task in active
        }

    def _share(self, part: Any, share: float, task: str, client: int | None, round: int) -> Any:
        if isinstance(part, Holding):
            assert client is not None
            return self._elsewhere(round)[client][task]
        return rehearsed(part, share, self._seed, task, client)

    def _elsewhere(self, round: int) -> Told:
        began = self.began(round)
        if self._told is None or self._told[0] != began:
            assert self._tell is not None
            self._told = (began, self._tell(round))
        return self._told[1]


def rehearsed(part: CohortPart, share: float, seed: int, task: str, client: int | None) -> CohortPart:
    """The patients of an earlier task that are trained on again: a share of a client's own, or of the public ones."""
    return part.take(rows_of_share(part.group_ids, share, seeds.generator(seed, "rehearsal", task, client)))


def check_curriculum(curriculum: Curriculum, rule: Rule) -> None:
    """Refuse a rule for which phases make no sense.

    Raises:
        InputError: says why.
    """
    if rule.buffer:
        raise InputError(
            f"rule {type(rule).__name__} is asynchronous: updates of one task would come back in the phase of another; "
            "take regime=joint, or another rule"
        )
    if rule.uses_public and 0 < curriculum.rehearsal < 1 and curriculum.rehearse_at != "clients":
        raise InputError(
            f"rule {type(rule).__name__} remembers what was said of each public sample, so a part of them can't be "
            "rehearsed: take rehearsal=1 or rehearse_at=clients"
        )
