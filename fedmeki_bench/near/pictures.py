"""Near-duplicate pictures, whatever small crop, shift, turn, mirroring, inversion or grey scale lies between them.

Pictures are reduced to 64 x 64 and normalised locally, which takes most of brightness, gamma and window away. The
filter compares 16 x 16 views of them, mirrored and flipped too, with the tangent plane of each picture: the picture
itself and what a small shift, turn or scaling would add to it (tangent distance, Simard et al., 1993), so that a moved
copy still ranks first. The few nearest are laid over each other by an affine fit and correlated in fine detail. The
absolute value counts: a negative is the same picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.near.alignment import affine_fit, overlap_correlation
from fedmeki_bench.near.prints import Pairs, Prints, blocks, placed

if TYPE_CHECKING:
    import numpy as np

_LEAST_SIDE = 32
_SIDE = 64
_VIEW, _TERMS = 16, 11
"""Side of the filter's view, and how many cosine terms of it are kept in each direction."""
_CANDIDATE = 0.8
_NEAREST = 3
"""How many neighbours of a picture, among those above the limit, are looked at again."""
_HALFWAY = 0.9
"""Correlation of the coarse fit from which the fine one is made."""
_CONTRAST = 1.0  # grey levels
_CHUNK = 64
_QUANTUM = 32.0
"""Steps per standard deviation in which local contrast is stored (int8)."""


class PictureSearch:
    """Grey pictures (n, 1, side, side)."""

    what = "pictures"
    blank = "show no contrast (black or of one grey)"
    threshold = 0.9

    def prints(self, values: np.ndarray) -> Prints | None:
        """Local contrast: fine (n, 64, 64), coarse (n, 32, 32), both int8, and the view (n, 16, 16)."""
        import numpy as np

        if values.ndim != 4 or values.shape[-1] < _LEAST_SIDE:
            return None
        parts = [self._some(np.asarray(values[k : k + _CHUNK, 0])) for k in range(0, len(values), _CHUNK)]
        return Prints.stacked(parts) if parts else None

    def _some(self, pictures: np.ndarray) -> Prints:
        import numpy as np
        from scipy.ndimage import gaussian_filter

        reduce = _box_means(pictures.shape[-1])
        small = reduce @ pictures.astype(np.float32) @ reduce.T
        blank = small.std(axis=(1, 2)) < _CONTRAST
        fine = gaussian_filter(_local_contrast(small, 3.0), (0, 0.6, 0.6))
        wide = _local_contrast(small, 8.0)
        coarse = gaussian_filter(wide, (0, 2.0, 2.0))[:, 1::2, 1::2]
        view = gaussian_filter(wide, (0, 3.0, 3.0))[:, 2::4, 2::4]
        arrays = {"fine": _stored(fine), "coarse": _stored(coarse), "view": view.astype(np.float16)}
        return Prints({name: np.where(blank[:, None, None], 0, a) for name, a in arrays.items()}, blank)

    def pairs(self, left: Prints, right: Prints | None = None) -> Pairs:
        """See :class:`~fedmeki_bench.near.prints.Search`."""
        import numpy as np

        other = left if right is None else right
        places, mirrored = _candidates(left, other, within=right is None)
        score = np.zeros(len(places))
        for start in range(0, len(places), _CHUNK):
            part = slice(start, start + _CHUNK)
            score[part] = _laid_over(left, other, places[part], mirrored[part])
        kept = score >= self.threshold
        order = np.lexsort((places[kept, 1], places[kept, 0]))
        return Pairs(places[kept, 0][order], places[kept, 1][order], score[kept][order])


def _box_means(side: int) -> np.ndarray:
    """(64, side): the weights by which each small pixel is the mean of the area it stands for."""
    import numpy as np

    edge = np.arange(_SIDE + 1) * side / _SIDE
    pixel = np.arange(side)
    share = np.minimum(edge[1:, None], pixel + 1) - np.maximum(edge[:-1, None], pixel)
    return (share.clip(0) * (_SIDE / side)).astype(np.float32)


def _local_contrast(pictures: np.ndarray, reach: float) -> np.ndarray:
    """Each pixel less its surroundings' mean, over their deviation; weak noise on plain ground stays weak."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    size = (0, reach, reach)
    rest = pictures - gaussian_filter(pictures, size)
    return rest / (np.sqrt(gaussian_filter(rest * rest, size)) + 6.0)


def _stored(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.rint(values * _QUANTUM).clip(-127, 127).astype(np.int8)


def _compact(views: np.ndarray) -> np.ndarray:
    """(..., 16, 16) -> (..., terms): windowed, the lowest cosine terms but the mean, of unit size."""
    import numpy as np
    from scipy.fft import dctn

    line = np.sqrt(np.hanning(_VIEW + 4)[2:-2]).astype(np.float32)
    terms = dctn(views * np.outer(line, line), axes=(-2, -1), norm="ortho")[..., :_TERMS, :_TERMS]
    flat = terms.reshape(*views.shape[:-2], -1)[..., 1:]
    return flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)


def _tangents(views: np.ndarray) -> np.ndarray:
    """(n, 16, 16) -> (5, n, terms): an orthonormal basis of the picture, its shifts, its turn and its scaling."""
    import numpy as np

    down, right = np.gradient(views, axis=1), np.gradient(views, axis=2)
    place = np.arange(_VIEW, dtype=np.float32) - (_VIEW - 1) / 2
    x, y = place[None, None, :], place[None, :, None]
    moved = _compact(np.stack([views, right, down, x * down - y * right, x * right + y * down], axis=1))
    basis = np.linalg.qr(moved.transpose(0, 2, 1) + 0.0)[0]
    return np.ascontiguousarray(basis.transpose(2, 0, 1).astype(np.float32))


def _turned(views: np.ndarray, mirrored: int) -> np.ndarray:
    """One of the four mirrorings: 1 left and right, 2 up and down, 3 both."""
    views = views[..., ::-1] if mirrored & 1 else views
    return views[..., ::-1, :] if mirrored & 2 else views


def _candidates(left: Prints, right: Prints, *, within: bool) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) of the likeliest pairs, and by which mirroring of the right one."""
    import numpy as np

    kept: dict[int, list[np.ndarray]] = {}
    views = right.arrays["view"].astype(np.float32)
    turned = [_compact(_turned(views, k)) for k in range(4)]
    for rows, columns in blocks(len(left), None if within else len(right)):
        basis = _tangents(left.arrays["view"][rows].astype(np.float32))
        best = np.zeros((basis.shape[1], turned[0][columns].shape[0]), dtype=np.float32)
        which = np.zeros(best.shape, dtype=np.int8)
        for k in range(4):
            shared = np.zeros_like(best)
            for direction in basis:
                product = direction @ turned[k][columns].T
                shared += np.square(product, out=product)
            better = shared > best
            best[better] = shared[better]
            which[better] = k
        best[left.blank[rows]] = 0
        best[:, right.blank[columns]] = 0
        hits = np.argwhere(best >= _CANDIDATE**2)
        found = placed(rows, columns, hits, within=within)
        i, j = found[:, 0] - rows.start, found[:, 1] - columns.start
        block = np.column_stack([found, which[i, j], np.float32(best[i, j])])
        kept.setdefault(rows.start, []).append(_nearest(block))
    if not kept:
        return np.empty((0, 2), dtype=np.intp), np.empty(0, dtype=np.int8)
    whole = np.concatenate([_nearest(np.concatenate(parts)) for parts in kept.values()])
    return whole[:, :2].astype(np.intp), whole[:, 2].astype(np.int8)


def _nearest(rows: np.ndarray) -> np.ndarray:
    """Of rows (left, right, mirroring, score): the few of highest score for each ``left``."""
    import numpy as np

    rows = rows[np.lexsort((-rows[:, 3], rows[:, 0]))]
    starts = np.flatnonzero(np.r_[True, rows[1:, 0] != rows[:-1, 0]]) if len(rows) else np.empty(0, dtype=int)
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    return rows[rank < _NEAREST]


def _laid_over(left: Prints, right: Prints, places: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """|correlation| in fine detail after the affine fit; 0 where the coarse fit is no likeness already."""
    import numpy as np

    def level(name: str, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a = left.arrays[name][places[chosen, 0]].astype(np.float32) / _QUANTUM
        b = right.arrays[name][places[chosen, 1]].astype(np.float32) / _QUANTUM
        for k in range(1, 4):
            b[mirrored[chosen] == k] = _turned(b[mirrored[chosen] == k], k)
        return a, b

    every = np.arange(len(places))
    a, b = level("coarse", every)
    maps = affine_fit(a, b, np.tile(np.eye(2, 3, dtype=np.float32), (len(places), 1, 1)), rounds=4)
    score = np.zeros(len(places))
    likely = np.flatnonzero(overlap_correlation(a, b, maps) >= _HALFWAY)
    if len(likely):
        a, b = level("fine", likely)
        score[likely] = overlap_correlation(a, b, affine_fit(a, b, maps[likely], rounds=2))
    return score
