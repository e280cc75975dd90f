"""SLAKE 1.0: questions in English and Chinese about CT, MRI and X-ray pictures."""

from .preparer import Slake, SlakeOptions

__all__ = ["Slake", "SlakeOptions"]
