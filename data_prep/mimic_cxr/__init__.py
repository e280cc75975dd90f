"""MIMIC-CXR-JPG with reports and laboratory results of MIMIC-IV: chest studies of several images, text and labs."""

from .preparer import MimicCxr, MimicCxrOptions

__all__ = ["MimicCxr", "MimicCxrOptions"]
