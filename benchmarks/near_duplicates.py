"""How long the audit's near-duplicate search takes at the size of COVID-19 Radiography against RSNA.

python benchmarks/near_duplicates.py --left 13808 --right 26684
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from fedmeki_bench.audit.near import pairs, thumbnails


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--left", type=int, default=13_808)
    parser.add_argument("--right", type=int, default=26_684)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (512, 1, 224, 224), dtype=np.uint8)
    started = time.perf_counter()
    thumbnails(pictures)
    per = (time.perf_counter() - started) / len(pictures)
    print(f"thumbnails: {1000 * per:.2f} ms per picture of 224 px, {per * (chosen.left + chosen.right):.0f} s for both")
    small = [rng.normal(size=(n, 1024)).astype(np.float32) for n in (chosen.left, chosen.right)]
    for block in small:
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    planted = min(8851, chosen.left, chosen.right)
    small[0][:planted] = small[1][:planted]
    started = time.perf_counter()
    found = sum(1 for _ in pairs(small[0], small[1]))
    seconds = time.perf_counter() - started
    print(
        f"{chosen.left:,} x {chosen.right:,} correlations: {seconds:.1f} s, {found:,} pairs found, {planted:,} planted"
    )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
