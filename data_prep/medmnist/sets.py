"""The twelve two-dimensional sets of MedMNIST v2: what each is, and which shortcuts are known."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import DatasetMeta

from .layout import SetFacts
from .preparer import MedMnist, set_meta

_UNKNOWN = "no patients are told: pictures of one patient may lie on both sides of this project's splits"
_SMALL = "pictures of 28 px have lost what a reader would look for; larger ones are released, too (-o pixels=224)"
_ORGANS = (
    "slices of one CT lie on both sides of this project's splits; the official division keeps scans apart",
    "left and right organs are mirror images of each other: the place in the crop tells them apart",
    _SMALL,
)
_LITS = "Bilic P, et al. The Liver Tumor Segmentation Benchmark (LiTS). Medical Image Analysis 84:102680 (2023)"
_KERMANY = (
    "Kermany DS, et al. Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning. Cell "
    "172(5):1122-1131 (2018)"
)


class PathMnist(MedMnist):
    """Patches of colorectal cancer histology in nine kinds of tissue; the official test part is of another centre."""

    facts = SetFacts(3, 1, 9, 107_180)
    meta: ClassVar[DatasetMeta] = set_meta(
        "pathmnist", "Colorectal histology",
        "Kather JN, et al. Predicting survival from colorectal cancer histology slides using deep learning. PLoS "
        "Medicine 16(1):e1002730 (2019)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "the official test part is of another centre; this project's splits mix both", _SMALL)


class ChestMnist(MedMnist):
    """Chest X-rays of NIH ChestX-ray14 with fourteen findings mined from reports."""

    facts = SetFacts(1, 14, 2, 112_120)
    meta: ClassVar[DatasetMeta] = set_meta(
        "chestmnist", "Chest X-ray findings",
        "Wang X, et al. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised "
        "Classification and Localization of Common Thorax Diseases. IEEE CVPR 2097-2106 (2017)",
    )  # fmt: skip
    shortcuts = (
        _UNKNOWN, "these are the pictures of nih14, and some of them are those of rsna",
        "labels are mined from reports", _SMALL,
    )  # fmt: skip


class DermaMnist(MedMnist):
    """Dermatoscopic pictures of pigmented skin lesions in seven classes (HAM10000)."""

    facts = SetFacts(3, 1, 7, 10_015)
    meta: ClassVar[DatasetMeta] = set_meta(
        "dermamnist", "Pigmented skin lesions",
        "Tschandl P, et al. The HAM10000 dataset, a large collection of multi-source dermatoscopic images of common "
        "pigmented skin lesions. Scientific Data 5:180161 (2018)",
        licence="CC BY-NC 4.0",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "several pictures of one lesion lie on both sides, of the official division too", _SMALL)


class OctMnist(MedMnist):
    """Optical coherence tomography of the retina in four classes."""

    facts = SetFacts(1, 1, 4, 109_309)
    meta: ClassVar[DatasetMeta] = set_meta("octmnist", "Retinal OCT", _KERMANY)
    shortcuts = (_UNKNOWN, _SMALL)


class PneumoniaMnist(MedMnist):
    """Chest X-rays of children with and without pneumonia."""

    facts = SetFacts(1, 1, 2, 5_856)
    meta: ClassVar[DatasetMeta] = set_meta("pneumoniamnist", "Pneumonia of children", _KERMANY)
    shortcuts = (_UNKNOWN, _SMALL)


class RetinaMnist(MedMnist):
    """Fundus photographs with five grades of diabetic retinopathy."""

    facts = SetFacts(3, 1, 5, 1_600)
    meta: ClassVar[DatasetMeta] = set_meta(
        "retinamnist", "Diabetic retinopathy",
        "Liu R, et al. DeepDRiD: Diabetic Retinopathy Grading and Image Quality Estimation Challenge. Patterns "
        "3(6):100512 (2022)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "both eyes of a patient, and two views of each, lie on both sides", _SMALL)
    ordered = True


class BreastMnist(MedMnist):
    """Ultrasound pictures of the breast: malignant, or normal or benign."""

    facts = SetFacts(1, 1, 2, 780)
    meta: ClassVar[DatasetMeta] = set_meta(
        "breastmnist", "Breast ultrasound",
        "Al-Dhabyani W, et al. Dataset of breast ultrasound images. Data in Brief 28:104863 (2020)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "some pictures show marks of the examiner beside lesions", _SMALL)


class BloodMnist(MedMnist):
    """Single blood cells in eight classes."""

    facts = SetFacts(3, 1, 8, 17_092)
    meta: ClassVar[DatasetMeta] = set_meta(
        "bloodmnist", "Blood cells",
        "Acevedo A, et al. A dataset of microscopic peripheral blood cell images for development of automatic "
        "recognition systems. Data in Brief 30:105474 (2020)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "stain and colour tell cells apart: grey levels lose that", _SMALL)


class TissueMnist(MedMnist):
    """Single cells of the kidney cortex in eight classes, from three specimens."""

    facts = SetFacts(1, 1, 8, 236_386)
    meta: ClassVar[DatasetMeta] = set_meta(
        "tissuemnist", "Kidney cortex cells",
        "Ljosa V, et al. Annotated high-throughput microscopy image sets for validation. Nature Methods 9:637 (2012)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "all cells come from three specimens, which lie on both sides of every division", _SMALL)


class OrganAMnist(MedMnist):
    """Axial slices of abdominal CT, cropped to one of eleven organs."""

    facts = SetFacts(1, 1, 11, 58_830)
    meta: ClassVar[DatasetMeta] = set_meta("organamnist", "Organs in axial CT", _LITS)
    shortcuts = _ORGANS


class OrganCMnist(MedMnist):
    """Coronal slices of abdominal CT, cropped to one of eleven organs."""

    facts = SetFacts(1, 1, 11, 23_583)
    meta: ClassVar[DatasetMeta] = set_meta("organcmnist", "Organs in coronal CT", _LITS)
    shortcuts = _ORGANS


class OrganSMnist(MedMnist):
    """Sagittal slices of abdominal CT, cropped to one of eleven organs."""

    facts = SetFacts(1, 1, 11, 25_211)
    meta: ClassVar[DatasetMeta] = set_meta("organsmnist", "Organs in sagittal CT", _LITS)
    shortcuts = _ORGANS
