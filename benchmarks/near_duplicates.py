"""How long the near-duplicate searches take: COVID-19 Radiography against RSNA, and all of PTB-XL with itself.

python benchmarks/near_duplicates.py --left 13808 --right 26684 --signals 21799

The pictures share a template, as chest X-rays do, so that each has neighbours to be looked at again.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from scipy.ndimage import gaussian_filter

from fedmeki_bench.near import SEARCHES, Prints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--left", type=int, default=13_808)
    parser.add_argument("--right", type=int, default=26_684)
    parser.add_argument("--signals", type=int, default=21_799)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    if chosen.left and chosen.right:
        pictures(rng, chosen.left, chosen.right)
    if chosen.signals:
        signals(rng, chosen.signals)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def pictures(rng: np.random.Generator, left: int, right: int) -> None:
    search = SEARCHES["image"]
    big = rng.integers(0, 256, (256, 1, 224, 224), dtype=np.uint8)
    started = time.perf_counter()
    search.prints(big)
    per = (time.perf_counter() - started) / len(big)
    print(f"fingerprints: {1000 * per:.2f} ms per picture of 224 px, {per * (left + right):.0f} s for both")
    template = gaussian_filter(rng.normal(size=(64, 64)), 4)

    def some(n: int) -> np.ndarray:
        noise = gaussian_filter(rng.normal(size=(n, 64, 64)).astype(np.float32), (0, 2, 2))
        both = template / template.std() + 0.5 * noise / noise.std()
        return (128 + 30 * both).clip(0, 255).astype(np.uint8)[:, None]

    planted = min(8851, left, right)
    there = [np.concatenate([some(min(2000, n - k)) for k in range(0, n, 2000)]) for n in (left, right)]
    there[0][:planted] = there[1][:planted][..., ::-1]  # mirrored copies
    prints = [search.prints(values) for values in there]
    started = time.perf_counter()
    found = search.pairs(*prints)
    right_ones = int((found.left == found.right).sum())
    print(
        f"{left:,} x {right:,} pictures: {time.perf_counter() - started:.0f} s, {right_ones:,} of {planted:,} planted "
        f"copies found, {len(found) - right_ones:,} others"
    )


def signals(rng: np.random.Generator, n: int) -> None:
    search = SEARCHES["signal"]
    base = rng.normal(0, 200, (1000, 12, 1000)).astype(np.int16)
    started = time.perf_counter()
    parts = [search.prints(np.roll(base, shift=k, axis=0) + rng.normal(0, 200, base.shape).astype(np.int16)) for k in
             range(-(-n // 1000))]  # fmt: skip
    per = (time.perf_counter() - started) / (len(parts) * 1000)
    every = Prints.stacked(parts)
    prints = Prints({name: a[:n] for name, a in every.arrays.items()}, every.blank[:n])
    for name in prints.arrays:
        prints.arrays[name][-500:] = prints.arrays[name][:500]
    started = time.perf_counter()
    found = search.pairs(prints)
    print(
        f"{n:,} recordings with each other: {time.perf_counter() - started:.0f} s, {len(found)} of 500 planted copies "
        f"found; fingerprints below {1000 * per:.2f} ms each"
    )


if __name__ == "__main__":
    main()
