"""How many decimals committed files hold, so that the last bits of a mean cannot change them."""

from __future__ import annotations

import math
from typing import Any

DECIMALS = 6


def rounded(value: Any) -> Any:
    """A float at fixed decimals, None where it is not finite; lists and mappings item by item, anything else as is."""
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0 if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
