"""Files, columns and names of CheXpert as it is released: what the preparer reads and the stand-in writes."""

from __future__ import annotations

TABLE, IMAGES = "valid.csv", "valid"
FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
