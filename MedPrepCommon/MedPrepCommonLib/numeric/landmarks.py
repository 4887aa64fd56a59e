"""Landmarks of a histogram and the standard scale that they are brought to.

Nyúl, Udupa and Zhang, "New variants of a method of MRI scale standardization", IEEE TMI 19(2), 2000: the
percentiles of every training image, brought to one range, are averaged; another image is mapped piecewise
linearly so that its percentiles fall on the averages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import json_text
from ..core.errors import InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.parallel import Crew, block_indices, memory_views, real_array

# Deciles between the ends (Shah et al., Medical Image Analysis 15(2), 2011).
PERCENTILES = (1.0, *(float(p) for p in range(10, 100, 10)), 99.0)
SCALE = (0.0, 100.0)


@dataclass(frozen=True)
class Landmarks:
    """Percentiles (rising, within 0 to 100) and the values that they have, or shall get (not falling)."""

    percentiles: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        percentiles, values = tuple(map(float, self.percentiles)), tuple(map(float, self.values))
        rising = all(a < b for a, b in zip(percentiles, percentiles[1:], strict=False))
        usable = (
            len(percentiles) == len(values) >= 2
            and all(map(math.isfinite, (*percentiles, *values)))
            and percentiles[0] >= 0
            and percentiles[-1] <= 100
            and rising
            and all(a <= b for a, b in zip(values, values[1:], strict=False))
            and values[0] < values[-1]
        )
        if not usable:
            raise ParameterError(
                _("The landmarks {text} cannot be used.").format(text=_pairs(percentiles, values)[:120]),
                _("Expected two or more percentiles from 0 to 100, rising, with values that do not fall."),
                _("Fit them again on training images."),
            )
        object.__setattr__(self, "percentiles", percentiles)
        object.__setattr__(self, "values", values)

    @property
    def text(self) -> str:
        """As in a recipe: ``1=0 10=21.4 ... 99=100``."""
        return _pairs(self.percentiles, self.values)

    def to_json(self) -> dict[str, list[float]]:
        """As in a file of landmarks."""
        return {"percentiles": list(self.percentiles), "values": list(self.values)}

    @classmethod
    def parse(cls, text: str) -> Landmarks:
        """Landmarks from ``1=0 10=21.4 ...`` or from the JSON of a file.

        Raises
        ------
        ParameterError
            for anything else.
        """
        try:
            if text.lstrip().startswith("{"):
                record: Any = json_text.parse(text)
                return cls(tuple(record["percentiles"]), tuple(record["values"]))
            pairs = [pair.split("=") for pair in text.replace(",", " ").split()]
            return cls(tuple(float(p) for p, _v in pairs), tuple(float(v) for _p, v in pairs))
        except (ValueError, TypeError, KeyError) as error:
            raise ParameterError(
                _("The landmarks {text!r} cannot be read.").format(text=text[:60]),
                _("Expected PERCENTILE=VALUE pairs, as in 1=0 50=40.5 99=100, or a file of landmarks."),
                _("Fit them on training images."),
            ) from error

    def scaled(self, low: float = SCALE[0], high: float = SCALE[1]) -> Landmarks:
        """The same with the first value at `low` and the last at `high`."""
        first, last = self.values[0], self.values[-1]
        shares = [(value - first) / (last - first) for value in self.values]
        return Landmarks(self.percentiles, tuple(low + (high - low) * share for share in shares))


def measure(
    array: np.ndarray, mask: np.ndarray | None = None, percentiles: Sequence[float] = PERCENTILES
) -> Landmarks:
    """The percentiles of the voxels in a mask.

    Raises
    ------
    InputError
        when the mask is empty, or the first and the last percentile are equal.
    """
    values = array.ravel() if mask is None else array[mask != 0]
    if values.size == 0:
        raise InputError(
            _("The mask is empty."),
            _("Expected at least one voxel inside."),
            _("Choose another mask, or none."),
        )
    found = np.quantile(values.astype(np.float64), np.divide(percentiles, 100.0))
    if not found[0] < found[-1]:
        raise InputError(
            _("{share:g} % of the voxels are {value:g}.").format(
                share=percentiles[-1] - percentiles[0], value=found[0]
            ),
            _("Expected an image with contrast."),
            _("Choose another image or mask."),
        )
    return Landmarks(tuple(percentiles), tuple(float(v) for v in found))


def standard_scale(training: Iterable[Landmarks], low: float = SCALE[0], high: float = SCALE[1]) -> Landmarks:
    """The mean of training images' landmarks, each brought to [low, high] first; to 9 digits.

    Raises
    ------
    InputError
        for none, or for different percentiles.
    """
    scaled = [one.scaled(low, high) for one in training]
    if not scaled or len({one.percentiles for one in scaled}) != 1:
        raise InputError(
            _("There are {n} training images with one set of percentiles.").format(
                n=0 if not scaled else len({one.percentiles for one in scaled})
            ),
            _("Expected one or more images, measured at the same percentiles."),
            _("Choose training images of one sequence."),
        )
    mean = np.mean([one.values for one in scaled], axis=0)
    return Landmarks(scaled[0].percentiles, tuple(float(f"{value:.9g}") for value in mean))


def apply(array: np.ndarray, own: Landmarks, standard: Landmarks, job: Job | None = None) -> np.ndarray:
    """Map an image so that its own landmarks fall on the standard ones.

    Linear between landmarks; beyond the ends the first and the last slope go on.

    Parameters
    ----------
    array : any shape, integer or floating point, finite.
    own : of this image, at the percentiles of `standard`.

    Returns
    -------
    ndarray : float32.
    """
    array = real_array(array)
    levels, first = np.unique(own.values, return_index=True)
    # Landmarks that fall together (few grey levels) go to the middle of their places.
    ends = np.append(first[1:], len(own.values))
    places = np.array([np.mean(standard.values[a:b]) for a, b in zip(first, ends, strict=True)])
    slopes = np.diff(places) / np.diff(levels)
    result = np.empty_like(array, dtype=np.float32, order="K", subok=False)
    source, target = memory_views(array, result)
    pieces = block_indices(source.shape)

    def task(piece: int, worker: int) -> None:
        block = source[pieces[piece]].astype(np.float64)
        mapped = np.interp(block, levels, places)
        mapped += np.minimum(block - levels[0], 0.0) * slopes[0]
        mapped += np.maximum(block - levels[-1], 0.0) * slopes[-1]
        target[pieces[piece]] = mapped

    with Crew() as crew:
        crew.run(task, len(pieces), job)
    return result


def _pairs(percentiles: Sequence[float], values: Sequence[float]) -> str:
    return " ".join(f"{p:.9g}={v:.9g}" for p, v in zip(percentiles, values, strict=False))
