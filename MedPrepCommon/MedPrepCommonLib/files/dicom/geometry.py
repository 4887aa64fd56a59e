"""Where DICOM slices lie in the patient: DICOM PS3.3 C.7.6.2 (image plane) and C.7.6.16 (multi-frame)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import FileError
from ...core.i18n import _
from ...core.volume import LPS_TO_RAS, SHEAR_TOLERANCE

# Largest departure of the row and column directions from right angles and unit length that rounding explains.
_ROUNDING = 1e-2
# Millimetres between slices that count as one place.
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class StackGeometry:
    """A stack of slices as a grid.

    Parameters
    ----------
    ijkToRAS : (4, 4); sheared when the gantry was tilted.
    order : indices of the slices from the first to the last along k.
    tilt : degrees between the slices' normal and the way from slice to slice; 0 for an upright gantry.
    deviation : largest distance (mm) of a slice from its place on the grid.
    missing : slices that seem to be missing, from gaps in the usual distance.
    """

    ijkToRAS: np.ndarray
    order: tuple[int, ...]
    tilt: float
    deviation: float
    missing: int


def stack_geometry(
    positions: np.ndarray, orientation: Sequence[float], spacing: Sequence[float], thickness: float
) -> StackGeometry:
    """The grid through slices at `positions`.

    Parameters
    ----------
    positions : (n, 3) LPS mm, centre of each slice's first voxel; no two equal.
    orientation : 6 direction cosines, along a row then along a column.
    spacing : (between rows, between columns) in mm, as DICOM PixelSpacing.
    thickness : mm to the next slice when there is only one.

    Raises
    ------
    FileError
        when the directions are unusable, or the slices are not a stack.
    """
    row, column, normal = _axes(orientation)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    if len(positions) == 1:
        step = normal * thickness
        tilt = deviation = 0.0
        missing = 0
    else:
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
        usual = float(np.median(gaps))
        missing = int(np.maximum(np.round(gaps / usual) - 1, 0)[gaps > 1.5 * usual].sum())
        places = positions[0] + np.arange(len(positions))[:, None] * step
        deviation = float(np.linalg.norm(positions - places, axis=1).max())
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = row * spacing[1], column * spacing[0], step
    lps[:3, 3] = positions[0]
    return StackGeometry(LPS_TO_RAS @ lps, tuple(int(n) for n in order), tilt, deviation, missing)


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
