"""The twelve sets of pictures and six of volumes of MedMNIST v2: what each is, and which shortcuts are known."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import DatasetMeta

from .layout import SetFacts
from .preparer import MedMnist2D, MedMnist3D, set_meta

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


class PathMnist(MedMnist2D):
    """Patches of colorectal cancer histology in nine kinds of tissue; the official test part is of another centre."""

    facts = SetFacts(3, 1, 9, 107_180)
    meta: ClassVar[DatasetMeta] = set_meta(
        "pathmnist", "Colorectal histology",
        "Kather JN, et al. Predicting survival from colorectal cancer histology slides using deep learning. PLoS "
        "Medicine 16(1):e1002730 (2019)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "the official test part is of another centre; this project's splits mix both", _SMALL)


class ChestMnist(MedMnist2D):
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


class DermaMnist(MedMnist2D):
    """Dermatoscopic pictures of pigmented skin lesions in seven classes (HAM10000)."""

    facts = SetFacts(3, 1, 7, 10_015)
    meta: ClassVar[DatasetMeta] = set_meta(
        "dermamnist", "Pigmented skin lesions",
        "Tschandl P, et al. The HAM10000 dataset, a large collection of multi-source dermatoscopic images of common "
        "pigmented skin lesions. Scientific Data 5:180161 (2018)",
        licence="CC BY-NC 4.0",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "several pictures of one lesion lie on both sides, of the official division too", _SMALL)


class OctMnist(MedMnist2D):
    """Optical coherence tomography of the retina in four classes."""

    facts = SetFacts(1, 1, 4, 109_309)
    meta: ClassVar[DatasetMeta] = set_meta("octmnist", "Retinal OCT", _KERMANY)
    shortcuts = (_UNKNOWN, _SMALL)


class PneumoniaMnist(MedMnist2D):
    """Chest X-rays of children with and without pneumonia."""

    facts = SetFacts(1, 1, 2, 5_856)
    meta: ClassVar[DatasetMeta] = set_meta("pneumoniamnist", "Pneumonia of children", _KERMANY)
    shortcuts = (_UNKNOWN, _SMALL)


class RetinaMnist(MedMnist2D):
    """Fundus photographs with five grades of diabetic retinopathy."""

    facts = SetFacts(3, 1, 5, 1_600)
    meta: ClassVar[DatasetMeta] = set_meta(
        "retinamnist", "Diabetic retinopathy",
        "Liu R, et al. DeepDRiD: Diabetic Retinopathy Grading and Image Quality Estimation Challenge. Patterns "
        "3(6):100512 (2022)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "both eyes of a patient, and two views of each, lie on both sides", _SMALL)
    ordered = True


class BreastMnist(MedMnist2D):
    """Ultrasound pictures of the breast: malignant, or normal or benign."""

    facts = SetFacts(1, 1, 2, 780)
    meta: ClassVar[DatasetMeta] = set_meta(
        "breastmnist", "Breast ultrasound",
        "Al-Dhabyani W, et al. Dataset of breast ultrasound images. Data in Brief 28:104863 (2020)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "some pictures show marks of the examiner beside lesions", _SMALL)


class BloodMnist(MedMnist2D):
    """Single blood cells in eight classes."""

    facts = SetFacts(3, 1, 8, 17_092)
    meta: ClassVar[DatasetMeta] = set_meta(
        "bloodmnist", "Blood cells",
        "Acevedo A, et al. A dataset of microscopic peripheral blood cell images for development of automatic "
        "recognition systems. Data in Brief 30:105474 (2020)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "stain and colour tell cells apart: grey levels lose that", _SMALL)


class TissueMnist(MedMnist2D):
    """Single cells of the kidney cortex in eight classes, from three specimens."""

    facts = SetFacts(1, 1, 8, 236_386)
    meta: ClassVar[DatasetMeta] = set_meta(
        "tissuemnist", "Kidney cortex cells",
        "Ljosa V, et al. Annotated high-throughput microscopy image sets for validation. Nature Methods 9:637 (2012)",
    )  # fmt: skip
    shortcuts = (_UNKNOWN, "all cells come from three specimens, which lie on both sides of every division", _SMALL)


class OrganAMnist(MedMnist2D):
    """Axial slices of abdominal CT, cropped to one of eleven organs."""

    facts = SetFacts(1, 1, 11, 58_830)
    meta: ClassVar[DatasetMeta] = set_meta("organamnist", "Organs in axial CT", _LITS)
    shortcuts = _ORGANS


class OrganCMnist(MedMnist2D):
    """Coronal slices of abdominal CT, cropped to one of eleven organs."""

    facts = SetFacts(1, 1, 11, 23_583)
    meta: ClassVar[DatasetMeta] = set_meta("organcmnist", "Organs in coronal CT", _LITS)
    shortcuts = _ORGANS


class OrganSMnist(MedMnist2D):
    """Sagittal slices of abdominal CT, cropped to one of eleven organs."""

    facts = SetFacts(1, 1, 11, 25_211)
    meta: ClassVar[DatasetMeta] = set_meta("organsmnist", "Organs in sagittal CT", _LITS)
    shortcuts = _ORGANS


_APART = "no patients are told: volumes of one patient may lie on both sides of this project's splits"
_COARSE = "28 voxels a side have lost what a reader would look for; volumes of 64 are released, too (-o pixels=64)"
_SHAPE = "the volumes are masks of a shape: the grey levels of the scan are not in them"


def _volumes(name: str, title: str, source: str) -> DatasetMeta:
    return set_meta(name, title, source, modality="volume", larger="64: '{name}_64.npz'")


class OrganMnist3D(MedMnist3D):
    """Boxes around one of eleven organs in abdominal CT; the scans of the three sets of slices."""

    facts = SetFacts(1, 1, 11, 1_742, axes=3)
    meta: ClassVar[DatasetMeta] = _volumes("organmnist3d", "Organs in CT", _LITS)
    shortcuts = (
        "organs of one CT lie on both sides of this project's splits; the official division keeps scans apart",
        "left and right organs are mirror images of each other", _COARSE,
    )  # fmt: skip


class NoduleMnist3D(MedMnist3D):
    """Lung nodules in chest CT, benign (rated 1 or 2) or malignant (4 or 5); those rated 3 are left out."""

    facts = SetFacts(1, 1, 2, 1_633, axes=3)
    meta: ClassVar[DatasetMeta] = _volumes(
        "nodulemnist3d", "Lung nodules in CT",
        "Armato SG, et al. The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): A "
        "completed reference database of lung nodules on CT scans. Medical Physics 38(2):915-931 (2011)",
    )  # fmt: skip
    shortcuts = (_APART, "malignancy is what radiologists rated, with the size before their eyes", _COARSE)


class AdrenalMnist3D(MedMnist3D):
    """Shapes of adrenal glands, normal or hyperplastic."""

    facts = SetFacts(1, 1, 2, 1_584, axes=3)
    meta: ClassVar[DatasetMeta] = _volumes("adrenalmnist3d", "Adrenal glands", "the set was first published there")
    shortcuts = (
        _APART, "left and right gland of a patient lie on both sides; the official division keeps patients apart",
        _SHAPE, _COARSE,
    )  # fmt: skip


class FractureMnist3D(MedMnist3D):
    """Rib fractures in chest CT in three classes; segmental ones are left out."""

    facts = SetFacts(1, 1, 3, 1_370, axes=3)
    meta: ClassVar[DatasetMeta] = _volumes(
        "fracturemnist3d", "Rib fractures in CT",
        "Jin L, et al. Deep-learning-assisted detection and segmentation of rib fractures from CT scans: Development "
        "and validation of FracNet. EBioMedicine 62:103106 (2020)",
    )  # fmt: skip
    shortcuts = (_APART, "several fractures of one scan lie on both sides", _COARSE)


class VesselMnist3D(MedMnist3D):
    """Shapes of pieces of brain vessels, healthy or with an aneurysm."""

    facts = SetFacts(1, 1, 2, 1_908, axes=3)
    meta: ClassVar[DatasetMeta] = _volumes(
        "vesselmnist3d", "Aneurysms of brain vessels",
        "Yang X, et al. IntrA: 3D Intracranial Aneurysm Dataset for Deep Learning. IEEE CVPR 2656-2666 (2020)",
    )  # fmt: skip
    shortcuts = (_APART, "all pieces come from 103 models of vessels, which lie on both sides", _SHAPE, _COARSE)


class SynapseMnist3D(MedMnist3D):
    """Synapses in electron microscopy, excitatory or inhibitory."""

    facts = SetFacts(1, 1, 2, 1_759, axes=3)
    meta: ClassVar[DatasetMeta] = _volumes(
        "synapsemnist3d", "Synapses in electron microscopy",
        "Wei D, et al. MitoEM Dataset: Large-scale 3D Mitochondria Instance Segmentation from EM Images. MICCAI 66-76 "
        "(2020)",
    )  # fmt: skip
    shortcuts = (
        _APART,
        "all synapses are of one neuron of one rat, on both sides of every division",
        _COARSE,
    )
