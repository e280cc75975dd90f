"""PMC-CaseReport: questions about case reports of PubMed Central, each with the figures that its text refers to."""

from .preparer import PmcCaseReport, PmcCaseReportOptions

__all__ = ["PmcCaseReport", "PmcCaseReportOptions"]
