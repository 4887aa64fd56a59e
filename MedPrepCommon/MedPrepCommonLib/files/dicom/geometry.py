"""Where DICOM slices lie in the patient: DICOM PS3.3 C.7.6.2 (image plane) and C.7.6.16 (multi-frame)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import FileError
from ...core.i18n import _
from ...core.volume import LPS_TO_RAS, SHEAR_TOLERANCE

# Largest departure of the row and column directions from right angles and unit length that rounding explains.
_ROUNDING = 1e-2
# Millimetres between slices that count as one place.
_SAME_PLACE = 1e-3


# Share of the usual distance by which a slice may lie off its place before the stack is laid out anew, and
# within which a plane of the new grid is the slice itself.
_EVEN = 0.1
_ON_THE_GRID = 0.02
# How far, by its share, the gap that missing slices leave may be from a whole number of distances.
_WHOLE = 0.1
# Planes of the new grid for each slice, at most.
_MOST_MADE = 4


@dataclass(frozen=True)
class StackGeometry:
    """A stack of slices as a grid.

    Parameters
    ----------
    ijkToRAS : (4, 4); sheared when the gantry was tilted.
    order : indices of the slices from the first to the last along k.
    tilt : degrees between the slices' normal and the way from slice to slice; 0 for an upright gantry.
    deviation : largest distance (mm) of a slice from its place in an even stack of as many slices.
    distances : the smallest and the largest distance (mm) of neighbours; empty for one slice.
    missing : mm along the stack from the first slice where one is missing, from gaps of whole distances.
    planes : for each plane of the grid (the slice below it in `order`, the share of the next one); empty when
        the slices themselves are the planes.
    """

    ijkToRAS: np.ndarray
    order: tuple[int, ...]
    tilt: float
    deviation: float
    distances: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()
    planes: tuple[tuple[int, float], ...] = ()

    @property
    def made(self) -> int:
        """Planes that are no slice but lie between two."""
        return sum(0 < share < 1 for _slice, share in self.planes)

    def laid_out(self, array: np.ndarray) -> np.ndarray:
        """(k, j, i[, c]) of the slices in order, on the grid: gaps filled between neighbours, linearly."""
        if not self.planes:
            return array
        result = np.empty((len(self.planes), *array.shape[1:]), array.dtype)
        for k, (n, share) in enumerate(self.planes):
            if share in (0, 1):
                result[k] = array[n + int(share)]
                continue
            plane = array[n] * (1 - share) + array[n + 1] * share
            result[k] = np.rint(plane) if array.dtype.kind in "iu" else plane
        return result


def stack_geometry(
    positions: np.ndarray,
    orientation: Sequence[float],
    spacing: Sequence[float],
    thickness: float,
    thicknesses: Sequence[float] = (),
) -> StackGeometry:
    """The grid through slices at `positions`.

    Slices that are missing or lie at changing distances never shift the others: planes of the grid are then
    taken between the slices, at the usual distance, and the facts say so.

    Parameters
    ----------
    positions : (n, 3) LPS mm, centre of each slice's first voxel; no two equal.
    orientation : 6 direction cosines, along a row then along a column.
    spacing : (between rows, between columns) in mm, as DICOM PixelSpacing.
    thickness : mm to the next slice when there is only one.
    thicknesses : of each slice, where they are known: thicker slices may lie further apart.

    Raises
    ------
    FileError
        when the directions are unusable, or the slices are not a stack.
    """
    row, column, normal = _axes(orientation)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    found: dict[str, Any] = {}
    step, tilt, deviation = normal * thickness, 0.0, 0.0
    if len(positions) > 1:
        along = positions @ normal
        gaps = np.diff(along)
        if gaps.min() < _SAME_PLACE:
            raise FileError(
                _("Two slices lie in the same plane, {n:.4f} mm apart.").format(n=float(gaps.min())),
                _("Expected one slice per place."),
                _("Choose the series by its UID; tiled or repeated slices do not make one volume."),
            )
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        # Rounded positions must not make an upright gantry look tilted.
        sideways = step - (step @ normal) * normal
        tilt = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step @ normal)))
        if np.linalg.norm(sideways) <= SHEAR_TOLERANCE * np.linalg.norm(step):
            step, tilt = (step @ normal) * normal, 0.0
        places = positions[0] + np.arange(len(positions))[:, None] * step
        deviation = float(np.linalg.norm(positions - places, axis=1).max())
        thick = np.array(thicknesses, float)[order] if len(thicknesses) else np.ones(len(along))
        usual, found["missing"] = _gaps(along, thick)
        found["distances"] = (float(gaps.min()), float(gaps.max()))
        even = along[0] + np.arange(len(along)) * (step @ normal)
        if np.abs(along - even).max() > _EVEN * usual:
            found["planes"] = _planes(along, usual)
            step = step * (len(positions) - 1) / (len(found["planes"]) - 1)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = row * spacing[1], column * spacing[0], step
    lps[:3, 3] = positions[0]
    return StackGeometry(LPS_TO_RAS @ lps, tuple(int(n) for n in order), tilt, deviation, **found)


def _gaps(along: np.ndarray, thick: np.ndarray) -> tuple[float, tuple[float, ...]]:
    """The usual distance of slices, and where (mm from the first) slices are missing by it."""
    gaps = np.diff(along)
    usual = _usual(gaps)
    # A changed thickness explains a changed distance.
    scaled = gaps / (thick[1:] + thick[:-1]) * 2
    ratios = scaled / _usual(scaled)
    missing = []
    for start, gap, ratio in zip(along - along[0], gaps, ratios, strict=False):
        absent = round(float(ratio)) - 1
        if absent > 0 and abs(ratio - absent - 1) < _WHOLE * (absent + 1):
            missing += [float(start + gap * n / (absent + 1)) for n in range(1, min(absent, 1000) + 1)]
    return usual, tuple(missing)


def _usual(gaps: np.ndarray) -> float:
    """The distance that most have; half of the slices may be missing, so it is among the shorter ones."""
    return float(np.median(gaps[gaps <= 1.25 * np.quantile(gaps, 0.1)]))


def _planes(along: np.ndarray, usual: float) -> tuple[tuple[int, float], ...]:
    """Planes at the usual distance from the first to the last slice, as places between slices."""
    extent = along[-1] - along[0]
    count = round(extent / usual) + 1
    if count > _MOST_MADE * len(along):
        raise FileError(
            _("The {n} slices lie {low:.4g} to {high:.4g} mm apart.").format(
                n=len(along), low=float(np.diff(along).min()), high=float(np.diff(along).max())
            ),
            _("Expected slices at even distances."),
            _("Slices are missing, or belong to several scans: get the whole series, or read a part of it."),
        )
    planes = []
    for place in np.linspace(along[0], along[-1], count):
        n = int(np.clip(np.searchsorted(along, place, "right") - 1, 0, len(along) - 2))
        share = float((place - along[n]) / (along[n + 1] - along[n]))
        # A slice that lies there is taken as it is.
        near = _ON_THE_GRID * usual
        share = 0.0 if place - along[n] <= near else 1.0 if along[n + 1] - place <= near else share
        planes.append((n, share))
    return tuple(planes)


def _axes(orientation: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors along a row, along a column and along the slice normal, at exact right angles."""
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if (
        not np.isfinite(lengths).all()
        or np.abs(lengths - 1).max() > _ROUNDING
        or abs(row @ column) > _ROUNDING
    ):
        raise FileError(
            _("The image's direction cosines are {values}.").format(
                values=", ".join(f"{v:g}" for v in orientation)
            ),
            _("Expected two unit vectors at right angles (ImageOrientationPatient)."),
            _("Export the series again."),
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column)
