"""Files, columns and codes of MIMIC-CXR-JPG and MIMIC-IV: what the preparer reads and the stand-in writes."""

from __future__ import annotations

METADATA, LABELS, LABS = "mimic-cxr-2.0.0-metadata", "mimic-cxr-2.0.0-chexpert", "labevents"
FILES, HOSPITAL = "files", "hosp"
COLUMNS = {
    METADATA: ("dicom_id", "subject_id", "study_id", "viewposition", "studydate", "studytime"),
    LABELS: ("subject_id", "study_id"),
    LABS: ("subject_id", "itemid", "charttime", "valuenum"),
}
FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
FRONTAL, LATERAL = ("PA", "AP"), ("LATERAL", "LL")
HOURS = 48
ITEMS: dict[int, str] = {
    50813: "lactate",
    50882: "bicarbonate",
    50889: "C-reactive protein",
    50912: "creatinine",
    50963: "NT-proBNP",
    50971: "potassium",
    50983: "sodium",
    51003: "troponin T",
    51006: "urea nitrogen",
    51222: "haemoglobin",
    51265: "platelets",
    51301: "white blood cells",
}
"""MIMIC-IV's item id -> what is measured; the columns of a sample's series, in this order."""


def study_folder(subject: int, study: int) -> str:
    """Where the images of a study lie below :data:`FILES`; the report beside it has the same name and ``.txt``."""
    return f"p{str(subject)[:2]}/p{subject}/s{study}"
