"""What tutorials show: numpy with float64 copies and boolean indexing, scipy, scikit-image, OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

EVERY_NEIGHBOUR = np.ones((3, 3, 3))


def clip_float64(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Limited float64 copy by boolean indexing."""
    values = image.astype(np.float64)
    values[values < low] = low
    values[values > high] = high
    return values


def window_uint8(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Window to 0..255, truncated."""
    return ((clip_float64(image, low, high) - low) / (high - low) * 255).astype(np.uint8)


def window_float(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Window to 0..1 (float64)."""
    return (clip_float64(image, low, high) - low) / (high - low)


def window_uint8_float32(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Window to 0..255 with np.clip in float32, truncated: a careful programmer's numpy."""
    values = np.clip(image.astype(np.float32), np.float32(low), np.float32(high))
    return ((values - np.float32(low)) * np.float32(255 / (high - low))).astype(np.uint8)


def window_float32(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Window to 0..1 with np.clip in float32."""
    values = np.clip(image.astype(np.float32), np.float32(low), np.float32(high))
    return (values - np.float32(low)) / np.float32(high - low)


def clip(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Limited copy by boolean indexing."""
    values = image.copy()
    values[values < low] = low
    values[values > high] = high
    return values


def min_max(image: np.ndarray) -> np.ndarray:
    """The image's own range to 0..1 (float64)."""
    values = image.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


def metal_scipy(image: np.ndarray, threshold: float, minimum_voxels: int) -> list[tuple]:
    """(voxels, centroid, mean, maximum) of the components: label, count, look into each box."""
    labels, _count = ndimage.label(image > threshold, structure=EVERY_NEIGHBOUR)
    voxels = np.bincount(labels.ravel())
    boxes = ndimage.find_objects(labels)
    found = []
    for n in np.flatnonzero(voxels >= minimum_voxels)[1:]:
        box = boxes[n - 1]
        inside = labels[box] == n
        centre = [c + part.start for c, part in zip(ndimage.center_of_mass(inside), box, strict=True)]
        values = image[box][inside]
        found.append((int(voxels[n]), centre, values.mean(), values.max()))
    return found


def metal_skimage(image: np.ndarray, threshold: float, minimum_voxels: int) -> list[tuple]:
    """The same with skimage's label and regionprops."""
    from skimage import measure

    regions = measure.regionprops(measure.label(image > threshold, connectivity=3), image)
    return [
        (r.area, r.centroid, r.intensity_mean, r.intensity_max) for r in regions if r.area >= minimum_voxels
    ]


def metal_loop(
    image: np.ndarray, labels: np.ndarray, numbers: Sequence[int], minimum_voxels: int
) -> list[tuple]:
    """The naive loop over labels, each of which reads the whole volume several times."""
    found = []
    for n in numbers:
        if np.sum(labels == n) >= minimum_voxels:
            where = np.argwhere(labels == n)
            found.append(
                (len(where), where.mean(axis=0), image[labels == n].mean(), image[labels == n].max())
            )
    return found


def zoom(image: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    """scipy.ndimage.zoom on its default grid, which puts the corner voxels on each other."""
    return ndimage.zoom(image, [new / old for new, old in zip(shape, image.shape, strict=True)], order=order)


def affine(
    image: np.ndarray, shape: Sequence[int], starts: Sequence[float], steps: Sequence[float], order: int
) -> np.ndarray:
    """scipy.ndimage on a physically correct grid."""
    return ndimage.affine_transform(
        image, np.asarray(steps), np.asarray(starts), tuple(shape), order=order, mode="mirror"
    )


def resize_skimage(image: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    """skimage.transform.resize in float64, as nnU-Net resamples."""
    from skimage.transform import resize

    return resize(image.astype(float), tuple(shape), order, mode="edge", anti_aliasing=False)


def lungs_scipy(
    hu: np.ndarray, spacing_kji: Sequence[float], threshold: float = -500, closing_mm: float = 6.0
) -> np.ndarray:
    """The lungs as one mask: label, drop what touches the sides, two largest, close with a ball, fill."""
    air = hu < threshold
    labels, _count = ndimage.label(air)
    sides = (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1])
    air &= ~np.isin(labels, np.unique(np.concatenate([side.ravel() for side in sides])))
    labels, _count = ndimage.label(air)
    voxels = np.bincount(labels.ravel())
    voxels[0] = 0
    largest = [n for n in np.argsort(voxels)[::-1][:2] if voxels[n] > 0.02 * voxels.sum()]
    lung = np.isin(labels, largest)
    lung = ndimage.binary_closing(lung, ball(closing_mm, spacing_kji))
    return ndimage.binary_fill_holes(lung)


def lungs_slices(hu: np.ndarray, threshold: float = -400) -> np.ndarray:
    """The well-known slice-wise tutorial: clear the border, two largest regions, erode, close, fill."""
    from skimage import measure, morphology, segmentation

    small, large = morphology.disk(2), morphology.disk(10)
    lung = np.zeros(hu.shape, bool)
    for k in range(len(hu)):
        labels = measure.label(segmentation.clear_border(hu[k] < threshold))
        areas = sorted(region.area for region in measure.regionprops(labels))
        if len(areas) > 2:
            for region in measure.regionprops(labels):
                if region.area < areas[-2]:
                    labels[labels == region.label] = 0
        inside = ndimage.binary_closing(ndimage.binary_erosion(labels > 0, small), large)
        lung[k] = ndimage.binary_fill_holes(inside)
    return lung


def ball(radius_mm: float, spacing_kji: Sequence[float]) -> np.ndarray:
    """A ball as a structuring element on this grid."""
    reach = [int(np.ceil(radius_mm / step)) for step in spacing_kji]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    return sum((axis * step) ** 2 for axis, step in zip(axes, spacing_kji, strict=True)) <= radius_mm**2


def clahe_opencv(stack: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """OpenCV slice by slice on values moved to uint16; its clip limit counts over 65536 bins."""
    import cv2

    equalizer = cv2.createCLAHE(clip_limit, (tiles, tiles))
    low = int(stack.min())
    result = np.empty(stack.shape, np.uint16)
    for k, image in enumerate(stack):
        result[k] = equalizer.apply((image - low).astype(np.uint16))
    return result


def clahe_opencv_8bit(stack: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """OpenCV slice by slice on uint8 images."""
    import cv2

    equalizer = cv2.createCLAHE(clip_limit, (tiles, tiles))
    return np.stack([equalizer.apply(np.ascontiguousarray(image)) for image in stack])


def clahe_skimage(stack: np.ndarray, tiles: int, low: int) -> np.ndarray:
    """skimage slice by slice, each slice over its own range."""
    from skimage import exposure

    size = tuple(max(1, n // tiles) for n in stack.shape[1:])
    return np.stack(
        [
            exposure.equalize_adapthist((image - low).astype(np.uint16), kernel_size=size, clip_limit=0.01)
            for image in stack
        ]
    )


def check(image: np.ndarray) -> tuple[Any, ...]:
    """Extremes, mean, standard deviation and a histogram, as a notebook does it."""
    counts, edges = np.histogram(image, bins=512)
    return image.min(), image.max(), image.mean(), image.std(), counts, edges


def patches(image: np.ndarray, size: int, number: int) -> np.ndarray:
    """Random crops in a list, then stacked."""
    rng = np.random.default_rng(0)
    found = []
    for _n in range(number):
        k, j, i = (int(rng.integers(0, max(1, n - size + 1))) for n in image.shape)
        crop = image[k : k + size, j : j + size, i : i + size].copy()
        if crop.shape != (size,) * 3:
            crop = np.pad(crop, [(0, size - n) for n in crop.shape])
        found.append(crop)
    return np.stack(found)


def elastic(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed noise as displacement at full resolution (Simard et al. 2003), then scipy."""
    rng = np.random.default_rng(0)
    moved = [ndimage.gaussian_filter(rng.uniform(-1, 1, image.shape), 8) * 300 for _axis in range(3)]
    grid = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij")
    places = [g + m for g, m in zip(grid, moved, strict=True)]
    return (
        ndimage.map_coordinates(image, places, order=1, mode="nearest"),
        ndimage.map_coordinates(labels, places, order=0, mode="nearest"),
    )


def bias_field(image: np.ndarray) -> np.ndarray:
    """The exponential of a polynomial of third degree, term by term at full resolution."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
    field = np.zeros(image.shape)
    for a in range(4):
        for b in range(4 - a):
            for c in range(4 - a - b):
                field += rng.uniform(-0.3, 0.3) * z**a * y**b * x**c
    return (image * np.exp(field)).astype(image.dtype)
