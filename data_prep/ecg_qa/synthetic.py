"""A synthetic stand-in for ECG-QA in its raw layout: questions about the noise of PTB-XL's stand-in of the same seed.

The ECGs lie beside the questions, too, so that this stand-in can be prepared alone; with a PTB-XL stand-in of the
same seed in ``../ptbxl`` that one is read, and zero-shot then means unseen by what is trained on it.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import SIGNS, generator, write_marker

from ..ptbxl import synthetic as ptbxl_synthetic
from ..ptbxl.layout import LEADS, TABLE
from .layout import PARTS, STAND_IN

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 2
DIFFICULTY = (
    f"{SIGNS['static'].prevalence:.0%} of the ECGs with static noise in leads I to V1, "
    f"{SIGNS['drift'].prevalence:.0%} with a drifting baseline, each of random strength"
)
_KINDS = ("static noise", "baseline drift", "burst noise", "electrodes problems")
_NOISY = LEADS[:7]
Question = dict[str, Any]


def write(out: Path, *, size: int, seed: int) -> None:
    """Write ``size`` questions and the ECGs they ask about, two questions per ECG; the same seed, the same bytes.

    Raises:
        ValueError: ``size`` is below 4.
    """
    if size < 4:
        raise ValueError(f"size must be at least 4, not {size}")
    ptbxl_synthetic.write(out / STAND_IN, size=size // 2, seed=seed)
    with (out / STAND_IN / TABLE).open(newline="", encoding="utf-8") as stream:
        records = list(csv.DictReader(stream))
    shards: dict[str, list[Question]] = {part: [] for part in PARTS}
    for number in range(size):
        record = records[number % len(records)]
        part = PARTS[int(float(record["patient_id"])) * 7 % 10 // 4]  # 4 : 4 : 2, whole patients
        rng = generator(seed, "synthesize", "ecg_qa", number)
        shards[part].append({"sample_id": number} | _question(record, records, rng))
    for phrasing in ("template", "paraphrased"):
        for part, questions in shards.items():
            folder = out / "ptbxl" / phrasing / part
            folder.mkdir(parents=True)
            items = questions if phrasing == "template" else [_reworded(item) for item in questions]
            (folder / "0.json").write_text(json.dumps(items, indent=4) + "\n", encoding="utf-8")
    for part, questions in shards.items():
        ecgs = sorted({ecg for item in questions for ecg in item["ecg_id"]})
        lines = (f"{row}\t{ecg}\n" for row, ecg in enumerate(ecgs))
        (out / "ptbxl" / f"{part}_ecgs.tsv").write_text("".join(lines), encoding="utf-8")
    write_marker(
        out,
        dataset="ecg_qa",
        generator=GENERATOR_VERSION,
        ptbxl_generator=ptbxl_synthetic.GENERATOR_VERSION,
        size=size,
        seed=seed,
        difficulty=DIFFICULTY,
    )


def _question(record: dict[str, str], records: list[dict[str, str]], rng: np.random.Generator) -> Question:
    """A question about one ECG's noise; one in ten asks something else, or about two ECGs."""
    noisy, drift = bool(record["static_noise"]), bool(record["baseline_drift"])
    there = [noisy, drift, False, False]
    ecg = int(record["ecg_id"])
    kind = int(rng.integers(10))
    if kind == 0:
        other = records[int(rng.integers(len(records)))]
        answer = "yes" if noisy == bool(other["static_noise"]) else "no"
        text = "Do both ECGs agree in having static noise or not?"
        return _item(38, "comparison_consecutive-verify", "noise", text, [answer], [ecg, int(other["ecg_id"])])
    if kind == 1:
        answer = "yes" if record["sex"] == "0" else "no"
        return _item(1, "single-verify", "sex", "Is this ECG of a man?", [answer], [ecg])
    if kind < 6:
        which = int(rng.choice(len(_KINDS), p=[0.5, 0.3, 0.1, 0.1]))
        answer = "yes" if there[which] else "no"
        return _item(27, "single-verify", "noise", f"Does this ECG show {_KINDS[which]}?", [answer], [ecg])
    if kind < 8:
        lead = str(rng.choice(LEADS))
        answer = "yes" if noisy and lead in _NOISY else "no"
        return _item(26, "single-verify", "noise", f"Does this ECG show static noise in lead {lead}?", [answer], [ecg])
    names = [name for name, is_there in zip(_KINDS, there, strict=True) if is_there] or ["none"]
    return _item(32, "single-query", "noise", "What kind of noises does this ECG show?", names, [ecg])


def _item(template: int, kind: str, attribute: str, question: str, answer: list[str], ecgs: list[int]) -> Question:
    return {
        "template_id": template, "question_id": template, "question_type": kind, "attribute_type": attribute,
        "question": question, "answer": answer, "ecg_id": ecgs, "attribute": None,
    }  # fmt: skip


def _reworded(item: Question) -> Question:
    text = item["question"]
    return item | {"question": text.replace("Does this ECG show", "Can one see in this ECG").replace("ECG", "tracing")}
