"""What adapters cost: forward + backward of a small Llama without any, with fused M3OE, and with the written-out sum.

    python benchmarks/adapters.py [--width 256] [--experts 12] [--rank 8] [--batch 8] [--tokens 128] [--layers 4]
                                  [--repeats 15] [--threads 1]

The forms take turns, pass by pass, on models with the same weights, so that a busy machine slows all of them; a ratio
is the median over turns of a form's time by the base model's in the same turn. The base model's backward pass goes
down to the soft tokens. "Written out" computes every expert's B_p A_p h and adds them up, as the formula stands.
Training drops elements of what the adapters read (0.1 in the papers): that form stands beside the one without.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from fedmeki_bench.foundation.adapters import Adapters
from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.tiny import TinyConfig, train_tokenizer

Pass = Callable[[], torch.Tensor]


def written_out(adapters: Adapters, gate: torch.Tensor) -> None:
    """The same experts as a sum over p, one einsum each over experts and rank, as the reference has them."""

    def hook(name: str):
        low = adapters.low_rank[name.replace(".", "/")]
        p, r = adapters.experts, adapters.rank

        def add(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            inner = torch.einsum("bti,pri->btpr", inputs[0], low.A.view(p, r, -1))
            each = torch.einsum("btpr,opr->btpo", inner, low.B.view(-1, p, r))
            return output + adapters.scale * torch.einsum("p,btpo->bto", gate, each)

        return add

    adapters.detach()
    for name, layer in adapters.layers.items():
        layer.register_forward_hook(hook(name))


def forms(options: argparse.Namespace) -> dict[str, Pass]:
    """Form -> one forward pass, on a model of its own with the same weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024, hidden_size=options.width, intermediate_size=4 * options.width, num_attention_heads=4,
        num_hidden_layers=options.layers, max_position_embeddings=2048,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    tokenizer = train_tokenizer(TinyConfig(vocabulary=300), ["yes or no"])
    soft = torch.randn(options.batch, options.tokens, options.width, requires_grad=True)
    gate = functional.softmax(torch.randn(options.experts), dim=0).requires_grad_()

    def adapted(dropout: float) -> tuple[Language, Adapters]:
        language = Language(copy.deepcopy(model), tokenizer)
        adapters = Adapters(language, rank=options.rank, experts=options.experts, dropout=dropout)
        torch.manual_seed(1)
        for low in adapters.low_rank.values():
            nn.init.normal_(low.B, std=0.02)
        return language, adapters

    def step(language: Language) -> torch.Tensor:
        return language.model(inputs_embeds=soft).logits.square().mean()

    def gated(language: Language, adapters: Adapters) -> torch.Tensor:
        with adapters.gated(gate):
            return step(language)

    base, fused, dropping, (plain, adapters) = Language(model, tokenizer), adapted(0.0), adapted(0.1), adapted(0.0)
    written_out(adapters, gate)
    return {
        "base model": lambda: step(base),
        "fused adapters": lambda: gated(*fused),
        "fused, dropout 0.1": lambda: gated(*dropping),
        "written-out sum": lambda: step(plain),
    }


def seconds(run: Pass) -> tuple[float, float]:
    """Forward + backward, and the loss."""
    start = time.perf_counter()
    loss = run()
    loss.backward()
    return time.perf_counter() - start, loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 256), ("experts", 12), ("rank", 8), ("batch", 8), ("tokens", 128), ("layers", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs = forms(options)
    losses = {name: seconds(run)[1] for name, run in runs.items()}  # the first pass warms up
    turns = [{name: seconds(run)[0] for name, run in runs.items()} for _ in range(options.repeats)]
    shape = f"{options.batch} x {options.tokens} tokens, {options.layers} layers, width {options.width}"
    print(f"{shape}, {options.experts} experts of rank {options.rank}, {options.threads} thread(s), {len(turns)} turns")
    for name in runs:
        ratios = sorted(turn[name] / turn["base model"] for turn in turns)
        middle = statistics.median(turn[name] for turn in turns)
        spread = f"({ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f})"
        print(f"{name:20} {middle:8.3f} s   {statistics.median(ratios):.2f} {spread}")
    print(f"losses of fused and written out differ by {abs(losses['fused adapters'] - losses['written-out sum']):.1e}")


if __name__ == "__main__":
    main()
