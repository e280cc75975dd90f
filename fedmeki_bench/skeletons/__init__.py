"""Commented starting points for plug-ins, each a small package of its own: see :func:`write`."""

from fedmeki_bench.skeletons.write import KINDS, write

__all__ = ["KINDS", "write"]
