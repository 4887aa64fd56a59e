"""How much a bright spot looks like a nodule: one number between 0 and 1 from its shape and density.

A logistic regression on what :mod:`noduleshape` and :mod:`nodulesurroundings` measure, with products of the
measures that depend on each other. It was fitted (Training/fit_nodule_score.py) on nodules drawn into chest
phantoms and into two real scans, solid and ground-glass, 4 to 20 mm, inside the lung and on the pleura; all
other spots in those scans were its counterexamples. It ranks candidates and does not say whether a nodule is
benign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from .blobs import Seeds
from .noduleshape import Shapes

# Places the default limit, few false candidates at little loss, at one half.
_CONSTANT = -5.1755
# Mean and deviation in the scans it was fitted on, and weight.
_WEIGHTS = {
    "elongation": (0.6536, 0.1065, 0.1342),
    "middle": (0.7900, 0.1032, 0.3344),
    "spread": (0.5080, 0.2153, 0.0234),
    "leak": (0.4299, 0.3040, -0.0990),
    "stuck": (0.1074, 0.1673, -0.3118),
    "pleural": (0.2371, 0.3725, 0.6808),
    "contrast": (0.1842, 0.6118, 0.4084),
    "size": (-0.3462, 0.6112, 0.6646),
    "voxels": (-0.4114, 0.5500, 0.6864),
    "roundness": (0.4159, 0.1666, 0.0446),
    "faint": (1.1788, 0.4724, -0.3523),
    "beside": (0.7684, 0.3641, -0.0867),
    "air": (0.0039, 0.0293, -0.0105),
    "glass_size": (1.4258, 0.2946, -0.4465),
    "glass_elongation": (0.6773, 0.0901, 0.0911),
    "glass_spread": (1.7537, 0.3874, -0.3275),
    "close": (0.1586, 0.0826, 0.1157),
    "out": (0.0845, 0.0671, -0.1091),
    "far": (0.0570, 0.0590, 0.0970),
    "through": (0.0267, 0.0347, -0.4575),
    "lopsided": (0.3695, 0.2726, 0.2622),
    "calipers": (0.4923, 0.1409, 0.6599),
    "thin": (0.7350, 0.1121, 0.2124),
    "edge": (0.4059, 0.2644, 0.4480),
    "grain": (0.1417, 0.0630, -0.4705),
    "noise": (0.0476, 0.0453, -0.1455),
    "border": (0.1219, 0.1865, 0.5435),
    "matched": (0.5481, 0.2310, -0.4560),
    "scale": (-0.2337, 0.5732, 0.2745),
    "lungness": (-0.0076, 0.2201, 0.1343),
}
_PRODUCTS = {
    ("pleural", "pleural"): -0.2363,
    ("pleural", "contrast"): 0.1785,
    ("pleural", "size"): -0.2103,
    ("pleural", "elongation"): -0.1856,
    ("pleural", "beside"): -0.0713,
    ("pleural", "glass_size"): -0.1083,
    ("pleural", "border"): -0.1404,
    ("contrast", "contrast"): -0.1561,
    ("contrast", "size"): -0.0134,
    ("contrast", "elongation"): 0.5845,
    ("contrast", "beside"): -0.1074,
    ("contrast", "glass_size"): 0.3707,
    ("contrast", "border"): 0.0345,
    ("size", "size"): -0.7168,
    ("size", "elongation"): 0.7252,
    ("size", "beside"): 0.1800,
    ("size", "glass_size"): -0.2424,
    ("size", "border"): -0.3191,
    ("elongation", "elongation"): -0.3190,
    ("elongation", "beside"): -0.2843,
    ("elongation", "glass_size"): -0.5297,
    ("elongation", "border"): -0.3098,
    ("beside", "beside"): 0.5313,
    ("beside", "glass_size"): 0.0497,
    ("beside", "border"): -0.0240,
    ("glass_size", "glass_size"): 0.1384,
    ("glass_size", "border"): -0.4980,
    ("border", "border"): -0.2548,
}
# A measure further out than so many deviations says no more.
_FARTHEST = 4.0


def features(
    shapes: Shapes, seeds: Seeds, spacing_kji: Sequence[float], lung_hu: float
) -> dict[str, np.ndarray]:
    """What the score is made of, by name; (n,) each.

    Parameters
    ----------
    seeds : where the shapes were felt out from. spacing_kji : mm. lung_hu : the median of aerated lung.
    """
    contrast = np.maximum(shapes.level - shapes.background, 20.0)
    return {
        "elongation": shapes.elongation,
        "middle": shapes.middle,
        "spread": np.log(shapes.spread),
        "leak": 5.0 * shapes.leak,
        "stuck": 5.0 * (1.0 - shapes.free),
        "pleural": 2.0 * shapes.pleural,
        "contrast": np.log(contrast / 300.0),
        "size": np.log(shapes.diameter / 6.0),
        "voxels": np.log(np.maximum(shapes.diameter, 0.5) / (3.0 * max(spacing_kji))),
        "roundness": seeds.roundness,
        "faint": 5.0 * shapes.faint,
        "beside": 3.0 * np.sqrt(shapes.beside),
        "air": 3.0 * np.sqrt(shapes.air),
        **{f.name: getattr(shapes.around, f.name) for f in fields(shapes.around)},
        # Of a ball the blob filter shows nearly the whole contrast, at the scale of its size.
        "matched": np.minimum(seeds.strength / contrast, 1.5),
        "scale": np.log(np.maximum(shapes.diameter, 0.5) / (2.0 * seeds.radius)),
        "lungness": np.clip((shapes.background - lung_hu) / 100.0, -2.0, 4.0),
    }


def score(shapes: Shapes, seeds: Seeds, spacing_kji: Sequence[float], lung_hu: float) -> np.ndarray:
    """(n,) scores, 0 to 1; the larger, the more like a nodule."""
    found = features(shapes, seeds, spacing_kji, lung_hu)
    even = {
        name: np.clip((found[name] - mean) / deviation, -_FARTHEST, _FARTHEST)
        for name, (mean, deviation, _) in _WEIGHTS.items()
    }
    total = np.full(len(shapes), _CONSTANT)
    for name, (_, _, weight) in _WEIGHTS.items():
        total += weight * even[name]
    for (one, other), weight in _PRODUCTS.items():
        total += weight * even[one] * even[other]
    return 1.0 / (1.0 + np.exp(-np.clip(total, -30.0, 30.0)))
