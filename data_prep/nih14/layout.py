"""Files, columns and names of NIH ChestX-ray14 as it is released: what the preparer reads and the stand-in writes."""

from __future__ import annotations

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")  # the first one found; the older has ages like 058Y
PARTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
IMAGE, LABELS, PATIENT, AGE, VIEW = "Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"
SEX = ("Patient Sex", "Patient Gender")  # newer and older spelling
NO_FINDING = "No Finding"
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
