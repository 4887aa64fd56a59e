"""A small network that says what a radiograph shows, in NumPy alone: it runs wherever MedPrep does.

``Training/MODEL_CARD.md`` says what it was trained on and how well it did; ``Training/train_view.py`` made
it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..lungs import input as lunginput

WEIGHTS = Path(__file__).resolve().parent.parent / "models" / "view.npz"
#: Pixels of the square that the network sees.
SIDE = 64
#: How a frontal chest may lie: quarter turns (counter-clockwise, of the upright image), then mirrored or not.
PLACEMENTS = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))
#: What else there is to be seen.
OTHERS = ("lateral", "limb", "abdomen", "other", "slice")
CLASSES = len(PLACEMENTS) + len(OTHERS)


def shrunk(channels: np.ndarray) -> np.ndarray:
    """(2, SIDE, SIDE) float32 from :func:`lunginput.channels`: the mean of each block."""
    step = lunginput.SIZE // SIDE
    return channels.reshape(len(channels), SIDE, step, SIDE, step).mean(axis=(2, 4), dtype=np.float32)


def shares(seen: np.ndarray, weights: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """(CLASSES,) float64 that add up to 1: first the placements of a frontal chest, then OTHERS.

    Parameters
    ----------
    seen : from :func:`shrunk`.
    weights : other ones than those that come with MedPrep.
    """
    weights = weights or _stored()
    x = seen
    for n in range(sum(name.startswith("kernel") for name in weights)):
        x = np.maximum(_convolved(x, weights[f"kernel{n}"], weights[f"bias{n}"]), 0)
        channels, rows, columns = x.shape
        x = x.reshape(channels, rows // 2, 2, columns // 2, 2).max(axis=(2, 4))
    # Where the chest lies in the image says how it is turned: a coarse grid of means, not one mean.
    channels, rows, columns = x.shape
    x = x.reshape(channels, 2, rows // 2, 2, columns // 2).mean(axis=(2, 4)).ravel()
    x = np.maximum(weights["hidden"] @ x + weights["hiddenBias"], 0)
    scores = (weights["last"] @ x + weights["lastBias"]).astype(np.float64)
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def shares_of_both(seen: np.ndarray) -> np.ndarray:
    """(CLASSES,) as :func:`shares`: the middle of what it says of the image and of its mirror image."""
    mirrored = shares(np.ascontiguousarray(seen[:, :, ::-1]))
    # A chest that was turned and then mirrored is a mirrored one that was turned the other way.
    places = [PLACEMENTS.index((-turns % 4, not flipped)) for turns, flipped in PLACEMENTS]
    order = [*places, *range(len(PLACEMENTS), CLASSES)]
    middle = np.sqrt(shares(seen) * mirrored[order])
    return middle / middle.sum()


def _convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(out, rows, columns): a 3 x 3 convolution with zeros around, kernel (out, in, 3, 3)."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    return np.tensordot(kernel, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


@lru_cache(maxsize=1)
def _stored() -> dict[str, np.ndarray]:
    with np.load(WEIGHTS) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}
