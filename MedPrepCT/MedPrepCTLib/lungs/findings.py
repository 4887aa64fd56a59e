"""What tells whether lungs were found right: gas, gaps at the ribs, the airway, and how the patient lies.

All measured on the coarse grid while the lungs are segmented; :mod:`checks` judges it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..grid.morphology import CROSS, bounding_box, dilate, erode
from .airway import find_trachea
from .sides import UNKNOWN, Scene

_BONE_HU = 180
# Gas that is worth a word, and how far from the air of the room its density may be.
_GAS_ML, _ABOVE_AIR_HU = 10.0, 70.0
# Gas in the pleura lies beside lung and near ribs, and no lung is above it; bowel lies under the dome.
_BESIDE, _UNDER_LUNG, _NEAR_RIBS, _ABOVE_MM, _RIB_MM = 0.5, 0.4, 0.12, 60.0, 12.0
# Lung lies this close to a rib behind or beside it; bone this far from the spine is rib.
_GAP_MM, _LOOK_MM, _FROM_SPINE_MM, _BETWEEN_RIBS_MM = 15.0, 60.0, 40.0, 14.0
# Bone of a vertebra, not of a heart with contrast agent; mm.
_DENSE_BONE_HU, _THICK_MM = 250, 5.0
_TALL_MM = 40.0


@dataclass(frozen=True)
class Findings:
    """What was seen beside the lungs.

    Parameters
    ----------
    pleural_gas : ml of gas without vessels beside lung and ribs: pneumothorax, or a bulla as large.
    other_gas : ml of other gas at the lungs, mostly of the bowel. high_gas : the part of it that lies at the
        height of the lungs.
    gaps : share of the lung's rear and outer surface that lies far from the rib behind it, 0 to 1.
    lung_share : of the body's cross-section where the lungs are largest, 0 to 1.
    trachea : it was found. unknown_side : the side of the lung could not be told.
    spine_in_front, upside_down : the image contradicts the directions that its header states.
    """

    pleural_gas: float = 0.0
    other_gas: float = 0.0
    high_gas: float = 0.0
    gaps: float = 0.0
    lung_share: float = 0.0
    trachea: bool = False
    unknown_side: bool = False
    spine_in_front: bool = False
    upside_down: bool = False


def look_around(
    sides: np.ndarray,
    rejected: np.ndarray,
    inside: np.ndarray,
    body: np.ndarray,
    middle: np.ndarray,
    scene: Scene,
    spacing_kji: Sequence[float],
) -> Findings:
    """Measure the findings.

    Parameters
    ----------
    sides : uint8 (k, j, i), the lungs' cells, see :mod:`sides`. rejected : air of the body that is no lung.
    inside : all air of the body. body : its tissue. middle : column between the lungs, (k,), may be nan.
    """
    lung = sides > 0
    pleural, other, high = _gas(lung, rejected, scene, spacing_kji)
    area = lung.sum(axis=(1, 2))
    largest = np.argsort(-area)[: max(1, len(area) // 10)]
    share = area[largest].sum() / max(area[largest].sum() + body[largest].sum(), 1)
    return Findings(
        pleural_gas=pleural,
        other_gas=other,
        high_gas=high,
        gaps=_gaps(lung, scene, middle, spacing_kji),
        lung_share=float(share),
        trachea=scene.trachea is not None,
        unknown_side=bool((sides == UNKNOWN).any()),
        spine_in_front=spine_in_front(scene.calm, body, spacing_kji, scene.scale),
        upside_down=upside_down(inside, scene, spacing_kji),
    )


def _gas(lung, rejected, scene: Scene, spacing_kji) -> tuple[float, float, float]:
    """Millilitres of gas in the pleura, of other gas at the lungs, and of such that lies beside them."""
    calm = scene.calm
    gas, count = ndimage.label(rejected, CROSS)
    cell_ml = float(np.prod(spacing_kji)) / 1000
    ml = np.bincount(gas.ravel(), minlength=count + 1) * cell_ml
    area = lung.sum(axis=(1, 2))
    beside = area > 0.2 * area.max(initial=0)
    heights = np.flatnonzero(area)
    pleural = other = high = 0.0
    if not len(heights):
        return pleural, other, high
    ribs = dilate(calm > _BONE_HU, _RIB_MM, spacing_kji)
    up = max(1, int(_ABOVE_MM / spacing_kji[0]))
    for number, box in enumerate(ndimage.find_objects(gas), start=1):
        if ml[number] < _GAS_ML:
            continue
        piece = gas[box] == number
        inner = erode(piece, 1.0, (1.0, 1.0, 1.0)) & piece
        values = calm[box][inner] if inner.any() else calm[box][piece]
        if np.median(values) > scene.air_hu + _ABOVE_AIR_HU or box[0].stop <= heights[0]:
            continue
        per_slice = piece.sum(axis=(1, 2))
        at_lung = (per_slice * beside[box[0]]).sum() / per_slice.sum()
        columns = piece.any(axis=0)
        above = lung[box[0].stop - 1 : box[0].stop - 1 + up, box[1], box[2]].any(axis=0)
        under = (above & columns).sum() / columns.sum()
        near = ribs[box][piece].mean()
        if at_lung > _BESIDE and under < _UNDER_LUNG and near > _NEAR_RIBS:
            pleural += float(ml[number])
        else:
            other += float(ml[number])
            high += float(ml[number]) if at_lung > _BESIDE else 0.0
    return pleural, other, high


def _gaps(lung, scene: Scene, middle, spacing_kji) -> float:
    """Share of the lung's rear and outer surface that is more than a chest wall away from the next rib."""
    box = bounding_box(lung, [1, *(int(2 * _LOOK_MM / step) + 1 for step in spacing_kji[1:])])
    if box is None:
        return 0.0
    here, bone = lung[box], scene.calm[box] > _BONE_HU
    away = np.abs(np.arange(here.shape[2])[None] + box[2].start - middle[box[0]][:, None]) * spacing_kji[2]
    bone &= ~(away < _FROM_SPINE_MM * scene.scale)[:, None, :]
    # Between two ribs the wall is where they are; what shows through there is the shoulder blade.
    bone = ndimage.maximum_filter1d(bone, 2 * int(_BETWEEN_RIBS_MM / spacing_kji[0]) + 1, axis=0)
    slices = np.flatnonzero(here.any(axis=(1, 2)))
    upper = np.arange(len(here)) > slices[0] + 0.45 * (slices[-1] - slices[0])
    far = total = 0
    for axis, way in ((1, -1), (2, 1), (2, -1)):
        one, ribs = (np.moveaxis(mask, axis, 1) for mask in (here, bone))
        if way < 0:
            one, ribs = one[:, ::-1], ribs[:, ::-1]
        # From the outside inwards: the first lung cell of each line, and the last rib before it.
        seen = one.any(axis=1)
        first = one.argmax(axis=1)
        before = np.arange(one.shape[1])[None, :, None] < first[:, None, :]
        rib = np.where(ribs & before, np.arange(one.shape[1])[None, :, None], -1).max(axis=1)
        gap = (first - rib - 1) * spacing_kji[axis]
        # Further down liver and spleen lie between: there only what is near the lung is looked at.
        reach = np.where(upper, 2 * _LOOK_MM, _LOOK_MM)[:, None]
        line = seen & (rib >= 0) & (gap < reach)
        far += int((line & (gap > _GAP_MM)).sum())
        total += int(line.sum())
    return far / total if total > 200 else 0.0


def spine_in_front(calm: np.ndarray, body: np.ndarray, spacing_kji: Sequence[float], scale: float) -> bool:
    """Whether the thick bone of the spine lies in front of the body's middle, against the header."""
    bone = (calm > _DENSE_BONE_HU) & body
    thick = erode(bone, _THICK_MM * scale, (1e6, *spacing_kji[1:])) & bone
    per_slice = thick.sum(axis=(1, 2))
    shown = per_slice * spacing_kji[1] * spacing_kji[2] > 60.0 * scale**2
    rows = body.any(axis=2)
    shown &= rows.any(axis=1)
    if shown.sum() * spacing_kji[0] < 30.0:
        return False
    front = rows.argmax(axis=1)
    back = rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
    at = (thick.sum(axis=2) @ np.arange(rows.shape[1])) / np.maximum(per_slice, 1)
    place = (at - front) / np.maximum(back - front, 1)
    return bool(np.median(place[shown]) < 0.38)


def upside_down(inside: np.ndarray, scene: Scene, spacing_kji: Sequence[float]) -> bool:
    """Whether a much longer trachea shows once the image is turned over, against what the header says."""
    step, least = spacing_kji[0], _TALL_MM * scene.scale
    own = 0.0 if scene.trachea is None else scene.trachea.any(axis=(1, 2)).sum() * step
    if own > 1.5 * least:
        return False
    spine = scene.spine.column[::-1] if scene.spine.sure else None
    turned = find_trachea(scene.calm[::-1], inside[::-1], spine, spacing_kji, scene.scale)
    return turned is not None and bool(turned.any(axis=(1, 2)).sum() * step > max(least, 1.8 * own))
