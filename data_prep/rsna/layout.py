"""Files, columns and names of RSNA as it is released: what the preparer reads and the stand-in writes."""

from __future__ import annotations

CLASSES, IMAGES, BOXES = (
    "stage_2_detailed_class_info.csv", "stage_2_train_images", "stage_2_train_labels.csv",
)  # fmt: skip
NAMES = ("Lung Opacity", "Normal", "No Lung Opacity / Not Normal")
