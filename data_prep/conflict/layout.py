"""Files and names of the release: what the preparer reads and the stand-in writes."""

from __future__ import annotations

TABLE, PICTURES = "pictures.csv", "pictures"
SIGNS = ("disk", "ring", "bar", "cross")
SIDE = 32
