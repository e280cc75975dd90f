"""The stand-ins are what docs/world.md says: independent signs, labels that follow, sites that tell little."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fedmeki_bench import registry
from fedmeki_bench.builtin.data_prep import chest_drawing
from fedmeki_bench.builtin.data_prep.chexpert import Chexpert
from fedmeki_bench.builtin.data_prep.chexpert import synthetic as chexpert_synthetic
from fedmeki_bench.builtin.data_prep.covqu import Covqu
from fedmeki_bench.builtin.data_prep.covqu import synthetic as covqu_synthetic
from fedmeki_bench.builtin.data_prep.mimic3 import Mimic3, Mimic3Sepsis
from fedmeki_bench.builtin.data_prep.mimic3 import synthetic as mimic3_synthetic
from fedmeki_bench.builtin.data_prep.nih14 import synthetic as nih14_synthetic
from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.data_prep.ptbxl import synthetic as ptbxl_synthetic
from fedmeki_bench.builtin.data_prep.rsna import Rsna
from fedmeki_bench.builtin.data_prep.rsna import synthetic as rsna_synthetic
from fedmeki_bench.builtin.data_prep.slake import synthetic as slake_synthetic
from fedmeki_bench.builtin.data_prep.vqa_rad import synthetic as vqa_rad_synthetic
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.seeds import generator
from fedmeki_bench.signs import FINDINGS, SIGNS
from fedmeki_bench.task import Exclude

PAGE = (Path(__file__).parents[2] / "docs" / "world.md").read_text(encoding="utf-8")
Truth = tuple[str, str, str, frozenset[str]]  # sample id, group, site, signs


def rsna(size: int, seed: int) -> Iterator[Truth]:
    return ((c.image, c.image, c.view, c.signs) for c in rsna_synthetic.cases(size, seed))


def covqu(size: int, seed: int) -> Iterator[Truth]:
    for c in covqu_synthetic.cases(size, seed):
        yield f"{c.folder}/{c.folder}-{c.number}", f"{c.folder}{c.number - c.twin}", str(c.source), c.signs


def chexpert(size: int, seed: int) -> Iterator[Truth]:
    for c in chexpert_synthetic.cases(size, seed):
        view = f"view{c.view}_{'frontal' if c.direction else 'lateral'}"
        yield f"patient{64540 + c.patient:05d}/study1/{view}", str(c.patient), c.direction, c.signs


def nih14(size: int, seed: int) -> Iterator[Truth]:
    return ((c.image, str(c.patient), c.view, c.signs) for c in nih14_synthetic.cases(size, seed))


def ptbxl(size: int, seed: int) -> Iterator[Truth]:
    for c in ptbxl_synthetic.cases(size, seed):
        yield str(c.ecg), str(c.patient.number), str(c.patient.site), c.signs


def mimic3(size: int, seed: int) -> Iterator[Truth]:
    return ((str(s.icustay), str(s.subject), s.unit, s.signs) for s in mimic3_synthetic.cases(size, seed))


RELEASES: dict[str, tuple[Callable[[int, int], Iterator[Truth]], str]] = {
    "rsna": (rsna, "image"), "covqu": (covqu, "image"), "chexpert": (chexpert, "image"), "ptbxl": (ptbxl, "signal"),
    "mimic3": (mimic3, "clinical"), "nih14": (nih14, "image"),
}  # fmt: skip


def first_of_each_group(truth: Iterator[Truth]) -> list[Truth]:
    """Samples of one patient may agree: one of each is independent of all others."""
    return list({group: (sample, group, site, signs) for sample, group, site, signs in reversed(list(truth))}.values())


def strangest(table: np.ndarray) -> float:
    """The largest chi-square (1 degree of freedom) over pairs of columns of 0 and 1."""
    n, found = len(table), [0.0]
    for one, two in itertools.combinations(table.T, 2):
        r = np.corrcoef(one, two)[0, 1]
        found.append(n * r**2)
    return max(found)


@pytest.mark.parametrize("name", RELEASES)
def test_signs_are_independent_and_as_frequent_as_told(name):
    cases, modality = RELEASES[name]
    names = [sign for sign, facts in SIGNS.items() if facts.modality == modality]
    samples = first_of_each_group(cases(6000, 5))
    table = np.array([[sign in signs for sign in names] for *_, signs in samples], dtype=float)
    assert strangest(table) < 15  # by chance once in 10,000 pairs
    for sign, share in zip(names, table.mean(axis=0), strict=True):
        expected = SIGNS[sign].prevalence
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / len(table)), sign
    # control: a sign that follows another in a tenth of the samples
    follows = np.random.default_rng(0).random(len(table)) < 0.1
    table[follows, 1] = table[follows, 0]
    assert strangest(table) > 15


def perfect_reader(asked: str, trained: str) -> float:
    """AUROC for a finding of someone who sees another one for certain, from the prevalences alone."""
    names = sorted({*FINDINGS[asked].signs, *FINDINGS[trained].signs})
    joint = np.zeros((2, 2))  # asked, trained
    for there in itertools.product((False, True), repeat=len(names)):
        present = [name for name, is_there in zip(names, there, strict=True) if is_there]
        chance = math.prod(
            SIGNS[name].prevalence if is_there else 1 - SIGNS[name].prevalence
            for name, is_there in zip(names, there, strict=True)
        )
        joint[int(FINDINGS[asked].holds(present)), int(FINDINGS[trained].holds(present))] += chance
    false, true = joint[:, 1] / joint.sum(axis=1)
    return float(0.5 + (true - false) / 2)


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    difference = scores[labels == 1][:, None] - scores[labels == 0][None]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def cells(head: str) -> Iterator[list[str]]:
    """The rows of the page's table that begins with ``head``, without back quotes."""
    for line in PAGE[PAGE.index(head) :].split("\n\n")[0].splitlines()[2:]:
        yield [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


def test_the_page_tells_every_sign_with_its_prevalence():
    told = {cell[0]: (cell[1], float(cell[2]), cell[3]) for cell in cells("| sign |")}
    assert told == {name: (sign.modality, sign.prevalence, ", ".join(sign.names)) for name, sign in SIGNS.items()}


def test_the_page_tells_every_finding_as_a_function():
    def words(name: str) -> str:
        finding = FINDINGS[name]
        return " or ".join(finding.any_of) if finding.any_of else " and ".join(finding.all_of)

    assert {cell[0]: cell[2] for cell in cells("| task |")} == {name: words(name) for name in FINDINGS}


def test_the_page_tells_what_a_perfect_reader_gets():
    told = {(cell[0], cell[1]): float(cell[2]) for cell in cells("| zero-shot task |")}
    pairs = {(n, registry.load("tasks", n).meta.trained_by) for n in FINDINGS} & {
        (n, t) for n in FINDINGS for t in FINDINGS if n != t
    }
    assert len(pairs) == 5
    assert told == {pair: round(perfect_reader(*pair), 3) for pair in pairs}


def test_the_perfect_reader_by_simulation():
    """The formula against samples: what it computes is the AUROC of the label of one task for another."""
    truth = first_of_each_group(chexpert(8000, 1))
    labels = {n: np.array([FINDINGS[n].holds(s) for *_, s in truth]).astype(float) for n in FINDINGS}
    for asked in ("atelectasis", "pleural_effusion", "enlarged_cardiomediastinum"):
        assert auroc(labels[asked], labels["lung_opacity"]) == pytest.approx(
            perfect_reader(asked, "lung_opacity"), abs=0.02
        )


PREPARED = {
    "lung_opacity": (Rsna, rsna), "covid19": (Covqu, covqu), "atelectasis": (Chexpert, chexpert),
    "pleural_effusion": (Chexpert, chexpert), "enlarged_cardiomediastinum": (Chexpert, chexpert),
    "ecg_abnormal": (PtbXl, ptbxl), "ectopic_beats": (PtbXl, ptbxl), "mortality": (Mimic3, mimic3),
    "sepsis": (Mimic3Sepsis, mimic3),
}  # fmt: skip
WRONG = {
    "lung_opacity": "covid19", "covid19": "lung_opacity", "atelectasis": "pleural_effusion",
    "pleural_effusion": "atelectasis", "enlarged_cardiomediastinum": "atelectasis", "ecg_abnormal": "ectopic_beats",
    "ectopic_beats": "ecg_abnormal", "mortality": "sepsis", "sepsis": "mortality",
}  # fmt: skip


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """task -> what the preparer and the task make of a stand-in of 160 samples: sample id -> label, and its table."""
    root, made = tmp_path_factory.mktemp("world"), {}

    def of(name: str):
        preparer_class, _ = PREPARED[name]
        release = preparer_class.release_name or preparer_class.meta.name
        if release not in made:
            made[release] = root / release
            preparer_class().synthesize(made[release], size=160, seed=3)
        table = preparer_class().table(made[release], preparer_class.Options(), Drops())
        task = registry.load("tasks", name)()
        found = {row["sample_id"]: task.label(row) for row in table.to_dict("records")}
        return {sample: label for sample, label in found.items() if not isinstance(label, Exclude)}, table

    return of


def disagreement(found: dict[str, int], name: str, finding: str) -> float:
    """The share of samples whose label is not the finding's function of the signs that were drawn."""
    truth = {sample: FINDINGS[finding].holds(signs) for sample, _, _, signs in PREPARED[name][1](160, 3)}
    return float(np.mean([label != truth[sample] for sample, label in found.items()]))


@pytest.mark.parametrize("name", PREPARED)
def test_labels_are_functions_of_the_signs(name, labels):
    found, table = labels(name)
    least = 40 if name == "lung_opacity" else 100
    assert len(found) > least
    unseen = 0.05 if name == "sepsis" else 0.0  # antibiotics of CareVue stays are not charted
    assert disagreement(found, name, name) <= unseen
    assert disagreement(found, name, WRONG[name]) > 0.05
    if name == "sepsis":  # the length of a series must not give the label away
        values = table.set_index("sample_id").loc[list(found)]["hours"].to_numpy(float)
        assert 0.3 < auroc(np.array(list(found.values())), values) < 0.7


@pytest.mark.parametrize(("name", "finding"), [
    ("rsna", "lung_opacity"), ("covqu", "covid19"), ("chexpert", "atelectasis"), ("ptbxl", "ecg_abnormal"),
    ("mimic3", "mortality"), ("nih14", "atelectasis"),
])  # fmt: skip
def test_a_constant_answer_per_site_tells_little(name, finding):
    samples = list(RELEASES[name][0](6000, 2))
    truth = np.array([FINDINGS[finding].holds(signs) for *_, signs in samples])
    sites = np.array([site for _, _, site, _ in samples])
    rates = {site: truth[sites == site].mean() for site in set(sites.tolist())}
    assert max(rates.values()) - min(rates.values()) > 0.02  # there is a skew ...
    assert 0.5 < auroc(truth.astype(int), np.array([rates[site] for site in sites])) < 0.6  # ... of little use


def test_a_third_class_of_other_pictures():
    cases = list(rsna_synthetic.cases(4000, 0))
    other = [c for c in cases if c.name.startswith("No Lung Opacity")]
    clear = [c for c in cases if "patch" not in c.signs]
    assert not any("patch" in c.signs for c in other)
    assert len(other) / len(clear) == pytest.approx(0.25, abs=0.03)
    haze = np.mean(["haze" in c.signs for c in other])
    assert haze == pytest.approx(SIGNS["haze"].prevalence, abs=0.06)


def test_questions_by_name_are_answered_from_the_signs(tmp_path):
    vqa_rad_synthetic.write(tmp_path / "vqa_rad", size=900, seed=2, side=32)
    slake_synthetic.write(tmp_path / "slake", size=900, seed=2, side=32)
    of_name = {word: name for name, sign in SIGNS.items() if sign.modality == "image" for word in sign.names}
    items = [("vqa_rad", i["image_name"], i) for p in ("trainset", "testset") for i in read(tmp_path, "vqa_rad", p)]
    items += [("slake", str(i["img_id"]), i) for p in ("train", "validate", "test") for i in read(tmp_path, "slake", p)]
    asked: dict[str, set[str]] = {"vqa_rad": set(), "slake": set()}
    for release, picture, item in items:
        word = item["question"].removesuffix("?").split()[-1]
        if word not in of_name:
            continue
        number = int(re.sub(r"\D", "", picture)) - (10_000 if release == "vqa_rad" else 0)
        scene = vqa_rad_synthetic.draw_scene(generator(2, "synthesize", release, number))
        assert scene.organ == "CHEST"
        assert (str(item["answer"]).strip().lower() == "yes") == (of_name[word] in scene.signs), item
        asked[release].add(word)
    assert asked == {"vqa_rad": set(of_name), "slake": set(of_name)}


def read(folder: Path, release: str, part: str) -> list[dict]:
    return json.loads((folder / release / f"{part}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("sign", chest_drawing.STRENGTHS)
def test_a_sign_is_seen_and_stays_within_the_chest(sign):
    """The picture with the sign differs from the same picture without it, by little where nothing was drawn."""
    changed = []
    for number in range(20):
        plain, drawn = (chest_drawing.draw_chest(64, generator(number, "chest")) for _ in range(2))
        boxes = chest_drawing.draw_signs(drawn, {sign}, generator(number, "sign"))
        assert bool(boxes) == (sign == "patch")
        assert all(min(box) >= 0 and box[0] + box[2] <= 1 + 1e-9 and box[1] + box[3] <= 1 + 1e-9 for box in boxes)
        difference = np.abs(drawn.picture - plain.picture)
        changed.append(difference.max())
        assert (difference < 0.01).mean() > 0.4
        again = plain.picture.copy()
        assert chest_drawing.draw_signs(plain, {"shock", "drift"}, generator(number, "sign")) == []
        assert np.array_equal(again, plain.picture)
    assert min(changed) > 0.02
