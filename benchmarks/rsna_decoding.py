"""How fast RSNA-like DICOMs are decoded: 1024 x 1024, JPEG inside DICOM, one process against all cores.

python benchmarks/rsna_decoding.py --images 2000
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from fedmeki_bench.builtin.data_prep.rsna import Rsna
from fedmeki_bench.builtin.data_prep.rsna.synthetic import write
from fedmeki_bench.builtin.tasks.lung_opacity import LungOpacity
from fedmeki_bench.data.prepare.prepare import prepare

RELEASE = 26_684


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--size", type=int, default=224, help="pixels stored")
    chosen = parser.parse_args()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        started = time.perf_counter()
        write(raw, size=chosen.images, seed=0, side=chosen.side)
        print(f"wrote {chosen.images} images of {chosen.side} px in {time.perf_counter() - started:.0f} s")
        seconds = {}
        for workers in (1, cores):
            started = time.perf_counter()
            options = Rsna.Options(image_size=chosen.size)
            (done,) = prepare(Rsna(), raw, Path(folder) / f"w{workers}", [LungOpacity()], options, workers=workers)
            seconds[workers] = time.perf_counter() - started
            each = 1000 * seconds[workers] / chosen.images
            print(f"{workers} process(es): {seconds[workers]:.1f} s, {each:.1f} ms per image, {done.card['rows']}")
        print(f"{cores} processes are {seconds[1] / seconds[cores]:.2f} times as fast as one")
        minutes = RELEASE * seconds[cores] / chosen.images / 60
        print(f"extrapolated to the release ({RELEASE:,} images): {minutes:.1f} min on {cores} cores")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"peak memory of the main process {peak:.2f} GB")


if __name__ == "__main__":
    main()
