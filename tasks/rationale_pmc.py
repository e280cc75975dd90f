"""Questions about case reports with several figures (PMC-CaseReport): RadBench's rationale diagnosis."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta, concepts

_FIGURES = 8


class RationalePmc(Task):
    """What do the figures of a case show, and why? Clients learn which findings the answers name."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="rationale_pmc",
        version=1,
        title="Rationale diagnosis (PMC-CaseReport)",
        dataset="pmc_casereport",
        modalities=("image", "text"),
        kind="generation",
        role="training",
        clinical=Clinical(
            what="What do the figures of this case show?",
            who="patients described in open-access case reports of PubMed Central",
            when="when the case is read with its figures",
        ),
        licence="of each article, as PubMed Central's open-access subset states it",
        access="open: https://huggingface.co/datasets/chaoyi-wu/PMC-CaseReport (questions); figures from PubMed "
        "Central's open-access subset, https://pmc.ncbi.nlm.nih.gov/tools/openftlist/",
        citation="Wu C, et al. Towards generalist foundation model for radiology by leveraging web-scale 2D&3D medical "
        "data. Nature Communications (2025), arXiv:2308.02463",
        grouping="article",
        concepts=(
            "atelectasis", "consolidation", "enlarged cardiomediastinum", "ground glass opacity", "pleural effusion",
            "pneumonia",
        ),
        metrics=("umls_f1", "bleu4", "rougeL", "meteor"),
    )  # fmt: skip

    def question(self, row: Row) -> str:
        """The case, as far as the option ``context_sentences`` keeps it, and the data set's question."""
        return f"{row['context']} {row['question']}".strip()

    def answer(self, row: Row) -> str | Exclude:
        """The data set's own answer."""
        return str(row["answer"])

    def concepts(self, row: Row) -> frozenset[str]:
        """The findings that the answer affirms, by the open lexicon; of many answers none."""
        return concepts(str(row["answer"]), sort="finding") & frozenset(self.meta.concepts)

    def prompt(self, question: str) -> str:
        """Every figure has its place before the case."""
        figures = " ".join("<image>" if k == 1 else f"<image {k}>" for k in range(1, _FIGURES + 1))
        return f"Figures of a case: {figures} {question.rstrip(' ?')}"
