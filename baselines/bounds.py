"""Rules that are not competitors but reference rows: what a constant knows, what each client knows alone."""

from __future__ import annotations

from fedmeki_bench.api import Payload, Rule, Update


class Local(Rule):
    """Each client trains alone and is scored alone; nothing is combined."""

    title = "Local"
    version = 3
    views = ("personal",)
    any_architecture = True

    def client_update(self, ctx, received):
        ctx.load_personal(received)
        ctx.train(self, received)
        ctx.keep_personal()
        update = ctx.update()
        return Update(ctx.client, loss=update.loss, steps=update.steps)

    def broadcast(self, server, client, units):
        return Payload()

    def aggregate(self, server, updates):
        """Nothing is combined."""


class Majority(Rule):
    """Constant predictor: the share of positives (of each class, the mean number) among the clients' samples."""

    title = "Majority"
    version = 2
    views = ("constant",)
    trains = False

    def broadcast(self, server, client, units):
        return Payload()

    def client_update(self, ctx, received):
        numbers = {}
        for task, part in ctx.data.items():
            spec = part.cohort.learnt
            for k, column in enumerate(spec.how.summands(part.learnt, spec).T):
                counted = column[column == column]  # what is not annotated is NaN
                numbers |= {f"sum.{task}.{k}": float(counted.sum()), f"samples.{task}.{k}": float(len(counted))}
        return Update(ctx.client, numbers=numbers)

    def aggregate(self, server, updates):
        totals = {}
        for update in updates:
            for name, number in update.numbers.items():
                totals[name] = totals.get(name, 0.0) + number
        # update: where tasks exchange one after another, each comes by itself
        server.memory.setdefault("mean", {}).update(
            {
                name.removeprefix("sum."): number / (totals[name.replace("sum.", "samples.", 1)] or 1.0)
                for name, number in totals.items()
                if name.startswith("sum.")
            }
        )

    def constant(self, server, task):
        known = server.memory["mean"]
        places = sorted(int(name.rpartition(".")[2]) for name in known if name.rpartition(".")[0] == task)
        return [known[f"{task}.{k}"] for k in places]


class Public(Rule):
    """No clients: the server has nothing but its public data (FedKIM's ablation "public data only")."""

    title = "Public"

    def broadcast(self, server, client, units):
        return Payload()

    def client_update(self, ctx, received):
        return Update(ctx.client)

    def aggregate(self, server, updates):
        """Nothing is combined."""
