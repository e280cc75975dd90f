"""Views that give scores, such as probabilities: the global model, the clients' own models, a constant."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from fedmeki_bench.data.clients.own_patients import owners
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.evaluation.view import Served, View

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.task import Task

_BATCH = 256


def scores(model: ClientModel, task: str, part: CohortPart, *, precision: str = "float32") -> np.ndarray:
    """What the model says of each sample as the task's kind scores it, in evaluation mode; float64.

    (n,) probabilities of the positive class, (n, K) probabilities of classes or findings, or (n,) numbers.
    """
    import numpy as np
    import torch

    model.eval()
    autocast = torch.autocast(model.device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    found, spec = [], model.labels[task]
    with torch.no_grad(), autocast:
        for start in range(0, len(part), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(part)))
            logits = model(task, model.read(part, index)).logits
            found.append(spec.how.scores(logits, spec))
    return np.concatenate(found) if found else np.empty(0)


class Aggregated(View):
    """The global model: encoders and the task's decoder as they stand on the server."""

    def predict(self, federation: Served, task: Task, part: CohortPart) -> np.ndarray:
        """See :class:`View`."""
        federation.model.load(federation.server.model)
        return scores(federation.model, task.meta.name, part, precision=federation.settings.precision)


class Personal(View):
    """Every client's own model on the same samples, (clients, n[, K]); those without the task are left out."""

    explained = "The mean over clients of what each client's own model scores on the patients of all hospitals."
    also = ("own",)

    def predict(self, federation: Federation, task: Task, part: CohortPart) -> np.ndarray:  # type: ignore[override]
        """See :class:`View`; only a federation has clients."""
        import numpy as np

        rows = []
        for client in federation.clients:
            ctx = federation.context(client.number, federation.server.round, (task.meta.name,))
            if not ctx.data:
                continue
            federation.load_personal(ctx)
            rows.append(scores(ctx.model, task.meta.name, part, precision=federation.settings.precision))
        if not rows:
            raise RunFailed(f"no client holds data for the task {task.meta.name!r}")
        return np.stack(rows)


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

        name = task.meta.name
        contexts = [federation.context(client.number, federation.server.round) for client in federation.clients]
        holding = {ctx.client: ctx for ctx in contexts if name in ctx.data}
        if not holding:
            raise RunFailed(f"no client holds data for the task {name!r}")
        owner = owners({client: ctx.data[name] for client, ctx in holding.items()}, part, federation.seed)
        found: np.ndarray | None = None
        for client, ctx in holding.items():
            index = np.flatnonzero(owner == client)
            if not len(index):
                continue
            federation.load_personal(ctx)
            mine = scores(ctx.model, name, part.take(index), precision=federation.settings.precision)
            if found is None:
                found = np.empty((len(part), *mine.shape[1:]), dtype=mine.dtype)
            found[index] = mine
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
