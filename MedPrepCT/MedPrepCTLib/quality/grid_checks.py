"""Checks of a scan's grid: thickness, spacing, extent, right angles."""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check
from MedPrepCommonLib.core.volume import SHEAR_TOLERANCE, Volume

_COARSEST, _FINEST = 10.0, 0.05  # mm between voxels that no CT leaves
_SMALLEST, _LARGEST = 20.0, 2500.0  # mm along an axis


def grid_checks(image: Volume, maximum_thickness: float) -> list[Check]:
    """Checks of slice thickness (mm), spacing, extent and right angles."""
    return [
        _thickness(image, maximum_thickness),
        _spacing(image),
        _extent(image),
        _right_angles(image),
    ]


def slice_thickness(image: Volume) -> tuple[float, str]:
    """Millimetres, and where that is known from: the file's facts, else the distance between slices."""
    try:
        thickness = float(image.info.get("sliceThickness") or 0)
    except (TypeError, ValueError):
        thickness = 0.0
    if thickness > 0:
        return thickness, _("as the scanner states")
    axis = slice_axis(image)
    return image.spacing[axis], _("distance between slices")


def slice_axis(image: Volume) -> int:
    """0, 1 or 2 (i, j, k): the axis along which slices are stacked: the coarsest if it stands out, else k."""
    spacing = image.spacing
    coarsest = int(np.argmax(spacing))
    return coarsest if spacing[coarsest] > 1.05 * sorted(spacing)[1] else 2


def _thickness(image: Volume, maximum: float) -> Check:
    thickness, source = slice_thickness(image)
    ok = thickness < maximum
    advice = _(
        "Small nodules fade into neighbouring tissue in slices this thick. Use a thinner reconstruction of "
        "the same scan if there is one; resampling cannot bring the detail back."
    )
    return Check(
        _("Slice thickness"),
        "pass" if ok else "warn",
        f"{thickness:.3g} mm ({source})",
        f"< {maximum:g} mm",
        "" if ok else advice,
    )


def _spacing(image: Volume) -> Check:
    spacing = image.spacing
    value = " x ".join(f"{s:.4g}" for s in spacing) + " mm"
    limit = f"{_FINEST:g} .. {_COARSEST:g} mm"
    if min(spacing) < _FINEST or max(spacing) > _COARSEST:
        return Check(
            _("Spacing"),
            "warn",
            value,
            limit,
            _("No CT has voxels of this size: check the unit and the header of the file."),
        )
    if "sliceThickness" not in image.info and spacing == (1.0, 1.0, 1.0) and min(image.shape) > 1:
        advice = _("1 x 1 x 1 mm is also what a file without spacing gives: make sure that it is true.")
    elif max(spacing) > 3 * min(spacing):
        advice = _("Far from isotropic: resample before a 3-D network sees it.")
    else:
        advice = ""
    return Check(_("Spacing"), "pass", value, limit, advice)


def _extent(image: Volume) -> Check:
    extent = [s * n for s, n in zip(image.spacing, image.shape[::-1], strict=True) if n > 1]
    ok = _SMALLEST <= max(extent) <= _LARGEST
    return Check(
        _("Field of view"),
        "pass" if ok else "warn",
        " x ".join(f"{s * n:.4g}" for s, n in zip(image.spacing, image.shape[::-1], strict=True)) + " mm",
        f"{_SMALLEST:g} .. {_LARGEST:g} mm",
        "" if ok else _("No patient has this size: check the unit of the spacing."),
    )


def _right_angles(image: Volume) -> Check:
    angle = float(np.degrees(np.arcsin(min(image.shear, 1.0))))
    ok = image.shear <= SHEAR_TOLERANCE
    return Check(
        _("Right angles"),
        "pass" if ok else "fail",
        _("{angle:.2f} degrees of shear").format(angle=angle),
        f"< {np.degrees(SHEAR_TOLERANCE):.3f}°",
        ""
        if ok
        else _(
            "The gantry was tilted. Harden the transform that Slicer's DICOM reader offers for tilted "
            "acquisitions, or resample to an orthogonal grid; other operations refuse this image."
        ),
    )
