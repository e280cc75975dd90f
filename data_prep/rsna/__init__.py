"""RSNA Pneumonia Detection (stage 2): frontal chest X-rays in DICOM, with one of three classes each."""

from .preparer import Rsna, RsnaOptions

__all__ = ["Rsna", "RsnaOptions"]
