"""Where the spine runs: the patient's midline, as one smooth path through all slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_BONE_HU = 180
# Width of the stripe of bone that is looked for, and mm over which slices are taken together.
_STRIPE_MM, _HEIGHT_MM = 30.0, 40.0
# A spine leans by less than this (mm sideways per mm of height), and more bone than this counts as this much.
_LEAN, _ENOUGH_MM2 = 0.5, 1200.0
# Bone of a spine in one slice, and how much more that is than of ribs or a shoulder elsewhere.
_LEAST_MM2, _TIMES_OTHERS = 330.0, 1.3
_APART_MM = 40.0
# Ribs and shoulder blades wander sideways; even a crooked spine keeps within this.
_MOST_LEAN_MM = 35.0


@dataclass(frozen=True)
class Spine:
    """The spine's column in each slice.

    Parameters
    ----------
    column : float (k,), in cells; the middle of the body where there is no bone.
    sure : it is the spine, not ribs, a shoulder, or an arm.
    behind : share of the bone within the stripe that lies in the rear half of the body; nan without bone.
    """

    column: np.ndarray
    sure: bool
    behind: float


def find_spine(calm: np.ndarray, body: np.ndarray, spacing_kji: Sequence[float], scale: float = 1.0) -> Spine:
    """The densest stripe of bone at the back, followed from slice to slice.

    Parameters
    ----------
    calm : (k, j, i) HU, j to the back. body : bool, the patient's tissue. scale : size relative to an adult.
    """
    nk, nj, ni = calm.shape
    rows = body.any(axis=2)
    front = np.where(rows.any(axis=1), rows.argmax(axis=1), 0)
    back = np.where(rows.any(axis=1), nj - 1 - rows[:, ::-1].argmax(axis=1), nj - 1)
    posterior = np.arange(nj)[None, :] > (0.55 * front + 0.45 * back)[:, None]
    bone = (calm > _BONE_HU) & body
    width = max(1, int(round(_STRIPE_MM * scale / spacing_kji[2])))
    cell_mm2 = spacing_kji[1] * spacing_kji[2]

    def stripes(mask):
        mm2 = mask.sum(axis=1, dtype=np.float32) * cell_mm2 * width
        mm2 = ndimage.uniform_filter1d(mm2, width, axis=1, mode="constant")
        high = max(1, int(round(_HEIGHT_MM / spacing_kji[0])))
        return ndimage.uniform_filter1d(mm2, high, axis=0, mode="nearest")

    stripe = stripes(bone & posterior[:, :, None])
    columns = body.sum(axis=1, dtype=np.float32)
    middle = (columns @ np.arange(ni)) / np.maximum(columns.sum(axis=1), 1)
    middle[columns.sum(axis=1) == 0] = (ni - 1) / 2
    if not stripe.any():
        return Spine(middle, False, float("nan"))
    path = _best_path(np.minimum(stripe, _ENOUGH_MM2 * scale**2), spacing_kji)
    own = np.percentile(stripe[np.arange(nk), path], 30)
    others = stripe.copy()
    others[np.abs(np.arange(ni) - path[:, None]) * spacing_kji[2] < _APART_MM * scale] = 0
    rival = np.median(others[np.arange(nk), _best_path(others, spacing_kji)])
    lean = np.ptp(np.percentile(path, (10, 90))) * spacing_kji[2]
    sure = own > _LEAST_MM2 * scale**2 and own > _TIMES_OTHERS * rival and lean < _MOST_LEAN_MM * scale
    whole = stripes(bone)[np.arange(nk), path].sum()
    behind = float(stripe[np.arange(nk), path].sum() / whole) if whole > 0 else float("nan")
    return Spine(path.astype(float), bool(sure), behind)


def _best_path(score: np.ndarray, spacing_kji: Sequence[float]) -> np.ndarray:
    """Column (k,) of the path with the largest sum that leans no more than a spine; score (k, i)."""
    nk, ni = score.shape
    reach = max(1, int(np.ceil(_LEAN * spacing_kji[0] / spacing_kji[2])))
    cost = 0.02 * float(score.max()) / reach
    best, came = score[0].astype(np.float64), np.zeros((nk, ni), np.int32)
    for k in range(1, nk):
        options = np.full((2 * reach + 1, ni), -np.inf)
        for n, shift in enumerate(range(-reach, reach + 1)):
            low, high = max(shift, 0), ni + min(shift, 0)
            options[n, low:high] = best[low - shift : high - shift] - cost * abs(shift)
        choice = options.argmax(axis=0)
        came[k] = np.arange(ni) - (choice - reach)
        best = options[choice, np.arange(ni)] + score[k]
    path = np.empty(nk, np.int64)
    path[-1] = int(best.argmax())
    for k in range(nk - 1, 0, -1):
        path[k - 1] = came[k, path[k]]
    return path
