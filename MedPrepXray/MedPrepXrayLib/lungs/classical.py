"""Lung fields without a network: the mean chest of the training radiographs is laid over the image.

First at all places in several sizes, by correlation; then moved, stretched and turned until it fits best;
then bent by demons registration (Vercauteren et al. 2009). What the mean chest says about each pixel is the
result. It follows unusual lungs less well than the network, and needs nothing but SciPy and SimpleITK.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, optimize, signal

from . import input

ATLAS = Path(__file__).resolve().parents[1] / "models" / "lung_atlas.npz"
# The atlas shows the box of both lungs with this margin on every side, as a share of the box.
MARGIN = 0.18
_COARSE = 64  # pixels of the square in which the chest is looked for
_PAD = _COARSE // 5  # and around it
_FINE = 128  # ... and bent
_WIDTHS = (30, 36, 43, 51, 60)  # of both lungs together, in coarse pixels
_HEIGHTS = (0.8, 0.95, 1.12, 1.3)  # as a share of the width
_STARTS = 3
# The mean of many chests is blurred more than the place of one; with this power of it, the confidence is on
# average the Dice coefficient of patients who are not part of the mean.
_SHARPER = 1.5
# Mean correlation of the fitted chest with the image that means nothing, and that leaves no doubt.
_POOR, _GOOD = 0.25, 0.6


@dataclass(frozen=True)
class Atlas:
    """The mean chest in the box of its lungs: what it looks like, and where its lungs are.

    Parameters
    ----------
    looks : (2, n, n) float32, mean of the channels of :mod:`lunginput`.
    lungs : (2, n, n) float32, share of the radiographs that show lung there, on the image's left and right.
    """

    looks: np.ndarray
    lungs: np.ndarray


@dataclass(frozen=True)
class Fit:
    """Where the chest lies in the square.

    Parameters
    ----------
    middle, size : (y, x) of the lungs' box, pixels of the square. angle : radians.
    correlation : with the image, mean of both channels, -1 to 1.
    """

    middle: tuple[float, float]
    size: tuple[float, float]
    angle: float = 0.0
    correlation: float = -1.0


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """The mean chest that comes with MedPrep."""
    with np.load(ATLAS) as stored:
        return Atlas(stored["looks"].astype(np.float32), stored["lungs"].astype(np.float32))


def side_scores(channels: np.ndarray, chest: Atlas | None = None) -> np.ndarray:
    """(3, 128, 128) float32 log probabilities: background, lung on the left, lung on the right of the square.

    Parameters
    ----------
    channels : from :func:`lunginput.channels`, air dark.
    chest : instead of the one that comes with MedPrep.
    """
    chest = chest or atlas()
    fit = max(
        (_fitted(channels, chest, start) for start in _starts(channels, chest)),
        key=lambda fit: fit.correlation,
        default=Fit((128, 128), (128, 128)),
    )
    left, right = _bent(channels, chest, fit)
    probabilities = (
        np.stack([np.maximum(1 - left - right, 0), left, right]).astype(np.float64) ** _SHARPER + 1e-6
    )
    probabilities /= probabilities.sum(axis=0)
    # A chest that fits badly says little.
    trust = np.clip((fit.correlation - _POOR) / (_GOOD - _POOR), 0.0, 1.0)
    return np.log(trust * probabilities + (1 - trust) / 3).astype(np.float32)


def likeness(channels: np.ndarray, chest: Atlas | None = None) -> float:
    """Correlation of the mean chest at its best place, before it is bent: 0.4 to 0.7 for a chest."""
    return max((fit.correlation for fit in _starts(channels, chest or atlas())), default=0.0)


def extremes(channels: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest correlation of the mean chest at any size and place, as wide as high."""
    image = _padded(channels)
    found = [c for width in _WIDTHS if (c := _everywhere(image, atlas(), width, width)) is not None]
    return min(float(c.min()) for c in found), max(float(c.max()) for c in found)


def _starts(channels: np.ndarray, chest: Atlas) -> list[Fit]:
    """The best place of the chest for each width, best ones first."""
    step = input.SIZE // _COARSE
    image = _padded(channels)
    found = []
    for width in _WIDTHS:
        best = Fit((0, 0), (0, 0))
        for height in (width * share for share in _HEIGHTS):
            correlation = _everywhere(image, chest, height, width)
            if correlation is None or correlation.max() <= best.correlation:
                continue
            place = np.unravel_index(correlation.argmax(), correlation.shape)
            middle = [
                step * (p + _length(extent) / 2 - _PAD)
                for p, extent in zip(place, (height, width), strict=True)
            ]
            best = Fit(
                tuple(map(float, middle)), (step * height, step * width), correlation=float(correlation.max())
            )
        found.append(best)
    return sorted((f for f in found if f.size[0]), key=lambda fit: -fit.correlation)[:_STARTS]


def _padded(channels: np.ndarray) -> list[np.ndarray]:
    return [np.pad(_pooled(plane, input.SIZE // _COARSE), _PAD) for plane in channels]


def _length(extent: float) -> int:
    """Pixels of the atlas along an axis, when the lungs fill `extent` of them."""
    return round(extent * (1 + 2 * MARGIN))


def _everywhere(image: list[np.ndarray], chest: Atlas, height: float, width: float) -> np.ndarray | None:
    """Correlation with the chest at every place, mean of both channels; None when it does not fit in."""
    shape = (_length(height), _length(width))
    if max(shape) > _COARSE + 2 * _PAD:
        return None
    pairs = zip(image, chest.looks, strict=True)
    return sum(_correlation(a, _resized(b, shape)) for a, b in pairs) / len(image)


def _fitted(channels: np.ndarray, chest: Atlas, start: Fit) -> Fit:
    """The chest moved, stretched and turned from `start` until it correlates best."""
    image = [_pooled(plane, input.SIZE // _COARSE) for plane in channels]

    def fit_of(values: np.ndarray, correlation: float = -1.0) -> Fit:
        y, x, height, width, angle = (float(v) for v in values)
        return Fit((y, x), (np.exp(height), np.exp(width)), angle / 100, correlation)

    def badness(values: np.ndarray) -> float:
        places = _places(chest, fit_of(values), _COARSE)
        inside = _within(chest, places)
        if inside.sum() < 200:
            return 1.0
        where = [axis[inside] for axis in places]
        pairs = zip(image, chest.looks, strict=True)
        found = [
            _cosine(a[inside], ndimage.map_coordinates(b, where, order=1, mode="nearest")) for a, b in pairs
        ]
        return -float(np.mean(found))

    first = np.array([*start.middle, *np.log(start.size), 100 * start.angle])
    options = {"direc": np.diag([6.0, 6.0, 0.08, 0.08, 3.0]), "maxiter": 4, "ftol": 1e-3, "xtol": 1e-2}
    best = optimize.minimize(badness, first, method="Powell", options=options)
    return fit_of(best.x, -float(best.fun))


def _bent(channels: np.ndarray, chest: Atlas, fit: Fit) -> list[np.ndarray]:
    """The atlas's lungs over the square, after its look has been bent onto the image."""
    places = _places(chest, fit, _FINE)
    inside = _within(chest, places)
    image = _pooled(channels[1], input.SIZE // _FINE)
    look = ndimage.map_coordinates(chest.looks[1], places, order=1)
    fixed, moving = (_standard(ndimage.gaussian_filter(plane, 1.2), inside) for plane in (image, look))
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(40)
    demons.SetStandardDeviations(2.5)
    demons.SetSmoothUpdateField(True)
    demons.SetUpdateFieldStandardDeviations(1.5)
    demons.SetNumberOfThreads(1)
    way = sitk.GetArrayFromImage(
        demons.Execute(sitk.GetImageFromArray(fixed), sitk.GetImageFromArray(moving))
    )
    y, x = np.mgrid[:_FINE, :_FINE]
    bent = [y + way[..., 1], x + way[..., 0]]
    lungs = [ndimage.map_coordinates(plane, places, order=1) for plane in chest.lungs]
    return [ndimage.map_coordinates(plane, bent, order=1, mode="nearest") for plane in lungs]


def _places(chest: Atlas, fit: Fit, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in the atlas each pixel of the square lies, in (count, count) pixels."""
    step, size = input.SIZE / count, chest.looks.shape[-1]
    y, x = ((np.arange(count) + 0.5) * step - middle for middle in fit.middle)
    y, x = y[:, None], x[None, :]
    cos, sin = np.cos(fit.angle), np.sin(fit.angle)
    u = (cos * y - sin * x) / (fit.size[0] * (1 + 2 * MARGIN)) + 0.5
    v = (sin * y + cos * x) / (fit.size[1] * (1 + 2 * MARGIN)) + 0.5
    return u * size - 0.5, v * size - 0.5


def _within(chest: Atlas, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    end = chest.looks.shape[-1] - 0.5
    return (places[0] > -0.5) & (places[0] < end) & (places[1] > -0.5) & (places[1] < end)


def _pooled(plane: np.ndarray, step: int) -> np.ndarray:
    count = plane.shape[0] // step
    return plane.reshape(count, step, count, step).mean(axis=(1, 3))


def _resized(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    zoom = [a / b for a, b in zip(shape, plane.shape, strict=True)]
    return ndimage.zoom(plane, zoom, order=1, grid_mode=True, mode="nearest")


def _correlation(image: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Correlation coefficient of the template at every place that holds it; damped where nothing is."""
    template = template - template.mean()
    template = template / np.sqrt(np.square(template).sum())
    even = np.full(template.shape, 1 / template.size)
    mean = signal.fftconvolve(image, even, "valid")
    variance = signal.fftconvolve(image * image, even, "valid") - mean * mean
    both = signal.fftconvolve(image, template[::-1, ::-1], "valid")
    return both / np.sqrt(np.maximum(variance, 0.02) * template.size)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-6))


def _standard(plane: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 inside, 0 outside; float32."""
    if not inside.any():
        return np.zeros(plane.shape, np.float32)
    values = plane[inside]
    return np.where(inside, (plane - values.mean()) / (values.std() + 1e-3), 0).astype(np.float32)
