"""Label map nodes: whole numbers on a grid, with the names and colours of their values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.i18n import _
from ..core.terminology import TISSUE, segment_from_entry, terminology_entry
from ..core.volume import LabelVolume, Segment, label_values
from . import facts as scenefacts
from .grids import arrayFromNode, worldMatrix

SEGMENTS = "MedPrep.segments"


def labelsFromLabelMap(node: Any) -> LabelVolume:
    """The labels of a label map or whole-number volume node on its own grid, in world space.

    Raises
    ------
    InputError, GeometryError
        as :func:`.volumes.volumeFromNode`; also when the values are not whole numbers.
    """
    array, matrix = labelArrayFromNode(node)
    facts = scenefacts.factsOf(node)
    facts.pop("display")
    return LabelVolume(array, matrix, segments=_segmentsOfLabelMap(node, array), **facts)


def labelArrayFromNode(node: Any) -> tuple[np.ndarray, np.ndarray]:
    """Array (k, j, i) of whole numbers and IJK-to-world matrix of a label map node.

    Raises
    ------
    InputError, GeometryError
        as :func:`volumeFromNode`; also when the values are not whole numbers.
    """
    array = arrayFromNode(node)
    if array.dtype.kind == "f":
        whole = array.astype(np.int32)
        if not np.array_equal(whole, array):
            raise InputError(
                _("The label map {name!r} has fractional values.").format(name=node.GetName()),
                _("Expected whole numbers."),
                _("Choose a segmentation or a label map."),
            )
        array = whole
    return array, worldMatrix(node)


def _segmentsOfLabelMap(node: Any, array: np.ndarray) -> tuple[Segment, ...]:
    """What a label map node's values mean: as MedPrep noted it, else by the names of its colour table."""
    noted = scenefacts.jsonAttribute(node, SEGMENTS, list)
    if noted:
        return tuple(segment_from_entry(e["value"], e["name"], e["terminology"], e["color"]) for e in noted)
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if display is not None and node.IsA("vtkMRMLLabelMapVolumeNode") else None
    segments = []
    for value in label_values(array):
        if value <= 0:
            continue
        name, color = "", [*colorOf(value), 1.0]
        if colors is not None and value < colors.GetNumberOfColors():
            name = colors.GetColorName(value) or ""
            colors.GetColor(value, color)
        segments.append(
            Segment(
                value, name or _("label {value}").format(value=value), TISSUE, TISSUE, None, tuple(color[:3])
            )
        )
    return tuple(segments)


def noteSegments(node: Any, labels: LabelVolume) -> None:
    """Keep names, colours and terminology of a label map as an attribute of its node."""
    entries = [
        {"value": s.value, "name": s.name, "terminology": terminology_entry(s), "color": list(s.color)}
        for s in labels.segments
    ]
    node.SetAttribute(SEGMENTS, scenefacts.jsonText(entries) if entries else None)


def colorOf(value: int) -> tuple[float, float, float]:
    """A colour for a label that has none: hues far apart for neighbouring values (golden angle)."""
    import colorsys

    return colorsys.hsv_to_rgb((value * 0.618034) % 1.0, 0.55, 0.85)
