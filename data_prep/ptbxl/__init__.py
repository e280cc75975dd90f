"""PTB-XL: 12-lead resting ECGs with statements (versions 1.0.1 to 1.0.3), read at 100 Hz."""

from .preparer import PtbXl

__all__ = ["PtbXl"]
