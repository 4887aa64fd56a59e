"""Air inside the body on a coarse chest CT: not the room, not the table, not the padding.

Lungs may meet the image border: at the top and bottom of a slab, and sideways where the field of view was
cropped. So air is not thrown away merely because it reaches a border.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.morphology import CROSS, IN_PLANE_CROSS, dilate, erode

_TISSUE_HU, _BONE_HU = -250, 180
# The chest wall in front of and behind a lung; a table top is thinner.
_WALL_MM = 6.0
# The median of a cropped lung lies above this, of room air below.
_ROOM_AIR_HU = -955
_FLANK_MM, _TAPER_MM = 9.0, 15.0
# Smaller parts of a slice have no say in whether a lung is cut there.
_CUT_MM2 = 120.0
# Narrower than this is a child; slim adults measure more.
_ADULT_WIDTH_MM = 240.0


def body_mask(coarse: np.ndarray, void: np.ndarray, spacing_kji: Sequence[float]) -> np.ndarray:
    """The patient's tissue without the lungs' air: the largest soft-tissue part, freed from the table."""
    tissue = coarse > _TISSUE_HU
    # What the field of view cuts off is unknown, not air: it does not wear the body down.
    in_plane = (1e6, *spacing_kji[1:])
    core = erode(tissue | void, 1.01 * min(spacing_kji[1:]), in_plane) & tissue
    labels, count = ndimage.label(core, CROSS)
    if count == 0:
        return tissue
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    # Arms and legs count as body too; a table's remains are small or thin.
    keep = sizes >= 0.15 * sizes.max()
    keep[0] = False
    return dilate(keep[labels], 2.02 * min(spacing_kji[1:]), in_plane) & tissue


def body_scale(body: np.ndarray, void: np.ndarray, spacing_kji: Sequence[float]) -> float:
    """How wide the patient is compared with an adult, 0.35 to 1; 1 where its sides are out of view."""
    columns = body.any(axis=1)
    at_side = (body & _frame(void)).any(axis=(1, 2))
    used = columns.any(axis=1)
    whole = used & ~at_side
    if whole.sum() * 2 < used.sum() or not used.any():
        return 1.0
    width = float(np.percentile(columns[whole].sum(axis=1), 75)) * spacing_kji[2]
    return float(np.clip(width / _ADULT_WIDTH_MM, 0.35, 1.0))


def air_inside(
    coarse: np.ndarray,
    void: np.ndarray,
    body: np.ndarray,
    spacing_kji: Sequence[float],
    threshold: float,
    scale: float,
    job: Job,
) -> np.ndarray:
    """Air within the patient; bool (k, j, i).

    Parameters
    ----------
    coarse : (k, j, i) HU, k up, j back. void : cells outside the field of view. body : see :func:`body_mask`.
    spacing_kji : mm of the cells. threshold : HU below which a cell is air. scale : see :func:`body_scale`.
    """
    air = (coarse < threshold) & ~void
    frame = _frame(void)
    labels, count = ndimage.label(air, IN_PLANE_CROSS)
    reaches = np.zeros(count + 1, bool)
    reaches[labels[frame & air]] = True
    reaches[0] = False
    job.check()
    cells = np.bincount(labels.ravel(), minlength=count + 1)
    cropped = _cropped_lungs(coarse, labels, cells, reaches, frame, void, body, spacing_kji)
    job.check()
    outside = (reaches & ~cropped)[labels]
    # A part lies in the body when most of it has body in front and behind: not one fold of skin, nor one gap.
    walled = 2 * np.bincount(labels[_walled(body, spacing_kji, scale)], minlength=count + 1) > cells
    job.check()
    return air & ~outside & (walled | cropped)[labels]


def _frame(void: np.ndarray) -> np.ndarray:
    """Cells on the lateral border of the field of view: of the image, or beside the padding."""
    frame = np.zeros_like(void)
    frame[:, [0, -1], :] = True
    frame[:, :, [0, -1]] = True
    frame[:, 1:] |= void[:, :-1]
    frame[:, :-1] |= void[:, 1:]
    frame[:, :, 1:] |= void[:, :, :-1]
    frame[:, :, :-1] |= void[:, :, 1:]
    return frame & ~void


def _walled(body: np.ndarray, spacing_kji: Sequence[float], scale: float) -> np.ndarray:
    """Cells with a wall of the patient's tissue both in front of them and behind them."""
    needed = max(2, int(np.ceil(_WALL_MM * scale / spacing_kji[1] - 1e-6)))
    ahead = np.cumsum(body, axis=1, dtype=np.int16)
    behind = ahead[:, -1:] - ahead
    # Where the picture ends within the wall, the rest of the wall lies outside it.
    return ((ahead >= needed) | body[:, :1]) & ((behind >= needed) | body[:, -1:])


def _bounded_by_body(labels, wanted, body, void) -> np.ndarray:
    """Which of the wanted slice parts border on the body, not only on a table."""
    cells = np.flatnonzero(wanted[labels.ravel()])
    flat_labels, flat_body = labels.ravel(), body.ravel()
    solid_cell = (labels == 0).ravel() & ~void.ravel()
    _, rows, columns = labels.shape
    row, column = cells // columns % rows, cells % columns
    beside, solid = np.zeros(len(wanted)), np.zeros(len(wanted))
    for step, inside in (
        (-1, column > 0),
        (1, column < columns - 1),
        (-columns, row > 0),
        (columns, row < rows - 1),
    ):
        own, neighbour = cells[inside], cells[inside] + step
        other = solid_cell[neighbour]
        solid += np.bincount(flat_labels[own[other]], minlength=len(wanted))
        beside += np.bincount(flat_labels[own[other]], flat_body[neighbour[other]], len(wanted))
    # Vessels inside the part are solid too, so body need not be most of what it borders on.
    return beside >= 0.35 * np.maximum(solid, 1)


def _last_bone(coarse, body, spacing_kji) -> np.ndarray:
    """Last row (to the back) with bone around each slice; the last row of all where there is none."""
    rows = ((coarse > _BONE_HU) & body).sum(axis=2) >= 2
    last = rows.shape[1] - 1
    back = np.where(rows.any(axis=1), last - rows[:, ::-1].argmax(axis=1), 0)
    back = ndimage.maximum_filter1d(back, 2 * int(15.0 / spacing_kji[0]) + 1)
    return np.where(back > 0, back, last)


def _cropped_lungs(coarse, labels, cells, reaches, frame, void, body, spacing_kji) -> np.ndarray:
    """Which slice parts that reach the lateral border are lung cut by it, not room air: (count + 1) bool.

    A cut lung is denser than room air, and along the border it ends at thick tissue on either side.
    """
    cropped = np.zeros(len(cells), bool)
    dense = np.bincount(labels[(labels > 0) & (coarse > _ROOM_AIR_HU)], minlength=len(cells))
    likely = reaches & (2 * dense > cells)
    # Between air and tissue lies a cell of mixed content: the body starts one cell further.
    near_body = dilate(body, 1.01 * max(spacing_kji[1:]), (1e6, *spacing_kji[1:]))
    # Where the border of the picture cuts no body it cuts no lung. Parts are numbered slice after slice.
    cut = (near_body & frame).any(axis=(1, 2))
    last_part = np.maximum.accumulate(labels.max(axis=(1, 2)))
    likely &= cut[np.searchsorted(last_part, np.arange(len(cells)))]
    if not likely.any():
        return cropped
    passed = likely & (cells * spacing_kji[1] * spacing_kji[2] > _CUT_MM2)
    passed &= _bounded_by_body(labels, likely, near_body, void)
    # No lung lies behind the spine.
    at = np.argwhere(passed[labels])
    name = labels[tuple(at.T)]
    last_bone = _last_bone(coarse, body, spacing_kji)
    depth = np.bincount(name, at[:, 1] - last_bone[at[:, 0]], len(cells))
    passed &= depth <= 0
    if not passed.any():
        return cropped
    # On a round border the wall tapers: there solid cells a little way from the body count as body too.
    beside = dilate(body, _TAPER_MM, (1e6, *spacing_kji[1:])) & (labels == 0)
    steps = max(2, int(round(_FLANK_MM / min(spacing_kji[1:]))))
    for k in np.flatnonzero(passed[labels].any(axis=(1, 2))):
        for name in np.unique(labels[k][passed[labels[k]]]):
            on_border = (labels[k] == name) & frame[k]
            flank = ndimage.binary_dilation(on_border, np.ones((3, 3)), iterations=steps, mask=frame[k])
            flank &= ~on_border
            # No lung spans the picture from side to side: that is the room behind cropped shoulders.
            spans = on_border[:, 0].any() and on_border[:, -1].any()
            passed[name] = flank.any() and beside[k][flank].mean() >= 0.6 and not spans
    # Slices that belong together decide together: a lung is cut in most of the slices that it has at the
    # border.
    groups, number = ndimage.label(likely[labels], CROSS)
    votes = np.bincount(groups[passed[labels]], minlength=number + 1)
    kept = votes > 0.5 * np.bincount(groups.ravel(), minlength=number + 1)
    kept[0] = False
    cropped[labels[kept[groups]]] = True
    return cropped
