"""A made-up dataset for the board ``conflict``: small pictures of four signs, asked about in two contexts."""

from .preparer import Conflict, ConflictOptions

__all__ = ["Conflict", "ConflictOptions"]
