"""LwF: while a task is learnt, the outputs of the earlier ones are held where they were, on the new task's samples.

Li, Hoiem, "Learning without Forgetting", ECCV 2016 and IEEE TPAMI 40 (2018), Figure 3 and Equation 2: nothing of the
earlier tasks is kept but the model itself. The model that stood at the end of the last phase says what the earlier
tasks' decoders make of a batch; the model under training is held to that by the loss of the task's kind on softened
outputs, beside the new task's own loss.

Where the paper goes on training the old decoders, here they stand still: a step moves the units of its own task. The
old model goes down with each round, and counts as bytes. Earlier tasks count that read nothing but what the new task
reads; without such, and without a curriculum, this is FedAvg. So it is where clients tune the foundation model, whose
answers depend on the question.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from fedmeki_bench.api import Rule


class LwfParams(Rule.Params):
    """Parameters of LwF."""

    weight: float = Field(1.0, ge=0, description="lambda_o, weight of the earlier tasks' outputs; the paper's value")
    temperature: float = Field(2.0, gt=0, description="T, by which logits are divided; the paper's value")


class Lwf(Rule[LwfParams]):
    """FedAvg with the last phase's model distilled on the new task's samples, through the earlier tasks' decoders."""

    title = "LwF"
    paper = "Li and Hoiem, ECCV 2016, Eq. 2"
    phased = True
    neutral = {"weight": 0.0}

    def broadcast(self, server, client, units):
        payload = super().broadcast(server, client, units)
        if not server.earlier or self.params.weight == 0:
            return payload
        if server.memory.get("phases") != len(server.earlier):  # nobody has trained in this phase yet
            server.memory.update(phases=len(server.earlier), old=server.model.clone())
        used = {task: set(server.computing.model.units(task)) for task in server.earlier}
        # a decoder that the client trains itself, on what it rehearses, is among its units
        used = {task: own for task, own in used.items() if f"decoder.{task}" in own}
        wanted = {u for task, own in used.items() if own - {f"decoder.{task}"} <= set(units) for u in own}
        if wanted:
            payload.extra["old"] = server.memory["old"].restrict(u for u in server.model.units if u in wanted)
        return payload

    def local_loss(self, loss, outputs, params, received, ctx):
        import torch  # here, so that a list of rules loads no torch

        old, t = received.extra.get("old"), self.params.temperature
        for unit in old.units if old is not None else ():
            kind, _, task = unit.partition(".")
            if kind == "encoder" or task == ctx.batch.task or not set(ctx.model.tasks[task]) <= set(ctx.batch.inputs):
                continue
            batch = replace(ctx.batch, task=task)
            with torch.no_grad():
                wanted = ctx.forward(old, batch).logits  # Y_o, as the old model is scored
            still = {name: value for name, value in old.items() if name.startswith(unit + ".")}
            now = ctx.forward({**still, **params}, batch, training=True)
            now = replace(now, logits=now.logits / t)
            loss = loss + self.params.weight * ctx.model.imitation(now, wanted / t, task)
        return loss
