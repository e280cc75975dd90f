"""Views that give scores, such as probabilities: the global model, the clients' own models, a constant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.data.clients.own_patients import owners
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.evaluation.view import Served, View

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.task import Task


def holders(federation: Federation, task: str) -> list[int]:
    """The clients that have samples of a task."""
    return [client.number for client in federation.clients if task in client.data and len(client.data[task])]


def own_index(federation: Federation, task: Task, part: CohortPart) -> dict[int, np.ndarray]:
    """Client -> the positions of the held-out samples that would be its own; those without any are left out."""
    import numpy as np

    name = task.meta.name
    holding = holders(federation, name)
    if not holding:
        return {}
    owner = owners({client: federation.clients[client].data[name] for client in holding}, part, federation.seed)
    index = {client: np.flatnonzero(owner == client) for client in holding}
    return {client: mine for client, mine in index.items() if len(mine)}


class Aggregated(View):
    """The global model: encoders and the task's decoder as they stand on the server."""

    def predict(self, federation: Served, task: Task, part: CohortPart) -> np.ndarray:
        """See :class:`View`."""
        from fedmeki_bench.models.scoring import scores

        federation.model.load(federation.server.model)
        return scores(federation.model, task.meta.name, part, precision=federation.settings.precision)


class Personal(View):
    """Every client's own model on the same samples, (clients, n[, K]); those without the task are left out."""

    explained = "The mean over clients of what each client's own model scores on the patients of all hospitals."
    also = ("own",)

    def predict(self, federation: Federation, task: Task, part: CohortPart) -> np.ndarray:  # type: ignore[override]
        """See :class:`View`; only a federation has clients."""
        import numpy as np

        from fedmeki_bench.federation.questions import Scores

        name = task.meta.name
        holding = holders(federation, name)
        if not holding:
            raise RunFailed(f"no client holds data for the task {name!r}")
        return np.stack(list(federation.ask(Scores(name, part), holding, (name,))))


class Own(View):
    """Each sample by the model of the client whose patient it would be, (n[, K]), as personalised learning publishes.

    Held-out patients are shared out as the private ones are (``data/clients/own_patients.py``), each to one client, and
    all of them are scored together. So a global model has the same value here as on the common split, and rows of both
    kinds can be compared.
    """

    explained = (
        "Each patient is scored once, by the model of the hospital whose patient they would be: held-out patients are "
        "shared out over the clients by site and label as the private ones are. A global model has its usual value."
    )

    def predict(self, federation: Federation, task: Task, part: CohortPart) -> np.ndarray:  # type: ignore[override]
        """See :class:`View`; only a federation has clients."""
        import numpy as np

        from fedmeki_bench.federation.questions import Scores

        name = task.meta.name
        index = own_index(federation, task, part)
        if not index:
            raise RunFailed(f"no client holds data for the task {name!r}")
        found: np.ndarray | None = None
        for client, mine in zip(index, federation.ask(Scores(name, part, index), index), strict=True):
            if found is None:
                found = np.empty((len(part), *mine.shape[1:]), dtype=mine.dtype)
            found[index[client]] = mine
        return np.empty(0) if found is None else found


class Constant(View):
    """What the rule says of every sample alike, such as the share of positives that the clients reported."""

    def predict(self, federation: Federation, task: Task, part: CohortPart) -> np.ndarray:  # type: ignore[override]
        """See :class:`View`."""
        import numpy as np

        spec = federation.model.labels[task.meta.name]
        means = np.asarray(federation.rule.constant(federation.server, task.meta.name), dtype=np.float64)
        constant = np.asarray(spec.how.constant(means, spec))
        return np.tile(constant, (len(part), *[1] * constant.ndim))
