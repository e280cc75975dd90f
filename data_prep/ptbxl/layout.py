"""Files, columns and names of PTB-XL as it is released: what the preparer reads and the stand-in writes."""

from __future__ import annotations

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
RATE, SAMPLES = 100, 1000
TABLE, RECORDS = "ptbxl_database.csv", "records100"
