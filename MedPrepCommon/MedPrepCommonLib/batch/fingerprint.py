"""The fingerprint of a batch: how grids, intensities and label volumes spread over its cases; who stands out.

Spread over all cases, and once more over those of the split ``train``: only the latter may be used to choose
anything that a network is trained with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

FILE = "fingerprint.json"
#: Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers: from this modified z-score on.
OUTLIER = 3.5
# With fewer cases nobody can say what is usual.
_FEWEST = 5
# Of the usual value: less than this times OUTLIER is no difference, however alike the others are.
_FLOOR = 0.01
_AXES = "ijk"


def make(recipe: str, cases: Mapping[str, Mapping[str, Any]], training: Iterable[str]) -> dict[str, Any]:
    """The content of ``fingerprint.json``.

    Parameters
    ----------
    recipe : its name.
    cases : by case what :func:`MedPrepCommonLib.batch.overview.facts` found.
    training : cases of the split train.
    """
    figures = {name: dict(_figures(facts)) for name, facts in sorted(cases.items())}
    train = {name: figures[name] for name in sorted(training) if name in figures}
    return {
        "schema": "medprep-fingerprint",
        "version": 1,
        "recipe": recipe,
        "all": {"cases": len(figures), "figures": _spread(figures)},
        "train": {"cases": len(train), "figures": _spread(train)},
        "cases": {name: cases[name] for name in figures},
        "outliers": outliers(figures),
    }


def _figures(facts: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Name, value of each figure of a case, and the width on whose scale it is measured (0: its own)."""
    for name, image in facts["images"].items():
        for n, axis in enumerate(_AXES):
            yield f"{name}: size {axis} (voxels)", (image["size"][n], 0.0)
            if image["spacing"]:  # unknown for most pictures
                yield f"{name}: spacing {axis} (mm)", (image["spacing"][n], 0.0)
        for n, channel in enumerate(image["channels"]):
            which = f" {n}" if len(image["channels"]) > 1 else ""
            shares = channel["quantiles"]
            width = abs(max(shares.values()) - min(shares.values()))
            for share, value in shares.items():
                yield f"{name}{which}: quantile {share}", (value, width)
            yield f"{name}{which}: mean", (channel["mean"], width)
            yield f"{name}{which}: standard deviation", (channel["std"], width)
    for name, labels in facts["labels"].items():
        for segment, volume in labels["volumes"].items():
            yield f"{name}: {segment} (ml)", (volume, 0.0)


def _columns(
    figures: Mapping[str, Mapping[str, tuple[float, float]]],
) -> dict[str, dict[str, tuple[float, float]]]:
    """By figure what each case has."""
    columns: dict[str, dict[str, tuple[float, float]]] = {}
    for case, found in figures.items():
        for figure, value in found.items():
            columns.setdefault(figure, {})[case] = value
    return columns


def _spread(figures: Mapping[str, Mapping[str, tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Smallest, median and largest of every figure, and how many cases have it."""
    found = {}
    for figure, column in _columns(figures).items():
        values = np.array([value for value, _width in column.values()], np.float64)
        found[figure] = {
            "cases": len(values),
            "min": float(values.min()),
            "median": float(np.median(values)),
            "max": float(values.max()),
        }
    return found


def outliers(
    figures: Mapping[str, Mapping[str, tuple[float, float]]],
) -> dict[str, list[dict[str, Any]]]:
    """By case the figures with a modified z-score beyond :data:`OUTLIER`, the furthest first.

    The score is (value - median) / (1.4826 MAD), with 1.2533 times the mean absolute deviation where
    more than half of the cases are alike (Iglewicz & Hoaglin 1993).
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for figure, column in _columns(figures).items():
        if len(column) < _FEWEST:
            continue
        values = np.array([value for value, _width in column.values()], np.float64)
        width = float(np.median([width for _value, width in column.values()]))
        median = float(np.median(values))
        away = np.abs(values - median)
        scale = 1.4826 * float(np.median(away)) or 1.2533 * float(away.mean())
        scale = max(scale, _FLOOR * max(abs(median), width))
        if scale == 0:
            continue
        for case, value in zip(column, values.tolist(), strict=True):
            z = (value - median) / scale
            if abs(z) > OUTLIER:
                found.setdefault(case, []).append(
                    {"figure": figure, "value": value, "median": median, "z": round(z, 3)}
                )
    for lines in found.values():
        lines.sort(key=lambda line: (-abs(line["z"]), line["figure"]))
    return dict(sorted(found.items()))
