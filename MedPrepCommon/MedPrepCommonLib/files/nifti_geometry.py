"""Where the voxels of a NIfTI file lie: by the rules of nifti1.h, as nibabel, FSL, SPM and FreeSurfer do.

The sform when its code is above 0, else the qform when its code is, else the voxel sizes alone. ITK, and so
Slicer, does otherwise (Docs/method-notes.md). What a file says twice and differently becomes
``info["positionConflict"]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import GeometryError
from ..core.i18n import _
from .nifti_header import Header

# Millimetres of a unit, by xyzt_units; files that name none (0) mean millimetres.
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_SPACES = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI 152", 5: "template"}
# What rounding to float32, and a quaternion's near cancellation, may account for.
_SIZE, _PLACE, _ANGLE = 1e-3, 0.1, 0.1
# A quaternion longer than this is no rotation; a little longer is rounding (nifti1.h allows for that).
_QUATERNION = 1e-3


@dataclass(frozen=True)
class Place:
    """One of a header's statements: (4, 4) IJK-to-RAS in mm, or None where it cannot be used."""

    name: str
    code: int
    matrix: np.ndarray | None

    @property
    def words(self) -> str:
        """For people: "sform (code 2, aligned)"."""
        space = _SPACES.get(self.code)
        return f"{self.name} (code {self.code}, {space})" if space else self.name


def geometry(path: Path, header: Header) -> tuple[np.ndarray, dict[str, Any]]:
    """(4, 4) IJK-to-RAS matrix in mm, and what `info` says about it.

    ``positionConflict``: what was taken and what else the file says (see :func:`_conflict`).
    ``positionKnown``: False where neither sform nor qform is set: then nothing says where the patient's right
    is. The voxel sizes alone are used, as nibabel, SPM and FSL do: the first axis to the left, centre at 0.

    Raises
    ------
    GeometryError
        when nothing usable is there, or a code or unit is unknown.
    """
    _check_codes(path, header)
    scale = _MILLIMETRES[header.units]
    stated = []
    if header.sform > 0:
        stated.append(Place("sform", header.sform, _usable(_sform(header, scale))))
    if header.qform > 0:
        stated.append(Place("qform", header.qform, _usable(_qform(header, scale))))
    taken = next((place for place in stated if place.matrix is not None), None)
    if taken is None or taken.matrix is None:
        matrix = _usable(_sizes_alone(header, scale))
        if stated or matrix is None:
            raise _no_position(path, header)
        return matrix, {"positionKnown": False}
    conflict = _conflict(taken, [place for place in stated if place is not taken], header, scale)
    return taken.matrix, {"positionConflict": conflict} if conflict else {}


def _check_codes(path: Path, header: Header) -> None:
    for name, code in (("sform_code", header.sform), ("qform_code", header.qform)):
        if code not in (0, *_SPACES):
            raise _unknown(path, name, code, "0 - 5")
    if header.units not in _MILLIMETRES:
        raise _unknown(path, "xyzt_units", header.units, _("1 (metre), 2 (mm), 3 (micron), or 0"))


def _unknown(path: Path, name: str, code: int, expected: str) -> GeometryError:
    return GeometryError(
        _("The header of {path} says {name} {code}.").format(path=path, name=name, code=code),
        _("Expected {expected}.").format(expected=expected),
        _("Correct the header, or export the image again."),
    )


def _no_position(path: Path, header: Header) -> GeometryError:
    return GeometryError(
        _("The spacing in {path} is {spacing} mm.").format(
            path=path, spacing=tuple(round(float(v), 6) for v in header.pixdim[1:4])
        ),
        _("Expected spacing above zero along three different directions."),
        _("Correct the spacing in Slicer's Volumes module, or export the image again."),
    )


def _sform(header: Header, scale: float) -> np.ndarray:
    matrix = np.vstack([header.rows * scale, [0, 0, 0, 1]])
    if header.sizes[2] == 1 and not matrix[:3, 2].any():
        # A flat image may leave out the axis that it does not have.
        matrix[:3, 2] = _across(matrix[:, 0], matrix[:, 1]) * (_step(header, 2, scale) or 1.0)
    return matrix


def _across(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    normal = np.cross(first[:3], second[:3])
    length = np.linalg.norm(normal)
    return normal / length if np.isfinite(length) and length > 0 else normal


def _qform(header: Header, scale: float) -> np.ndarray:
    """Method 2 of nifti1.h."""
    b, c, d = (float(v) for v in header.quaternion[:3])
    square = b * b + c * c + d * d
    if not square < (1 + _QUATERNION) ** 2:
        return np.full((4, 4), np.nan)
    if square > 1:
        b, c, d, square = (*(v / math.sqrt(square) for v in (b, c, d)), 1.0)
    a = math.sqrt(1.0 - square)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    rotation[:, 2] *= -1 if header.pixdim[0] < 0 else 1
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [_step(header, axis, scale) for axis in range(3)]
    matrix[:3, 3] = np.multiply(header.quaternion[3:], scale)
    return matrix


def _sizes_alone(header: Header, scale: float) -> np.ndarray:
    """Method 1 of nifti1.h is that of Analyze 7.5: left is first, and the middle of the image is 0."""
    steps = np.array([_step(header, axis, scale) for axis in range(3)]) * (-1, 1, 1)
    matrix = np.diag([*steps, 1.0])
    matrix[:3, 3] = -steps * (np.array(header.sizes[:3]) - 1) / 2
    return matrix


def _step(header: Header, axis: int, scale: float) -> float:
    """Voxel size along an axis in mm; 1 along one that has a single voxel and no size; else 0 if unusable."""
    step = abs(float(header.pixdim[axis + 1])) * scale
    if axis >= header.dimensions and header.qform <= 0 or not math.isfinite(step):
        step = 0.0
    return step or (1.0 if header.sizes[axis] == 1 else 0.0)


def _usable(matrix: np.ndarray) -> np.ndarray | None:
    if not np.isfinite(matrix).all():
        return None
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if (lengths < 1e-9).any() or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        return None
    return matrix


def _conflict(taken: Place, others: list[Place], header: Header, scale: float) -> dict[str, Any] | None:
    """What the file says beside the position that was taken, beyond rounding, or None.

    Returns
    -------
    dict
        ``taken`` and ``other``: {``source``, ``spacing`` (mm), ``origin`` (RAS mm of the first voxel)};
        ``mm``: how far apart the first voxels lie; ``degrees``: the largest angle between axes;
        ``percent``: the largest difference in voxel size; ``text``: all of it as a sentence.
    """
    # The axis across a single slice is free.
    real = np.array(header.sizes[:3]) > 1
    for other in others:
        if other.matrix is None or taken.matrix is None:
            return _words(taken, other, {})
        sizes = _lengths(other.matrix) / _lengths(taken.matrix) - 1
        turned = _angle(taken.matrix, other.matrix, real)
        percent = 100 * float(np.abs(sizes[real]).max(initial=0.0))
        away = float(np.linalg.norm(other.matrix[:3, 3] - taken.matrix[:3, 3]))
        if percent > 100 * _SIZE or away > _PLACE or turned > _ANGLE:
            return _words(taken, other, {"mm": away, "degrees": turned, "percent": percent})
    stated = np.array([abs(float(step)) * scale for step in header.pixdim[1:4]])
    known = np.isfinite(stated) & (stated > 0) & real
    assert taken.matrix is not None  # what is taken has one
    sizes = np.abs(stated / _lengths(taken.matrix) - 1)[known]
    if sizes.size and sizes.max() > _SIZE:
        alone = np.diag([*np.where(np.isfinite(stated), stated, 0.0), 1.0])
        return _words(taken, Place("pixdim", 0, alone), {"percent": 100 * float(sizes.max())})
    return None


def _lengths(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.norm(matrix[:3, :3], axis=0)


def _angle(first: np.ndarray, second: np.ndarray, real: np.ndarray) -> float:
    """The largest angle between equal axes, degrees; the sine tells small angles apart."""
    pairs = zip((first[:3, :3] / _lengths(first)).T, (second[:3, :3] / _lengths(second)).T, real, strict=True)
    turned = [np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b) for a, b, there in pairs if there]
    return math.degrees(max(turned, default=0.0))


def _words(taken: Place, other: Place, apart: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"taken": _record(taken)}
    text = _("{source} was taken: voxels of {spacing} mm, the first at {origin} mm (R, A, S). ").format(
        source=taken.words, **_numbers(found["taken"])
    )
    if other.matrix is None:
        found["other"] = {"source": other.words}
        text += _("{source} cannot be used: it is not finite, or its axes are none.").format(
            source=other.words
        )
    elif other.name == "pixdim":
        found["other"] = {"source": other.name, "spacing": _record(other)["spacing"]}
        text += _("{source} says voxels of {spacing} mm.").format(
            source=other.name, spacing=_numbers(_record(other))["spacing"]
        )
    else:
        found["other"] = _record(other)
        text += _(
            "{source} says voxels of {spacing} mm, the first at {origin} mm: "
            "{mm:.1f} mm, {degrees:.1f} degrees and {percent:.1f} % in size away."
        ).format(source=other.words, **_numbers(found["other"]), **apart)
    return {**found, **{key: round(value, 3) for key, value in apart.items()}, "text": text}


def _record(place: Place) -> dict[str, Any]:
    assert place.matrix is not None  # only places with a position are told
    return {
        "source": place.words,
        "spacing": [round(float(v), 6) for v in _lengths(place.matrix)],
        "origin": [round(float(v), 4) + 0.0 for v in place.matrix[:3, 3]],
    }


def _numbers(record: dict[str, Any]) -> dict[str, str]:
    return {
        "spacing": " x ".join(f"{v:.4g}" for v in record["spacing"]),
        "origin": ", ".join(f"{v:.1f}" for v in record["origin"]),
    }
