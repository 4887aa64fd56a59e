"""Slice pictures for the report: which planes to show, and the image cut along them in patient space.

Before and after may lie on different grids. Each picture is therefore cut along the same patient planes
(RAS millimetres) with square pixels, so that anatomy lines up, oblique acquisitions come out straight and the
aspect ratio is right. Sides follow radiological convention: the patient's right is on the viewer's left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..core.volume import LabelVolume, Volume

# Pixels along the longer side of a picture: sharp on paper at 6 cm and on dense screens at 320 points.
PICTURE_SIZE = 512
# Voxels looked at to find where things are; more would not move a slice by a millimetre.
_SAMPLE = 400_000
# Thinner than this share of its width, a volume is a slab: seen from the side it is a stripe.
_SLAB = 0.2
# DICOM modalities of pictures through the whole patient.
_PROJECTIONS = ("CR", "DX", "RG", "XR", "MG", "PX", "IO")


@dataclass(frozen=True)
class Plane:
    """A viewing plane: directions of the screen in the patient and the letters at its four edges.

    Parameters
    ----------
    name : "axial", "coronal", "sagittal", or "projection" for a picture that is no slice of the patient.
    right, down : RAS unit vectors of the screen's horizontal (to the right) and vertical (downwards) axes.
    across : index of the RAS axis that the plane cuts.
    letters : what stands at the left, right, top and bottom edge; "" for nothing.
    """

    name: str
    right: tuple[float, float, float]
    down: tuple[float, float, float]
    across: int
    letters: tuple[str, str, str, str]


PLANES = (
    Plane("axial", (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), 2, ("R", "L", "A", "P")),
    Plane("coronal", (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), 1, ("R", "L", "S", "I")),
    Plane("sagittal", (0.0, -1.0, 0.0), (0.0, 0.0, -1.0), 0, ("A", "P", "S", "I")),
)


@dataclass(frozen=True)
class Cut:
    """One plane at one place: where the picture's pixels lie in the patient.

    Parameters
    ----------
    plane : the viewing plane.
    corner : RAS of the centre of the top left pixel, mm.
    pixel : side of a pixel, mm.
    size : (rows, columns).
    measured : whether a millimetre of the picture is known to be one.
    """

    plane: Plane
    corner: np.ndarray
    pixel: float
    size: tuple[int, int]
    measured: bool = True

    @property
    def position(self) -> float:
        """RAS coordinate of the plane along the axis that it cuts, mm."""
        return float(self.corner[self.plane.across])


def bounds(volume: Volume) -> np.ndarray:
    """(2, 3): lowest and highest RAS coordinate that the volume's voxels cover, mm."""
    edges = [(-0.5, n - 0.5) for n in volume.shape[::-1]]
    corners = np.array(np.meshgrid(*edges, indexing="ij")).reshape(3, -1)
    ras = volume.ijkToRAS[:3, :3] @ corners + volume.ijkToRAS[:3, 3:]
    return np.stack([ras.min(axis=1), ras.max(axis=1)])


def useful_planes(volume: Volume) -> tuple[Plane, ...]:
    """The planes in which the volume has an extent: all three, or only its own for a slab or a slice."""
    extents = [n * s for n, s in zip(volume.shape[::-1], volume.spacing, strict=True)]
    thin = int(np.argmin(extents))
    if extents[thin] >= _SLAB * sorted(extents)[1]:
        return PLANES
    across = int(np.abs(volume.directions[:, thin]).argmax())
    return tuple(plane for plane in PLANES if plane.across == across)


def is_projection(volume: Volume) -> bool:
    """Whether the volume is a radiograph or a photograph: one slice that lies nowhere in the patient."""
    return 1 in volume.shape and (volume.modality in _PROJECTIONS or volume.info.get("spacingKnown") is False)


def straightening(frame: Volume) -> np.ndarray:
    """(4, 4) RAS to RAS that turns an oblique slab or slice into the nearest anatomical plane.

    A plane through the patient would meet an oblique single slice only along a line.
    """
    turn = np.eye(4)
    if len(useful_planes(frame)) == 1:
        directions = frame.directions
        nearest = np.zeros((3, 3))
        free = np.abs(directions)
        for _axis in range(3):
            row, column = np.unravel_index(np.argmax(free), (3, 3))
            nearest[row, column] = np.sign(directions[row, column])
            free[row, :] = free[:, column] = -1.0
        turn[:3, :3] = nearest @ np.linalg.inv(directions)
    return turn


def middle_of_labels(labels: LabelVolume) -> np.ndarray | None:
    """RAS point whose three planes show `labels` well, or None when nothing is labelled.

    Across the body and up and down it is the median of everything labelled; from side to side the median of
    the largest label, since the middle of a pair (lungs) shows neither. Medians of existing voxels: each of
    the three planes meets the label.
    """
    step = _stride(labels.array)
    coarse = labels.array[step]
    values, counts = np.unique(coarse[coarse != 0], return_counts=True)
    if values.size == 0:
        step = (slice(None),) * 3
        coarse = labels.array
        values, counts = np.unique(coarse[coarse != 0], return_counts=True)
    if values.size == 0:
        return None
    everything = _places(labels, coarse != 0, step)
    largest = _places(labels, coarse == values[counts.argmax()], step)
    point = _lower_median(everything)
    point[0] = _lower_median(largest)[0]
    return point


def middle_of_image(image: Volume) -> np.ndarray:
    """RAS point in the middle of the bright part of an image (the body), mm."""
    step = _stride(image.array)
    coarse = image.array[step]
    values = coarse if coarse.ndim == 3 else coarse.max(axis=3)
    low, high = np.percentile(values, (1, 99))
    bright = values > (low + high) / 2
    if not bright.any():
        bright = np.ones(values.shape, bool)
    return _lower_median(_places(image, bright, step))


def cuts(frame: Volume, point: np.ndarray, size: int = PICTURE_SIZE) -> tuple[Cut, ...]:
    """The useful planes of `frame` through the RAS `point`, each covering the whole of `frame`.

    A slab of several slices is shown at three places of its only plane. `size` is the number of pixels along
    the longest side.
    """
    low, high = bounds(frame)
    planes = useful_planes(frame)
    if is_projection(frame):
        planes = tuple(replace(plane, name="projection", letters=("", "", "", "")) for plane in planes)
    points = [np.clip(point, low, high)] * len(planes)
    if len(planes) == 1 and min(frame.shape) > 2:
        planes = planes * 3
        points = _through_slab(points[0], low, high, planes[0].across)
    pixel = float(max(high - low)) / size
    found = []
    for plane, through in zip(planes, points, strict=True):
        right, down = np.array(plane.right), np.array(plane.down)
        lengths = np.abs(right) @ (high - low), np.abs(down) @ (high - low)
        columns, rows = (max(1, round(float(length) / pixel)) for length in lengths)
        # Screen axes run along -R, -A or -S: the top left corner lies at the highest coordinates.
        corner = np.where(right + down != 0, high - pixel / 2, through)
        found.append(Cut(plane, corner, pixel, (rows, columns), frame.info.get("spacingKnown") is not False))
    return tuple(found)


def _through_slab(point: np.ndarray, low: np.ndarray, high: np.ndarray, axis: int) -> list[np.ndarray]:
    """`point` and two more places near the other parts of the slab along `axis`, from high to low."""
    thickness = high[axis] - low[axis]
    thirds = low[axis] + thickness * np.array([1 / 6, 1 / 2, 5 / 6])
    thirds[np.abs(thirds - point[axis]).argmin()] = point[axis]
    found = []
    for position in thirds[::-1]:
        place = point.copy()
        place[axis] = position
        found.append(place)
    return found


def sample(volume: Volume, cut: Cut) -> np.ndarray:
    """Values of `volume` at the cut's pixels: (rows, columns[, component]) float32, NaN outside.

    Images are interpolated linearly and averaged where a pixel covers several voxels.
    """
    fine = int(np.clip(np.ceil(cut.pixel / min(volume.spacing) - 0.25), 1, 4))
    places, outside = _indices(volume, cut, fine)
    parts = [volume.array] if volume.components == 1 else np.moveaxis(volume.array, 3, 0)
    rows, columns = cut.size
    channels = []
    for part in parts:
        values = np.empty(outside.shape, np.float32)
        ndimage.map_coordinates(part, places, values, order=1, mode="nearest")
        values[outside] = np.nan
        channels.append(values.reshape(rows, fine, columns, fine).mean(axis=(1, 3)))
    return channels[0] if volume.components == 1 else np.stack(channels, axis=2)


def sample_nearest(volume: Volume, cut: Cut) -> np.ndarray:
    """The voxel nearest to each of the cut's pixels: (rows, columns[, component]), 0 outside."""
    places, outside = _indices(volume, cut, 1)
    nearest = np.floor(places + 0.5).astype(np.intp)
    for axis, length in enumerate(volume.shape):
        np.clip(nearest[axis], 0, length - 1, out=nearest[axis])
    values = volume.array[tuple(nearest)]
    values[outside] = 0
    return values


def _indices(volume: Volume, cut: Cut, fine: int) -> tuple[np.ndarray, np.ndarray]:
    """(3, rows, columns) indices (k, j, i) of `fine` x `fine` points per pixel, and which lie outside."""
    rows, columns = cut.size
    down = ((np.arange(rows * fine) + 0.5) / fine - 0.5) * cut.pixel
    right = ((np.arange(columns * fine) + 0.5) / fine - 0.5) * cut.pixel
    inverse = np.linalg.inv(volume.ijkToRAS)
    start = inverse[:3, :3] @ cut.corner + inverse[:3, 3]
    along_down = inverse[:3, :3] @ np.array(cut.plane.down)
    along_right = inverse[:3, :3] @ np.array(cut.plane.right)
    ijk = (
        start[:, None, None]
        + along_down[:, None, None] * down[None, :, None]
        + along_right[:, None, None] * right[None, None, :]
    )
    kji = ijk[::-1]
    limits = np.array(volume.shape, float)[:, None, None] - 0.5
    # A millionth of a voxel forgives rounding in the geometry of a single slice.
    outside = ((kji < -0.5 - 1e-6) | (kji > limits + 1e-6)).any(axis=0)
    return kji, outside


def _stride(array: np.ndarray) -> tuple[slice, slice, slice]:
    """Thins an array to about `_SAMPLE` voxels, the longest axes first."""
    steps = [1, 1, 1]
    counts = list(array.shape[:3])
    while counts[0] * counts[1] * counts[2] > _SAMPLE:
        axis = int(np.argmax(counts))
        steps[axis] += 1
        counts[axis] = -(-array.shape[axis] // steps[axis])
    return tuple(slice(None, None, s) for s in steps)


def _places(volume: Volume, chosen: np.ndarray, step: Iterable[slice]) -> np.ndarray:
    """(n, 3) RAS of the chosen voxels of a thinned array."""
    kji = np.argwhere(chosen) * np.array([s.step or 1 for s in step])
    return kji[:, ::-1] @ volume.ijkToRAS[:3, :3].T + volume.ijkToRAS[:3, 3]


def _lower_median(points: np.ndarray) -> np.ndarray:
    """Per axis the median that is one of the values."""
    middle = (len(points) - 1) // 2
    return np.partition(points, middle, axis=0)[middle].copy()
