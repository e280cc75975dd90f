"""Files and columns of PMC-CaseReport: what the preparer reads and the stand-in writes.

Column names, the shape of ``img_ref`` (a list written as text) and the names of figures (``<PMC_id>_<figure>.jpg`` in
one folder) are those that RadFM's public reader of the data set uses (``case_report.py`` of chaoyi-wu/RadFM).

The names of the tables could not be verified against the release itself. RadFM's list of tables calls them
``casa_report_train/test``, some with ``filtered`` in front; the copy at Hugging Face is said to be in Parquet, which is
not read here. Figures are not part of the release: they come with PubMed Central's open-access articles.
"""

from __future__ import annotations

# official part -> names under which its table may lie in the raw folder
PARTS = {
    "train": ("train.csv", "case_report_train.csv", "casa_report_train.csv", "filtered_case_report_train.csv",
              "filtered_casa_report_train.csv"),
    "test": ("test.csv", "case_report_test.csv", "casa_report_test.csv", "filtered_case_report_test.csv",
             "filtered_casa_report_test.csv"),
}  # fmt: skip
COLUMNS = ("PMC_id", "img_ref", "context", "question", "answer")
FIGURES = "figures"
MOST = 8
"""Figures of one question that are read, as in RadFM."""


def figure_file(article: str, figure: str) -> str:
    """The name of a figure's file."""
    return f"{article}_{figure}.jpg"
