"""The single checks of prepared images: each takes plain facts and returns one line with value and limit."""

from __future__ import annotations

import math

import numpy as np

from ..core.i18n import _
from ..core.job import Job
from ..core.result import Check
from ..core.volume import SHEAR_TOLERANCE, LabelVolume, Volume
from ..numeric.voxel_statistics import statistics
from . import edge_energy
from . import lung_coverage as lungcoverage

# What is normalized to mean 0 and deviation 1 is off by this much after cropping or resampling, or worse.
_NEAR, _FAR = 0.1, 0.5
_TOLERANCE = 1e-3  # of a range's width


def finite(image: Volume) -> tuple[Check, bool]:
    """NaN and infinity; and whether there are none."""
    bad = 0
    if image.array.dtype.kind == "f":
        bad = int(image.array.size - np.isfinite(image.array).sum())
    advice = _(
        "A network answers NaN to NaN. Find the step that made them: division by zero, logarithm of 0."
    )
    return (
        Check(
            _("NaN and infinity"),
            "fail" if bad else "pass",
            _("{n} voxels").format(n=bad),
            _("none"),
            advice if bad else "",
        ),
        bad == 0,
    )


def right_angles(image: Volume) -> Check:
    """Shear of the grid (gantry tilt)."""
    ok = image.shear <= SHEAR_TOLERANCE
    angle = math.degrees(math.asin(min(image.shear, 1.0)))
    return Check(
        _("Right angles"),
        "pass" if ok else "fail",
        _("{angle:.2f} degrees of shear").format(angle=angle),
        f"< {math.degrees(SHEAR_TOLERANCE):.3f}°",
        "" if ok else _("Regularise the tilted scan first; other operations refuse it."),
    )


def slice_thickness(image: Volume, limit: float) -> list[Check]:
    """Thickness of the acquired slices where it is known, else the coarsest spacing; not for one slice."""
    if min(image.shape) == 1:
        return []
    stated = image.info.get("sliceThickness")
    known = isinstance(stated, (int, float)) and math.isfinite(stated) and stated > 0
    thickness = float(stated) if known else max(image.spacing)
    ok = thickness < limit
    source = _("as acquired") if known else _("from the spacing")
    advice = _("Resampling does not bring back what thick slices lack: use a thinner reconstruction.")
    return [
        Check(
            _("Slice thickness"),
            "pass" if ok else "warn",
            f"{thickness:.3g} mm ({source})",
            f"< {limit:g} mm",
            "" if ok else advice,
        )
    ]


def isotropic(image: Volume, wanted: float) -> Check:
    """Equal spacing along all axes with more than one voxel, and the wanted one where `wanted` is not 0."""
    spacing = [s for s, n in zip(image.spacing, image.shape[::-1], strict=True) if n > 1]
    ratio = max(spacing) / min(spacing)
    right = wanted == 0 or all(abs(s - wanted) <= 0.01 * wanted for s in spacing)
    verdict = "pass" if ratio <= 1.01 and right else "warn"
    limit = _("isotropic") if wanted == 0 else _("{mm:g} mm, isotropic").format(mm=wanted)
    return Check(
        _("Spacing"),
        verdict,
        " x ".join(f"{s:.4g}" for s in image.spacing) + " mm",
        limit,
        "" if verdict == "pass" else _("Resample it, so that one voxel means the same length everywhere."),
    )


def constant(low: float, high: float) -> list[Check]:
    """Fails an image of one single value; says nothing of others."""
    if high > low:
        return []
    advice = _("Nothing is to be seen: everything was clipped, cropped or masked away.")
    return [Check(_("Contrast"), "fail", _("every voxel is {value:g}").format(value=low), "", advice)]


def in_range(low: float, high: float, wanted: tuple[float, float], name: str) -> Check:
    """Smallest and largest value within `wanted`."""
    slack = _TOLERANCE * (wanted[1] - wanted[0])
    ok = low >= wanted[0] - slack and high <= wanted[1] + slack
    advice = _("Values beyond the range: clip or normalize again, after the last resampling with splines.")
    return Check(
        name,
        "pass" if ok else "fail",
        f"{low:.5g} .. {high:.5g}",
        f"{wanted[0]:g} .. {wanted[1]:g}",
        "" if ok else advice,
    )


def zero_mean(moments: dict[str, tuple[float, float]]) -> Check:
    """Mean 0 and standard deviation 1 in at least one of the named regions (mean, deviation)."""
    off = {name: max(abs(mean), abs(sd - 1)) for name, (mean, sd) in moments.items()}
    best = min(off, key=off.get)
    mean, deviation = moments[best]
    verdict = "pass" if off[best] <= _NEAR else "warn" if off[best] <= _FAR else "fail"
    advice = _("Normalize with the statistics of this region, after cropping and resampling.")
    return Check(
        _("Mean and deviation"),
        verdict,
        _("{mean:.3g} and {deviation:.3g}, {region}").format(mean=mean, deviation=deviation, region=best),
        _("0 and 1, within {limit:g}").format(limit=_NEAR),
        "" if verdict == "pass" else advice,
    )


def is_normalized(low: float, high: float, moments: dict[str, tuple[float, float]]) -> Check:
    """One of the ways to normalize: [0, 1], [-1, 1], or mean 0 and deviation 1."""
    for wanted in ((0.0, 1.0), (-1.0, 1.0)):
        check = in_range(low, high, wanted, _("Normalized values"))
        # An image that fills a small part of the range was scaled to another one.
        if check.verdict == "pass" and high - low >= 0.25 * (wanted[1] - wanted[0]):
            return check
    found = zero_mean(moments)
    if found.verdict != "fail":
        return found
    return Check(
        _("Normalized values"),
        "fail",
        f"{low:.5g} .. {high:.5g}",
        _("[0, 1], [-1, 1], or mean 0 and deviation 1"),
        _("Normalize the image, or choose another expectation for one that is meant to keep its unit."),
    )


def same_geometry(image: Volume, labels: LabelVolume) -> Check:
    """The labels lie on the image's voxels."""
    name = _("Geometry of {labels}").format(labels=labels.name or _("labels"))
    size = " x ".join(map(str, labels.shape[::-1]))
    if labels.shape != image.shape:
        value = _("{size} voxels").format(size=size)
    else:
        reach = np.append(np.array(image.shape[::-1], float) - 1, 1.0)
        apart = float((np.abs(labels.ijkToRAS - image.ijkToRAS) @ reach).max())
        value = _("{size} voxels, at most {apart:.2g} mm apart").format(size=size, apart=apart)
        # NIfTI keeps positions in 32-bit floats.
        if apart <= 1e-3:
            return Check(name, "pass", value, _("as the image"))
    advice = _("Resample labels and image in one step, or the network learns shifted labels.")
    return Check(name, "fail", value, _("as the image"), advice)


def labels_not_empty(labels: LabelVolume) -> Check:
    """At least one labelled voxel."""
    count = int(np.count_nonzero(labels.array))
    name = _("Content of {labels}").format(labels=labels.name or _("labels"))
    advice = _("No voxel is labelled: right for a negative case, else look for the step that lost them.")
    return Check(
        name,
        "pass" if count else "warn",
        _("{n} labelled voxels").format(n=count),
        _("> 0"),
        "" if count else advice,
    )


def lung_coverage(image: Volume, lungs: LabelVolume, limit: float, job: Job) -> Check:
    """Share of the visible lung that the lung labels cover, in percent; `image` in Hounsfield units."""
    found = lungcoverage.coverage(image, lungs, job)
    name, wanted = _("Lung coverage"), f">= {limit:g} %"
    if found is None:
        advice = _("No aerated lung is to be seen: not a chest CT, or not in Hounsfield units.")
        return Check(name, "warn", _("no lung visible"), wanted, advice)
    share = 100 * found.share
    ok = share >= limit
    advice = _("Lung is left out: look at the labels, raise the threshold, or correct them by hand.")
    value = _("{share:.1f} % of {volume:.0f} ml").format(share=share, volume=found.visible)
    return Check(name, "pass" if ok else "fail", value, wanted, "" if ok else advice)


def edges(image: Volume, original: Volume, limit: float, job: Job) -> Check:
    """Edge energy lost against the original, in percent; warns above `limit`, fails above twice that."""
    name, wanted = _("Edge energy lost"), f"<= {limit:g} %"
    kept = edge_energy.kept(image, original, job)
    if kept is None:
        return Check(name, "warn", _("no edges in common"), wanted, _("Give the image's own original."))
    lost = max(0.0, 100 * (1 - kept))
    verdict = "pass" if lost <= limit else "warn" if lost <= 2 * limit else "fail"
    advice = _("Smoothed too much: small structures fade. Denoise less, or resample with splines.")
    return Check(name, verdict, f"{lost:.1f} %", wanted, "" if verdict == "pass" else advice)


def moments(image: np.ndarray, labels: tuple[LabelVolume, ...]) -> dict[str, tuple[float, float]]:
    """Mean and deviation by region: the whole image, what differs from its first corner, each label map."""

    def measured(mask: np.ndarray | None) -> tuple[float, float]:
        values = statistics(image, mask)
        return values.mean, values.standardDeviation

    found = {_("whole image"): measured(None)}
    foreground = image != image.flat[0]
    if 0.01 * image.size < np.count_nonzero(foreground) < image.size:
        found[_("foreground")] = measured(foreground)
    for label in labels:
        if label.array.shape == image.shape and label.array.any():
            found[_("inside {name}").format(name=label.name or _("labels"))] = measured(label.array)
    return found
