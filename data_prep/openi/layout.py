"""Folders and sections of the Indiana University collection: what the preparer reads and the stand-in writes."""

from __future__ import annotations

REPORTS = "ecgen-radiology"
"""The folder in which ``NLMCXR_reports.tgz`` keeps one XML file per report."""
PICTURES = ("images", "NLMCXR_png")
"""Where the files of ``NLMCXR_png.tgz``, which has no folder of its own, may lie, beside the raw folder itself."""
SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")
HIDDEN = "XXXX"
"""What stands in a report where anonymisation took something out."""
