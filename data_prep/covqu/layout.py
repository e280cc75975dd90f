"""Files and names of the release: what the preparer reads and the stand-in writes."""

from __future__ import annotations

CLASSES = ("COVID", "Normal")
