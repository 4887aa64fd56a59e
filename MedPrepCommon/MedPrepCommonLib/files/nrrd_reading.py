"""NRRD files: values, place in the patient, and the segments of a ``.seg.nrrd``."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from .. import bounds
from ..core.errors import FileError, GeometryError
from ..core.i18n import _
from ..core.terminology import segment_from_entry
from ..core.volume import LPS_TO_RAS, LabelVolume, Segment, Volume
from . import checks, nrrd_header
from .nrrd_header import Header

# What turns a space's axes into RAS; "-time" may follow the long names. Without a space ITK, and so Slicer,
# takes LPS; so do we, and say that nobody knows.
_SPACES = {
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
}


def read_nrrd(path: Path) -> Volume:
    """Read a NRRD file: an image, or the label map of a ``.seg.nrrd``, which says what its values mean.

    Raises
    ------
    FileError
        when it is damaged, 4-D, complex, or of a kind that MedPrep does not read.
    GeometryError
        when its geometry is unusable.
    """
    header = nrrd_header.parse(path)
    matrix, facts = _geometry(header)
    array = _in_order(header, nrrd_header.read_values(header))
    segments = sorted(int(m[1]) for key in header.keys if (m := re.fullmatch(r"Segment(\d{1,6})_ID", key)))
    if segments:
        return _segmentation(header, array, matrix, segments)
    return Volume(array, matrix, info=facts)


def _in_order(header: Header, values: np.ndarray) -> np.ndarray:
    """(k, j, i) or (k, j, i, component)."""
    axis = header.component_axis
    array: np.ndarray = values.reshape(header.sizes[::-1])
    if axis is not None:
        array = np.moveaxis(array, array.ndim - 1 - axis, -1)
        if array.shape[-1] == 1:
            array = array[..., 0]
    inside = [n for k, n in enumerate(header.sizes) if k != axis]
    shape = (*inside[:3], *(1,) * (3 - len(inside)))[::-1]
    components = array.shape[-1:] if axis is not None and header.sizes[axis] > 1 else ()
    return np.ascontiguousarray(array).reshape((*shape, *components))


def _geometry(header: Header) -> tuple[np.ndarray, dict[str, Any]]:
    """(4, 4) IJK-to-RAS matrix in mm, and what `info` says about it."""
    axes = [n for n in range(len(header.sizes)) if n != header.component_axis][:3]
    space = header.fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
    if "space" in header.fields or "space dimension" in header.fields:
        directions, origin, known = _oriented(header, axes)
    else:
        directions, origin, known = _axis_aligned(header, axes)
    signs = _SPACES.get(space)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = directions, origin
    matrix = np.diag([*signs, 1.0]) @ matrix if signs else LPS_TO_RAS @ matrix
    facts: dict[str, Any] = {} if known else {"spacingKnown": False}
    return matrix, facts if signs else {**facts, "positionKnown": False}


def _oriented(header: Header, axes: list[int]) -> tuple[np.ndarray, np.ndarray, bool]:
    path = header.path
    texts = re.findall(r"none|\([^)]*\)", header.fields.get("space directions", ""))
    if not texts:
        return np.eye(3), _vector(path, header.fields.get("space origin", ""), 3), False
    if len(texts) != len(header.sizes):
        raise checks.damaged(path)
    vectors = [_vector(path, texts[n]) for n in axes]
    scale = _scales(header, header.units("space units"), len(vectors[0]))
    flat = len(vectors[0]) == 2
    directions = np.eye(3)
    if len({len(v) for v in vectors}) != 1 or len(vectors[0]) not in (2, 3, 4):
        raise checks.damaged(path)
    for n, vector in enumerate(vectors):
        directions[: 2 if flat else 3, n] = (vector * scale)[:3]
        if flat:
            directions[2, n] = 0.0
    if len(vectors) == 2 and not flat:
        across = np.cross(directions[:, 0], directions[:, 1])
        length = float(np.linalg.norm(across))
        directions[:, 2] = across / length if length > 0 and math.isfinite(length) else 0.0
    origin = np.zeros(3)
    if header.fields.get("space origin"):
        stated = _vector(path, header.fields["space origin"], len(vectors[0]))
        origin[: 2 if flat else 3] = (stated * scale)[:3]
    return directions, origin, True


def _axis_aligned(header: Header, axes: list[int]) -> tuple[np.ndarray, np.ndarray, bool]:
    """Spacings and axis mins, as old files have them: the corner of a cell, or the centre of a node."""
    words = header.units("units")
    scale = [_scale(header, words[n]) if len(words) == len(header.sizes) else 1.0 for n in axes]
    steps = [header.numbers("spacings")[n] * s for n, s in zip(axes, scale, strict=True)]
    lows = [header.numbers("axis mins")[n] * s for n, s in zip(axes, scale, strict=True)]
    centers = header.words("centers") or ["???"] * len(header.sizes)
    known = not any(math.isnan(step) for step in steps)
    steps = [1.0 if math.isnan(step) else step for step in steps]
    if min(steps) <= 0:
        raise GeometryError(
            _("The spacing in {path} is {spacing} mm.").format(path=header.path, spacing=tuple(steps)),
            _("Expected spacing above zero."),
            _("Correct the header, or export the image again."),
        )
    origin = np.zeros(3)
    if known and not any(math.isnan(low) for low in lows):
        for place, (n, low, step) in enumerate(zip(axes, lows, steps, strict=True)):
            origin[place] = low if centers[n].lower() == "node" else low + step / 2
    return np.diag([*steps, *[1.0] * (3 - len(steps))]), origin, known


def _scales(header: Header, words: list[str], length: int) -> np.ndarray:
    return np.array([_scale(header, word) for word in words] if len(words) == length else [1.0] * length)


def _scale(header: Header, word: str) -> float:
    """Millimetres of a unit."""
    scale = nrrd_header.MILLIMETRES.get(word.strip().lower())
    if scale is None:
        raise GeometryError(
            _("{path} measures space in {unit!r}.").format(path=header.path, unit=word[:40]),
            _("Expected mm, um, nm, cm or m."),
            _("Correct the header, or export the image again."),
        )
    return scale


def _vector(path: Path, text: str, length: int = 0) -> np.ndarray:
    try:
        found = np.array([float(word) for word in text.strip("() ").split(",")]) if text else np.zeros(length)
    except ValueError as error:
        raise checks.damaged(path) from error
    if length and len(found) != length:
        raise checks.damaged(path)
    return found


def _segmentation(header: Header, stored: np.ndarray, matrix: np.ndarray, numbers: list[int]) -> LabelVolume:
    """A ``.seg.nrrd`` as Slicer writes it: one layer, or several when segments may overlap."""
    path = header.path
    if stored.dtype.kind not in "iu" or not bounds.SEGMENTS.holds(len(numbers)):
        raise checks.damaged(path)
    layers = stored[..., np.newaxis] if stored.ndim == 3 else stored
    own = [
        _number(header, n, "LabelValue", 1, bounds.LABEL_VALUE.low, bounds.LABEL_VALUE.high) for n in numbers
    ]
    distinct = len(set(own)) == len(own)
    array = np.zeros(layers.shape[:3], np.uint8 if len(own) < 256 and max(own) < 256 else np.int16)
    segments: list[Segment] = []
    for order, (number, label) in enumerate(zip(numbers, own, strict=True), start=1):
        mask = layers[..., _number(header, number, "Layer", 0, 0, layers.shape[3] - 1)] == label
        name = _value(header, number, "Name") or _value(header, number, "ID") or f"{label}"
        clash = array[mask]
        if clash.any():
            other = next(s.name for s in segments if s.value == clash.max())
            raise FileError(
                _("Segments {first!r} and {second!r} of {path} overlap.").format(
                    first=other, second=name, path=path
                ),
                _("Expected segments that do not overlap."),
                _("Subtract one from the other in Slicer's Segment Editor, and save again."),
            )
        final = label if distinct else order
        array[mask] = final
        entry = re.search(r"TerminologyEntry:([^|]*)", _value(header, number, "Tags"))
        color = _color(header, number)
        segments.append(segment_from_entry(final, name, entry[1] if entry else "", color))
    return LabelVolume(array, matrix, segments=tuple(segments))


def _value(header: Header, number: int, key: str) -> str:
    return header.keys.get(f"Segment{number}_{key}", "")


def _number(header: Header, number: int, key: str, default: int, low: float, high: float) -> int:
    text = _value(header, number, key) or str(default)
    if not re.fullmatch(r"[+-]?\d{1,9}", text.strip()) or not low <= int(text) <= high:
        raise _odd(header, number, key, text, f"{low:g} - {high:g}")
    return int(text)


def _color(header: Header, number: int) -> list[float]:
    text = _value(header, number, "Color") or "0.5 0.7 0.5"
    try:
        color = [float(word) for word in text.split()]
    except ValueError:
        color = []
    if len(color) != 3 or not all(0.0 <= c <= 1.0 for c in color):
        raise _odd(header, number, "Color", text, _("three numbers from 0 to 1"))
    return color


def _odd(header: Header, number: int, key: str, text: str, expected: str) -> FileError:
    return FileError(
        _("{path} says that {key} of segment {number} is {text!r}.").format(
            path=header.path, key=key, number=number, text=text[:40]
        ),
        _("Expected {expected}.").format(expected=expected),
        _("Correct the segmentation in Slicer's Segment Editor, and save again."),
    )
