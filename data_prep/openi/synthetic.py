"""A synthetic stand-in for the Indiana University collection in its raw layout: drawn chests and short reports.

A report says what the pictures show, in words that the language model ``tiny`` knows where it knows one, and in normal
sentences where there is nothing. Half of the effusions and all of the degenerative changes are seen from the side
alone; without a lateral picture nobody sees them, and the report does not say them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from fedmeki_bench.api import generator, write_marker

from ..chest_drawing import STRENGTHS, VIEWS, Chest, draw_chest, draw_signs, exposed, inside
from ..sign_sampling import sample_signs
from .layout import HIDDEN, PICTURES, REPORTS

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
_EXTRA = {"dot": 0.2, "air": 0.15, "steps": 0.25}  # sign -> prevalence
_BRIGHTNESS = {"dot": (0.25, 0.6), "air": (0.08, 0.25), "steps": (0.08, 0.3)}
DIFFICULTY = (
    "signs of strength "
    + ", ".join(f"{name} {low} to {high}" for name, (low, high) in STRENGTHS.items())
    + "; a granuloma, the air of a pneumothorax and steps of the spine (degenerative change) as bright or dark as "
    + ", ".join(f"{low} to {high}" for low, high in _BRIGHTNESS.values())
    + "; half of the effusions and all degenerative changes in the lateral picture alone, three in ten reports without "
    "one"
)
_NO_LATERAL, _SEEN_FROM_THE_SIDE, _ANONYMISED, _NO_FINDINGS, _NO_PICTURE = 0.3, 0.5, 0.25, 0.04, 0.02
_ASKED = ("Cough.", "Chest pain.", "Shortness of breath.", "Fever.", f"{HIDDEN}-year-old with pain.", f"{HIDDEN}.")


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one study before it is drawn; ``signs`` are those that its pictures show.

    Attributes:
        hidden: signs that the frontal picture does not show.
        pictures: names of its pictures, without ending.
    """

    number: int
    signs: frozenset[str]
    hidden: frozenset[str]
    pictures: tuple[str, ...]
    indication: str
    anonymised: bool
    has_findings: bool

    @property
    def findings(self) -> str:
        """What its signs are called, or that they are absent; in small letters, which cost `tiny` fewer tokens."""
        patch, haze, level, wide = (sign in self.signs for sign in ("patch", "haze", "level", "wide"))
        lungs = ["consolidation"] * patch + ["haze"] * haze + ["pneumonia"] * (patch and haze)
        pleura = ["effusion"] * level + ["atelectasis"] * (level and patch)
        heart = ["wide mediastinum"] * wide + ["edema"] * (wide and haze) + ["cardiomegaly"] * (wide and level)
        said = [
            f"opacity: {', '.join(lungs)}." if lungs else "lungs clear.",
            f"{', '.join(pleura)}." if pleura else "no effusion.",
            f"{', '.join(heart)}." if heart else "heart normal.",
        ]
        more = {"dot": "granuloma.", "air": "pneumothorax.", "steps": "degenerative change."}
        return " ".join([*said, *(text for sign, text in more.items() if sign in self.signs)])

    @property
    def impression(self) -> str:
        """One sentence."""
        return "abnormal chest." if self.signs else "no acute disease."


def cases(size: int, seed: int) -> Iterator[Case]:
    """The studies of a stand-in, in their order."""
    for number in range(1, size + 1):
        rng = generator(seed, "synthesize", "openi", number)
        signs = sample_signs("image", rng)
        signs |= {name for name, often in _EXTRA.items() if rng.random() < often}
        draws = rng.random(5)
        hidden = {"steps"} | ({"level"} if draws[1] < _SEEN_FROM_THE_SIDE else set())
        name = f"CXR{number}_IM-{number:04d}"
        pictures: tuple[str, ...] = (f"{name}-1001", f"{name}-2001")
        if draws[0] < _NO_LATERAL:
            pictures, signs = pictures[:1], signs - hidden
        if number > 8 and draws[4] < _NO_PICTURE:  # the smallest stand-in has pictures
            pictures = ()
        yield Case(
            number, signs, frozenset(hidden), pictures, indication=str(rng.choice(_ASKED)),
            anonymised=bool(draws[2] < _ANONYMISED), has_findings=bool(number <= 8 or draws[3] >= _NO_FINDINGS),
        )  # fmt: skip


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` reports with their pictures below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive or ``side`` below 32.
    """
    if size < 1 or side < 32:
        raise ValueError(f"size must be positive and side at least 32, not {size} and {side}")
    for folder in (REPORTS, PICTURES[0]):
        (out / folder).mkdir(parents=True)
    for case in cases(size, seed):
        rng = generator(seed, "draw", "openi", case.number)
        for k, name in enumerate(case.pictures):
            _draw(case, out / PICTURES[0] / f"{name}.png", side, rng, lateral=k > 0)
        (out / REPORTS / f"{case.number}.xml").write_text(_xml(case), encoding="utf-8")
    write_marker(out, dataset="openi", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def _draw(case: Case, path: Path, side: int, rng: np.random.Generator, *, lateral: bool) -> None:
    from PIL import Image

    # haze and the air of a pneumothorax are not seen from the side
    shown = case.signs - {"haze", "air"} if lateral else case.signs - case.hidden
    chest = draw_chest(side, rng, lateral=lateral)
    draw_signs(chest, shown, rng)
    for name, (low, high) in _BRIGHTNESS.items():
        if name in shown:
            _LOOKS[name](chest, float(rng.uniform(low, high)), rng)
    gain, offset, noise = VIEWS["LATERAL" if lateral else "PA"]
    gain, offset = float(rng.normal(gain, 0.03)), float(rng.normal(offset, 0.015))
    Image.fromarray(exposed(chest.picture, rng, gain=gain, offset=offset, noise=noise)).save(path)


def _dot(chest: Chest, brightness: float, rng: np.random.Generator) -> None:
    """A granuloma: one small dense spot in a lung."""
    import numpy as np

    cx, cy = chest.centres[int(rng.integers(2))]
    cx, cy = cx + rng.uniform(-0.08, 0.08), cy + rng.uniform(-0.18, 0.18)
    chest.picture[...] += brightness * np.exp(-(((chest.x - cx) / 0.025) ** 2) - ((chest.y - cy) / 0.025) ** 2)


def _air(chest: Chest, brightness: float, rng: np.random.Generator) -> None:
    """A pneumothorax: the top of one lung is dark."""
    cx, cy = chest.centres[int(rng.integers(2))]
    chest.picture[...] -= (
        brightness * chest.lungs * inside(((chest.x - cx) / 0.16) ** 2 + ((chest.y - cy + 0.26) / 0.14) ** 2, 8)
    )


def _steps(chest: Chest, brightness: float, rng: np.random.Generator) -> None:
    """A degenerative change: bright edges of the vertebrae, one below the other."""
    import numpy as np

    top = rng.uniform(0.3, 0.4)
    edges = sum(np.exp(-(((chest.y - top - 0.12 * k) / 0.018) ** 2)) for k in range(4))
    chest.picture[...] += brightness * edges * inside(((chest.x - 0.5) / 0.1) ** 2, 6)


_LOOKS = {"dot": _dot, "air": _air, "steps": _steps}


def _xml(case: Case) -> str:
    """The report as the collection has it; some say ``XXXX`` where a name or date was taken out."""
    hidden = f"{HIDDEN} {HIDDEN}. " if case.anonymised else ""
    sections = {
        "COMPARISON": f"{HIDDEN}." if case.anonymised else "None.",
        "INDICATION": case.indication,
        "FINDINGS": hidden + case.findings if case.has_findings else "",
        "IMPRESSION": case.impression + (f" Discussed with {HIDDEN}." if case.anonymised else ""),
    }
    texts = "".join(f'        <AbstractText Label="{k}">{escape(v)}</AbstractText>\n' for k, v in sections.items())
    pictures = "".join(
        f'  <parentImage id="{name}">\n    <figureId>F{k}</figureId>\n    <caption>Chest PA and Lateral</caption>\n'
        "  </parentImage>\n"
        for k, name in enumerate(case.pictures, start=1)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n  <meta type="rr"/>\n'
        f'  <uId id="CXR{case.number}"/>\n  <IUXRId id="{case.number}"/>\n'
        '  <MedlineCitation Owner="Synthetic">\n    <Article PubModel="Electronic">\n      <Abstract>\n'
        f"{texts}      </Abstract>\n    </Article>\n  </MedlineCitation>\n"
        f"  <MeSH>\n    <major>{'abnormal' if case.signs else 'normal'}</major>\n  </MeSH>\n{pictures}</eCitation>\n"
    )
