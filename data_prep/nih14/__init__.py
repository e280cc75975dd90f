"""NIH ChestX-ray14: frontal chest X-rays with fourteen findings mined from their reports."""

from .preparer import Nih14, Nih14Options

__all__ = ["Nih14", "Nih14Options"]
