"""Power-of-choice: of some clients that are asked, those with the largest loss are trained.

Cho, Wang, Joshi, "Towards Understanding Biased Client Selection in Federated Learning", AISTATS 2022 (arXiv
2010.01243): d candidates are drawn without replacement by their numbers of samples, each tells its loss under the
global model, and the m with the largest take part; their models are weighted alike.

m is what the profile's participation says. Asking costs the model down and two numbers up per candidate, and both are
counted. With several tasks a client's loss is the mean over its samples of all tasks. Where all clients take part the
rule is FedAvg with clients weighted alike.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class PowerOfChoiceParams(Rule.Params):
    """Parameters of power-of-choice."""

    d: int | None = Field(
        None, ge=1, description="candidates that are asked, m at least; twice m if not given; the paper tries m to all"
    )


class PowerOfChoice(Rule[PowerOfChoiceParams]):
    """FedAvg of the clients with the largest losses among some that are asked."""

    title = "Power-of-choice"
    paper = "Cho et al., AISTATS 2022, pow-d"
    counts = "clients"

    def select(self, server, candidates, drawn, ask):
        import torch  # here, so that a list of rules loads no torch

        m = min(len(drawn), len(candidates))
        d = min(max(self.params.d or 2 * m, m), len(candidates))
        if m == len(candidates):
            return candidates
        samples = torch.tensor([float(server.sizes[client]) for client in candidates])
        chosen = torch.multinomial(samples, d, generator=server.generator("candidates"))  # by p_k
        answers = ask([candidates[place] for place in chosen.tolist()])
        ranked = sorted(answers, key=lambda answer: (-answer.numbers["loss"], answer.client))
        return [answer.client for answer in ranked[:m]]

    def aggregate(self, server, updates):
        mean = Mean(server.model)
        for update in updates:
            mean.add(update.model, dict.fromkeys(update.share, 1.0))
        for unit, clients in mean.clients.items():
            mean.value.segment(unit).div_(clients)
        server.model.load(mean.value)
