"""VQA-RAD: questions of clinicians about radiological pictures, with short answers."""

from .preparer import VqaRad, VqaRadOptions

__all__ = ["VqaRad", "VqaRadOptions"]
