"""How much a bright spot looks like a nodule: one number between 0 and 1 from its shape and density.

A few small neural networks, of two hidden layers each, on what :mod:`noduleshape` and
:mod:`nodulesurroundings` measure; the score is that of their mean. They were trained
(Training/train_nodule_score.py) on nodules drawn into chest phantoms and into three real scans, solid and
ground-glass, 4 to 20 mm, inside the lung and on the pleura; all other spots in those scans were the
counterexamples. The score ranks candidates and does not say whether a nodule is benign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.i18n import _

from .blobs import Seeds
from .shape import Shapes

MODEL = Path(__file__).resolve().parents[1] / "models" / "nodule_score.npz"
# A measure further out than so many deviations says no more.
FARTHEST = 4.0


@dataclass(frozen=True)
class Networks:
    """The trained networks.

    Parameters
    ----------
    names : the measures, in their order. mean, deviation : (n,) in the scans of the training.
    weights, biases : of each layer, (networks, inputs, outputs) and (networks, outputs).
    limit : output that the score places at one half: few false candidates at little loss.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    limit: float

    def __call__(self, found: dict[str, np.ndarray]) -> np.ndarray:
        """(n,) outputs, the mean of all networks, from the measures by name, (n,) each."""
        x = np.column_stack([found[name] for name in self.names])
        x = np.clip((x - self.mean) / self.deviation, -FARTHEST, FARTHEST)[None]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias[:, None])
        return (x @ self.weights[-1] + self.biases[-1][:, None]).mean(axis=(0, 2))

    def save(self, path: Path) -> None:
        """Write to an .npz file."""
        layers = {f"weight{n}": w.astype(np.float32) for n, w in enumerate(self.weights)}
        layers |= {f"bias{n}": b.astype(np.float32) for n, b in enumerate(self.biases)}
        np.savez_compressed(
            path, names=self.names, mean=self.mean, deviation=self.deviation, limit=self.limit, **layers
        )

    @staticmethod
    def load(path: Path) -> Networks:
        """Read what :meth:`save` wrote."""
        with np.load(path) as stored:
            count = sum(name.startswith("bias") for name in stored)
            weights, biases = (
                tuple(stored[f"{part}{n}"].astype(np.float64) for n in range(count))
                for part in ("weight", "bias")
            )
            return Networks(
                tuple(str(name) for name in stored["names"]),
                stored["mean"],
                stored["deviation"],
                weights,
                biases,
                float(stored["limit"]),
            )


@lru_cache(maxsize=1)
def networks() -> Networks:
    """The networks that come with MedPrep."""
    try:
        return Networks.load(MODEL)
    except OSError as error:
        raise FileError(
            _("The networks that score nodules are missing."),
            _("Expected {name} in the folder models of the library.").format(name=MODEL.name),
            _("Install MedPrep again."),
        ) from error


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
    model = networks()
    total = model(features(shapes, seeds, spacing_kji, lung_hu)) - model.limit
    return 1.0 / (1.0 + np.exp(-np.clip(total, -30.0, 30.0)))
