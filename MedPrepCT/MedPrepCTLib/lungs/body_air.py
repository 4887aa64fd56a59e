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
# Gas of bowel or room has less HU than this, or varies less: lung has vessels.
_LUNG_HU, _TEXTURE_HU, _DENSE_LUNG_HU = -930, 30.0, -700
# What air measures in some scanner, and how much denser even emphysema is.
_AIR_HU, _ABOVE_AIR_HU = (-1050.0, -990.0), 22.0
# Under skin lies fat: how much of the tissue between these depths is fat there, and what counts as fat.
_RIM_MM, _UNDER_SKIN_MM, _SKIN_FAT, _FAT_HU = 3.5, 9.0, 0.65, -30
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
    calm: np.ndarray,
    void: np.ndarray,
    body: np.ndarray,
    spacing_kji: Sequence[float],
    threshold: float,
    scale: float,
    spine_shows: bool,
    job: Job,
) -> np.ndarray:
    """Air within the patient; bool (k, j, i).

    Parameters
    ----------
    coarse : (k, j, i) HU, k up, j back. calm : the same with less noise, see :mod:`coarsenoise`.
    void : cells outside the field of view. body : see :func:`body_mask`. spacing_kji : mm of the cells.
    threshold : HU below which a cell is air. scale : see :func:`body_scale`.
    spine_shows : the picture holds the spine, behind which there is no lung.
    """
    air = (coarse < threshold) & ~void
    frame = _frame(void)
    labels, count = ndimage.label(air, IN_PLANE_CROSS)
    reaches = np.zeros(count + 1, bool)
    reaches[labels[frame & air]] = True
    reaches[0] = False
    job.check()
    cells = np.bincount(labels.ravel(), minlength=count + 1)
    cropped = _cropped_lungs(calm, labels, cells, reaches, frame, void, body, spacing_kji, spine_shows)
    job.check()
    outside = (reaches & ~cropped)[labels]
    # A part lies in the body when most of it has body in front and behind: not one fold of skin, nor one gap.
    between = _walled(body, spacing_kji, scale)
    walled = 2 * np.bincount(labels[between], minlength=count + 1) > cells
    # A slice with a thin wall goes with its neighbours, so that no lung is cut into bands.
    groups, number = ndimage.label(air & ~reaches[labels], CROSS)
    inside = 2 * np.bincount(groups[between], minlength=number + 1) > np.bincount(groups.ravel())
    inside[0] = False
    job.check()
    return air & ~outside & ((walled | cropped)[labels] | inside[groups])


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
    least = 2 if spacing_kji[1] < _WALL_MM else 1
    needed = max(least, int(np.ceil(_WALL_MM * scale / spacing_kji[1] - 1e-6)))
    ahead = np.cumsum(body, axis=1, dtype=np.int16)
    behind = ahead[:, -1:] - ahead
    # Where the picture ends within the wall, the rest of the wall lies outside it.
    return ((ahead >= needed) | body[:, :1]) & ((behind >= needed) | body[:, -1:])


def _last_bone(coarse, body, spacing_kji) -> np.ndarray:
    """Last row (to the back) with bone around each slice; the last row of all where there is none."""
    rows = ((coarse > _BONE_HU) & body).sum(axis=2) >= 2
    last = rows.shape[1] - 1
    back = np.where(rows.any(axis=1), last - rows[:, ::-1].argmax(axis=1), 0)
    back = ndimage.maximum_filter1d(back, 2 * int(15.0 / spacing_kji[0]) + 1)
    return np.where(back > 0, back, last)


def _cropped_lungs(
    calm, labels, cells, reaches, frame, void, body, spacing_kji, spine_shows: bool
) -> np.ndarray:
    """Which slice parts that reach the lateral border are lung cut by it, not room air: (count + 1) bool.

    A cut lung is denser than room air, and along the border it ends at thick tissue on either side. What is
    one piece in 3-D is judged as one, so that no lung is cut into bands.
    """
    cropped = np.zeros(len(cells), bool)
    dense = np.bincount(labels[(labels > 0) & (calm > _ROOM_AIR_HU)], minlength=len(cells))
    likely = reaches & ((2 * dense > cells) | (_spread(labels, calm, cells) > _TEXTURE_HU))
    # Between air and tissue lies a cell of mixed content: the body starts one cell further.
    near_body = dilate(body, 1.01 * max(spacing_kji[1:]), (1e6, *spacing_kji[1:]))
    # Where the border of the picture cuts no body it cuts no lung. Parts are numbered slice after slice.
    cut = (near_body & frame).any(axis=(1, 2))
    last_part = np.maximum.accumulate(labels.max(axis=(1, 2)))
    likely &= cut[np.minimum(np.searchsorted(last_part, np.arange(len(cells))), len(cut) - 1)]
    if not likely.any():
        return cropped
    air_hu = float(np.clip(np.percentile(calm[labels > 0], 5), *_AIR_HU))
    groups, _number = ndimage.label(likely[labels], CROSS)
    last_bone = _last_bone(calm, body, spacing_kji) if spine_shows else np.full(len(calm), calm.shape[1])
    beside = dilate(body, _TAPER_MM, (1e6, *spacing_kji[1:])) & (labels == 0)
    for name, box in enumerate(ndimage.find_objects(groups), start=1):
        group = groups[box] == name
        area = group.sum() * spacing_kji[1] * spacing_kji[2] / group.shape[0]
        if area <= _CUT_MM2:
            continue
        # No lung lies behind the spine.
        k, j, _ = np.nonzero(group)
        if (j + box[1].start - last_bone[k + box[0].start]).mean() > 0:
            continue
        steps = max(2, int(round(_FLANK_MM / min(spacing_kji[1:]))))
        wide = (
            box[0],
            *(slice(max(s.start - steps - 1, 0), s.stop + steps + 1) for s in box[1:]),
        )
        group = groups[wide] == name
        if not _looks_like_lung(group, calm[wide], air_hu, spacing_kji):
            continue
        if _is_cut_lung(group, frame[wide], near_body[wide], beside[wide], void[wide], labels[wide], steps):
            cropped[np.unique(labels[wide][group])] = True
    return _grown_along(cropped, labels, reaches, calm, cells) if cropped.any() else cropped


def _looks_like_lung(group: np.ndarray, calm: np.ndarray, air_hu: float, spacing_kji) -> bool:
    """Whether air is like lung inside and bordered by muscle, heart and ribs: skin has fat under it."""
    near, far = (dilate(group, mm, (1e6, *spacing_kji[1:])) for mm in (_RIM_MM, _UNDER_SKIN_MM))
    under = calm[far & ~near & (calm > _TISSUE_HU)]
    if under.size > 20 and (under < _FAT_HU).mean() > _SKIN_FAT:
        return False
    core = group & ~dilate(~group & (calm > _DENSE_LUNG_HU), 2.0, (1e6, 1.0, 1.0))
    values = calm[core] if core.sum() > 5 else calm[group]
    middle, spread = float(np.median(values)), float(values.std())
    return middle > _LUNG_HU or (spread > _TEXTURE_HU and middle > air_hu + _ABOVE_AIR_HU)


def _is_cut_lung(group, frame, near_body, beside, void, labels, steps: int) -> bool:
    """Whether a piece of air on the lateral border lies in the body; arrays around it, (k, j, i)."""
    around = dilate(group, 1.0, (1e6, 1.0, 1.0)) & (labels == 0) & ~void
    # Vessels inside the part are solid too, so body need not be most of what it borders on.
    if (around & near_body).sum() < 0.35 * around.sum():
        return False
    on_border = group & frame
    plane = np.ones((1, 3, 3), bool)
    flank = ndimage.binary_dilation(on_border, plane, iterations=steps, mask=frame) & ~on_border
    # On a round border the wall tapers: there solid cells a little way from the body count as body too.
    return bool(flank.any() and beside[flank].mean() >= 0.6)


def _spread(labels, calm, cells) -> np.ndarray:
    """Standard deviation of the HU of each slice part."""
    hu = calm.ravel().astype(np.float64)
    some = np.maximum(cells, 1)
    mean = np.bincount(labels.ravel(), hu, len(cells)) / some
    return np.sqrt(np.maximum(np.bincount(labels.ravel(), hu * hu, len(cells)) / some - mean**2, 0))


def _grown_along(cropped, labels, reaches, calm, cells) -> np.ndarray:
    """With the parts of neighbouring slices that go on a cut lung: dark lung, known by its vessels."""
    known = cropped[labels]
    textured = reaches & (_spread(labels, calm, cells) > _TEXTURE_HU)
    for way in (slice(1, None), slice(None, -1)):
        order = range(1, len(labels)) if way.start else range(len(labels) - 2, -1, -1)
        for k in order:
            before = known[k - 1] if way.start else known[k + 1]
            shared = np.bincount(labels[k][before], minlength=len(cells))
            new = textured & ~cropped & (2 * shared > cells)
            if new.any():
                cropped |= new
                known[k] |= new[labels[k]]
    return cropped
