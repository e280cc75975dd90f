"""Reports of chest radiographs (Indiana University, Open-i): RadBench's report generation."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta, concepts

_ASKS = {
    "findings": "which findings are there",
    "impression": "what is the impression",
    "both": "which findings are there, and what is the impression",
}


class ReportOpenI(Task):
    """What does the report of a chest study say? Clients learn which findings their own reports name."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="report_openi",
        version=1,
        title="Chest radiograph reports (Open-i)",
        dataset="openi",
        modalities=("image", "text"),
        kind="generation",
        role="training",
        clinical=Clinical(
            what="What does the report of these chest radiographs say?",
            who="patients with a chest X-ray in two hospital systems of the Indiana Network for Patient Care",
            when="when the radiographs are read, with the reason they were asked for",
        ),
        licence="CC BY-NC-ND 4.0",
        access="open: https://openi.nlm.nih.gov/faq (NLMCXR_reports.tgz and NLMCXR_png.tgz)",
        citation="Demner-Fushman D, et al. Preparing a collection of radiology examinations for distribution and "
        "retrieval. Journal of the American Medical Informatics Association 23(2):304-310 (2016)",
        grouping="report",
        concepts=(
            "atelectasis", "cardiomegaly", "consolidation", "degenerative change", "edema",
            "enlarged cardiomediastinum", "granuloma", "ground glass opacity", "lung opacity", "pleural effusion",
            "pneumonia", "pneumothorax",
        ),
        metrics=("umls_f1", "bleu4", "rougeL", "meteor"),
        asks="which findings are there",
    )  # fmt: skip

    def question(self, row: Row) -> str:
        """Why the study was asked for stands before our own question; nothing of what the report found."""
        asks, reason = _ASKS[str(row["section"])], str(row["indication"])
        return f"Indication: {reason} {asks}" if reason else asks

    def answer(self, row: Row) -> str | Exclude:
        """The section that option ``section`` asks for."""
        text = str(row["report"])
        return text or Exclude(f"the report has no text in the section asked for (section={row['section']})")

    def concepts(self, row: Row) -> frozenset[str]:
        """The findings that the section affirms, by the open lexicon."""
        return concepts(str(row["report"]), sort="finding") & frozenset(self.meta.concepts)

    def prompt(self, question: str) -> str:
        """State what is shown; each picture has its place."""
        return f"First chest radiograph: <image> Second radiograph: <image 2> Write the report: {question}"
