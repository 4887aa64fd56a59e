"""A built-in brain MRI in several sequences whose truth is known: tissues, brain mask and bias field.

It is the demo's input and the ruler for bias correction, intensity normalization and fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .brain_anatomy import CSF, GREY, INTENSITY, WHITE, HeadAnatomy

# Values of `BrainPhantom.labels`.
LABELS = {"CSF": 1, "grey matter": 2, "white matter": 3}


@dataclass(frozen=True)
class BrainPhantom:
    """A synthetic brain MRI with its truth; every array is (k, j, i), i to the patient's left, j back, k up.

    Parameters
    ----------
    images : observed image per sequence: clean image x field, with noise; float32.
    clean : the same without field and noise; float32.
    field : multiplicative bias field of all sequences, mean 1 in the brain; float32.
    labels : uint8, 1 CSF, 2 grey matter, 3 white matter; 0 outside the brain.
    spacing_kji : mm.
    ijkToRAS : (4, 4), LPS axes; RAS (0, 0, 0) is the middle of the phantom.
    """

    images: dict[str, np.ndarray]
    clean: dict[str, np.ndarray]
    field: np.ndarray
    labels: np.ndarray
    spacing_kji: tuple[float, float, float]
    ijkToRAS: np.ndarray

    @property
    def brain(self) -> np.ndarray:
        """Brain with its CSF, bool."""
        return self.labels > 0


def make_brain_phantom(
    shape: tuple[int, int, int] = (128, 144, 120),
    spacing_kji: tuple[float, float, float] = (1.5, 1.5, 1.5),
    seed: int = 7,
    *,
    sequences: Sequence[str] = ("T1", "T2", "FLAIR"),
    bias: float = 0.4,
    noise: float = 0.02,
    skull_stripped: bool = False,
    workers: int = 2,
) -> BrainPhantom:
    """Draw the reference brain on a grid; the same seed shows the same person at any spacing.

    Parameters
    ----------
    shape : (k, j, i) voxels.
    spacing_kji : mm; the grid's middle is the middle of the brain, which with its skull needs about
        190 mm x 215 mm x 180 mm (smaller grids crop it). Slices thicker than 1.6 mm are averages.
    seed : of folds, texture, field and noise.
    sequences : any of T1, T2, FLAIR.
    bias : the field's range in the brain, as a share of its mean: 0.4 goes from about 0.8 to 1.2; 0 is none.
    noise : standard deviation of the Rician noise, as a share of white matter's signal.
    skull_stripped : everything but the brain and its CSF is zero, as after brain extraction.
    workers : threads; the result does not depend on it.

    Returns
    -------
    BrainPhantom : images and truth. Equal for equal arguments on one platform (to rounding elsewhere).
    """
    sk, sj, si = (float(step) for step in spacing_kji)
    nk, nj, ni = (int(size) for size in shape)
    if min(nk, nj, ni) < 1 or min(sk, sj, si) <= 0:
        raise ValueError(f"shape {shape} and spacing {spacing_kji} must be positive")
    unknown = [name for name in sequences if name not in INTENSITY]
    if unknown or not sequences:
        raise ValueError(f"sequences {tuple(sequences)} must be some of {', '.join(INTENSITY)}")
    # The field of view is a little lower than the origin of the anatomy: neck rather than air.
    z = (np.arange(nk) - (nk - 1) / 2) * sk - 6.0
    y = (np.arange(nj) - (nj - 1) / 2) * sj
    x = (np.arange(ni) - (ni - 1) / 2) * si
    anatomy = HeadAnatomy(np.random.default_rng([seed, 0]), y, x)
    signal = np.array([INTENSITY[name] for name in sequences], np.float32)
    clean = {name: np.empty((nk, nj, ni), np.float32) for name in sequences}
    labels = np.zeros((nk, nj, ni), np.uint8)
    # Thick slices are averages over their thickness.
    planes = max(1, round(sk / 1.6))
    offsets = ((np.arange(planes) + 0.5) / planes - 0.5) * sk

    def draw(k: int) -> None:
        shares = texture = 0.0
        for offset in offsets:
            part, grain = anatomy.plane(z[k] + offset, not skull_stripped)
            shares, texture = shares + part / planes, texture + grain / planes
        # Tissue is not all of one signal: 1.5 % of smooth variation, except in fluid and air.
        variation = 1.0 + 0.03 * texture * (1.0 - shares[CSF])
        for n, name in enumerate(sequences):
            clean[name][k] = np.tensordot(signal[n], shares, 1) * variation
        tissue = shares[[CSF, GREY, WHITE]]
        labels[k] = np.where(tissue.sum(axis=0) >= 0.5, tissue.argmax(axis=0) + 1, 0)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        list(pool.map(draw, range(nk)))
    field = smooth_field((z, y, x), labels > 0, bias, np.random.default_rng([seed, 1]))
    images = {
        name: _acquired(clean[name], field, noise * INTENSITY[name][WHITE], (seed, 2, n), skull_stripped)
        for n, name in enumerate(sequences)
    }
    ijkToRAS = np.diag([-si, -sj, sk, 1.0])
    ijkToRAS[:3, 3] = (-x[0], -y[0], z[0])
    return BrainPhantom(images, clean, field, labels, (sk, sj, si), ijkToRAS)


def smooth_field(
    axes: Sequence[np.ndarray], mask: np.ndarray, amount: float, rng: np.random.Generator
) -> np.ndarray:
    """A bias field as coils make it: smooth over the whole head, positive, mean 1 in the mask; float32.

    Parameters
    ----------
    axes : positions (mm) along k, j, i.
    mask : (k, j, i) where its range is measured.
    amount : (maximum - minimum) / mean in the mask; below 2.
    rng : of the coil's sensitivity.
    """
    if not 0 <= amount < 2:
        raise ValueError(f"a bias of {amount} does not lie in 0 to 2")
    log = np.zeros(tuple(map(len, axes)), np.float32)
    if amount and mask.any():
        # Waves longer than a head, in random directions; products of one factor per axis.
        for _ in range(5):
            wave = rng.normal(0.0, 1.0, 3)
            wave *= 2 * np.pi / rng.uniform(260.0, 420.0) / np.linalg.norm(wave)
            phase = rng.uniform(0, 2 * np.pi)
            k, j, i = (np.exp(1j * w * axis) for w, axis in zip(wave, axes, strict=True))
            turned = (k * np.exp(1j * phase)).astype(np.complex64)
            plane = (j[:, None] * i[None, :]).astype(np.complex64)
            for n, factor in enumerate(turned):
                log[n] += (factor * plane).real
        inside = log[mask]
        low, high = float(inside.min()), float(inside.max())
        log -= np.float32(inside.mean())
        log *= np.float32(amount / max(high - low, 1e-6))
        log += 1.0
        np.maximum(log, 0.1, out=log)
        return log / np.float32(log[mask].mean(dtype=np.float64))
    return log + 1.0


def _acquired(clean, field, deviation, seed, keep_zero) -> np.ndarray:
    """The clean image through the coil, with Rician noise; float32."""
    rng = np.random.default_rng(seed)
    image = clean * field
    if deviation > 0:
        for k in range(len(image)):
            noise = rng.standard_normal((2, *image.shape[1:]), np.float32) * np.float32(deviation)
            noisy = np.hypot(image[k] + noise[0], noise[1])
            image[k] = np.where(image[k] > 0, noisy, 0.0) if keep_zero else noisy
    return image
