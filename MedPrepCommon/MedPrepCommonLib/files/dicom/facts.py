"""What DICOM headers say about an image beyond its voxels; nothing about the patient.

``info`` of a DICOM volume, each key only where the file tells. Texts are DICOM's defined terms or words of
:mod:`.dicomwords`; free text never gets here.

Where the slices lie (mm):
``sliceThickness``; ``spacingBetweenSlices`` (as stated); ``sliceSpacingRange`` [smallest, largest] distance of
neighbours as found; ``sliceSpacingDeviation``: largest distance of a slice from its place in an evenly spaced
stack between the first and the last slice; ``missingSlices``: how many do not lie where one belongs, from gaps
of whole distances; ``missingSlicePositions``: where those lie, along the stack from the first slice (at most
100); ``interpolatedSlices``: planes of the array that were made from their neighbours so that all others lie
where they were taken (a stack with gaps or changing distances); ``duplicateSlices``: files left out as copies;
``missingInstances``: image numbers absent between the first and the last; ``gantryTilt`` (degrees, from the
positions, 0 or more); ``statedGantryTilt`` (degrees, from the header, where it contradicts the positions);
``mosaic``: number of tiles of one picture that became the slices; ``spacingKnown`` (False: 1 mm is assumed);
``spacingSource``: tag that the pixel size comes from.

What kind of image it is:
``imageType``: defined words in their order; ``derived`` (True: computed from other images); ``localizer``
(True: scout, topogram, survey); ``secondaryCapture`` (True: SOP class or conversion type says that it is a copy
of a screen, film or document); ``reformat``: "MPR", "MIP", "MINIP", "AVERAGE", "CURVED", "RENDERING";
``parametricMap``: "ADC", "FA", "TRACE", "CBF", "PHASE", ... (values are no plain signal); ``burnedInAnnotation``
(True); ``lossyCompression`` (True), ``lossyRatio`` (such as 10.0 for 10:1); ``contrastAgent`` (True given, False
said to be none); ``describedAs``: list of words found in description, protocol and sequence name ("T1",
"FLAIR", "MPRAGE", "CHEST", ...); ``bodyPart``, ``viewPosition`` ("PA", "AP", "LL", "RL", "LATERAL", ...),
``laterality`` ("L", "R", "B", "U"), ``patientPosition``, ``patientOrientation``.

How it was taken:
``convolutionKernel``, ``kvp`` (kV), ``manufacturer``, ``model``, ``magneticFieldStrength`` (T), ``echoTime``,
``repetitionTime``, ``inversionTime`` (ms), ``flipAngle`` (degrees), ``echoTrainLength``, ``diffusionBValue``
(s/mm2), ``scanningSequence`` ("SE", "IR", "GR", "EP", "RM", joined by a backslash), ``sequenceVariant``,
``acquisitionType`` ("2D", "3D"), ``pixelIntensityRelationship``, ``presentationIntentType``.

How values are stored:
``rescaleSlope``, ``rescaleIntercept`` (already applied), ``rescaleType``, ``padding`` (as rescaled),
``bitsStored``, ``photometricInterpretation`` (as stored), ``voiLut`` (True: not applied).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .geometry import StackGeometry, stack_geometry
from .scan import number_of, numbers_of, read_header, text_of

_TEXTS = {
    "RescaleType": "rescaleType",
    "PhotometricInterpretation": "photometricInterpretation",
    "ConvolutionKernel": "convolutionKernel",
    "ViewPosition": "viewPosition",
    "PatientPosition": "patientPosition",
    "PatientOrientation": "patientOrientation",
    "Laterality": "laterality",
    "ImageLaterality": "laterality",
    "BodyPartExamined": "bodyPart",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "model",
    "PixelIntensityRelationship": "pixelIntensityRelationship",
    "PresentationIntentType": "presentationIntentType",
    "SequenceName": "sequenceName",
}
_NUMBERS = {
    "SliceThickness": "sliceThickness",
    "SpacingBetweenSlices": "spacingBetweenSlices",
    "BitsStored": "bitsStored",
    "KVP": "kvp",
    "MagneticFieldStrength": "magneticFieldStrength",
    "EchoTime": "echoTime",
    "RepetitionTime": "repetitionTime",
    "InversionTime": "inversionTime",
    "FlipAngle": "flipAngle",
}


def facts_of_files(paths: Sequence[str | Path]) -> tuple[str, dict[str, Any]]:
    """Modality and `info` of the series in `paths`, from the headers alone; ("", {}) without an image."""
    headers = [header for header in map(read_header, map(Path, paths)) if header is not None]
    places = [numbers_of(header, "ImagePositionPatient", 3) for header in headers]
    if not headers:
        return "", {}
    info = base_info(headers)
    direction = numbers_of(headers[0], "ImageOrientationPatient", 6)
    if direction is not None and all(places) and len(set(places)) == len(places):
        spacing, _known = pixel_spacing(headers[0])
        info.update(
            stack_info(stack_geometry(np.array(places), direction, spacing, lone_thickness(headers[0])))
        )
    return text_of(headers[0], "Modality"), info


def stack_info(geometry: StackGeometry) -> dict[str, Any]:
    info: dict[str, Any] = {
        "gantryTilt": round(geometry.tilt, 4),
        "sliceSpacingDeviation": round(geometry.deviation, 6),
    }
    if geometry.missing:
        info["missingSlices"] = geometry.missing
    return info


def base_info(headers: Sequence[Any]) -> dict[str, Any]:
    """Plain facts of the first slice; the rescale only where all slices share it."""
    first = headers[0]
    info: dict[str, Any] = {}
    for tag, key in _NUMBERS.items():
        value = number_of(first, tag)
        if value is not None:
            info[key] = int(value) if key == "bitsStored" else value
    for tag, key in _TEXTS.items():
        if text_of(first, tag):
            info[key] = text_of(first, tag)
    rescales = {rescale_of(header) for header in headers}
    if len(rescales) == 1 and "RescaleSlope" in first:
        info["rescaleSlope"], info["rescaleIntercept"] = rescales.pop()
    padding = padding_of(first)
    if padding is not None:
        info["padding"] = padding
    if text_of(first, "LossyImageCompression") == "01":
        info["lossyCompression"] = True
    if first.get("VOILUTSequence"):
        info["voiLut"] = True
    return info


def rescale_of(header: Any) -> tuple[float, float]:
    """(slope, intercept) of a slice; (1, 0) when it has none."""
    slope, intercept = number_of(header, "RescaleSlope"), number_of(header, "RescaleIntercept")
    return (1.0 if slope is None else slope, 0.0 if intercept is None else intercept)


def padding_of(header: Any) -> float | None:
    """PixelPaddingValue in rescaled values (DICOM PS3.3 C.7.5.1.1.2), inverted where the image is."""
    value = number_of(header, "PixelPaddingValue")
    if value is None:
        return None
    bits = int(number_of(header, "BitsAllocated") or 16)
    if number_of(header, "PixelRepresentation") == 1 and value >= 2 ** (bits - 1):
        value -= 2**bits  # written with the wrong VR: -2000 as 63536
    value = rescaled(header, value)
    return int(value) if float(value).is_integer() else value


def rescaled(header: Any, stored: float) -> float:
    """What a stored value becomes in the array."""
    slope, intercept = rescale_of(header)
    if text_of(header, "PhotometricInterpretation") == "MONOCHROME1":
        bits = int(number_of(header, "BitsStored") or 16)
        signed = number_of(header, "PixelRepresentation") == 1
        stored = -1 - stored if signed else 2**bits - 1 - stored
    return slope * stored + intercept


def display_window(header: Any) -> tuple[float, float] | None:
    """(level, width) of the first VOI window, in the array's values."""
    level, width = number_of(header, "WindowCenter", 0), number_of(header, "WindowWidth", 0)
    if level is None or width is None or width <= 0:
        return None
    if text_of(header, "PhotometricInterpretation") == "MONOCHROME1":
        slope, intercept = rescale_of(header)
        level = rescaled(header, (level - intercept) / slope) if slope else level
    return level, width


def pixel_spacing(header: Any) -> tuple[tuple[float, float], dict[str, Any]]:
    """(between rows, between columns) in mm, and what `info` says about where it comes from."""
    for tag in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = numbers_of(header, tag, 2)
        if spacing and min(spacing) > 0:
            return (spacing[0], spacing[1]), {"spacingKnown": True, "spacingSource": tag}
    return (1.0, 1.0), {"spacingKnown": False}


def lone_thickness(header: Any) -> float:
    """Millimetres that a lone slice stands for."""
    for tag in ("SpacingBetweenSlices", "SliceThickness"):
        value = number_of(header, tag)
        if value:
            return abs(value)
    return 1.0
