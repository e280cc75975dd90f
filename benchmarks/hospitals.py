"""What a round of many hospitals moves and holds when the foundation model has seven billion parameters: arithmetic.

    python benchmarks/hospitals.py [--hospitals 100]

Nothing is trained or sent. Shapes are those of a Llama with 32 layers of width 4096 (MLP 11008, vocabulary 32,000, as
Llama-2-7B has them), counted on the meta device; encoders are those of the profile `paper`. A link carries its nominal
rate without overhead, up and down one after another, so real rounds take longer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from fedmeki_bench.foundation.memory import adapter_parameters, training_memory
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Input
from fedmeki_bench.profiles import profile

LLAMA_7B = {
    "model_type": "llama", "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}  # fmt: skip
WIDTH, LAYERS = 4096, 32
SHAPES = {"image": (3, 224, 224), "signal": (12, 1000), "clinical": (25, 48)}
TASKS = {"lung_opacity": ("image",), "ecg_abnormal": ("signal",), "mortality": ("clinical",)}


@dataclass(frozen=True, slots=True)
class Travels:
    """What goes down to each hospital and comes up again, in numbers of so many bytes."""

    what: str
    numbers: int
    width: int

    @property
    def nbytes(self) -> int:
        """One way, one hospital."""
        return self.numbers * self.width

    def seconds(self, rate: float, hospitals: int = 1) -> float:
        """Down and up over a link of ``rate`` bits a second that so many hospitals share."""
        return 2 * 8 * self.nbytes * hospitals / rate


def lora(rank: int, layers: int = LAYERS, width: int = WIDTH, matrices: int = 2) -> int:
    """Numbers of a LoRA on square matrices of every layer: A (rank, width) and B (width, rank) of each."""
    return layers * matrices * 2 * rank * width


def encoders() -> int:
    """Numbers of the three encoders and decoders of the profile ``paper``."""
    chosen = profile("paper")
    model = ClientModel(
        TASKS, {name: Input(shape) for name, shape in SHAPES.items()},
        {name: (chosen.encoders[name].name, chosen.encoders[name].params) for name in SHAPES},
        hidden=chosen.decoder_hidden, seed=0,
    )  # fmt: skip
    return model.values.nbytes // 4


def travelling() -> Iterator[Travels]:
    """The rows of the first table."""
    every = adapter_parameters(LLAMA_7B, rank=8)
    yield Travels("all weights, fp16 or bf16", every.base, 2)
    yield Travels("LoRA, rank 8, q and v, float32", lora(8), 4)
    yield Travels("LoRA, rank 8, q and v, fp16 or bf16", lora(8), 2)
    yield Travels("LoRA, rank 16, q and v, float32", lora(16), 4)
    yield Travels("LoRA, rank 16, q and v, fp16 or bf16", lora(16), 2)
    yield Travels("FFA-LoRA, rank 8, q and v, float32", lora(8) // 2, 4)
    yield Travels("LoRA, rank 8, all linear layers (FedIT here), float32", every.total, 4)
    yield Travels("FFA-LoRA, rank 8, all linear layers, float32", adapter_parameters_of_b(), 4)
    yield Travels("encoders and decoders, profile `paper` (injection), float32", encoders(), 4)


def adapter_parameters_of_b() -> int:
    """Numbers of B alone, rank 8, on all linear layers: as many rows as each layer has outputs."""
    inner, vocabulary = int(LLAMA_7B["intermediate_size"]), int(LLAMA_7B["vocab_size"])  # type: ignore[call-overload]
    return 8 * (LAYERS * (5 * WIDTH + 2 * inner) + vocabulary)


def spoken(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, default=100)
    many = parser.parse_args().hospitals
    print(
        "| what travels | MB, one way | hospital at 100 Mbit/s | at 1 Gbit/s | GB at the server, both ways | "
        "server's link of 1 Gbit/s | of 10 Gbit/s |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for row in travelling():
        times = [row.seconds(1e8), row.seconds(1e9), row.seconds(1e9, many), row.seconds(1e10, many)]
        own, fast, shared, faster = map(spoken, times)
        total = 2 * many * row.nbytes / 1e9
        print(f"| {row.what} | {row.nbytes / 1e6:,.1f} | {own} | {fast} | {total:,.1f} | {shared} | {faster} |")
    print("\n| at a hospital, GB | rows of 320 tokens, 4 at a time | 1 at a time |\n|---|---:|---:|")
    four, one = (training_memory(LLAMA_7B, experts=1, batch=batch) for batch in (4, 1))
    for name in ("weights", "adapters", "checkpoints", "layer", "logits", "total"):
        print(f"| {name} | {getattr(four, name) / 1e9:.2f} | {getattr(one, name) / 1e9:.2f} |")
    base, token = four.weights // 2, 2 * 2 * LAYERS * WIDTH
    print(f"\nKeys and values: {token / 1e6:.2f} MB a token; {320 * token / 1e9:.2f} GB for a row of 320.")
    print(f"Training all weights with Adam in mixed precision, 16 bytes each: {16 * base / 1e9:.0f} GB.")
    print(f"Arithmetic of a LoRA step: 4 x {base / 1e9:.2f}e9 = {4 * base / 1e9:.0f} GFLOP a token.")


if __name__ == "__main__":
    main()
