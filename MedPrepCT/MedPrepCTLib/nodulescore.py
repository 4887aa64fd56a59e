"""How much a bright spot looks like a nodule: one number between 0 and 1 from its shape and density.

A logistic regression on what :mod:`noduleshape` measures. It was fitted on nodules drawn into the chest
phantom and into real scans, solid and ground-glass, 4 to 20 mm, inside the lung and on the pleura; all
other spots in those scans were its counterexamples. It ranks candidates and does not say whether a nodule is
benign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .noduleshape import Shapes

# Places the default limit, few false candidates at little loss, at one half.
_CONSTANT = -5.557
_WEIGHTS = {
    "elongation": 4.588,
    "middle": 5.053,
    "spread": -1.122,
    "leak": 0.324,
    "stuck": -0.865,
    "pleural": -2.690,
    "contrast": 1.307,
    "size": 2.302,
    "voxels": 1.051,
    "roundness": 1.551,
    "faint": -2.446,
    "beside": -2.412,
    "air": -0.713,
    "contrast x contrast": -0.891,
    "size x size": -1.808,
    "pleural x pleural": 0.129,
    "pleural x contrast": 0.325,
    "pleural x size": -2.818,
    "size x contrast": -0.940,
    "elongation x size": 2.844,
}


def features(shapes: Shapes, roundness: np.ndarray, spacing_kji: Sequence[float]) -> dict[str, np.ndarray]:
    """What the score is made of, by name; (n,) each, of about unit range.

    Parameters
    ----------
    roundness : of the seeds, smallest over largest eigenvalue of the Hessian. spacing_kji : mm.
    """
    contrast = np.log(np.maximum(shapes.level - shapes.background, 20.0) / 300.0)
    size = np.log(shapes.diameter / 6.0)
    elongation, pleural = shapes.elongation, 2.0 * shapes.pleural
    return {
        "elongation": elongation,
        "middle": shapes.middle,
        "spread": np.log(shapes.spread),
        "leak": 5.0 * shapes.leak,
        "stuck": 5.0 * (1.0 - shapes.free),
        "pleural": pleural,
        "contrast": contrast,
        "size": size,
        "voxels": np.log(np.maximum(shapes.diameter, 0.5) / (3.0 * max(spacing_kji))),
        "roundness": roundness,
        "faint": 5.0 * shapes.faint,
        "beside": 3.0 * np.sqrt(shapes.beside),
        "air": 3.0 * np.sqrt(shapes.air),
        "contrast x contrast": contrast**2,
        "size x size": size**2,
        "pleural x pleural": pleural**2,
        "pleural x contrast": pleural * contrast,
        "pleural x size": pleural * size,
        "size x contrast": size * contrast,
        "elongation x size": elongation * size,
    }


def score(shapes: Shapes, roundness: np.ndarray, spacing_kji: Sequence[float]) -> np.ndarray:
    """(n,) scores, 0 to 1; the larger, the more like a nodule."""
    parts = features(shapes, roundness, spacing_kji)
    total = _CONSTANT + sum((_WEIGHTS[name] * value for name, value in parts.items()), np.zeros(len(shapes)))
    return 1.0 / (1.0 + np.exp(-np.clip(total, -30.0, 30.0)))
