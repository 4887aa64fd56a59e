"""Quality control of a CT before anything is computed from it: Hounsfield units, on a usable grid?"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from MedPrepCommonLib.core import input_checks
from MedPrepCommonLib.core.errors import GeometryError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Check, Curve, Figure, Result, check_table, worst
from MedPrepCommonLib.core.volume import Volume

from ..quality import hounsfield
from ..quality.grid_checks import grid_checks, slice_thickness
from ..quality.hounsfield import AIR, BONE, SOFT_TISSUE, Histogram, Judgement
from ..recognition.ct import recognise  # noqa: F401 (tells the input checks what a CT shows)


@operation(
    "ct.check",
    title=_("Check"),
    console="check",
    modality="CT",
    outputs=("check", "histogram"),
    records=("check", "histogram"),
    cite=("DICOM PS3.3 C.8.2.1 CT Image Module",),
    any_grid=True,
    units={"*Peak": "HU", "sliceThickness": "mm"},
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
        found = hounsfield.histogram(image.array, job.part(0.0, 0.6))
        padding = hounsfield.find_padding(image.array, found)
        inside = found.without(padding)
        judgement = hounsfield.judge(inside, image.array.dtype, image.modality)
        job.report(0.7)
        checks = [_units(judgement, inside, padding)]
        if judgement.kind == "HU":
            checks += [_air(inside), _soft_tissue(inside), _bone(inside)]
        checks += [_padding(padding, found, image), *_range_ends(found, padding)]
        checks += grid_checks(image, self.maximumSliceThickness)
        checks += [
            line.check
            for line in input_checks.judge(image, input_checks.Wanted("CT"), job=job.part(0.7, 1.0))
        ]
        return Result(
            tables={"check": check_table(checks)},
            figures={"histogram": _figure(found)},
            metrics=_metrics(image, found, inside, padding, judgement, checks),
            checks=checks,
        )


def _units(judgement: Judgement, found: Histogram, padding: int | None) -> Check:
    limit = _("air near -1000, water near 0")
    if judgement.kind == "HU":
        return Check(
            _("Hounsfield units"),
            "pass",
            f"{inside_minimum(found, padding):g} .. {found.maximum:g} HU",
            limit,
        )
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


def _padding(padding: int | None, found: Histogram, image: Volume) -> Check:
    stated = image.info.get("padding")
    if padding is None:
        return Check(_("Padding"), "pass", _("none found"))
    share = 100 * found.count(padding) / found.total
    return Check(
        _("Padding"),
        "pass",
        f"{padding} ({share:.1f} %)" + (_(", as the file states") if stated == padding else ""),
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


def _figure(found: Histogram) -> Figure:
    """At most about 500 points over the range that the image fills, as the logarithm of the voxel count."""
    low, high = int(found.minimum), int(found.maximum)
    counts = found.between(low, high)
    step = max(1, -(-counts.size // 500))
    counts = np.add.reduceat(counts, np.arange(0, counts.size, step))
    x = max(low, found.low) + step * np.arange(counts.size) + (step - 1) / 2
    y = np.log10(counts + 1.0)
    curve = Curve(_("all voxels"), tuple(map(float, x)), tuple(map(float, y.round(6))))
    return Figure(_("Histogram of the input"), "HU", _("voxels + 1 (log10)"), (curve,))


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
