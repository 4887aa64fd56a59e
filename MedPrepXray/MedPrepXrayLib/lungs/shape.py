"""What makes two lung fields: one piece each, without holes, side by side, of the size that lungs have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from . import input

# Scores are logarithms of odds: this decides.
_SURE = 6.0
# A second piece of a lung stays when it has at least this share of the first (a lung parted by a wide tube).
_PIECE = 0.25


@dataclass(frozen=True)
class Fields:
    """Tidied scores with what was seen on the way.

    Parameters
    ----------
    scores : (3, n, n) float32 over the square: background, lung on the image's left, on its right.
    labels : (n, n) uint8, which is largest.
    pieces : how many there were per side before the small ones were dropped.
    dropped : share of each side's pixels that were in dropped pieces.
    confidence : per side, the Dice coefficient to be expected if the probabilities are right; 0 for no lung.
    """

    scores: np.ndarray
    labels: np.ndarray
    pieces: tuple[int, int]
    dropped: tuple[float, float]
    confidence: tuple[float, float]


def tidied(scores: np.ndarray) -> Fields:
    """Keep the largest piece of each side, and fill its holes."""
    scores = scores.copy()
    labels = np.argmax(scores, axis=0).astype(np.uint8)
    pieces, dropped, confidence = [], [], []
    for side in (1, 2):
        mask = labels == side
        parts, count = ndimage.label(mask)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        kept = np.isin(parts, 1 + np.flatnonzero(sizes >= _PIECE * sizes.max())) if count else mask
        whole = ndimage.binary_fill_holes(kept)
        gone, holes = mask & ~kept, whole & ~kept
        scores[0][gone] = np.maximum(scores[0][gone], scores[1:, gone].max(axis=0) + _SURE)
        scores[side][holes] = scores[:, holes].max(axis=0) + _SURE
        labels[gone], labels[holes] = 0, side
        pieces.append(int(count))
        dropped.append(float(gone.sum() / max(mask.sum(), 1)))
    share = _shares(scores)
    for side in (1, 2):
        mask = labels == side
        total = share[side].sum() + mask.sum()
        confidence.append(float(2 * share[side][mask].sum() / total) if mask.any() else 0.0)
    return Fields(scores, labels, tuple(pieces), tuple(dropped), tuple(confidence))


def labels_of(scores: np.ndarray, frame: input.Frame) -> np.ndarray:
    """(rows, columns) uint8 on the image's own pixels: which score is largest, linear between."""
    background, left, right = input.restore(scores, frame)
    return np.where(np.maximum(left, right) > background, np.where(left >= right, 1, 2), 0).astype(np.uint8)


def _shares(scores: np.ndarray) -> np.ndarray:
    powers = np.exp((scores - scores.max(axis=0)).astype(np.float64))
    return powers / powers.sum(axis=0)
