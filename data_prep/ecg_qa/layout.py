"""Files, columns and names of ECG-QA as it is released: what the preparer reads and the stand-in writes."""

from __future__ import annotations

PARTS = ("train", "valid", "test")
STAND_IN = "ptbxl_stand_in"  # beside the questions of a synthetic ECG-QA: the ECGs that they ask about
