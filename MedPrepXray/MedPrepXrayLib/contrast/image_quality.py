"""What enhancement did to a picture: contrast, range, information, edges, likeness, noise, structure.

Everything is measured on grey levels from 0 (black) to 1 (white), of (j, i) arrays in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.numeric import distribution
from MedPrepCommonLib.numeric.similarity import psnr, ssim

# Structures are looked at on about this many pixels along the shorter side, between these two Gaussians: on a
# chest that is ribs, vessels and the heart's border, and no grain.
_SIDE, _FINE, _COARSE = 256, 1.0, 8.0

# The variance of white noise through this mask is 36 times as large, edges and slopes are next to nothing.
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# Least noise that counts: the rounding of 10-bit grey levels, so that a drawn picture has some too.
_LEAST_NOISE = 1 / 1023 / math.sqrt(12)


class Measures(NamedTuple):
    """Gains are enhanced / reference: 1 is no change."""

    contrastGain: float
    rangeGain: float
    entropyGain: float
    edgeGain: float
    psnr: float
    ssim: float
    noiseGain: float
    detailGain: float
    sharpnessGain: float
    structure: float
    clipped: float


def measure(reference: np.ndarray, enhanced: np.ndarray) -> Measures:
    """Compare an enhanced picture with the one that it was made from; both (j, i), 0 to 1, with contrast.

    ``contrastGain`` of the standard deviation; ``rangeGain`` of the range from the 0.5th to the 99.5th
    percentile; ``entropyGain`` of Shannon's entropy of 256 grey levels; ``edgeGain`` of the mean Sobel
    gradient; ``psnr`` in dB (infinite for equal pictures); ``noiseGain`` of the noise where the reference is
    smoothest; ``detailGain`` of the contrast between structures and what surrounds them; ``sharpnessGain``
    of the slope of the reference's strongest edges, relative to that; ``structure`` the correlation of these
    structures; ``clipped`` the share of pixels that became black or white.
    """
    before, after = structures(reference), structures(enhanced)
    smooth, detail = smooth_places(reference), _ratio(_deviation(after), _deviation(before))
    return Measures(
        _ratio(_deviation(enhanced), _deviation(reference)),
        _ratio(_span(enhanced), _span(reference)),
        _ratio(entropy(enhanced), entropy(reference)),
        _ratio(edge_strength(enhanced), edge_strength(reference)),
        psnr(enhanced[None], reference[None], data_range=1.0),
        ssim(enhanced[None], reference[None], data_range=1.0),
        max(noise(enhanced, smooth), _LEAST_NOISE) / max(noise(reference, smooth), _LEAST_NOISE),
        detail,
        _ratio(_slope_of_edges(enhanced, reference), detail),
        _correlation(before, after),
        max(0.0, _extreme(enhanced) - _extreme(reference)),
    )


def entropy(image: np.ndarray) -> float:
    """Shannon's entropy in bits of 256 equal grey levels from 0 to 1."""
    level = np.clip(image * np.float32(256), 0, 255).astype(np.uint8)
    return distribution.entropy(np.bincount(level.reshape(-1)))


def edge_strength(image: np.ndarray) -> float:
    """Mean length of the Sobel gradient."""
    return float(np.mean(np.hypot(ndimage.sobel(image, 0), ndimage.sobel(image, 1)), dtype=np.float64))


def smooth_places(reference: np.ndarray) -> np.ndarray:
    """Boolean (j, i): the half of the pixels that lie in the smoothest surroundings, none black or white."""
    slope = ndimage.gaussian_gradient_magnitude(reference, 2.0)
    inside = (reference > 0.005) & (reference < 0.995)
    inside = inside if inside.any() else np.ones_like(inside)
    return inside & (slope <= np.median(slope[inside]))


def noise(image: np.ndarray, where: np.ndarray) -> float:
    """Standard deviation of the noise at some pixels (Immerkaer, CVIU 64(2):300-302, 1996)."""
    residual = np.abs(ndimage.convolve(image, _NOISE_MASK))[where]
    return float(math.sqrt(math.pi / 2) / 6 * np.mean(residual, dtype=np.float64))


def structures(image: np.ndarray) -> np.ndarray:
    """The picture's middle detail, without grain and broad shading; float32, smaller than the picture."""
    step = max(1, min(image.shape) // _SIDE)
    rows, columns = (n // step * step for n in image.shape)
    small = image[:rows, :columns].reshape(rows // step, step, columns // step, step).mean(axis=(1, 3))
    return ndimage.gaussian_filter(small, _FINE) - ndimage.gaussian_filter(small, _COARSE)


def _deviation(image: np.ndarray) -> float:
    return float(image.std(dtype=np.float64))


def _slope_of_edges(image: np.ndarray, reference: np.ndarray) -> float:
    """How much steeper the strongest edges of the reference are in the image: 1 is as steep."""
    before, after = (ndimage.gaussian_gradient_magnitude(picture, 0.7) for picture in (reference, image))
    strong = before >= np.percentile(before, 95)
    return _ratio(float(after[strong].sum(dtype=np.float64)), float(before[strong].sum(dtype=np.float64)))


def _span(image: np.ndarray) -> float:
    low, high = np.percentile(image, (0.5, 99.5))
    return float(high - low)


def _extreme(image: np.ndarray) -> float:
    """Share of pixels that are black or white."""
    return float(np.mean((image <= 0.002) | (image >= 0.998)))


def _ratio(new: float, old: float) -> float:
    return new / old if old > 0 else math.inf if new > 0 else 1.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(dtype=np.float64), y - y.mean(dtype=np.float64)
    size = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / size if size > 0 else 0.0
