"""The server: the global model, what the rule remembers there, and the weighted mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedmeki_bench.federation.training import Trained, schedule, train

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import CohortPart
    from fedmeki_bench.federation.payload import Update
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.flat import FlatTensors
    from fedmeki_bench.models.injected import Injected
    from fedmeki_bench.profiles import Profile
    from fedmeki_bench.task import Task


@dataclass
class Server:
    """What the server holds between rounds; all of it is in the checkpoint.

    Attributes:
        model: the global model.
        memory: the rule's and stage's own state: tensors, flat tensors, numbers, texts and dicts of these.
        round: 0-based communication round.
        clients: how many clients the federation has.
        send_buffers: false under the ``local`` buffer policy.
    """

    model: FlatTensors
    clients: int
    send_buffers: bool = True
    memory: dict[str, Any] = field(default_factory=dict)
    round: int = 0

    def outgoing(self, units: Iterable[str]) -> FlatTensors:
        """A copy of these units of the global model, with or without buffers as the policy says."""
        return self.model.restrict(units, buffers=self.send_buffers)

    def mean(self, updates: Iterable[Update]) -> FlatTensors:
        """The mean of the clients' models, unit by unit, weighted by ``Update.share``.

        Streaming: one update is held at a time. Shares are normalised before multiplying. A unit that nobody
        trained keeps the global value; a client with share 0 has no influence, whatever its values.
        """
        result = self.model.clone()
        started: set[str] = set()
        for update in updates:
            if update.model is None:
                continue
            for unit in update.model.modules:
                share = update.share.get(unit, 0.0)
                if share == 0.0:
                    continue
                values = update.model.segment(unit)
                target = result.segment(unit)[: values.numel()]
                if unit in started:
                    target.add_(values, alpha=share)
                else:
                    target.copy_(values).mul_(share)
                    started.add(unit)
        return result


class ServerContext:
    """What a stage may use: the resident model to train in, settings and seeds.

    Attributes:
        model: the resident work model; load ``server.model`` into it before use.
        settings: the run's profile.
        seed: the run's seed; derive streams from it, never draw from a global generator.
        round: 0-based communication round.
        rounds: how many there are.
        tasks: the training tasks by name.
    """

    def __init__(
        self,
        model: ClientModel,
        settings: Profile,
        *,
        seed: int,
        rounds: int = 1,
        tasks: Mapping[str, Task] | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.seed = seed
        self.round = 0
        self.rounds = rounds
        self.tasks = dict(tasks or {})
        self._injected: Injected | None = None

    def fine_tune(
        self, start: FlatTensors, public: Mapping[str, CohortPart], *, epochs: int, lr: float | None = None
    ) -> tuple[FlatTensors, Trained]:
        """Train from ``start`` on public data with the clients' own loop; returns the new values."""
        self.model.load(start)
        stream = ("server", "round", self.round)
        steps = schedule(public, epochs=epochs, batch_size=self.settings.batch_size, seed=self.seed, stream=stream)
        trained = train(
            self.model, public, steps, self.settings, seed=self.seed, stream=stream,
            where=f"in round {self.round + 1} at the server", lr=lr,
        )  # fmt: skip
        return self.model.values.clone(), trained

    def injected(
        self, server: Server, foundation: str, adapter: Mapping[str, Any], *, scale_soft: bool,
        gradient_checkpointing: bool = False, trust_remote_code: bool = False,
    ) -> Injected:  # fmt: skip
        """The foundation model with what has been injected so far; loaded once, then resident.

        Args:
            foundation: ``tiny``, or the folder or name of a causal LM.
            adapter: keywords of :class:`~fedmeki_bench.models.injected.AdapterChoice`.
            scale_soft: start soft tokens at the size of the model's embeddings.
        """
        if self._injected is None:
            from fedmeki_bench.models.foundation.build import build
            from fedmeki_bench.models.injected import AdapterChoice, Injected

            language = build(
                foundation,
                device=self.model.device,
                gradient_checkpointing=gradient_checkpointing,
                trust_remote_code=trust_remote_code,
            )
            self._injected = Injected(
                language, self.model, AdapterChoice(**adapter), seed=self.seed, scale_soft=scale_soft
            )
            if "injected" in server.memory:
                self._injected.load_state_dict(server.memory["injected"])
        return self._injected

    def inject(self, server: Server, injected: Injected, public: Mapping[str, CohortPart], **options: Any) -> float:
        """Train the way in on public data; encoders go back to ``server.model``, the rest to ``server.memory``.

        Options are those of :func:`fedmeki_bench.federation.injecting.inject`; returns the mean loss.
        """
        from fedmeki_bench.federation.injecting import inject

        self.model.load(server.model)
        loss = inject(
            injected, self.model, public, self.tasks, seed=self.seed, round=self.round, rounds=self.rounds, **options
        )
        server.model.load(self.model.values)
        server.memory["injected"] = {name: value.clone() for name, value in injected.state_dict().items()}
        server.memory["injection_loss"] = [*server.memory.get("injection_loss", []), loss]
        return loss
