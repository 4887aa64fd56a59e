"""The voxels of patches: each copied once from the image, or resampled to a larger field of view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.job import Job
from ..core.parallel import Crew
from ..core.volume import Volume
from . import cropping
from .cropping import Box
from .patch_places import Place
from .resampling import antialias_sigma, resample_grid

_FEW = 1 << 22  # bytes


class Cutter:
    """Cuts all patches of an array into one that is made before, each copied once.

    Parameters
    ----------
    scales : whole numbers; for each place a patch of every scale is cut.
    border, value : how the image goes on, as :func:`cropping.padding` takes it; "shift" and "drop" matter at
        coarser scales only, and are "auto" there.
    """

    def __init__(
        self, image: Volume, places: Sequence[Place], scales: Sequence[int], border: str, value: float
    ) -> None:
        self.places, self.scales = places, scales
        beyond = any(not place.box.inside(image.shape) for place in places) or max(scales) > 1
        # The smallest value of an image takes longer to find than many patches to copy.
        how = "auto" if border in ("shift", "drop") else border
        self.pad = cropping.padding(image, how, value) if beyond else ("constant", 0)

    def cut(self, array: np.ndarray, size: tuple[int, int, int], labels: bool, job: Job) -> np.ndarray:
        """(place x scale, k, j, i[, component]), of the array's type."""
        places, scales = self.places, self.scales
        pad, value = self.pad[0], 0 if labels else self.pad[1]
        dtype = array.dtype.newbyteorder("=")
        result = np.empty((len(places) * len(scales), *size, *array.shape[3:]), dtype)

        def task(number: int, worker: int) -> None:
            place, scale = places[number // len(scales)], scales[number % len(scales)]
            if scale == 1:
                cropping.cut(array, place.box, pad, value, result[number])
            else:
                result[number] = coarser(array, place.box, scale, pad, value, labels)

        # Starting threads takes longer than to copy a few small patches.
        with Crew(1 if result.nbytes < _FEW else None) as crew:
            crew.run(task, len(result), job)
        return result


def coarser(array: np.ndarray, box: Box, scale: int, pad: str, value: float, labels: bool) -> np.ndarray:
    """As many voxels around the same centre, `scale` times as large; axes of one voxel stay as they are."""
    steps = [scale if n > 1 else 1 for n in box.shape]
    # In the image's voxels, as when the whole image is resampled.
    sigma = [0.0 if labels else antialias_sigma(1.0, float(step)) for step in steps]
    first = first_voxel(box, scale)
    starts, shape = [], []
    for start, n, step, width in zip(first, box.shape, steps, sigma, strict=True):
        margin = int(np.ceil(4 * width)) + 1 if n > 1 else 0
        starts.append(int(np.floor(start)) - margin)
        shape.append(int(np.ceil(start + step * (n - 1))) + margin + 1 - starts[-1])
    around = cropping.cut(array, Box(tuple(starts), tuple(shape)), pad, value)
    return resample_grid(
        around,
        [start - low for start, low in zip(first, starts, strict=True)],
        steps,
        box.shape,
        order=0 if labels else 1,
        sigma=None if labels else sigma,
        workers=1,
    )


def first_voxel(box: Box, scale: int) -> list[float]:
    """Index (k, j, i) of the first voxel's centre of the patch of this scale around a box's centre."""
    return [
        start if scale == 1 or n == 1 else centre - scale * (n - 1) / 2
        for start, n, centre in zip(box.start, box.shape, box.centre, strict=True)
    ]


def _inner(box: Box, shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(
        slice(min(max(s, 0), whole), max(min(s + n, whole), 0))
        for s, n, whole in zip(box.start, box.shape, shape, strict=True)
    )


def share_of(values: np.ndarray, box: Box) -> float:
    """Share of a box's voxels that are not 0."""
    return np.count_nonzero(values[_inner(box, values.shape)]) / float(np.prod(box.shape))


def middle_of(values: np.ndarray, box: Box, up: Sequence[bool]) -> int:
    """The value in the middle of a box, 0 outside the image."""
    index = [cropping.nearest(c, towards_end) for c, towards_end in zip(box.centre, up, strict=True)]
    inside = all(0 <= n < whole for n, whole in zip(index, values.shape, strict=True))
    return int(values[tuple(index)]) if inside else 0
