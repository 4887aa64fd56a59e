"""Lung fields by the trained network: any radiograph in, one label per side of the image out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import lunginput

Forward = Callable[[np.ndarray], np.ndarray]


def label_sides(image: np.ndarray, forward: Forward, spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """1 and 2 where the network sees lung on the left and on the right of a (rows, columns) image, as uint8."""
    return np.argmax(side_scores(image, forward, spacing), axis=0).astype(np.uint8)


def side_scores(image: np.ndarray, forward: Forward, spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """(3, rows, columns) float32 scores of background and of lung on the left and right of the image."""
    frame = lunginput.frame_of(image.shape, spacing)
    square, inside = lunginput.place(image, frame)
    scores = forward(lunginput.channels(square, inside)[np.newaxis])[0]
    return lunginput.restore(scores, frame)
