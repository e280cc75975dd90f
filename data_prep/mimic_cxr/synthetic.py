"""A synthetic stand-in for MIMIC-CXR with laboratory results, in the raw layout: drawn chests, made-up results.

What a study shows lies in several places, so that a model which reads all of them can be better than one that does not:
half of the effusions are seen from the side alone, four in ten of the edemas in the laboratory results alone, and a
consolidation is a patch with an infection, of which the images show only the patch. Modalities are missing at random.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import generator, write_marker

from ..chest_drawing import STRENGTHS, VIEWS, radiograph
from ..sign_sampling import sample_signs
from .layout import FILES, FINDINGS, HOSPITAL, LABELS, LABS, METADATA, study_folder

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
DIFFICULTY = (
    f"patch of strength {STRENGTHS['patch'][0]} to {STRENGTHS['patch'][1]} (atelectasis; with an infection, which "
    "laboratory results show, consolidation), wide (cardiomegaly), level (effusion; half of them in the lateral image "
    "alone), haze (edema; four in ten show in laboratory results alone); a third of the studies without results, four "
    "in ten without a lateral image, one in ten without a frontal one"
)
_NO_LABS, _NO_LATERAL, _NO_FRONTAL = 0.35, 0.4, 0.1
_HIDDEN_LEVEL, _HIDDEN_HAZE, _INFECTED, _UNCERTAIN, _UNSAID = 0.5, 0.4, 0.4, 0.05, 0.3
# item id -> mean, spread between patients, spread between samples (both as shares of the mean), factor by overload and
# by infection
_RESULTS: dict[int, tuple[float, float, float, float, float]] = {
    50813: (1.5, 0.2, 0.1, 1.0, 1.1), 50882: (25, 0.08, 0.03, 1.0, 1.0), 50889: (12, 0.4, 0.1, 1.0, 5.0),
    50912: (1.0, 0.2, 0.04, 1.1, 1.0), 50963: (500, 0.4, 0.1, 6.0, 1.0), 50971: (4.1, 0.06, 0.05, 1.0, 1.0),
    50983: (139, 0.02, 0.01, 1.0, 1.0), 51003: (0.02, 0.3, 0.1, 1.3, 1.0), 51006: (18, 0.3, 0.05, 1.1, 1.0),
    51222: (11.5, 0.1, 0.03, 1.0, 1.0), 51265: (240, 0.15, 0.03, 1.0, 1.0), 51301: (8.0, 0.2, 0.06, 1.0, 1.9),
}  # fmt: skip
_OTHER_ITEM = 50868  # the anion gap: not among what is read
_ASKED = (
    "Shortness of breath.", "Fever and cough.", "Chest pain, rule out pneumonia.", "Status post fall.",
    "Preoperative evaluation.", "Line placement.", "Follow-up.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one study before it is drawn."""

    subject: int
    study: int
    at: datetime
    signs: frozenset[str]
    infected: bool
    views: tuple[str, ...]
    has_labs: bool
    hidden: frozenset[str]  # signs that the frontal image does not show

    @property
    def findings(self) -> dict[str, bool]:
        """Column -> whether it is there."""
        found = {
            "Atelectasis": "patch" in self.signs,
            "Cardiomegaly": "wide" in self.signs,
            "Consolidation": "patch" in self.signs and self.infected,
            "Edema": "haze" in self.signs,
            "Pleural Effusion": "level" in self.signs,
        }
        return found | {"No Finding": not any(found.values())}


def cases(size: int, seed: int) -> Iterator[Case]:
    """The studies of a stand-in, in their order."""
    done = patient = 0
    while done < size:
        patient += 1
        rng = generator(seed, "synthesize", "mimic_cxr", patient)
        start = datetime(2150, 1, 1) + timedelta(days=int(rng.integers(20_000)))
        for number in range(min(int(rng.choice([1, 2, 3], p=[0.8, 0.15, 0.05])), size - done)):
            done += 1
            signs = sample_signs("image", rng)
            draws = rng.random(6)
            views = [str(rng.choice(["AP", "PA"]))] if draws[0] >= _NO_FRONTAL else []
            views += ["LATERAL"] if draws[1] >= _NO_LATERAL else []
            hidden = {"level"} if draws[3] < _HIDDEN_LEVEL else set()
            hidden |= {"haze"} if draws[4] < _HIDDEN_HAZE else set()
            yield Case(
                subject=10_000_000 + patient, study=50_000_000 + done,
                at=start + timedelta(days=30 * number, minutes=int(rng.integers(1440))), signs=signs,
                infected=bool(draws[5] < _INFECTED), views=tuple(views or ["SWIMMERS"]),
                has_labs=bool(draws[2] >= _NO_LABS), hidden=frozenset(hidden),
            )  # fmt: skip


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` studies below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive.
    """
    if size < 1:
        raise ValueError(f"size must be positive, not {size}")
    metadata: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for case in cases(size, seed):
        rng = generator(seed, "draw", "mimic_cxr", case.study)
        metadata += _images(case, out / FILES, side, rng)
        labels.append({"subject_id": case.subject, "study_id": case.study} | _labels(case, rng))
        if case.has_labs:
            events += _events(case, rng)
        _report(case, out / FILES, rng)
    for number, row in enumerate(events):
        row["labevent_id"] = number + 1
    (out / HOSPITAL).mkdir(parents=True)
    _table(out / f"{METADATA}.csv.gz", metadata)
    _table(out / f"{LABELS}.csv.gz", labels)
    _table(out / HOSPITAL / f"{LABS}.csv.gz", events or [dict.fromkeys(_event(0, 0, "", 0.0), "")])
    write_marker(out, dataset="mimic_cxr", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def _images(case: Case, files: Path, side: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    from PIL import Image

    folder = files / study_folder(case.subject, case.study)
    folder.mkdir(parents=True)
    rows = []
    for view in case.views:
        lateral = view == "LATERAL"
        shown = case.signs - {"haze"} if lateral else case.signs - case.hidden
        picture, _ = radiograph(shown, side, rng, VIEWS.get(view, VIEWS["AP"]), lateral=lateral)
        name = "-".join(f"{part:08x}" for part in rng.integers(0, 2**32, 5).tolist())
        Image.fromarray(picture).save(folder / f"{name}.jpg", quality=90)
        rows.append(
            {
                "dicom_id": name, "subject_id": case.subject, "study_id": case.study,
                "PerformedProcedureStepDescription": "CHEST", "ViewPosition": view, "Rows": side, "Columns": side,
                "StudyDate": case.at.strftime("%Y%m%d"), "StudyTime": case.at.strftime("%H%M%S.000"),
            }
        )  # fmt: skip
    return rows


def _labels(case: Case, rng: np.random.Generator) -> dict[str, Any]:
    """As the labelling software gives them: 1, 0, -1 if uncertain, blank if not mentioned."""
    found: dict[str, Any] = dict.fromkeys(FINDINGS, "")
    for name, there in case.findings.items():
        draw = rng.random()
        if name == "No Finding":
            found[name] = "1.0" if there else ""
        elif draw < _UNCERTAIN:
            found[name] = "-1.0"
        elif there or draw > _UNCERTAIN + _UNSAID:
            found[name] = "1.0" if there else "0.0"
    return found


def _event(subject: int, item: int, at: str, value: float) -> dict[str, Any]:
    return {
        "labevent_id": 0, "subject_id": subject, "hadm_id": "", "specimen_id": "", "itemid": item,
        "order_provider_id": "", "charttime": at, "storetime": at, "value": f"{value:.3g}", "valuenum": f"{value:.3g}",
        "valueuom": "",
    }  # fmt: skip


def _events(case: Case, rng: np.random.Generator) -> list[dict[str, Any]]:
    """One to three samples in the two days before, and some results that no study should get."""
    rows = []
    hours = sorted(rng.uniform(0.2, 47.5, int(rng.integers(1, 4))).tolist())
    own = {item: float(rng.lognormal(0.0, facts[1])) for item, facts in _RESULTS.items()}
    for hour in hours:
        at = (case.at - timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M:%S")
        for item, (mean, _, spread, overload, infection) in _RESULTS.items():
            if rng.random() < 0.15:
                continue
            value = mean * own[item] * float(rng.lognormal(0.0, spread))
            value *= (overload if "haze" in case.signs else 1.0) * (infection if case.infected else 1.0)
            rows.append(_event(case.subject, item, at, value))
        rows.append(_event(case.subject, _OTHER_ITEM, at, 12.0))
    for hour in (-2.0, 60.0):  # after the study, and too long before it
        at = (case.at - timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M:%S")
        rows.append(_event(case.subject, 50963, at, 99_999.0))
    return rows


def _report(case: Case, files: Path, rng: np.random.Generator) -> None:
    """A report whose findings section names what is there, which no question may show."""
    asked = str(rng.choice(_ASKED))
    said = ", ".join(name.lower() for name, there in case.findings.items() if there)
    why = f" INDICATION:  {asked}\n\n" if rng.random() >= 0.1 else ""
    text = f"{'FINAL REPORT':>45}\n{why} FINDINGS:  {said}.\n\n IMPRESSION:  As above.\n"
    path = files / f"{study_folder(case.subject, case.study)}.txt"
    path.write_text(text, encoding="utf-8")


def _table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with path.open("wb") as stream, gzip.GzipFile(fileobj=stream, mode="wb", mtime=0, filename="") as packed:
        packed.write(text.getvalue().encode())
