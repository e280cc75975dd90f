"""ECG-QA over PTB-XL: questions about ECGs that lie in a PTB-XL release."""

from .preparer import EcgQa, EcgQaOptions

__all__ = ["EcgQa", "EcgQaOptions"]
