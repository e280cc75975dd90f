"""MIMIC-III as hourly series: the mortality cohort ``mimic3`` and the sepsis cohort ``mimic3_sepsis``."""

from .preparer import Mimic3, Mimic3Sepsis

__all__ = ["Mimic3", "Mimic3Sepsis"]
