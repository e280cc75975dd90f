"""The tasks of MedMNIST v2, twelve on pictures and six on volumes, one per set, each on the dataset of its set.

Names of classes are those of the MedMNIST paper, without what stands in brackets and with "or" in the place of commas.
"normal" and "pleural" say of what, so that they can be read from an answer; grades have names in the place of numbers.
"""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_CITATION = (
    "Yang J, et al. MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical image classification. "
    "Scientific Data 10:41 (2023)"
)
_WHEN = "when a single small {} is looked at, without anything else"
_WHICH = "Which class is it of"


class MedMnistTask(Task):
    """Base of the tasks: the label is the number in the set's file."""

    above: ClassVar[str]
    """What the picture or volume is, in a prompt."""

    def label(self, row: Row) -> int | tuple[int, ...] | Exclude:
        """The number of the class, or of yes (1) and no (0)."""
        return int(row["label"][0])

    def prompt(self, question: str) -> str:
        """State what is shown and put the question."""
        return f"Above is {self.above}. {question}"


class _YesNo(MedMnistTask):
    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word."""
        return f"Above is {self.above}. Yes or no, {question}"


def _meta(
    name: str, dataset: str, title: str, kind: str, who: str, what: str, asks: str, *, classes: tuple[str, ...] = (),
    positive: str = "", patients: str = "", licence: str = "CC BY 4.0", metrics: tuple[str, ...] = (),
    modality: str = "image",
) -> TaskMeta:  # fmt: skip
    shown = "picture" if modality == "image" else modality
    return TaskMeta(
        name=name, version=1, title=f"{title} (MedMNIST)", dataset=dataset, modalities=(modality,), kind=kind,
        role="training", clinical=Clinical(what, who, _WHEN.format(shown)), licence=licence,
        access=f"open: {dataset}.npz from https://medmnist.com/", citation=_CITATION, grouping="image",
        classes=classes, positive=positive, patients=patients, metrics=metrics, asks=asks,
    )  # fmt: skip


def _of_classes(
    name: str, dataset: str, title: str, who: str, what: str, classes: tuple[str, ...], *, kind: str = "multiclass",
    patients: str = "", licence: str = "CC BY 4.0", modality: str = "image",
) -> TaskMeta:  # fmt: skip
    asks = f"{_WHICH} {', '.join(classes)}"
    return _meta(
        name, dataset, title, kind, who, what, asks, classes=classes, patients=patients, licence=licence,
        modality=modality,
    )  # fmt: skip


class Path(MedMnistTask):
    """Which of nine kinds of tissue does a histology patch show?"""

    above = "a patch of colorectal histology"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_path", "pathmnist", "Colorectal tissue", "patients with colorectal cancer, slides of two centres",
        "Which kind of tissue is this?",
        (
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
            "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
        ),
    )  # fmt: skip


class Chest(MedMnistTask):
    """Which of fourteen findings does a chest X-ray show? The pictures and labels of ``chest_findings``, smaller."""

    above = "a frontal chest radiograph"
    meta: ClassVar[TaskMeta] = _meta(
        "medmnist_chest", "chestmnist", "Chest X-ray findings", "multilabel",
        "in- and outpatients of the NIH Clinical Center, 1992 to 2015",
        "Which of these findings does this chest X-ray show?",
        "Which of these are there: atelectasis, cardiomegaly, effusion, infiltration, mass, nodule, pneumonia, "
        "pneumothorax, consolidation, edema, emphysema, fibrosis, pleural thickening, hernia",
        classes=(
            "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
            "consolidation", "edema", "emphysema", "fibrosis", "pleural thickening", "hernia",
        ),
        patients="rsna",  # RSNA's patients are among those of NIH ChestX-ray14
    )  # fmt: skip

    def label(self, row: Row) -> tuple[int, ...] | Exclude:
        """1 or 0 for each finding."""
        return tuple(int(one) for one in row["label"])


class Derma(MedMnistTask):
    """Which of seven lesions does a dermatoscopic picture show?"""

    above = "a dermatoscopic picture of a skin lesion"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_derma", "dermamnist", "Pigmented skin lesion", "patients with a pigmented skin lesion, two centres",
        "Which kind of skin lesion is this?",
        (
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
            "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
        ),
        licence="CC BY-NC 4.0",
    )  # fmt: skip


class Oct(MedMnistTask):
    """Which of four states does a retina show in optical coherence tomography?"""

    above = "an optical coherence tomogram of a retina"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_oct", "octmnist", "Retinal disease in OCT", "patients of several eye clinics",
        "Which disease of the retina does this show?",
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal retina"),
    )  # fmt: skip


class Pneumonia(_YesNo):
    """Does a child's chest X-ray show pneumonia?"""

    above = "a frontal chest radiograph of a child"
    meta: ClassVar[TaskMeta] = _meta(
        "medmnist_pneumonia", "pneumoniamnist", "Pneumonia of children", "binary",
        "children of one hospital, 1 to 5 years",
        "Does this chest X-ray show pneumonia?", "is there pneumonia", positive="pneumonia",
    )  # fmt: skip


class Retina(MedMnistTask):
    """Of which grade is the diabetic retinopathy that a fundus photograph shows?"""

    above = "a photograph of a fundus"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_retina", "retinamnist", "Grade of diabetic retinopathy", "patients with diabetes",
        "How severe is the diabetic retinopathy?", ("none", "mild", "moderate", "severe", "proliferative"),
        kind="ordinal",
    )  # fmt: skip


class Breast(_YesNo):
    """Does an ultrasound picture of the breast show a malignant lesion?"""

    above = "an ultrasound picture of a breast"
    meta: ClassVar[TaskMeta] = _meta(
        "medmnist_breast", "breastmnist", "Malignant breast lesion", "binary", "women of one hospital, 25 to 75 years",
        "Does this show a malignant lesion?", "is the lesion malignant", positive="malignant",
    )  # fmt: skip

    def label(self, row: Row) -> int | Exclude:
        """1 for malignant, which is 0 in the set's file: there 1 is normal or benign."""
        return 1 - int(row["label"][0])


class Blood(MedMnistTask):
    """Of which of eight types is a blood cell?"""

    above = "a stained blood cell"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_blood", "bloodmnist", "Type of blood cell", "people without infection, blood disease or tumour",
        "Which type of blood cell is this?",
        (
            "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte", "neutrophil",
            "platelet",
        ),
    )  # fmt: skip


class Tissue(MedMnistTask):
    """Of which of eight types is a cell of the kidney cortex?"""

    above = "a cell of the kidney cortex under a fluorescence microscope"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_tissue", "tissuemnist", "Type of kidney cell", "three specimens of kidney",
        "Which type of kidney cell is this?",
        (
            "collecting duct or connecting tubule", "distal convoluted tubule", "glomerular endothelial cells",
            "interstitial endothelial cells", "leukocytes", "podocytes", "proximal tubule segments",
            "thick ascending limb",
        ),
    )  # fmt: skip


_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip


class OrganA(MedMnistTask):
    """Which of eleven organs does an axial slice of CT show?"""

    above = "an axial slice of a CT"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_organa", "organamnist", "Organ in axial CT", "patients with tumours of the liver",
        "Which organ is in the middle?", _ORGANS,
        patients="organmnist",  # the same scans in three planes
    )  # fmt: skip


class OrganC(MedMnistTask):
    """Which of eleven organs does a coronal slice of CT show?"""

    above = "a coronal slice of a CT"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_organc", "organcmnist", "Organ in coronal CT", "patients with tumours of the liver",
        "Which organ is in the middle?", _ORGANS,
        patients="organmnist",
    )  # fmt: skip


class OrganS(MedMnistTask):
    """Which of eleven organs does a sagittal slice of CT show?"""

    above = "a sagittal slice of a CT"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_organs", "organsmnist", "Organ in sagittal CT", "patients with tumours of the liver",
        "Which organ is in the middle?", _ORGANS,
        patients="organmnist",
    )  # fmt: skip


class Organ3D(MedMnistTask):
    """Which of eleven organs does a box cut out of a CT hold?"""

    above = "a box cut out of a CT"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_organ3d", "organmnist3d", "Organ in CT", "patients with tumours of the liver",
        "Which organ is in the middle?",
        (  # in another order than in the sets of slices
            "liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right",
            "lung-left", "spleen", "pancreas",
        ),
        patients="organmnist", modality="volume",
    )  # fmt: skip


class Nodule3D(_YesNo):
    """Is a lung nodule in a CT malignant?"""

    above = "a lung nodule in a CT"
    meta: ClassVar[TaskMeta] = _meta(
        "medmnist_nodule3d", "nodulemnist3d", "Malignant lung nodule", "binary",
        "people with a lung nodule in a chest CT of LIDC-IDRI",
        "Do radiologists take this nodule for malignant?", "is the nodule malignant", positive="malignant",
        modality="volume",
    )  # fmt: skip


class Adrenal3D(_YesNo):
    """Is an adrenal gland hyperplastic?"""

    above = "the shape of an adrenal gland in a CT"
    meta: ClassVar[TaskMeta] = _meta(
        "medmnist_adrenal3d", "adrenalmnist3d", "Hyperplasia of an adrenal gland", "binary",
        "792 patients of one hospital", "Does this gland show hyperplasia?", "is there hyperplasia",
        positive="hyperplasia", modality="volume",
    )  # fmt: skip


class Fracture3D(MedMnistTask):
    """Of which of three kinds is a rib fracture?"""

    above = "a rib fracture in a CT"
    meta: ClassVar[TaskMeta] = _of_classes(
        "medmnist_fracture3d", "fracturemnist3d", "Kind of rib fracture", "patients with rib fractures in a chest CT",
        "Which kind of rib fracture is this?",
        ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"),
        modality="volume",
    )  # fmt: skip


class Vessel3D(_YesNo):
    """Does a piece of a brain vessel have an aneurysm?"""

    above = "the shape of a piece of a brain vessel"
    meta: ClassVar[TaskMeta] = _meta(
        "medmnist_vessel3d", "vesselmnist3d", "Aneurysm of a brain vessel", "binary",
        "people of whom 103 models of brain vessels were made, from MR angiography",
        "Does this vessel have an aneurysm?", "is there an aneurysm", positive="aneurysm",
        modality="volume",
    )  # fmt: skip


class Synapse3D(_YesNo):
    """Is a synapse excitatory?"""

    above = "a synapse under an electron microscope"
    meta: ClassVar[TaskMeta] = _meta(
        "medmnist_synapse3d", "synapsemnist3d", "Excitatory synapse", "binary", "one neuron of an adult rat",
        "Is this synapse excitatory rather than inhibitory?", "is the synapse excitatory", positive="excitatory",
        modality="volume",
    )  # fmt: skip
