"""Where the brain is in a whole or a skull-stripped head."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Segment, Volume
from MedPrepCommonLib.geometry.orientation import orientation
from MedPrepMRILib.brain.head_cells import HeadCells, foreground, head_cells, largest, without_holes
from MedPrepMRILib.brain.surface import Levels, filled, find_surface

# Below the vertex a head is brain for this long (mm); neck and face must not pull the start downwards.
_VERTEX_TO_BASE = 150.0
# An image is skull-stripped when hardly anything with signal lies this far (mm) outside the brain ...
_SCALP_DISTANCE, _SCALP_SHARE = 5.0, 0.1
# ... and has a background when this share of its voxels has exactly one value.
_BACKGROUND_SHARE = 0.2
# A thinner slab (mm) is drawn out to this thickness before the surface grows in it.
_THIN, _DRAWN_OUT = 60.0, 120.0

BRAIN = Segment(
    1,
    "brain",
    ("SCT", "123037004", "Anatomical Structure"),
    ("SCT", "12738006", "Brain"),
    None,
    (250 / 255, 250 / 255, 225 / 255),
)
FOREGROUND = Segment(
    1,
    "foreground",
    ("SCT", "85756007", "Tissue"),
    ("SCT", "85756007", "Tissue"),
    None,
    (128 / 255, 174 / 255, 128 / 255),
)


def find_brain(volume: Volume, fraction: float = 0.5, job: Job | None = None) -> tuple[np.ndarray, bool]:
    """The brain with its inner CSF, and whether the image was skull-stripped.

    In a whole head a surface grows from inside the brain to the skull (:mod:`brainsurface`). A skull-stripped
    image has next to no signal outside that surface: its brain is then all that is not background.

    Parameters
    ----------
    fraction : of the brain's signal at which its border is seen; smaller gives a larger brain.

    Returns
    -------
    mask (k, j, i) bool, stripped.

    Raises
    ------
    InputError
        when every voxel has the same value, or no brain is found.
    """
    job = job or Job.quiet()
    cells = head_cells(volume, job.part(0.0, 0.1))
    brain = _grow(volume, cells, fraction, job.part(0.1, 0.9))
    if not brain.any():
        raise InputError(
            _("No brain was found."),
            _("Expected a head, or a brain without its skull."),
            _("Choose region foreground, or give a mask of your own."),
        )
    job.check()
    far = ndimage.distance_transform_edt(~brain, sampling=cells.spacing_kji) > _SCALP_DISTANCE
    job.check()
    stripped = np.count_nonzero(cells.head & far) < _SCALP_SHARE * np.count_nonzero(brain)
    mask = np.empty(volume.shape, bool)
    if stripped:
        _not_background(volume, cells, mask, job)
    else:
        inside = cells.smooth_edge(brain)
        for k in range(volume.shape[0]):
            job.check()
            mask[k] = inside(k)
    job.report(1.0)
    return mask, stripped


def _grow(volume: Volume, cells: HeadCells, fraction: float, job: Job) -> np.ndarray:
    """Cells of the brain by a growing surface."""
    index = np.argwhere(cells.head)
    upwards = volume.directions[2, ::-1] * cells.spacing_kji
    heights = index @ upwards
    index = index[heights > np.percentile(heights, 99.8) - _VERTEX_TO_BASE]
    values = cells.means[tuple(index.T)]
    pads = []
    for n, s in zip(cells.means.shape, cells.spacing_kji, strict=True):
        pads.append(int(np.ceil((_DRAWN_OUT / s - n) / 2)) if n * s < _THIN else 0)
    drawn_out = np.pad(cells.means, [(p, p) for p in pads], mode="edge")
    longer = [(n + 2 * p) / n for n, p in zip(cells.means.shape, pads, strict=True)]
    spacing = np.array(cells.spacing_kji)
    weights = np.minimum(values, cells.bright) - cells.dark
    center = (weights @ index / weights.sum() + pads) * spacing
    radius = (len(index) * np.prod(longer) * np.prod(spacing) * 3 / (4 * np.pi)) ** (1 / 3)
    near = np.linalg.norm((index + pads) * spacing - center, axis=1) < radius
    tissue = values[near & (values > cells.dark) & (values < cells.bright)]
    median = float(np.median(tissue)) if tissue.size else cells.bright
    levels = Levels(cells.dark, cells.signal, cells.bright, max(median, cells.signal))
    # The mesh is not the same when two axes change places: it grows in anatomical order.
    axes = orientation(volume)
    ends = (np.array(drawn_out.shape) - 1) * spacing
    start = [
        ends[n] - center[n] if flip else center[n] for n, flip in zip(axes.axes, axes.flips, strict=True)
    ]
    seen, steps = axes.view(drawn_out), axes.reorder(cells.spacing_kji)
    points, triangles = find_surface(seen, steps, np.array(start), radius, levels, fraction, job)
    job.check()
    inside = axes.undo(filled(points, triangles, steps, seen.shape))
    job.check()
    kept = tuple(slice(p, p + n) for p, n in zip(pads, cells.means.shape, strict=True))
    return inside[kept] & ndimage.binary_dilation(cells.head)


def find_tissue(volume: Volume, job: Job | None = None) -> np.ndarray:
    """Where a bias corrector works when nobody gives a mask, (k, j, i) bool.

    The whole brain of a skull-stripped image; else all voxels with signal, in any part of the body.
    """
    job = job or Job.quiet()
    if _background(volume) is not None:
        try:
            mask, stripped = find_brain(volume, job=job.part(0.0, 0.9))
        except InputError:
            stripped = False
        if stripped:
            return mask
    return foreground(volume, job)


def _background(volume: Volume) -> np.generic | None:
    """The one value of all air in an image whose air was blanked, or None."""
    corners = volume.array[np.ix_(*[(0, n - 1) for n in volume.shape])].reshape(-1)
    values, counts = np.unique(corners, return_counts=True)
    value = values[counts.argmax()]
    exact = sum(np.count_nonzero(plane == value) for plane in volume.array)
    return value if exact > _BACKGROUND_SHARE * volume.array.size else None


def _not_background(volume: Volume, cells: HeadCells, mask: np.ndarray, job: Job) -> None:
    """Write to `mask` everything of a skull-stripped image but its background, holes filled."""
    background = _background(volume)
    for k in range(volume.shape[0]):
        job.check()
        mask[k] = volume.array[k] > cells.signal if background is None else volume.array[k] != background
    box = tuple(
        slice(ends[0], ends[-1] + 1)
        for ends in (np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    )
    job.check()
    piece = largest(mask[box])
    job.check()
    piece = without_holes(piece)
    job.check()
    thin = int(np.argmin(np.multiply(volume.shape, volume.spacing_kji)))
    if volume.shape[thin] * volume.spacing_kji[thin] < _THIN:
        for plane in np.moveaxis(piece, thin, 0):
            plane |= without_holes(plane)
    mask[...] = False
    mask[box] = piece
