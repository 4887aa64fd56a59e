"""Checks of a scan's grid and of how it was made: thickness, spacing, distances, tilt, compression."""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check
from MedPrepCommonLib.core.volume import SHEAR_TOLERANCE, Volume

# DICOM readers place slices to about 1e-3 mm; a missing slice is off by a whole spacing.
_UNIFORM = 0.01
_COARSEST, _FINEST = 10.0, 0.05  # mm between voxels that no CT leaves
_SMALLEST, _LARGEST = 20.0, 2500.0  # mm along an axis


def grid_checks(image: Volume, maximum_thickness: float) -> list[Check]:
    """Checks of rescale, compression, slice thickness (mm), spacing, extent, distances, angles and tilt."""
    return [
        *_rescale(image),
        *_compression(image),
        _thickness(image, maximum_thickness),
        _spacing(image),
        _extent(image),
        *_distances(image),
        _right_angles(image),
        *_tilt(image),
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


def _rescale(image: Volume) -> list[Check]:
    slope, intercept = image.info.get("rescaleSlope"), image.info.get("rescaleIntercept")
    if slope is None and intercept is None:
        return []
    value = _("slope {slope}, intercept {intercept}").format(slope=slope, intercept=intercept)
    try:
        usable = (
            np.isfinite(float(slope if slope is not None else 1))
            and float(slope if slope is not None else 1) != 0
        )
    except (TypeError, ValueError):
        usable = False
    advice = "" if usable else _("The file's rescale cannot be right; ask for a new export.")
    return [Check(_("Rescale"), "pass" if usable else "fail", value, _("applied on reading"), advice)]


def _compression(image: Volume) -> list[Check]:
    if not image.info.get("lossyCompression"):
        return []
    advice = _("The values are not exactly those that were measured; prefer an uncompressed export.")
    return [Check(_("Compression"), "warn", _("lossy"), _("lossless"), advice)]


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
    if image.info.get("spacingKnown") is False:
        advice = _("The file does not say how large a pixel is; 1 mm was assumed. Set the true spacing.")
        return Check(_("Spacing"), "fail", _("unknown"), limit, advice)
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


def _number(image: Volume, name: str) -> float | None:
    try:
        value = float(image.info[name])
    except (KeyError, TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _distances(image: Volume) -> list[Check]:
    deviation, missing = _number(image, "sliceSpacingDeviation"), _number(image, "missingSlices") or 0
    if deviation is None:
        return []
    limit = _("within {limit:g} mm").format(limit=_UNIFORM)
    value = _("up to {deviation:.3g} mm off").format(deviation=deviation)
    if missing:
        value += _(", {n:.0f} missing").format(n=missing)
    if missing or deviation > 0.5 * image.spacing[2]:
        return [
            Check(
                _("Slice distances"),
                "fail",
                value,
                limit,
                _("Slices are missing: get the whole series again."),
            )
        ]
    if deviation <= _UNIFORM:
        return [Check(_("Slice distances"), "pass", value, limit)]
    advice = _("The slices are not evenly spaced; measured lengths and volumes are off by as much.")
    return [Check(_("Slice distances"), "warn", value, limit, advice)]


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


def _tilt(image: Volume) -> list[Check]:
    tilt = _number(image, "gantryTilt")
    if tilt is None:
        return []
    # A sheared grid has been judged already; a single slice cannot be skewed.
    ok = abs(tilt) < 0.1 or image.shear > SHEAR_TOLERANCE or image.shape[0] == 1
    return [
        Check(
            _("Gantry tilt"),
            "pass" if ok else "warn",
            f"{tilt:g}°",
            "0°",
            ""
            if ok
            else _(
                "The scan was tilted but its grid is not: make sure that it was regularised, or shapes are "
                "skewed."
            ),
        )
    ]
