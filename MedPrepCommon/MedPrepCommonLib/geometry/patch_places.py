"""Where patches of an image lie: on a grid, at random, around foreground, or around candidates.

Places are found and numbered in anatomical order, so that they do not depend on how the image is stored.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..core.volume import LabelVolume, Volume
from ..numeric.components import sparse_components
from . import cropping
from .cropping import Box
from .orientation import Orientation, orientation


@dataclass(frozen=True)
class Place:
    """One place: its box of voxels, and the label that it was chosen for."""

    box: Box
    label: int = 0


def grid(image: Volume, size: tuple[int, int, int], overlap: float) -> list[Place]:
    """Boxes that cover the image, spread evenly, neighbours overlapping by at least the share `overlap`.

    They stay inside the image along every axis that is long enough; along a shorter one they are centred.
    """
    up = cropping.rising(image)
    starts = []
    for whole, n, towards_end in zip(image.shape, size, up, strict=True):
        if n >= whole:
            starts.append([cropping.nearest((whole - n) / 2, towards_end)])
            continue
        step = max(1, math.floor(n * (1 - overlap) + 1e-9))
        gaps = -(-(whole - n) // step)
        starts.append([cropping.nearest(m * (whole - n) / gaps, towards_end) for m in range(gaps + 1)])
    boxes = [Box(start, size) for start in itertools.product(*starts)]
    axes = orientation(image)
    return [Place(box) for box in sorted(boxes, key=lambda box: _along(axes, box, image.shape))]


def _along(axes: Orientation, box: Box, shape: Sequence[int]) -> tuple[int, ...]:
    """A box's start in anatomical order (superior, posterior, left)."""
    return tuple(
        shape[axis] - box.shape[axis] - box.start[axis] if flip else box.start[axis]
        for axis, flip in zip(axes.axes, axes.flips, strict=True)
    )


def at_random(
    image: Volume, size: tuple[int, int, int], number: int, rng: np.random.Generator
) -> list[Place]:
    """Boxes anywhere inside the image, all equally likely; centred along axes that are too short."""
    axes, up = orientation(image), cropping.rising(image)
    starts = np.empty((number, 3), np.int64)
    for axis, flip in zip(axes.axes, axes.flips, strict=True):
        room = image.shape[axis] - size[axis]
        if room < 0:
            starts[:, axis] = cropping.nearest(room / 2, up[axis])
        else:
            drawn = rng.integers(0, room, number, endpoint=True)
            starts[:, axis] = room - drawn if flip else drawn
    return [Place(Box(tuple(map(int, start)), size)) for start in starts]


def in_foreground(
    image: Volume, labels: np.ndarray, size: tuple[int, int, int], number: int, rng: np.random.Generator
) -> list[Place]:
    """Boxes whose middle is a voxel where `labels` (k, j, i) is not 0, all such voxels equally likely.

    A voxel is taken twice only when there are fewer than asked for. Empty when there are none.
    """
    axes, up = orientation(image), cropping.rising(image)
    view = axes.view(labels)
    found = np.flatnonzero(view)
    if not found.size:
        return []
    drawn = rng.choice(found, number, replace=number > found.size)
    places = []
    for index in zip(*np.unravel_index(drawn, view.shape), strict=True):
        voxel = [0, 0, 0]
        for axis, flip, n in zip(axes.axes, axes.flips, index, strict=True):
            voxel[axis] = int(image.shape[axis] - 1 - n if flip else n)
        places.append(Place(cropping.centred(voxel, size, up), int(labels[tuple(voxel)])))
    return places


def around_candidates(
    image: Volume, candidates: LabelVolume, size: tuple[int, int, int]
) -> tuple[list[Place], int]:
    """A box around the centre of each connected piece of each label, by label, then in anatomical order.

    Returns
    -------
    places
    outside : pieces that were left out because their centre lies outside the image.
    """
    up, axes = cropping.rising(image), orientation(image)
    to_image = (np.linalg.inv(image.ijkToRAS) @ candidates.ijkToRAS)[:3]
    places, outside = [], 0
    array = candidates.array.astype(np.int64) if candidates.array.min() < 0 else candidates.array
    for value, region in _regions(array):
        pieces = sparse_components((array[region] == value).view(np.uint8), 0)
        for centroid in pieces.centroid:
            own = [c + part.start for c, part in zip(centroid, region, strict=True)]
            index = (to_image @ [*own[::-1], 1.0])[::-1]
            if ((index < -0.5 - 1e-6) | (index > np.array(image.shape) - 0.5 + 1e-6)).any():
                outside += 1
            else:
                places.append(Place(cropping.centred(index, size, up), value))
    places.sort(key=lambda place: (place.label, _along(axes, place.box, image.shape)))
    return places, outside


def _regions(labels: np.ndarray) -> list[tuple[int, tuple[slice, ...]]]:
    """Each value that is there and the box around it."""
    if labels.min() < 0:
        values = [int(v) for v in np.unique(labels) if v]
        return [(v, ndimage.find_objects((labels == v).view(np.uint8))[0]) for v in values]
    boxes = ndimage.find_objects(labels.astype(np.int32, copy=False))
    return [(n, box) for n, box in enumerate(boxes, 1) if box is not None]
