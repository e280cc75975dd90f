"""Laying one picture over another: a least-squares affine fit, many pairs at a time.

Gauss-Newton on brightness = gain x moved picture + offset (Lucas and Kanade, 1981, with the photometric terms of
Evangelidis and Psarakis, 2008). Gain may be negative, so a negative is laid over its positive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_LEAST_SHARE = 0.7
"""Of a picture that must lie inside the other one."""
_FURTHEST = 0.3
"""Largest entry of the affine matrix beside the unit matrix, and largest shift in half sides."""


def affine_fit(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, rounds: int) -> np.ndarray:
    """The affine maps by which ``moving`` fits ``fixed`` best, each refined from its ``start``.

    Args:
        fixed, moving: (n, S, S) float32.
        start: (n, 2, 3), mapping places of ``fixed`` to places of ``moving``; (x, y) run from -1 to 1.
        rounds: Gauss-Newton steps.

    Returns:
        (n, 2, 3). A fit that leaves the picture or fails is returned as far as it came.
    """
    import numpy as np

    side = fixed.shape[-1]
    x, y = _grid(side)
    slope_y, slope_x = (np.gradient(moving, 2 / (side - 1), axis=axis).astype(np.float32) for axis in (1, 2))
    target = fixed.reshape(len(fixed), -1)
    maps = start.astype(np.float32).copy()
    for _ in range(rounds):
        inside, (seen, along_x, along_y) = _sampled(maps, side, (moving, slope_x, slope_y))
        steps = np.stack(
            [seen, np.ones_like(seen), along_x * x, along_x * y, along_x, along_y * x, along_y * y, along_y], axis=2
        )
        weighted = steps * inside[:, :, None]
        normal = np.matmul(weighted.transpose(0, 2, 1), steps)
        normal += np.eye(8, dtype=np.float32) * (1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 8 + 1e-6)
        found = np.linalg.solve(normal, np.matmul(weighted.transpose(0, 2, 1), target[:, :, None]))[:, :, 0]
        gain = np.where(np.abs(found[:, :1]) < 0.1, np.where(found[:, :1] < 0, -0.1, 0.1), found[:, :1])
        maps += np.clip(found[:, 2:] / gain, -0.1, 0.1).reshape(-1, 2, 3)
    return maps


def overlap_correlation(fixed: np.ndarray, moving: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """|correlation| of ``fixed`` and the moved ``moving`` where both are, per pair; 0 where the map is no small one."""
    import numpy as np

    inside, (seen,) = _sampled(maps, fixed.shape[-1], (moving,))
    share = inside.mean(axis=1)
    count = np.maximum(inside.sum(axis=1, keepdims=True), 1)
    a, b = fixed.reshape(len(fixed), -1) * inside, seen * inside
    a = (a - a.sum(axis=1, keepdims=True) / count) * inside
    b = (b - b.sum(axis=1, keepdims=True) / count) * inside
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    score = np.abs((a * b).sum(axis=1)) / np.maximum(size, 1e-6)
    moved = np.abs(maps - np.eye(2, 3, dtype=np.float32)).max(axis=(1, 2))
    kept: np.ndarray = np.where((share >= _LEAST_SHARE) & (moved <= _FURTHEST), score, 0.0)
    return kept


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    line = np.linspace(-1, 1, side, dtype=np.float32)
    return np.tile(line, side), np.repeat(line, side)


def _sampled(maps: np.ndarray, side: int, pictures: tuple[np.ndarray, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Which places fall inside (n, S*S), and the pictures read there, linearly between pixels."""
    import numpy as np

    x, y = _grid(side)
    places = np.stack([x, y, np.ones_like(x)])
    where = (np.matmul(maps, places) + 1) * ((side - 1) / 2)  # (n, 2, S*S) in pixels
    inside = ((where >= 0) & (where <= side - 1)).all(axis=1).astype(np.float32)
    where = where.clip(0, side - 1.001)
    corner = where.astype(np.int32)
    part = where - corner
    first = corner[:, 1] * side + corner[:, 0] + (np.arange(len(maps), dtype=np.int32) * side * side)[:, None]
    right, down = part[:, 0], part[:, 1]
    found = []
    for picture in pictures:
        flat = picture.reshape(-1)
        top = flat[first] * (1 - right) + flat[first + 1] * right
        below = flat[first + side] * (1 - right) + flat[first + side + 1] * right
        found.append(top * (1 - down) + below * down)
    return inside, found
