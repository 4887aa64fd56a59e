"""What DICOM headers say about an image beyond its voxels; nothing about the patient.

``info`` of a DICOM volume, each key only where the file tells. Texts are DICOM's defined terms or words of
:mod:`.words`; free text never gets here.

Where the slices lie (mm):
``sliceThickness``; ``spacingBetweenSlices`` (as stated); ``sliceSpacingRange`` [smallest, largest] distance
of neighbours as found; ``sliceSpacingDeviation``: largest distance of a slice from its place in an evenly
spaced stack between the first and the last slice; ``missingSlices``: how many do not lie where one belongs,
from gaps of whole distances; ``missingSlicePositions``: where those lie, along the stack from the first
slice (at most 100); ``interpolatedSlices``: planes of the array that were made from their neighbours so
that all others lie where they were taken (a stack with gaps or changing distances); ``duplicateSlices``:
files left out as copies; ``missingInstances``: image numbers absent between the first and the last;
``gantryTilt`` (degrees, from the positions, 0 or more); ``statedGantryTilt`` (degrees, from the header,
where it contradicts the positions); ``mosaic``: number of tiles of one picture that became the slices;
``spacingKnown`` (False: 1 mm is assumed); ``spacingSource``: tag that the pixel size comes from.

What kind of image it is:
``imageType``: defined words in their order; ``derived`` (True: computed from other images); ``localizer``
(True: scout, topogram, survey); ``secondaryCapture`` (True: SOP class or conversion type says that it is a
copy of a screen, film or document); ``reformat``: "MPR", "MIP", "MINIP", "AVERAGE", "CURVED", "RENDERING";
``parametricMap``: "ADC", "FA", "TRACE", "CBF", "PHASE", ... (values are no plain signal);
``burnedInAnnotation`` (True); ``lossyCompression`` (True), ``lossyRatio`` (such as 10.0 for 10:1);
``contrastAgent`` (True given, False said to be none); ``describedAs``: list of words found in description,
protocol and sequence name ("T1", "FLAIR", "MPRAGE", "CHEST", ...); ``bodyPart``, ``viewPosition`` ("PA",
"AP", "LL", "RL", "LATERAL", ...), ``laterality`` ("L", "R", "B", "U"), ``patientPosition``,
``patientOrientation``.

How it was taken:
``convolutionKernel``, ``kvp`` (kV), ``manufacturer``, ``model``, ``magneticFieldStrength`` (T),
``echoTime``, ``repetitionTime``, ``inversionTime`` (ms), ``flipAngle`` (degrees), ``echoTrainLength``,
``diffusionBValue`` (s/mm2), ``scanningSequence`` ("SE", "IR", "GR", "EP", "RM", joined by a backslash),
``sequenceVariant``, ``acquisitionType`` ("2D", "3D"), ``pixelIntensityRelationship``,
``presentationIntentType``.

How values are stored:
``rescaleSlope``, ``rescaleIntercept`` (already applied), ``rescaleType``, ``padding`` (as rescaled),
``bitsStored``, ``photometricInterpretation`` (as stored), ``voiLut`` (True: not applied).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import words
from .geometry import StackGeometry, stack_geometry
from .header import number_of, numbers_of, read_header, text_of
from .pixels import inverted, rescale_of

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
    "EchoTrainLength": "echoTrainLength",
    "DiffusionBValue": "diffusionBValue",
}
_WHOLE = ("bitsStored", "echoTrainLength")
_DEFINED = {
    "RescaleType": "rescaleType",
    "PhotometricInterpretation": "photometricInterpretation",
    "PatientPosition": "patientPosition",
    "PatientOrientation": "patientOrientation",
    "FrameLaterality": "laterality",
    "Laterality": "laterality",
    "ImageLaterality": "laterality",
    "PixelIntensityRelationship": "pixelIntensityRelationship",
    "PresentationIntentType": "presentationIntentType",
    "ScanningSequence": "scanningSequence",
    "SequenceVariant": "sequenceVariant",
    "MRAcquisitionType": "acquisitionType",
}
_MODELS_WORDS = """
    Sensation Somatom Definition Force Drive Edge Flash Emotion Scope Perspective Confidence Biograph mCT
    Vision Symphony Avanto Aera Espree Skyra Prisma Prisma_fit Trio TrioTim Verio Vida Lumina Sola Altea Terra
    Allegra Magnetom Brilliance Ingenuity iCT IQon Gemini Vereos Ingenia Elition Ambition Achieva Intera
    dStream LightSpeed BrightSpeed HiSpeed Discovery Optima Revolution Signa SIGNA Architect Artist Premier
    Genesis Aquilion ONE PRIME Titan Vantage Galan Orian Scenaria Supria uMR uCT uMI
"""
_MODELS = frozenset(_MODELS_WORDS.split())
#: Lossy transfer syntaxes (JPEG, JPEG-LS near lossless, video); JPEG 2000 may be either.
_LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.10",
)
_JPEG_2000 = "1.2.840.10008.1.2.4.91"
_NO_AGENT = ("NO", "NONE", "N", "0", "WITHOUT", "NATIVE", "NIL", "NO CONTRAST", "OHNE", "WO", "W/O", "-")
# Degrees between the tilt that a header states and that of the positions.
_SAME_TILT = 0.5


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
        geometry = stack_geometry(
            np.array(places), direction, spacing, lone_thickness(headers[0]), thicknesses(headers)
        )
        info.update(stack_info(geometry, headers))
    return text_of(headers[0], "Modality"), info


def stack_info(geometry: StackGeometry, headers: Sequence[Any]) -> dict[str, Any]:
    """Facts about where slices lie, and what is missing between them."""
    info: dict[str, Any] = {
        "gantryTilt": round(geometry.tilt, 4),
        "sliceSpacingDeviation": round(geometry.deviation, 6),
    }
    stated = number_of(headers[0], "GantryDetectorTilt")
    if len(headers) == 1:
        info["gantryTilt"] = abs(stated) if stated is not None else 0.0
        return info
    info["sliceSpacingRange"] = [round(value, 4) for value in geometry.distances]
    if geometry.missing:
        info["missingSlices"] = len(geometry.missing)
        info["missingSlicePositions"] = [round(value, 3) for value in geometry.missing[:100]]
    if geometry.made:
        info["interpolatedSlices"] = geometry.made
    if stated is not None and abs(abs(stated) - geometry.tilt) > _SAME_TILT:
        info["statedGantryTilt"] = abs(stated)
    stated_numbers = (number_of(header, "InstanceNumber") for header in headers)
    numbers = [number for number in stated_numbers if number is not None]
    if len(set(numbers)) == len(headers):
        absent = int(max(numbers) - min(numbers)) + 1 - len(numbers)
        if 0 < absent < len(numbers):  # more are other echoes or time points that share the numbers
            info["missingInstances"] = absent
    return info


def base_info(headers: Sequence[Any]) -> dict[str, Any]:
    """Plain facts of the first slice; the rescale only where all slices share it."""
    first = headers[0]
    info: dict[str, Any] = {}
    for tag, key in _NUMBERS.items():
        value = number_of(first, tag, 0)
        if value is not None:
            info[key] = int(value) if key in _WHOLE else value
    for tag, key in _DEFINED.items():
        text = words.defined(key, text_of(first, tag))
        if text:
            info[key] = text
    info |= _device(first) | _picture(first) | _compression(first)
    rescales = {rescale_of(header) for header in headers}
    if len(rescales) == 1 and "RescaleSlope" in first:
        info["rescaleSlope"], info["rescaleIntercept"] = rescales.pop()
    padding = padding_of(first)
    if padding is not None:
        info["padding"] = padding
    if first.get("VOILUTSequence"):
        info["voiLut"] = True
    return info


def _device(header: Any) -> dict[str, Any]:
    model = text_of(header, "ManufacturerModelName").split()
    texts = {
        "manufacturer": words.maker(text_of(header, "Manufacturer")),
        "model": " ".join(word for word in model if word.strip("(),") in _MODELS),
        "convolutionKernel": words.kernel(text_of(header, "ConvolutionKernel")),
    }
    return {key: text for key, text in texts.items() if text}


def _picture(header: Any) -> dict[str, Any]:
    """What kind of image it is, and of what."""
    types = words.image_type(text_of(header, "ImageType"))
    free = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
    described = words.described_as(*(text_of(header, tag) for tag in free))
    view = text_of(header, "ViewPosition") or words.coded(header.get("ViewCodeSequence"))
    part = text_of(header, "BodyPartExamined")
    region = words.coded(header.get("AnatomicRegionSequence"))
    found = {
        "imageType": types,
        "describedAs": described,
        "derived": "DERIVED" in types[:1],
        "localizer": words.is_localizer(types, described),
        "secondaryCapture": words.is_secondary_capture(header),
        "reformat": words.reformat(types, described),
        "parametricMap": words.parametric_map(types),
        "bodyPart": words.body_part(part) or words.body_part(region),
        "viewPosition": words.view(view),
        "burnedInAnnotation": text_of(header, "BurnedInAnnotation").upper() == "YES",
    }
    info = {key: value for key, value in found.items() if value}
    agent = text_of(header, "ContrastBolusAgent").strip().upper()
    if agent or header.get("ContrastBolusAgentSequence"):
        info["contrastAgent"] = agent not in _NO_AGENT
    return info


def _compression(header: Any) -> dict[str, Any]:
    syntax, stated = (
        header.pixels.syntax if hasattr(header, "pixels") else "",
        text_of(header, "LossyImageCompression"),
    )
    lossy = syntax.startswith(_LOSSY) or stated == "01" or (syntax == _JPEG_2000 and stated != "00")
    ratios = [float(r) for r in text_of(header, "LossyImageCompressionRatio").split("\\") if _is_ratio(r)]
    if not lossy:
        return {}
    # One ratio for each time that the image was compressed.
    return {"lossyCompression": True, **({"lossyRatio": round(float(np.prod(ratios)), 2)} if ratios else {})}


def _is_ratio(text: str) -> bool:
    try:
        return 1 <= float(text) < 10_000
    except ValueError:
        return False


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
    return slope * inverted(header, stored) + intercept


def display_window(headers: Sequence[Any]) -> tuple[float, float] | None:
    """(level, width) of the first VOI window, in the array's values: the middle one of all slices.

    None where the slices' windows have little in common: then no window of a slice shows the series.
    """
    windows = [window for window in map(_window, headers) if window is not None]
    if not windows:
        return None
    ends = np.array([(level - width / 2, level + width / 2) for level, width in windows])
    low, high = np.median(ends, axis=0)
    off = np.abs(ends - (low, high)).max(axis=1) > 0.25 * (high - low)
    if len(windows) < len(headers) / 2 or np.mean(off) > 0.5:
        return None
    return float(low + high) / 2, float(high - low)


def _window(header: Any) -> tuple[float, float] | None:
    level, width = number_of(header, "WindowCenter", 0), number_of(header, "WindowWidth", 0)
    if level is None or width is None or width <= 0:
        return None
    slope, intercept = rescale_of(header)
    if text_of(header, "PhotometricInterpretation") == "MONOCHROME1" and slope:
        level = rescaled(header, (level - intercept) / slope)
    return level, width


def pixel_spacing(header: Any) -> tuple[tuple[float, float], dict[str, Any]]:
    """(between rows, between columns) in mm, and what `info` says about where it comes from."""
    for tag in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = numbers_of(header, tag, 2)
        if spacing and min(spacing) > 0:
            return (spacing[0], spacing[1]), {"spacingKnown": True, "spacingSource": tag}
    return (1.0, 1.0), {"spacingKnown": False}


def thicknesses(headers: Sequence[Any]) -> list[float]:
    """SliceThickness of each, or nothing where one does not say."""
    found = [number_of(header, "SliceThickness") or 0.0 for header in headers]
    return found if min(found) > 0 else []


def lone_thickness(header: Any) -> float:
    """Millimetres that a lone slice stands for."""
    for tag in ("SpacingBetweenSlices", "SliceThickness"):
        value = number_of(header, tag)
        if value:
            return abs(value)
    return 1.0
