"""What a batch notes of each case for the overview of all: ``overview.json`` with figures, a small picture.

Made where the case is worked on, while its images are in memory: nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.runner import RecipeRun
from ..core.volume import LabelVolume, Volume
from ..numeric import quantiles
from ..outputs.writing import plain
from ..report import pictures
from . import folder as batchfolder

FACTS, PICTURE = "overview.json", "overview.png"
#: Those of nnU-Net's dataset fingerprint, with the quartiles.
SHARES = (0.005, 0.25, 0.5, 0.75, 0.995)


def write(folder: Path, run: RecipeRun, inputs: Mapping[str, Volume]) -> None:
    """Write a case's figures and picture into its folder; the same case gives the same bytes."""
    batchfolder.write_json(folder / FACTS, plain(facts(run, inputs)))
    # NIfTI does not say what modality it is; the recipe says what it takes.
    modality = run.record["recipe"]["modality"]
    shown = [
        {name: v if v.modality else replace(v, modality=modality) for name, v in group.items()}
        for group in (inputs, run.result.images, run.result.labels)
    ]
    picture = pictures.thumbnail(*shown, run.record["steps"])
    if picture:
        (folder / PICTURE).write_bytes(picture)


def facts(run: RecipeRun, inputs: Mapping[str, Volume]) -> dict[str, Any]:
    """Grid of every input and output, foreground intensities of every output image, volumes of every label.

    The foreground is what the recipe labelled on the image's grid; where it labelled nothing, all voxels that
    differ from the image's first one (padding, air that was clipped away). Quantiles, mean and standard
    deviation are those of about two million voxels spread over the image.
    """
    result = run.result
    labels = list(result.labels.values())
    return {
        "schema": "medprep-overview",
        "version": 1,
        "inputs": {name: _grid(volume) for name, volume in inputs.items()},
        "images": {
            name: {**_grid(volume), **_intensities(volume, labels)} for name, volume in result.images.items()
        },
        "labels": {
            name: {**_grid(volume), "volumes": volumes(volume)} for name, volume in result.labels.items()
        },
    }


def _grid(volume: Volume) -> dict[str, Any]:
    """Voxels and millimetres along i, j, k; none where nobody knows how large a pixel is."""
    spacing = [round(s, 6) for s in volume.spacing] if _measurable(volume) else None
    return {"size": list(volume.shape[::-1]), "spacing": spacing, "components": volume.components}


def _measurable(volume: Volume) -> bool:
    return volume.info.get("spacingKnown") is not False


def _intensities(volume: Volume, labels: list[LabelVolume]) -> dict[str, Any]:
    channels = pictures.some(volume).reshape(-1, volume.components)
    kind, inside = "labels", np.zeros(len(channels), bool)
    for label in labels:
        if label.same_grid(volume, 1e-3):
            # Thinned as the image was: the same voxels of both.
            inside |= pictures.some(label) != 0
    if not inside.any():
        kind, inside = "unlike the first voxel", (channels != channels[0]).any(axis=1)
    if not inside.any():
        kind, inside = "whole image", np.ones(len(channels), bool)
    found = []
    for channel in channels.T:
        values = channel[inside]
        found.append(
            {
                "quantiles": dict(
                    zip(map(str, SHARES), quantiles.quantiles(values, SHARES).tolist(), strict=True)
                ),
                "mean": float(values.mean(dtype=np.float64)),
                "std": float(values.std(dtype=np.float64)),
            }
        )
    return {"foreground": kind, "channels": found}


def volumes(labels: LabelVolume) -> dict[str, float]:
    """Millilitres of every label by its name; a label that is not there has 0.

    Empty where nobody knows how large a pixel is.
    """
    if not _measurable(labels):
        return {}
    counts: dict[int, int] = {segment.value: 0 for segment in labels.segments}
    for slab in labels.array:
        values, found = np.unique(slab[slab != 0], return_counts=True)
        for value, count in zip(values.tolist(), found.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + count
    names = {segment.value: segment.name for segment in labels.segments}
    return {
        names.get(value, f"label {value}"): round(count * labels.voxel_volume / 1000, 6)
        for value, count in sorted(counts.items())
    }
