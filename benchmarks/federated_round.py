"""What the flat buffer and the mean-first encoders buy, as ratios measured in one run.

    OMP_NUM_THREADS=2 python benchmarks/federated_round.py

Averaging K models: one streamed vector per client against a state dict rebuilt key by key. The published ECG net: the
mean over leads taken before its last linear layer against after it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from fedmeki_bench.federation.payload import Update
from fedmeki_bench.federation.server import Server
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Input
from fedmeki_bench.models.encoders.signal import PublishedSignalEncoder
from fedmeki_bench.models.flat import FlatTensors


def median(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def averaging(clients: int, repeats: int) -> None:
    model = ClientModel(
        {"x": ("image",)}, {"image": Input((1, 224, 224), 1 / 255)}, {"image": ("deit_tiny", {})}, hidden={}, seed=0
    )
    server = Server(model.values.clone(), clients)
    values = [torch.randn_like(model.values.flat) for _ in range(clients)]
    share = dict.fromkeys(model.values.units, 1 / clients)
    updates = [Update(i, FlatTensors(model.values.layout, v), share=share) for i, v in enumerate(values)]
    dicts = [dict(u.model.items()) for u in updates]

    def by_key() -> dict[str, torch.Tensor]:
        return {k: torch.stack([d[k] for d in dicts]).mean(dim=0) for k in dicts[0]}

    flat, keyed = median(lambda: server.mean(updates), repeats), median(by_key, repeats)
    print(
        f"averaging {clients} models of {model.values.flat.numel() / 1e6:.1f} M: flat {1000 * flat:.1f} ms, "
        f"key by key {1000 * keyed:.1f} ms, ratio {keyed / flat:.1f}"
    )


def mean_first(repeats: int) -> None:
    encoder = PublishedSignalEncoder((12, 1000), PublishedSignalEncoder.Params())
    x = torch.randn(64, 12, 1000)

    def step(pooled: Callable[[torch.Tensor], torch.Tensor]) -> None:
        encoder.zero_grad()
        pooled(x).square().mean().backward()

    first = median(lambda: step(encoder.pooled), repeats)
    last = median(lambda: step(lambda t: encoder(t).mean(dim=1)), repeats)
    print(
        f"published ECG net, forward and backward, batch 64: mean first {1000 * first:.1f} ms, "
        f"mean last {1000 * last:.1f} ms, ratio {last / first:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    chosen = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for clients in (5, 20):
        averaging(clients, chosen.repeats)
    mean_first(chosen.repeats)


if __name__ == "__main__":
    main()
