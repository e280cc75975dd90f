"""What adapters cost: forward + backward of a small Llama without any, with fused M3OE, and with the written-out sum.

    python benchmarks/adapters.py [--width 256] [--experts 12] [--rank 8] [--batch 8] [--tokens 128] [--layers 4]

Prints one line per form: seconds (the fastest of a few passes) and the ratio to the base model, whose backward pass
goes down to the soft tokens. "Written out" computes every expert's B_p A_p h and adds them up, as the formula stands.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from fedmeki_bench.models.foundation.adapters import Adapters
from fedmeki_bench.models.foundation.language import Language
from fedmeki_bench.models.foundation.tiny import TinyConfig, train_tokenizer


def seconds(step: Callable[[], torch.Tensor], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step().backward()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def written_out(adapters: Adapters, gate: torch.Tensor) -> list[torch.utils.hooks.RemovableHandle]:
    """The same experts as a sum over p, one einsum each over experts and rank, as the reference has them."""

    def hook(name: str):
        low = adapters.low_rank[name.replace(".", "/")]
        p, r = adapters.experts, adapters.rank

        def add(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            inner = torch.einsum("bti,pri->btpr", inputs[0], low.A.view(p, r, -1))
            each = torch.einsum("btpr,opr->btpo", inner, low.B.view(-1, p, r))
            return output + adapters.scale * torch.einsum("p,btpo->bto", gate, each)

        return add

    return [layer.register_forward_hook(hook(name)) for name, layer in adapters.layers.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 256), ("experts", 12), ("rank", 8), ("batch", 8), ("tokens", 128), ("layers", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024, hidden_size=options.width, intermediate_size=4 * options.width, num_attention_heads=4,
        num_hidden_layers=options.layers, max_position_embeddings=2048,
    )  # fmt: skip
    language = Language(LlamaForCausalLM(config), train_tokenizer(TinyConfig(vocabulary=300), ["yes or no"]))
    soft = torch.randn(options.batch, options.tokens, options.width, requires_grad=True)
    gate = functional.softmax(torch.randn(options.experts), dim=0).requires_grad_()

    def step() -> torch.Tensor:
        return language.model(inputs_embeds=soft).logits.square().mean()

    base = seconds(step, options.repeats)
    adapters = Adapters(language, rank=options.rank, experts=options.experts, dropout=0.0)
    for low in adapters.low_rank.values():
        nn.init.normal_(low.B, std=0.02)

    def gated() -> torch.Tensor:
        with adapters.gated(gate):
            return step()

    fused, loss = seconds(gated, options.repeats), gated().item()
    adapters.detach()
    handles = written_out(adapters, gate)
    plain, other = seconds(step, options.repeats), step().item()
    for handle in handles:
        handle.remove()
    shape = f"{options.batch} x {options.tokens} tokens, {options.layers} layers, width {options.width}"
    print(f"{shape}, {options.experts} experts of rank {options.rank}, {torch.get_num_threads()} thread(s)")
    print(f"base model            {base:8.3f} s   1.00")
    print(f"fused adapters        {fused:8.3f} s   {fused / base:.2f}")
    print(f"written-out sum       {plain:8.3f} s   {plain / base:.2f}   (loss differs by {abs(loss - other):.1e})")


if __name__ == "__main__":
    main()
