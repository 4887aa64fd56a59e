"""Quality control of a CT before anything is computed from it: Hounsfield units, on a usable grid?"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from MedPrepCommonLib.errors import GeometryError
from MedPrepCommonLib.i18n import _
from MedPrepCommonLib.job import Job
from MedPrepCommonLib.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.result import Check, Curve, Figure, Result, Table, worst
from MedPrepCommonLib.volume import SHEAR_TOLERANCE, Volume

from . import hounsfield
from .hounsfield import AIR, BONE, SOFT_TISSUE, Histogram, Judgement

# DICOM readers place slices to about 1e-3 mm; a missing slice is off by a whole spacing.
_UNIFORM = 0.01
_COARSEST, _FINEST = 10.0, 0.05  # mm between voxels that no CT leaves
_SMALLEST, _LARGEST = 20.0, 2500.0  # mm along an axis


@operation(
    "ct.check",
    title=_("Check"),
    console="check",
    modality="CT",
    outputs=("check", "histogram"),
    cite=("DICOM PS3.3 C.8.2.1 CT Image Module",),
    any_grid=True,
)
class CheckCT:
    """Check a CT: Hounsfield units, padding, slice thickness, spacing, slice distances and gantry tilt."""

    maximumSliceThickness: Annotated[
        float,
        Span(0.1, 20, 0.5, 2),
        Unit("mm"),
        Help(
            _("Slices must be thinner than this; 3 mm for lung nodules, more where only large organs matter")
        ),
    ] = 3.0

    presets = {
        "nodule": Preset(
            _("Lung nodules (< 3 mm)"),
            "Setio et al. 2017 (LUNA16 takes scans up to 2.5 mm)",
            maximumSliceThickness=3,
        ),
        "routine": Preset(_("Large organs (up to 5 mm slices)"), "", maximumSliceThickness=5.01),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        if sorted(image.shape)[1] < 2:
            raise GeometryError(
                _("The image is {shape} voxels.").format(shape=" x ".join(map(str, image.shape[::-1]))),
                _("Expected at least two voxels along two axes."),
                _("Choose a volume or a slice."),
            )
        found = hounsfield.histogram(image.array, job.part(0.0, 0.8))
        padding = hounsfield.find_padding(image.array, found)
        inside = found.without(padding)
        judgement = hounsfield.judge(inside, image.array.dtype, image.modality)
        job.report(0.9)
        checks = [_units(judgement, inside)]
        if judgement.kind == "HU":
            checks += [_air(inside), _soft_tissue(inside), _bone(inside)]
        checks += [_padding(padding, found), *_range_ends(found, padding), *_rescale(image)]
        checks += [
            self._thickness(image),
            _spacing(image),
            _extent(image),
            *_distances(image),
            _right_angles(image),
            *_tilt(image),
        ]
        return Result(
            tables={"check": check_table(checks)},
            figures={"histogram": _figure(found)},
            metrics=_metrics(image, found, inside, padding, judgement, checks),
            checks=checks,
        )

    def _thickness(self, image: Volume) -> Check:
        thickness, source = slice_thickness(image)
        ok = thickness < self.maximumSliceThickness
        return Check(
            _("Slice thickness"),
            "pass" if ok else "warn",
            f"{thickness:.3g} mm ({source})",
            f"< {self.maximumSliceThickness:g} mm",
            ""
            if ok
            else _(
                "Small nodules fade into neighbouring tissue in slices this thick. Use a thinner "
                "reconstruction of the same scan if there is one; resampling cannot bring the detail back."
            ),
        )


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


def check_table(checks: list[Check]) -> Table:
    """The checks as a table, one row each."""
    rows = tuple((c.name, c.verdict, c.value, c.limit, c.advice) for c in checks)
    return Table(_("Quality control"), ("check", "verdict", "value", "limit", "advice"), rows)


def _units(judgement: Judgement, found: Histogram) -> Check:
    limit = _("air near -1000, water near 0")
    if judgement.kind == "HU":
        return Check(_("Hounsfield units"), "pass", f"{found.minimum:g} .. {found.maximum:g} HU", limit)
    return Check(_("Hounsfield units"), "fail", judgement.wrong, limit, judgement.advice)


def _air(found: Histogram) -> Check:
    share = found.share(*AIR)
    peak = found.peak(*AIR) if share > 1e-3 else None
    limit = f"-1000 ± 50 HU, {AIR[0]} .. {AIR[1]}"
    if peak is None:
        return Check(
            _("Air"),
            "warn",
            _("no air in the image"),
            limit,
            _(
                "Without air the calibration cannot be checked; fine for an image cropped or clipped to "
                "soft tissue."
            ),
        )
    ok = abs(peak + 1000) <= 50
    return Check(
        _("Air"),
        "pass" if ok else "warn",
        f"{peak:.0f} HU ({100 * share:.1f} %)",
        limit,
        "" if ok else _("Air is off: check the rescale intercept, or ask for the scanner's calibration."),
    )


def _soft_tissue(found: Histogram) -> Check:
    share = found.share(*SOFT_TISSUE)
    limit = f"{SOFT_TISSUE[0]} .. {SOFT_TISSUE[1]} HU, > 1 %"
    if share < 0.01:
        return Check(
            _("Water and soft tissue"),
            "warn",
            f"{100 * share:.2f} %",
            limit,
            _("Nearly nothing has the density of tissue: check the rescale, or choose another image."),
        )
    return Check(
        _("Water and soft tissue"), "pass", f"{found.peak(*SOFT_TISSUE):.0f} HU ({100 * share:.1f} %)", limit
    )


def _bone(found: Histogram) -> Check:
    share = found.share(BONE, 3000)
    ok = share > 1e-5
    return Check(
        _("Bone"),
        "pass" if ok else "warn",
        f"{100 * share:.2f} %",
        f"> {BONE} HU",
        "" if ok else _("No bone to be seen: the image may be clipped or cropped to soft tissue."),
    )


def _padding(padding: int | None, found: Histogram) -> Check:
    if padding is None:
        return Check(_("Padding"), "pass", _("none found"))
    share = 100 * found.count(padding) / found.total
    return Check(
        _("Padding"),
        "pass",
        f"{padding} ({share:.1f} %)",
        "",
        _("Outside the field of view; clip before resampling, so that it does not ring into the body."),
    )


def _range_ends(found: Histogram, padding: int | None) -> list[Check]:
    """Warn when many voxels lie at one end of the range: the image was clipped, or the detector saturated."""
    checks = []
    low, high = int(found.minimum), int(found.maximum)
    at_low, at_high = found.count(low) / found.total, found.count(high) / found.total
    if low != padding and low > AIR[1] and at_low > 0.01:
        checks.append(
            Check(
                _("Lower end"),
                "warn",
                f"{100 * at_low:.1f} % = {low}",
                "",
                _("The image was clipped at {value}; use the original for lungs and metal.").format(
                    value=low
                ),
            )
        )
    if at_high > 1e-5 and found.count(high) > 8 and high > BONE:
        around = found.between(high - 20, high - 1).max(initial=0)
        if found.count(high) > 4 * around:
            checks.append(
                Check(
                    _("Upper end"),
                    "warn" if high < 2000 else "pass",
                    f"{found.count(high)} voxels = {high}",
                    "",
                    _(
                        "The values end here: clipped, or the scanner's limit. Denser material is not told "
                        "apart."
                    ),
                )
            )
    return checks


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


def _number(image: Volume, name: str) -> float | None:
    try:
        value = float(image.info[name])
    except (KeyError, TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _distances(image: Volume) -> list[Check]:
    deviation = _number(image, "sliceSpacingDeviation")
    if deviation is None:
        return []
    spacing = image.spacing[2]
    limit = _("within {limit:g} mm").format(limit=_UNIFORM)
    value = _("up to {deviation:.3g} mm off").format(deviation=deviation)
    if deviation <= _UNIFORM:
        return [Check(_("Slice distances"), "pass", value, limit)]
    missing = deviation > 0.5 * spacing
    return [
        Check(
            _("Slice distances"),
            "fail" if missing else "warn",
            value,
            limit,
            _("Slices are missing: get the whole series again.")
            if missing
            else _("The slices are not evenly spaced; measured lengths and volumes are off by as much."),
        )
    ]


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
    ok = abs(tilt) < 0.1 or image.shear > SHEAR_TOLERANCE
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


def _figure(found: Histogram) -> Figure:
    """At most about 500 points over the range that the image fills, as the logarithm of the voxel count."""
    low, high = int(found.minimum), int(found.maximum)
    counts = found.between(low, high)
    step = max(1, -(-counts.size // 500))
    counts = np.add.reduceat(counts, np.arange(0, counts.size, step))
    x = max(low, found.low) + step * np.arange(counts.size) + (step - 1) / 2
    y = np.log10(counts + 1.0)
    curve = Curve(_("all voxels"), tuple(map(float, x)), tuple(map(float, y.round(6))))
    return Figure(_("Histogram"), "HU", _("voxels + 1 (log10)"), (curve,))


def _metrics(
    image: Volume,
    found: Histogram,
    inside: Histogram,
    padding: int | None,
    judgement: Judgement,
    checks: list[Check],
) -> dict[str, str | int | float | bool]:
    metrics: dict[str, str | int | float | bool] = {
        "verdict": worst(checks),
        "values": judgement.kind,
        "minimum": inside_minimum(inside, padding),
        "maximum": found.maximum,
        "sliceThickness": slice_thickness(image)[0],
    }
    if padding is not None:
        metrics |= {"padding": padding, "paddingShare": found.count(padding) / found.total}
    if judgement.kind == "HU":
        air = inside.peak(*AIR) if inside.share(*AIR) > 1e-3 else None
        tissue = inside.peak(*SOFT_TISSUE)
        metrics |= {k: v for k, v in (("airPeak", air), ("tissuePeak", tissue)) if v is not None}
        metrics["boneShare"] = inside.share(BONE, 3000)
    if judgement.kind == "raw":
        metrics["missingIntercept"] = judgement.offset
    return metrics


def inside_minimum(inside: Histogram, padding: int | None) -> float:
    """The smallest value that is not padding, exact unless the padding is the minimum."""
    if padding is None or inside.minimum < padding:
        return inside.minimum
    return float(inside.low + int(np.flatnonzero(inside.counts)[0]))
