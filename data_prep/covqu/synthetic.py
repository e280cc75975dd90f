"""A synthetic stand-in for COVQU in its raw layout: drawn chests; the folder COVID holds those with the sign haze.

The pictures come from three sources that expose differently and differ a little in how often there is haze; the
release doesn't tell the source, as the real one doesn't. A few files hold the pixels of another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.api import SIGNS, generator, write_marker

from ..chest_drawing import STRENGTHS, radiograph
from ..sign_sampling import sample_signs

GENERATOR_VERSION = 2
DIFFICULTY = (
    f"haze of strength {STRENGTHS['haze'][0]} to {STRENGTHS['haze'][1]}, uniform, among three other signs; "
    "three sources, with 15 % less, 10 % more and 22.5 % more haze than on average"
)
_TWIN = 25  # every 25th file holds the pixels of the one before it
# share of the pictures, factor of the prevalence of haze, (gain, offset, noise)
_SOURCES = (
    (0.50, 0.85, (1.0, 0.0, 0.03)),
    (0.30, 1.10, (0.92, 0.04, 0.045)),
    (0.20, 1.225, (1.06, 0.02, 0.04)),
)


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one file before it is drawn; a twin has the signs and the source of the file before it."""

    folder: str
    number: int
    source: int
    signs: frozenset[str]
    twin: bool


def cases(size: int, seed: int) -> Iterator[Case]:
    """The files of a stand-in, COVID first."""
    haze = SIGNS["haze"].prevalence
    covid = min(max(round(size * haze), 1), size - 1)
    for folder, count in (("COVID", covid), ("Normal", size - covid)):
        # the share of each source among the pictures with haze, or without
        shares = [share * factor if folder == "COVID" else share * (1 - factor * haze) for share, factor, _ in _SOURCES]
        for number in range(1, count + 1):
            twin = number % _TWIN == 0
            rng = generator(seed, "synthesize", "covqu", folder, number - twin)
            source = int(rng.choice(len(shares), p=[share / sum(shares) for share in shares]))
            signs = sample_signs("image", rng, {"haze": 0.0}) | ({"haze"} if folder == "COVID" else set())
            yield Case(folder, number, source, signs, twin)


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` pictures of ``side`` x ``side`` pixels below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is below 2 or ``side`` below 32.
    """
    from PIL import Image

    if size < 2 or side < 32:
        raise ValueError(f"size must be at least 2 and side at least 32, not {size} and {side}")
    for name in ("COVID", "Normal"):
        for part in ("images", "masks"):
            (out / name / part).mkdir(parents=True)
    for case in cases(size, seed):
        rng = generator(seed, "draw", "covqu", case.folder, case.number - case.twin)
        picture, _ = radiograph(case.signs, side, rng, _SOURCES[case.source][2])
        name = f"{case.folder}-{case.number}.png"
        # a twin's file differs though its pixels don't
        Image.fromarray(picture).save(out / case.folder / "images" / name, compress_level=6 if case.twin else 1)
        Image.new("L", (8, 8), 255).save(out / case.folder / "masks" / name)
    write_marker(
        out, dataset="covqu", generator=GENERATOR_VERSION, size=size, seed=seed, side=side, difficulty=DIFFICULTY
    )
