"""CheXpert, validation part: chest X-rays in JPEG with fourteen findings read by three radiologists."""

from .preparer import Chexpert, ChexpertOptions

__all__ = ["Chexpert", "ChexpertOptions"]
