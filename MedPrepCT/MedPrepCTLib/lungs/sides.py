"""Which lung is the right one: by the other lung, by the spine, or by what lies around a single lung.

Two lungs side by side tell each other. A lung alone is told by the spine where it shows, else by three weaker
signs that must agree: its medial side is hollow (heart and hilum), carries the thick bone and the trachea,
and the air of the room lies on the other. Where they do not, it is simply a lung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..grid.morphology import IN_PLANE_CROSS, dilate, erode
from .spine import Spine

RIGHT, LEFT, UNKNOWN = 1, 2, 4
# How far apart the middles of two lungs are, and how much of the smaller's height they share.
_APART_MM, _SHARED = 55.0, 0.3
_BONE_HU, _THICK_MM = 180, 5.0
# The sum of the signs, each -1 to 1, above which a side is told.
_ENOUGH = 0.9
_SIGN_WEIGHTS = {"hollow": 1.0, "bone": 0.6, "room": 0.7, "trachea": 1.2, "spine": 1.4}
# Air of the room is larger in a slice than a trachea or bowel that the border of the picture cuts.
_ROOM_MM2 = 1500.0


def beside_each_other(one: np.ndarray, other: np.ndarray, spacing_kji: Sequence[float], scale: float) -> int:
    """Whether two pieces (bool, k, j, i) are two lungs: 1 where `one` lies at lower i, -1 at higher, else 0.

    Right and left lung keep to their order in every slice; upper and lower lobes lie in front of each other.
    """
    cells = one.sum(axis=(1, 2)), other.sum(axis=(1, 2))
    both = (cells[0] > 0) & (cells[1] > 0)
    height = min((c > 0).sum() for c in cells)
    if height == 0 or both.sum() < _SHARED * height:
        return 0
    columns = np.arange(one.shape[2])
    middle = [
        (piece[both].sum(axis=1) @ columns) / count[both]
        for piece, count in zip((one, other), cells, strict=True)
    ]
    apart = (middle[1] - middle[0]) * spacing_kji[2]
    far = np.median(np.abs(apart)) > _APART_MM * scale
    order = np.sign(np.median(apart))
    if not far or (np.sign(apart) == order).mean() < 0.9:
        return 0
    return int(order)


def middle_between(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Column (k,) between two lungs, smooth; float, in cells."""
    nk, _, ni = right.shape
    columns = np.arange(ni)
    inner = np.full((2, nk), np.nan)
    for n, (piece, share) in enumerate(((right, 0.98), (left, 0.02))):
        for k in np.flatnonzero(piece.any(axis=(1, 2))):
            count = np.cumsum(piece[k].sum(axis=0))
            inner[n, k] = columns[np.searchsorted(count, share * count[-1])]
    middle = inner.mean(axis=0)
    known = np.flatnonzero(np.isfinite(middle))
    if not len(known):
        known, middle = np.arange(nk), np.full(nk, (ni - 1) / 2)
    middle = np.interp(np.arange(nk), known, middle[known])
    return ndimage.median_filter(middle, min(nk, 15), mode="nearest")


@dataclass(frozen=True)
class Scene:
    """What lies around the lungs, on the coarse grid.

    Parameters
    ----------
    calm : (k, j, i) HU with little noise. room : bool, air outside the patient. spine : where it runs.
    trachea : bool, its cells, or None. scale : size of the patient compared with an adult.
    air_hu : what the air of the room measures.
    """

    calm: np.ndarray
    room: np.ndarray
    spine: Spine
    trachea: np.ndarray | None
    scale: float
    air_hu: float


def side_of_one_lung(
    lung: np.ndarray, scene: Scene, spacing_kji: Sequence[float]
) -> tuple[int, dict[str, float]]:
    """RIGHT, LEFT or UNKNOWN for a lung (bool, k, j, i), and the signs: each -1 (right) to 1 (left)."""
    spine, trachea, scale = scene.spine, scene.trachea, scene.scale
    signs = {"hollow": -_hollow(lung, spacing_kji), "room": _room(lung, scene.room, spacing_kji)}
    k, _, i = np.nonzero(lung)
    if spine.sure:
        away = (i - spine.column[k]) * spacing_kji[2]
        share = (away > 0).mean()
        signs["spine"] = float(np.clip(4 * (share - 0.5), -1, 1))
    else:
        signs["bone"] = -_thick_bone(lung, scene.calm, spacing_kji, scale)
    if trachea is not None and trachea.any():
        away = (i.mean() - np.nonzero(trachea)[2].mean()) * spacing_kji[2]
        signs["trachea"] = float(np.clip(away / (40.0 * scale), -1, 1))
    total = sum(_SIGN_WEIGHTS[name] * value for name, value in signs.items())
    if abs(total) < _ENOUGH:
        return UNKNOWN, signs
    return (LEFT if total > 0 else RIGHT), signs


def _hollow(lung: np.ndarray, spacing_kji) -> float:
    """Where the lung is hollow: -1 at its low-i side, 1 at its high-i side."""
    total, weight = 0.0, 0.0
    for plane in lung[:: max(1, len(lung) // 40)]:
        if plane.sum() < 30:
            continue
        dent = _hull(plane) & ~plane
        if not dent.any():
            continue
        inside = np.nonzero(plane)[1]
        half = 0.5 * (np.percentile(inside, 95) - np.percentile(inside, 5)) + 1e-3
        shift = (np.nonzero(dent)[1] - inside.mean()) / half
        total += float(np.clip(shift, -1, 1).mean()) * dent.sum()
        weight += dent.sum()
    return float(np.clip(1.6 * total / weight, -1, 1)) if weight else 0.0


def _hull(plane: np.ndarray) -> np.ndarray:
    """The convex hull of a plane's cells, by the extreme cells of each row; bool (j, i)."""
    rows = np.flatnonzero(plane.any(axis=1))
    low = plane[rows].argmax(axis=1)
    high = plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
    left = _envelope(rows, low, -1)
    right = _envelope(rows, high, 1)
    columns = np.arange(plane.shape[1])
    hull = np.zeros_like(plane)
    span = np.arange(rows[0], rows[-1] + 1)
    hull[span] = (columns >= np.ceil(left - 1e-9)[:, None]) & (columns <= np.floor(right + 1e-9)[:, None])
    return hull | plane


def _envelope(rows: np.ndarray, ends: np.ndarray, way: int) -> np.ndarray:
    """The convex envelope of a plane's ends, one value per row from the first to the last."""
    kept: list[tuple[float, float]] = []
    for row, end in zip(rows, way * ends, strict=True):
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (row - kept[-2][0]) <= (end - kept[-2][1]) * (
            kept[-1][0] - kept[-2][0]
        ):
            kept.pop()
        kept.append((float(row), float(end)))
    at = np.array(kept)
    return way * np.interp(np.arange(rows[0], rows[-1] + 1), at[:, 0], at[:, 1])


def _thick_bone(lung, calm, spacing_kji, scale) -> float:
    """On which side of the lung the thick bone of a spine lies: -1 at low i, 1 at high i; 0 without any."""
    planes = np.flatnonzero(lung.any(axis=(1, 2)))
    box = slice(planes[0], planes[-1] + 1)
    bone = calm[box] > _BONE_HU
    thick = erode(bone, _THICK_MM * scale, (1e6, *spacing_kji[1:])) & bone
    thick = dilate(thick, _THICK_MM * scale, (1e6, *spacing_kji[1:])) & bone
    if thick.sum() < 3 * len(bone):
        return 0.0
    columns = np.arange(lung.shape[2])
    centre = np.array([(plane.sum(axis=0) @ columns) / max(plane.sum(), 1) for plane in lung[box]])
    k, _, i = np.nonzero(thick)
    away = (i - centre[k]) * spacing_kji[2]
    return float(np.clip(away / (45.0 * scale), -1, 1).mean())


def _room(lung: np.ndarray, room: np.ndarray, spacing_kji) -> float:
    """On which side of the lung air of the room is seen along its rows: -1 at low i only, 1 at high i."""
    labels, _count = ndimage.label(room, IN_PLANE_CROSS)
    room = (np.bincount(labels.ravel()) * spacing_kji[1] * spacing_kji[2] > _ROOM_MM2)[labels] & room
    rows = lung.any(axis=2)
    low = high = 0
    for k in np.flatnonzero(rows.any(axis=1))[:: max(1, len(lung) // 40)]:
        # In front and behind the body curves away on either side.
        inside = np.flatnonzero(rows[k])
        inside = inside[int(0.35 * len(inside)) : max(int(0.75 * len(inside)), 1)]
        centre = int(np.nonzero(lung[k])[1].mean())
        low += int(room[k, inside, :centre].any(axis=1).sum())
        high += int(room[k, inside, centre + 1 :].any(axis=1).sum())
    return (high - low) / max(high + low, 1) if max(high, low) > 0 else 0.0
