"""Where the brain is in a whole or a skull-stripped head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Segment, Volume
from MedPrepCommonLib.geometry.orientation import orientation

from . import network
from .finding import Found, find
from .head_cells import HeadCells, foreground, head_cells, largest, without_holes
from .surface import Levels, filled, find_surface

# An image is skull-stripped when hardly anything with signal lies this far (mm) outside the surface, and
# not much further from the network's brain: a surface may leak and take in the whole head ...
_SCALP_DISTANCE, _SCALP_SHARE = 5.0, 0.1
_FAR, _FAR_SHARE = 20.0, 0.15
# ... and has a background when this share of its voxels has exactly one value.
_BACKGROUND_SHARE = 0.2
# Pieces of a brain that are smaller than this share of the largest are none.
_PIECE = 0.05
# In a thinner slab (mm) holes are closed plane by plane: what encloses them lies beyond its ends.
_THIN = 60.0
# Such a slab is drawn out to this thickness (mm) before the surface grows in it.
_DRAWN_OUT = 120.0
# The brain's border lies no further (mm) than this beyond and within that of the network, which is rather
# too small.
_BEYOND, _WITHIN = 4.0, 3.0

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


@dataclass(frozen=True)
class Brain:
    """A brain in an image.

    Parameters
    ----------
    mask : (k, j, i) bool. stripped : whether the image shows next to nothing else.
    coarse : (i, j, k) bool, the same on voxels of about 3 mm, axes to the right, the front and the top.
    image : (i, j, k) float32, the image there, from 0 to 1.
    content : (i, j, k) bool, what is not air or background there.
    agreement : Dice (0 to 1) of what the network says of the image and of its mirror image.
    spacing : mm of the coarse voxels, about 3.
    """

    mask: np.ndarray
    stripped: bool
    coarse: np.ndarray
    image: np.ndarray
    content: np.ndarray
    agreement: float
    spacing: float


def find_brain(volume: Volume, fraction: float = 0.5, job: Job | None = None) -> tuple[np.ndarray, bool]:
    """The brain's mask (k, j, i) bool, and whether the image was skull-stripped: see :func:`look`."""
    brain = look(volume, fraction, job)
    return brain.mask, brain.stripped


def look(volume: Volume, fraction: float = 0.5, job: Job | None = None) -> Brain:
    """The brain with the CSF in its ventricles and sulci, in an MRI of any contrast.

    A surface grows from inside the brain to the skull (:mod:`surface`); what the network takes for brain
    (:mod:`finding`) says where it starts, and how far it may go: eyes, muscles and neck are out of reach.
    A skull-stripped image has next to no signal outside what the network takes for brain: its brain is then
    all that is not background, whatever value that has.

    Parameters
    ----------
    fraction : of the brain's signal at which its border is seen; smaller gives a larger brain.

    Raises
    ------
    InputError
        when every voxel has the same value, or no brain is found.
    """
    job = job or Job.quiet()
    found = find(volume, job.part(0.0, 0.4))
    coarse = _pieces(found.odds > 0)
    grid = found.working
    if not coarse.any():
        raise InputError(
            _("No brain was found."),
            _("Expected a head, or a brain without its skull."),
            _("Choose region foreground, or give a mask of your own."),
        )
    job.check()
    mask, stripped = _refined(volume, found, coarse, fraction, job.part(0.4, 0.9))
    background = _background(volume) if stripped else None
    if background is not None:
        mask = _not_background(volume, background, job.part(0.9, 1.0))
    job.report(1.0)
    coarse = grid.sampled(mask)
    return Brain(mask, stripped, coarse, grid.array, grid.content, found.agreement, grid.spacing)


def _refined(
    volume: Volume, found: Found, coarse: np.ndarray, fraction: float, job: Job
) -> tuple[np.ndarray, bool]:
    """The surface that grows to the skull, within reach of what the network takes for brain, (k, j, i) bool;
    and whether hardly anything lies beyond that surface, or far from the network's brain."""
    spacing = found.working.spacing
    beyond = ndimage.distance_transform_edt(~coarse)
    reach = (spacing * (ndimage.distance_transform_edt(coarse) - beyond)).astype(np.float32)
    field = Found(reach, found.agreement, found.working)
    outer = field.inside(-_BEYOND, job.part(0.0, 0.1))
    inner = field.inside(_WITHIN, job.part(0.1, 0.2))
    cells = head_cells(volume, job.part(0.2, 0.3))
    surface = _grow(volume, cells, outer, fraction, job.part(0.3, 0.9))
    if not surface.any():
        return outer, False
    job.check()
    scalp = ndimage.distance_transform_edt(~surface, sampling=cells.spacing_kji) > _SCALP_DISTANCE
    job.check()
    bare = np.count_nonzero(cells.head & scalp) < _SCALP_SHARE * np.count_nonzero(surface)
    far = np.count_nonzero(found.working.content & (spacing * beyond > _FAR))
    bare = bare and far < _FAR_SHARE * np.count_nonzero(coarse)
    inside = cells.smooth_edge(surface)
    mask = np.empty(volume.shape, bool)
    for k in range(volume.shape[0]):
        job.check()
        within = inside(k)
        mask[k] = within if bare else (within & outer[k]) | inner[k]
    return mask, bool(bare)


def _grow(volume: Volume, cells: HeadCells, core: np.ndarray, fraction: float, job: Job) -> np.ndarray:
    """Cells within a surface that grows from the brain's core (k, j, i) bool."""
    spacing = np.array(cells.spacing_kji)
    seeds = core[tuple(slice(f // 2, None, f) for f in cells.factors)]
    index = np.argwhere(seeds)
    if not len(index):
        return np.zeros(cells.means.shape, bool)
    pads = []
    for n, s in zip(cells.means.shape, cells.spacing_kji, strict=True):
        pads.append(int(np.ceil((_DRAWN_OUT / s - n) / 2)) if n * s < _THIN else 0)
    drawn_out = np.pad(cells.means, [(p, p) for p in pads], mode="edge")
    longer = np.prod([(n + 2 * p) / n for n, p in zip(cells.means.shape, pads, strict=True)])
    center = (index.mean(axis=0) + pads) * spacing
    radius = (len(index) * longer * np.prod(spacing) * 3 / (4 * np.pi)) ** (1 / 3)
    values = cells.means[tuple(index.T)]
    tissue = values[(values > cells.dark) & (values < cells.bright)]
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


def _pieces(cells: np.ndarray) -> np.ndarray:
    """The brain's pieces (a slab may cut it into several), holes filled."""
    labels, count = ndimage.label(cells)
    if not count:
        return cells
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = (sizes >= _PIECE * sizes.max())[labels]
    kept = without_holes(kept)
    for axis in range(3):
        if kept.shape[axis] * network.SPACING < _THIN:
            for plane in np.moveaxis(kept, axis, 0):
                plane |= without_holes(plane)
    return kept


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


def _not_background(volume: Volume, background: np.generic, job: Job) -> np.ndarray:
    """Everything of a skull-stripped image but its background, holes filled."""
    mask = np.empty(volume.shape, bool)
    for k in range(volume.shape[0]):
        job.check()
        mask[k] = volume.array[k] != background
    box = tuple(
        slice(ends[0], ends[-1] + 1)
        for ends in (np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    )
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
    return mask
