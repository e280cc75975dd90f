"""One communication round of a federation built by hand, printing what travels: python examples/one_round.py

Everything the harness adds (boards, records, intervals) is left out. What remains is the core: a model of named units,
a rule, two hospitals, a server. docs/life_of_a_round.md walks through the same steps in the code that this calls.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from fedmeki_bench import registry
from fedmeki_bench.api import Iid, Payload, Rule, Stage, Update
from fedmeki_bench.data.clients.assignment import assign
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.federation.client import Client, ClientContext
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.profiles import profile


class Talkative(Rule):
    """FedAvg, saying what it sends and receives. A rule of your own overrides what its paper changes."""

    def broadcast(self, server, client: int, units: tuple[str, ...]) -> Payload:
        payload = super().broadcast(server, client, units)
        print(f"  server -> client {client}: {', '.join(units)} ({payload.nbytes:,} bytes)")
        return payload

    def client_update(self, ctx: ClientContext, received: Payload) -> Update:
        update = super().client_update(ctx, received)
        print(f"  client {ctx.client} -> server: loss {update.loss:.3f} after {update.steps} steps on {ctx.samples}")
        return update


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        raw, data = Path(folder) / "raw", Path(folder) / "data"
        dataset, task = registry.load("datasets", "ptbxl")(), registry.load("tasks", "ecg_abnormal")()
        dataset.synthesize(raw, size=120, seed=0)  # a stand-in; a real release lies in the same layout
        prepare(dataset, raw, data, [task], dataset.Options(), workers=1)

        cohort = Cohort.open(data / "ecg_abnormal")
        parts = assign({"ecg_abnormal": cohort}, Iid(), clients=2, seed=0).parts  # whole patients, split `client` alone
        hospitals = [Client(number, samples) for number, samples in enumerate(parts)]
        budget = profile("demo").model_copy(update={"rounds": 1, "local_epochs": 1})
        encoders = {m: (choice.name, choice.params) for m, choice in budget.encoders.items()}
        model = ClientModel({"ecg_abnormal": ("signal",)}, inputs_of([cohort], budget), encoders, hidden={}, seed=0)
        federation = Federation(
            model, Talkative(), Stage(), hospitals, {"ecg_abnormal": cohort.part("public")}, budget, seed=0
        )
        before = federation.server.model.clone()
        print("round 1")
        done = federation.round(0)
        moved = (federation.server.model.flat - before.flat).norm()
        print(f"  the global model moved by {moved:.3f}; {done.bytes_down:,} bytes down, {done.bytes_up:,} up")


if __name__ == "__main__":
    main()
