"""Air inside the body on a coarse chest CT: not the room, not the table, not the padding.

Lungs may meet the image border: at the top and bottom of a slab, and sideways where the field of view was cropped.
So air is not thrown away merely because it reaches a border.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from .morphology import CROSS, IN_PLANE_CROSS, dilate, erode

# Below any air a calibrated scanner measures: values outside the reconstructed field of view.
_PADDING_HU = -1060
_TISSUE_HU = -250
# The chest wall in front of and behind a lung; a table top is thinner.
_WALL_MM = 6.0
# The median of a cropped lung lies above this, of room air below.
_ROOM_AIR_HU = -955
_FLANK_MM = 9.0


def body_mask(coarse: np.ndarray, spacing_kji: Sequence[float]) -> np.ndarray:
    """The patient's tissue without the lungs' air: the largest soft-tissue part, freed from the table."""
    tissue = coarse > _TISSUE_HU
    core = erode(tissue, 1.01 * max(min(spacing_kji), min(spacing_kji[1:])), (1e6, *spacing_kji[1:]))
    labels, count = ndimage.label(core, CROSS)
    if count == 0:
        return tissue
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    # Arms and legs count as body too; a table's remains are small or thin.
    keep = sizes >= 0.15 * sizes.max()
    keep[0] = False
    return dilate(keep[labels], 2.02 * min(spacing_kji[1:]), (1e6, *spacing_kji[1:])) & tissue


def padding_mask(coarse: np.ndarray) -> np.ndarray:
    """Cells outside the reconstructed field of view, whatever number the scanner wrote there."""
    void = coarse <= _PADDING_HU
    lowest = int(coarse.min())
    if lowest <= -1000:
        # One constant value, reaching the corners of the slices.
        constant = coarse == lowest
        corners = np.zeros_like(constant)
        corners[:, [0, 0, -1, -1], [0, -1, 0, -1]] = True
        if (constant & corners).any():
            labels, count = ndimage.label(constant, IN_PLANE_CROSS)
            wanted = np.zeros(count + 1, bool)
            wanted[labels[corners & constant]] = True
            void |= wanted[labels]
    return void


def air_inside(
    coarse: np.ndarray, spacing_kji: Sequence[float], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Air within the patient, and the patient's tissue; bool (k, j, i) each.

    Parameters
    ----------
    coarse : (k, j, i) HU, k up, j back. spacing_kji : mm of its cells. threshold : HU below which a cell is air.
    """
    void = padding_mask(coarse)
    air = (coarse < threshold) & ~void
    body = body_mask(coarse, spacing_kji)
    frame = _frame(void)
    labels, count = ndimage.label(air, IN_PLANE_CROSS)
    reaches = np.zeros(count + 1, bool)
    reaches[labels[frame & air]] = True
    reaches[0] = False
    cropped = _cropped_lungs(coarse, labels, count, reaches, frame, body, spacing_kji)
    outside = (reaches & ~cropped)[labels]
    walled = _walled(body, spacing_kji) | cropped[labels]
    inside = air & ~outside & walled
    return inside, body


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


def _walled(body: np.ndarray, spacing_kji: Sequence[float]) -> np.ndarray:
    """Cells with a wall of the patient's tissue both in front of them and behind them."""
    needed = max(2, int(np.ceil(_WALL_MM / spacing_kji[1] - 1e-6)))
    ahead = np.cumsum(body, axis=1, dtype=np.int16)
    behind = ahead[:, -1:] - ahead
    return (ahead >= needed) & (behind >= needed)


def _bounded_by_body(labels, wanted, body) -> np.ndarray:
    """Which of the wanted slice parts border on the body, not on a table, for most of their outline."""
    cells = np.flatnonzero(wanted[labels.ravel()])
    flat_labels, flat_body = labels.ravel(), body.ravel()
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
        other = flat_labels[neighbour] == 0
        solid += np.bincount(flat_labels[own[other]], minlength=len(wanted))
        beside += np.bincount(flat_labels[own[other]], flat_body[neighbour[other]], len(wanted))
    return beside >= 0.6 * np.maximum(solid, 1)


def _cropped_lungs(coarse, labels, count, reaches, frame, body, spacing_kji) -> np.ndarray:
    """Which slice parts that reach the lateral border are lung cut by it, not room air: (count + 1) bool.

    A cut lung is denser than room air, and along the border it ends at thick tissue on either side.
    """
    cropped = np.zeros(count + 1, bool)
    cells = np.bincount(labels.ravel(), minlength=count + 1)
    dense = np.bincount(labels[coarse > _ROOM_AIR_HU], minlength=count + 1)
    likely = reaches & (2 * dense > cells) & (cells * spacing_kji[1] * spacing_kji[2] > 150)
    if likely.any():
        # Between air and tissue lies a cell of mixed content: the body starts one cell further.
        near_body = dilate(body, 1.01 * max(spacing_kji[1:]), (1e6, *spacing_kji[1:]))
        likely &= _bounded_by_body(labels, likely, near_body)
    if not likely.any():
        return cropped
    steps = max(2, int(round(_FLANK_MM / min(spacing_kji[1:]))))
    for k in np.flatnonzero(likely[labels].any(axis=(1, 2))):
        for name in np.unique(labels[k][likely[labels[k]]]):
            on_border = (labels[k] == name) & frame[k]
            flank = ndimage.binary_dilation(on_border, np.ones((3, 3)), iterations=steps, mask=frame[k])
            flank &= ~on_border
            thick = body[k][flank]
            # No lung spans the picture from side to side: that is the room behind cropped shoulders.
            spans = on_border[:, 0].any() and on_border[:, -1].any()
            cropped[name] = thick.size > 0 and thick.mean() >= 0.6 and not spans
    return _without_room(labels, reaches, cropped)


def _without_room(labels, reaches, cropped) -> np.ndarray:
    """Drop cropped parts that go on as room air in the slice above or below; (count + 1) bool."""
    cells = np.maximum(np.bincount(labels.ravel(), minlength=len(cropped)), 1)
    while cropped.any():
        lung, room = cropped[labels], (reaches & ~cropped)[labels]
        over = np.bincount(labels[:-1][lung[:-1] & room[1:]], minlength=len(cropped))
        under = np.bincount(labels[1:][lung[1:] & room[:-1]], minlength=len(cropped))
        kept = cropped & (np.maximum(over, under) < 0.3 * cells)
        if (kept == cropped).all():
            break
        cropped = kept
    return cropped
