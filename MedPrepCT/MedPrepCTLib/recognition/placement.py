"""Whether a CT lies as its header says: spine at the back, airway at the top, liver right, heart left.

The header says which way an array's axes run; the content is asked whether that can be true. Heads have
no side that could be told, limbs no direction at all: of them nothing is said.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.i18n import _

from .cells import Cells
from .parts import largest_in_plane, slice_kinds

# Trunk in a scan, mm, from which its sides and ends can be told.
_ENOUGH_MM = 60.0
# Share of the bone in the middle of the four sides of a trunk that the side with the spine has, at least.
_SPINE_SHARE = 0.45
# Millimetres that the airway lies above the middle of the lungs.
_AIRWAY_MM = 25.0
# Differences that count as 1: HU between the sides of the upper abdomen, mm of the heart off the middle.
_LIVER_HU, _HEART_MM = 15.0, 12.0
# Sum of the two from which sides are told; real scans reach 1.1 and more.
_SIDE = 0.6
# The same where there is only an abdomen to go by.
_SIDE_OF_ABDOMEN = 1.2


class Placement(NamedTuple):
    """In words, "" where all is as the header says; and how sure, 0 where nothing can be told."""

    words: str
    confidence: float


def find_placement(cells: Cells) -> Placement:
    """How a scan lies against its header."""
    kinds = slice_kinds(cells)
    trunk = np.isin(kinds, ("chest", "abdomen", "pelvis")) & (cells.at_border < 0.3)
    if trunk.sum() * cells.spacing_kji[0] >= _ENOUGH_MM:
        return _of_trunk(cells, kinds, trunk)
    if (kinds == "head").sum() * cells.spacing_kji[0] >= 30:
        return _of_head(cells, kinds)
    return Placement("", 0.0)


def _of_trunk(cells: Cells, kinds: np.ndarray, trunk: np.ndarray) -> Placement:
    wrong, told = [], False
    # A pelvis has as much bone at its sides as at the back.
    backed = trunk & (kinds != "pelvis")
    share = spine_shares(cells, backed if backed.sum() * cells.spacing_kji[0] >= _ENOUGH_MM else trunk)
    if share.max() >= _SPINE_SHARE:
        told = True
        side = int(share.argmax())
        if side:
            wrong.append(
                (
                    "",
                    _("front and back are exchanged (the spine lies in front)"),
                    _("turned on its side (the spine lies at the right)"),
                    _("turned on its side (the spine lies at the left)"),
                )[side]
            )
    up, chest = airway_height(cells, kinds), bool((kinds == "chest").sum() > 2)
    upside_down = up < -_AIRWAY_MM
    if upside_down:
        wrong.append(_("upside down (the windpipe leaves the lungs at the bottom)"))
    if not chest and (up := pelvis_depth(cells, kinds)) < -_AIRWAY_MM:
        upside_down = True
        wrong.append(_("upside down (the pelvis lies above the abdomen)"))
    told |= abs(up) > _AIRWAY_MM
    if not (share.max() >= _SPINE_SHARE and share.argmax() > 1) and (not chest or abs(up) > _AIRWAY_MM):
        sides, least = side_score(cells, kinds, upside_down), _SIDE if chest else _SIDE_OF_ABDOMEN
        told |= abs(sides) > least
        if sides < -least:
            wrong.append(_("left and right are exchanged (liver at the left, heart or stomach at the right)"))
    return Placement("; ".join(wrong), 0.9 if told else 0.0)


def spine_shares(cells: Cells, trunk: np.ndarray) -> np.ndarray:
    """Share of the dense bone at back, front, right and left of the trunk's middle, (4,)."""
    found = np.zeros(4)
    for k in np.flatnonzero(trunk):
        whole = largest_in_plane(cells.whole[k])
        y, x = _centred(whole)
        bone = np.clip(cells.hu[k] - 150.0, 0, 400) * whole
        middle, level = np.abs(x) < 0.25, np.abs(y) < 0.25
        found += [
            bone[part].sum()
            for part in (middle & (y > 0), middle & (y < 0), level & (x < 0), level & (x > 0))
        ]
    return found / max(found.sum(), 1e-6)


def airway_height(cells: Cells, kinds: np.ndarray) -> float:
    """Millimetres by which tubes of air in the middle of the body lie above the middle of the lungs."""
    lungs = np.flatnonzero(kinds == "chest")
    if lungs.size < 3:
        return 0.0
    middle, heights = (lungs[0] + lungs[-1]) / 2, []
    for k in range(len(kinds)):
        whole = largest_in_plane(cells.whole[k])
        if not whole.any():
            continue
        _y, x = _centred(whole)
        gas = (cells.hu[k] < -550) & ndimage.binary_erosion(whole, iterations=2)
        labels, count = ndimage.label(gas)
        for n in range(1, count + 1):
            tube = labels == n
            width = np.ptp(np.flatnonzero(whole.any(0))) + 1
            off = abs(x[tube].mean()) * width / 2 * cells.spacing_kji[2]
            if 0.6 < tube.sum() * cells.cm2 < 7 and off < 22 and cells.hu[k][tube].min() < -750:
                heights.append((k - middle) * cells.spacing_kji[0])
    return float(np.median(heights)) if len(heights) > 2 else 0.0


def pelvis_depth(cells: Cells, kinds: np.ndarray) -> float:
    """Millimetres by which the pelvis lies below the abdomen; 0 where one of them is not to be seen."""
    there = [np.flatnonzero(kinds == name) for name in ("abdomen", "pelvis")]
    if min(len(k) for k in there) * cells.spacing_kji[0] < 30:
        return 0.0
    return float(there[0].mean() - there[1].mean()) * cells.spacing_kji[0]


def side_score(cells: Cells, kinds: np.ndarray, upside_down: bool = False) -> float:
    """Above 0: liver right and heart left, as they should be; mirrored scans give the negative of it."""
    step = -1 if upside_down else 1
    hu, whole, lung = cells.hu[::step], cells.whole[::step], cells.lung[::step]
    lungs = np.flatnonzero(kinds[::step] == "chest")
    depth = max(1, round(24 / cells.spacing_kji[1]))
    if lungs.size > 2:
        low, high = int(lungs[0]), int(lungs[-1])
        first = max(0, low - round(60 / cells.spacing_kji[0]))
        upper = range(first, low + max(1, round(20 / cells.spacing_kji[0])))
    else:
        belly = np.flatnonzero(kinds[::step] == "abdomen")
        low = high = len(hu)
        upper = belly[-round(120 / cells.spacing_kji[0]) :]
    liver = []
    for k in upper:
        inner = ndimage.binary_erosion(largest_in_plane(whole[k]) & ~lung[k], iterations=depth)
        if not inner.any():
            continue
        _y, x = _centred(whole[k])
        right, left = hu[k][inner & (x < 0)], hu[k][inner & (x > 0)]
        if right.size and left.size:
            liver.append(np.clip(right, -150, 150).mean() - np.clip(left, -150, 150).mean())
    weight, moment = 0.0, 0.0
    span = high - low
    for k in range(low + int(0.2 * span), min(low + int(0.55 * span) + 1, len(hu))):
        rows = largest_in_plane(whole[k])
        centre = np.flatnonzero(rows.any(0))[[0, -1]].mean() if rows.any() else 0.0
        soft = rows & ~lung[k] & (hu[k] > -50)
        for j in np.flatnonzero(lung[k].any(1)):
            sides = np.flatnonzero(lung[k][j])
            between = np.arange(sides[0], sides[-1] + 1)
            inside = soft[j, sides[0] : sides[-1] + 1]
            moment += float((between[inside] - centre).sum())
            weight += float(inside.sum())
    heart = moment / weight * cells.spacing_kji[2] if weight else 0.0
    return (float(np.mean(liver)) if liver else 0.0) / _LIVER_HU + heart / _HEART_MM


def _centred(whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each cell, -1 to 1 over the box of `whole`."""
    found = []
    for axis in (1, 0):
        used = np.flatnonzero(whole.any(axis))
        middle, half = (used[0] + used[-1]) / 2, (used[-1] - used[0] + 1) / 2
        found.append((np.arange(whole.shape[1 - axis]) - middle) / half)
    return np.broadcast_to(found[0][:, None], whole.shape), np.broadcast_to(found[1][None, :], whole.shape)


def _of_head(cells: Cells, kinds: np.ndarray) -> Placement:
    wrong, told = [], False
    end = vertex(cells, kinds)
    if end:
        told = True
        if end < 0:
            wrong.append(_("upside down (the top of the skull lies below)"))
    face = face_side(cells)
    if abs(face) > 0.15:
        told = True
        if face < 0:
            wrong.append(_("front and back are exchanged (the face lies at the back)"))
    return Placement("; ".join(wrong), 0.8 if told else 0.0)


def vertex(cells: Cells, kinds: np.ndarray) -> int:
    """1 where the skull closes towards the head end, -1 towards the other, 0 where neither is to be seen."""
    area = cells.area(cells.whole)
    used = np.flatnonzero(area > 5)
    near = max(2, round(30 / cells.spacing_kji[0]))
    ends = {1: used[-near:], -1: used[:near]}
    closing = [
        way
        for way, slices in ends.items()
        if (kinds[slices] == "head").any() and area[slices[::way][-1]] < 0.55 * area[used].max()
    ]
    return closing[0] if len(closing) == 1 else 0


def face_side(cells: Cells) -> float:
    """Where the air of nose, sinuses and throat lies: above 0 in front, -1 to 1; 0 where there is none."""
    weight, moment = 0, 0.0
    for k in range(len(cells.hu)):
        whole = largest_in_plane(
            ndimage.binary_fill_holes(ndimage.binary_closing(cells.body[k], iterations=2))
        )
        if whole.sum() * cells.cm2 < 60:
            continue
        y, x = _centred(whole)
        gas = (cells.hu[k] < -250) & ndimage.binary_erosion(whole, iterations=3) & (np.abs(x) < 0.4)
        weight += int(gas.sum())
        moment -= float(y[gas].sum())
    return moment / weight if weight * cells.cm2 * cells.spacing_kji[0] / 10 > 5 else 0.0
