"""What a file says of its image, judged: each check reads its facts (see ``facts.py``) and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .i18n import _
from .input_check import InputCheck, Judged, Wanted, family, registrar
from .volume import SHEAR_TOLERANCE, Volume

#: Checks by id.
CHECKS: dict[str, InputCheck] = {}
_check = registrar(CHECKS)

# DICOM readers place slices to about 1e-3 mm; a missing slice is off by a whole spacing.
_UNIFORM = 0.01
# Share of the slices' distance by which a slice may be out of place with no more than a warning.
_UNEVEN = 0.25
# Slices this many times further apart than they are thick leave tissue out that nobody measured.
_GAP = 1.6
# Wong et al. 1995 and the guidelines of radiologists' societies: no visible loss up to about 10:1 (CT 8:1).
_LITTLE_LOSS = 10.0
# ImageType words of pictures that are no slices, beside what the reader has told apart already.
_NO_IMAGE = {
    "SCREEN SAVE": _("a screen save"),
    "DOSE": _("a dose report"),
    "DOSE_INFO": _("a dose report"),
    "EXAM SUMMARY": _("an exam summary"),
    "PROTOCOL": _("a protocol page"),
}


def number(volume: Volume, key: str) -> float | None:
    """The fact `key` as a finite number, or None: facts may come from attributes that anybody can write."""
    try:
        value = float(volume.info[key])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def text(volume: Volume, key: str) -> str:
    """The fact `key` as a stripped text; "" where there is none."""
    value = volume.info.get(key)
    return value.strip() if isinstance(value, str) else ""


def words(volume: Volume, key: str) -> list[str]:
    """The fact `key` as upper-case words: a list, or a DICOM text with backslashes."""
    value = volume.info.get(key) or ()
    parts = value.split("\\") if isinstance(value, str) else value if isinstance(value, Sequence) else ()
    return [str(part).strip().upper() for part in parts]


@_check("missing-slices", _("Missing slices"))
def _missing(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    missing, absent = number(volume, "missingSlices") or 0, number(volume, "missingInstances") or 0
    if missing <= 0:
        if number(volume, "sliceSpacingDeviation") is None:
            return None
        # Numbers are left out in many a complete series; positions decide.
        value = _("none; {n:.0f} image numbers are not used").format(n=absent) if absent else _("none")
        return Judged("pass", value, _("none"))
    value = _("{n:.0f} never arrived").format(n=missing)
    places = volume.info.get("missingSlicePositions")
    if isinstance(places, (list, tuple)) and places:
        shown = ", ".join(f"{place:g}" for place in places[:5]) + (", ..." if len(places) > 5 else "")
        value += _(" (at {places} mm from the first)").format(places=shown)
    if made := number(volume, "interpolatedSlices"):
        value += _("; {n:.0f} were filled in from their neighbours").format(n=made)
    advice = _("Get the whole series again; what lies between the slices that arrived is not known.")
    return Judged("fail", value, _("none"), advice)


@_check("uneven-slices", _("Slice distances"))
def _uneven(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    deviation = number(volume, "sliceSpacingDeviation")
    if deviation is None or number(volume, "missingSlices"):
        return None  # a gap has a line of its own
    value = _("up to {deviation:.3g} mm off").format(deviation=deviation)
    limit = _("within {limit:g} mm").format(limit=_UNIFORM)
    if deviation <= _UNIFORM:
        return Judged("pass", value, limit)
    distances = volume.info.get("sliceSpacingRange")
    if isinstance(distances, (list, tuple)) and len(distances) == 2:
        value += _(", {low:.4g} to {high:.4g} mm apart").format(low=distances[0], high=distances[1])
    made = number(volume, "interpolatedSlices")
    if made:
        value += _("; {n:.0f} slices were filled in from their neighbours").format(n=made)
    if deviation > _UNEVEN * max(volume.spacing) or made:
        advice = _("Slices lie far from where an even grid has them: take another reconstruction.")
        return Judged("fail", value, limit, advice)
    advice = _("The slices are not evenly spaced; measured lengths and volumes are off by as much.")
    return Judged("warn", value, limit, advice)


@_check("duplicate-slices", _("Duplicate slices"))
def _duplicates(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    copies = number(volume, "duplicateSlices")
    if copies is None:
        return None
    if copies <= 0:
        return Judged("pass", _("none"), _("none"))
    advice = _("Equal copies were left out. Look where they come from: files may have been mixed up.")
    return Judged("warn", _("{n:.0f} copies left out").format(n=copies), _("none"), advice)


@_check("slice-gaps", _("Gaps between slices"))
def _gaps(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    thickness, stated = number(volume, "sliceThickness"), number(volume, "spacingBetweenSlices")
    # An image that MedPrep has resampled no longer has the scanner's slices.
    if volume.history or volume.shape[0] < 2 or family(volume, wanted) == "XR":
        return None
    apart = volume.spacing[2]
    if stated and abs(stated) > 0.1 and thickness:
        # Some scanners write the gap, not the distance.
        fits = [abs(stated), abs(stated) + thickness]
        if apart > 1.5 * max(fits) and abs(apart / abs(stated) - round(apart / abs(stated))) < 0.05:
            value = _("stated {stated:.4g} mm, they lie {apart:.4g} mm apart").format(
                stated=abs(stated), apart=apart
            )
            advice = _("Every second slice, or more, seems to have been left out: get the whole series.")
            return Judged("warn", value, _("as stated"), advice)
    if not thickness or thickness <= 0:
        return None
    value = _("{thick:.3g} mm thick, {apart:.4g} mm apart").format(thick=thickness, apart=apart)
    limit = _("<= {n:g} times the thickness").format(n=_GAP)
    if apart <= _GAP * thickness or apart - thickness < 0.6:
        return Judged("pass", value, limit)
    advice = _("What lies between the slices was not measured: take a reconstruction without gaps.")
    return Judged("warn", value, limit, advice)


@_check("gantry-tilt", _("Gantry tilt"))
def _tilt(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    tilt, stated = number(volume, "gantryTilt"), number(volume, "statedGantryTilt")
    if stated is not None:
        value = _("{stated:g}° stated, {tilt:g}° by the positions").format(stated=stated, tilt=tilt or 0)
        advice = _("The header contradicts itself: make sure that the scan is not skewed.")
        return Judged("warn", value, _("one tilt"), advice)
    if tilt is None:
        return None
    # A sheared grid has a check of its own; a single slice cannot be skewed.
    ok = abs(tilt) < 0.1 or volume.shear > SHEAR_TOLERANCE or volume.shape[0] == 1
    advice = _(
        "The scan was tilted but its grid is not: make sure that it was regularised, or shapes are skewed."
    )
    return Judged("pass" if ok else "warn", f"{tilt:g}°", "0°", "" if ok else advice)


@_check("position", _("Position in the file"))
def _position(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    conflict = volume.info.get("positionConflict")
    if conflict:
        said = str(conflict.get("text", "")) if isinstance(conflict, Mapping) else str(conflict)
        advice = _("Two places for one image: make sure that the one that was taken is meant.")
        return Judged("warn", said.strip().rstrip("."), _("one position"), advice)
    if volume.info.get("positionKnown") is False:
        advice = _("Nothing says where the patient's right is: make sure of the sides.")
        return Judged("warn", _("not stated"), _("one position"), advice)
    if text(volume, "parentTransform") == "hardened":
        return Judged("pass", _("moved by its transform in the scene"), _("one position"))
    return None


@_check("pixel-size", _("Pixel size"))
def _pixel_size(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    modality, limit = family(volume, wanted), _("stated in the file")
    if volume.info.get("spacingKnown") is False:
        if modality in ("CT", "MR"):
            advice = _("Set the true spacing, or use the original DICOM files.")
            return Judged("fail", _("not known; 1 mm was assumed"), limit, advice)
        # A note: nothing is wrong with a radiograph that does not say it.
        return Judged("pass", _("not known; nothing is measured in millimetres"))
    if modality != "XR" or (volume.spacing[:2] == (1.0, 1.0) and "spacingKnown" not in volume.info):
        return None
    value = " x ".join(f"{s:.4g}" for s in volume.spacing[:2]) + " mm"
    if volume.info.get("spacingSource") in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        # DICOM PS3.3 10.7.1.3: not corrected for the beam's divergence.
        value += _(" at the detector; the patient is magnified")
    return Judged("pass", value, limit)


@_check("mosaic", _("Mosaic"))
def _mosaic(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    tiles = number(volume, "mosaic")
    if tiles:
        return Judged("pass", _("one picture of {n:.0f} slices, taken apart").format(n=tiles))
    if "MOSAIC" not in words(volume, "imageType") or volume.shape[0] > 1:
        return None
    advice = _("All slices are tiles of one picture: export the series as single slices.")
    return Judged("fail", _("one picture of all slices"), _("one slice each"), advice)


@_check("image-type", _("Kind of image"))
def _image_type(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    found, info, limit = words(volume, "imageType"), volume.info, _("slices as measured")
    measured = family(volume, wanted) in ("CT", "MR")
    kind = next((_NO_IMAGE[word] for word in found if word in _NO_IMAGE), "")
    if info.get("localizer"):
        kind = _("a localizer")
    elif info.get("secondaryCapture") and measured:
        kind = _("a copy of a screen or film (secondary capture)")
    if kind:
        advice = _("This is no image to prepare: choose the series of slices itself.")
        return Judged("fail", f"{kind} ({', '.join(found)})" if found else kind, limit, advice)
    reformat, map_of = text(volume, "reformat"), text(volume, "parametricMap")
    if map_of and measured:
        advice = _("The values are computed, they are no plain signal: choose the images it was made from.")
        return Judged("fail", _("a map of {what}").format(what=map_of), limit, advice)
    if reformat and reformat not in ("MPR", "AVERAGE") and measured:
        advice = _("Computed from another series; what lies behind each other is mixed: choose that series.")
        return Judged("fail", _("derived: {what}").format(what=reformat), limit, advice)
    if info.get("secondaryCapture"):
        advice = _("A picture of a picture, or a scanned film: prefer the detector's own image.")
        return Judged("warn", _("secondary capture"), _("the detector's own image"), advice)
    if measured and (reformat or (info.get("derived") and "SECONDARY" in found[1:2])):
        value = _("derived: {what}").format(what=reformat or ", ".join(found))
        advice = _("Computed from another series: its slices and their thickness are not the scanner's.")
        return Judged("warn", value, limit, advice)
    return Judged("pass", ", ".join(found).lower(), limit) if found else None


@_check("burned-in-text", _("Text in the image"))
def _text_in_image(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    if not volume.info.get("burnedInAnnotation"):
        return None
    advice = _("It may name the patient, and a network learns to read it: cover it, or take another export.")
    return Judged("warn", _("the file says so"), _("none"), advice)


@_check("mirrored-picture", _("Picture's orientation"))
def _picture(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    turned = number(volume, "exifOrientation")
    if turned is None:
        return None
    value = _("EXIF orientation {n:.0f}, applied").format(n=turned)
    if turned in (2, 4, 5, 7):
        advice = _("The file says that it is a mirror image; look at the side mark.")
        return Judged("warn", value, _("not mirrored"), advice)
    return Judged("pass", value)


@_check("lossy-compression", _("Compression"))
def _compression(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    if not volume.info.get("lossyCompression"):
        return None
    ratio = number(volume, "lossyRatio")
    value = _("lossy") if not ratio else _("lossy, {ratio:.3g} to 1").format(ratio=ratio)
    if family(volume, wanted) == "XR" and ratio and ratio <= _LITTLE_LOSS:
        return Judged("pass", value, f"<= {_LITTLE_LOSS:g} : 1")
    advice = _("The values are not exactly those that were measured; prefer an uncompressed export.")
    return Judged("warn", value, _("lossless"), advice)


@_check("rescale", _("Rescale"))
def _rescale(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    unit = text(volume, "rescaleType").upper()
    if family(volume, wanted) == "CT" and unit and unit not in ("HU", "US", "HOUNSFIELD", "UNSPECIFIED"):
        advice = _("These are no Hounsfield units: choose the ordinary reconstruction of the scan.")
        return Judged("fail", _("unit {unit}").format(unit=unit), "HU", advice)
    if not {"rescaleSlope", "rescaleIntercept"} & set(volume.info):
        return None
    slope, intercept = volume.info.get("rescaleSlope", 1), volume.info.get("rescaleIntercept", 0)
    value = _("slope {slope}, intercept {intercept}").format(slope=slope, intercept=intercept)
    try:
        usable = np.isfinite([float(slope), float(intercept)]).all() and float(slope) != 0
    except (TypeError, ValueError):
        usable = False
    advice = "" if usable else _("The file's rescale cannot be right; ask for a new export.")
    return Judged("pass" if usable else "fail", value, _("applied on reading"), advice)


@_check("for-processing", _("Processing"))
def _processing(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    intent = text(volume, "presentationIntentType").upper()
    relation = text(volume, "pixelIntensityRelationship").upper()
    if family(volume, wanted) != "XR" or not intent:
        return None
    if intent == "FOR PROCESSING":
        value = _("raw detector image (FOR PROCESSING{relation})").format(
            relation=f", {relation}" if relation else ""
        )
        advice = _("Air may be bright and contrast low: use the image that is made for presentation.")
        return Judged("warn", value, _("for presentation"), advice)
    return Judged("pass", _("for presentation"), _("for presentation"))


@_check("scanner", _("Scanner"))
def _scanner(volume: Volume, wanted: Wanted, seen: object) -> Judged | None:
    modality = family(volume, wanted)
    magnetic = [k for k in ("magneticFieldStrength", "echoTime", "repetitionTime") if number(volume, k)]
    rays = [k for k in ("kvp",) if number(volume, k)] + [
        k for k in ("convolutionKernel",) if text(volume, k) and modality == "MR"
    ]
    wrong = magnetic if modality in ("CT", "XR") else rays if modality == "MR" else []
    if wrong:
        value = _("{modality} with {facts}").format(modality=modality, facts=", ".join(wrong))
        advice = _("The header mixes two kinds of scanner: make sure what the image is.")
        return Judged("fail", value, _("one kind of scanner"), advice)
    parts = [text(volume, key) for key in ("manufacturer", "model", "convolutionKernel")]
    for key, unit in (("magneticFieldStrength", "T"), ("kvp", "kV")):
        measured = number(volume, key)
        parts.append(f"{measured:g} {unit}" if measured else "")
    value = ", ".join(part for part in parts if part)
    return Judged("pass", value) if value else None
