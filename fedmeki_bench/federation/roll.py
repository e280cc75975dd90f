"""What the server knows of all clients: counted once, and again where a client's samples or the model have changed.

Of ten thousand clients fifty train in a round; to count what all of them hold would take as long as the training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.federation.seat import samples_of, units_of

if TYPE_CHECKING:
    from fedmeki_bench.federation.client import Client
    from fedmeki_bench.models.client_model import ClientModel

Tasks = tuple[str, ...]
Weigh = Callable[["Held"], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Held:
    """What a client holds for some tasks, as long as it has these samples and these units are frozen.

    Attributes:
        data: the mapping that was counted; a client whose samples change gets another one.
        frozen: the units that were frozen then.
        sizes: those of the tasks that it has samples of -> how many.
        units: the units of exchange that these tasks use, in the model's order.
        samples: unit -> how many of its samples train it.
    """

    data: Mapping[str, Any]
    frozen: frozenset[str]
    sizes: Mapping[str, int]
    units: tuple[str, ...]
    samples: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Everybody:
    """What all clients together hold for some tasks.

    Attributes:
        sizes: client -> how many samples it has, of all the tasks; clients without any are left out.
        holders: unit -> how many clients have data for a task that uses it.
        weights: unit -> the sum of their weights.
    """

    sizes: Mapping[int, int]
    holders: Mapping[str, int]
    weights: Mapping[str, float]


class Roll:
    """The clients and what each holds.

    Args:
        clients: gives them, by number, whenever they are counted.
        data_of: the samples that count of a client.
        model_of: a client's work model.
        weigh: unit -> a client's weight before it is normalised.
    """

    def __init__(
        self, clients: Callable[[], Sequence[Client]], model_of: Callable[[int], ClientModel], weigh: Weigh,
        data_of: Callable[[Client], Mapping[str, Any]] = lambda client: client.data,
    ) -> None:  # fmt: skip
        self._clients, self._model_of, self._weigh, self._data_of = clients, model_of, weigh, data_of
        self._held: dict[Tasks, dict[int, Held]] = {}
        self._everybody: dict[Tasks, tuple[Sequence[Held], Everybody | None]] = {}

    def held(self, client: int, tasks: Tasks) -> Held:
        """What a client holds for these tasks."""
        known, frozen = self._held.setdefault(tasks, {}), self._frozen(client)
        data = self._data_of(self._clients()[client])
        found = known.get(client)
        if found is None or found.data is not data or found.frozen is not frozen:
            model = self._model_of(client)
            parts = {task: data[task] for task in tasks if task in data and len(data[task])}
            sizes = {task: len(part) for task, part in parts.items()}
            known[client] = found = Held(data, frozen, sizes, units_of(model, parts), samples_of(model, parts))
        return found

    def everybody(self, tasks: Tasks) -> Everybody:
        """What all clients hold for these tasks."""
        now = [(self._data_of(client), self._frozen(client.number)) for client in self._clients()]
        every, known = self._everybody.get(tasks, ((), None))
        if known is None or len(every) != len(now) or any(
            held.data is not data or held.frozen is not frozen for held, (data, frozen) in zip(every, now, strict=True)
        ):  # fmt: skip
            every = [self.held(client.number, tasks) for client in self._clients()]
            known = self._summed(every)
            self._everybody[tasks] = every, known
        return known

    def _frozen(self, client: int) -> frozenset[str]:
        return self._model_of(client).frozen

    def _summed(self, every: Sequence[Held]) -> Everybody:
        holders: dict[str, int] = {}
        weights: dict[str, float] = {}
        for held in every:
            for unit, weight in self._weigh(held).items():
                holders[unit] = holders.get(unit, 0) + 1
                weights[unit] = weights.get(unit, 0) + weight
        sizes = {client: sum(held.sizes.values()) for client, held in enumerate(every) if held.sizes}
        return Everybody(sizes, holders, weights)
