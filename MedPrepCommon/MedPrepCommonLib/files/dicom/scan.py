"""Which DICOM series a folder holds, from the headers alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.errors import FileError
from ...core.i18n import _
from ...core.job import Job
from .. import checks

# Everything that grouping, geometry and `info` need; nothing about the patient.
_TAG_NAMES = """
    SpecificCharacterSet SOPClassUID SOPInstanceUID Modality SeriesInstanceUID SeriesNumber
    SeriesDescription ProtocolName ImageType AcquisitionNumber EchoNumbers TemporalPositionIdentifier
    TriggerTime DiffusionBValue InstanceNumber Rows Columns NumberOfFrames SamplesPerPixel
    PhotometricInterpretation BitsAllocated BitsStored PixelRepresentation PixelSpacing ImagerPixelSpacing
    NominalScannedPixelSpacing ImagePositionPatient ImageOrientationPatient SliceThickness
    SpacingBetweenSlices GantryDetectorTilt RescaleSlope RescaleIntercept RescaleType PixelPaddingValue
    PixelPaddingRangeLimit WindowCenter WindowWidth ConvolutionKernel KVP ViewPosition PatientPosition
    BodyPartExamined PatientOrientation Manufacturer ManufacturerModelName MagneticFieldStrength EchoTime
    RepetitionTime InversionTime FlipAngle SequenceName PixelIntensityRelationship PresentationIntentType
    LossyImageCompression ImageLaterality Laterality VOILUTSequence
"""
TAGS = tuple(_TAG_NAMES.split())

# Objects with rows and columns that are not images of the patient.
_NO_IMAGES = {
    "SEG",
    "SR",
    "PR",
    "KO",
    "RTSTRUCT",
    "RTPLAN",
    "RTDOSE",
    "RWV",
    "REG",
    "DOC",
    "FID",
    "AU",
    "PLAN",
}

# Direction cosines and millimetres per pixel of one stack differ by less.
_SAME_PLANE = 1e-3

# Series that an error message lists.
_LISTED = 20

# What tells apart images of one series that were taken at the same place, likeliest first.
_SPLITTERS = (
    "AcquisitionNumber",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "DiffusionBValue",
    "ImageType",
)


@dataclass(frozen=True)
class DicomSeries:
    """One stack of images that makes one volume.

    Parameters
    ----------
    number : place in the list of the folder's series, from 1.
    description : of the series, or what the scanner calls it otherwise.
    modality : "CT", "MR", ...
    slices : images in it (frames of a multi-frame file).
    uid : DICOM series instance UID; two stacks of one series share it.
    files : paths in no particular order; `headers` the pydicom data sets of the same files (without pixels).
    copies : files left out because another one holds the same image.
    """

    number: int
    description: str
    modality: str
    slices: int
    uid: str
    files: tuple[Path, ...]
    headers: tuple[Any, ...]
    copies: int = 0

    @property
    def short_id(self) -> str:
        """The last 8 characters of the UID: enough to tell series apart."""
        return self.uid[-8:].lstrip(".")

    def __str__(self) -> str:
        return _("{number}: {description} ({modality}, {slices} slices, ...{id})").format(
            number=self.number,
            description=self.description or _("no description"),
            modality=self.modality or "?",
            slices=self.slices,
            id=self.short_id,
        )


def scan_dicom(folder: str | os.PathLike[str], job: Job | None = None) -> list[DicomSeries]:
    """The image series in a folder and its subfolders, in the order of their series numbers.

    Files are known by their content, not by their name. Images of one series form several entries when they
    differ in size or direction (a scout beside its stack), or when several were taken at each place (echoes,
    time points).

    Raises
    ------
    FileError
        when the folder cannot be read, or a DICOM file in it is damaged.
    """
    folder = Path(folder)
    job = job or Job.quiet()
    paths = _files(folder)
    headers = []
    for n, path in enumerate(paths):
        if n % 16 == 0:
            job.report(n / len(paths), _("Reading DICOM headers"))
        header = read_header(path)
        if header is not None:
            headers.append((path, header))
    return _series_of(headers)


def read_header(path: Path, tags: Sequence[str] | None = TAGS) -> Any:
    """pydicom data set of an image file without its pixels; None when it is not a DICOM image.

    Raises
    ------
    FileError
        when it starts as DICOM but cannot be read on.
    """
    import pydicom

    start = checks.head(path, 132)
    if not checks.is_dicom(start):
        return None
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
        if header.get("Rows") and header.get("Columns"):
            return None if text_of(header, "Modality") in _NO_IMAGES else header
        kind = header.file_meta.get("MediaStorageSOPClassUID") if hasattr(header, "file_meta") else None
        cut = kind is not None and kind.name.endswith("Image Storage")
    except Exception as error:  # pydicom raises many kinds for a broken header
        if start[128:132] != b"DICM":
            return None
        raise checks.damaged(path) from error
    if cut:
        raise checks.damaged(path)
    return None


def pick(series: Sequence[DicomSeries], wanted: int | str | None, folder: Path) -> DicomSeries:
    """The series that `wanted` names, or the only one.

    Raises
    ------
    FileError
        when there is none, or several and `wanted` does not name exactly one of them; it lists them.
    """
    if not series:
        raise FileError(
            _("{path} holds no DICOM images.").format(path=folder),
            _("Expected DICOM files with pixels, at any depth, with any names."),
            _("Choose another folder; name the file itself if the image is not DICOM."),
        )
    if wanted is None:
        found = list(series)
    else:
        text = str(wanted).strip()
        found = [s for s in series if text == str(s.number)]
        found = found or [s for s in series if text == s.uid]
        found = found or [s for s in series if text.lower() == s.description.lower()]
        found = found or [s for s in series if len(text) >= 4 and s.uid.endswith(text.lstrip("."))]
    if len(found) == 1:
        return found[0]
    listing = "; ".join(str(s) for s in series[:_LISTED])
    if len(series) > _LISTED:
        listing += _("; and {n} more").format(n=len(series) - _LISTED)
    if wanted is None:
        wrong = _("{path} holds {n} series.").format(path=folder, n=len(series))
    else:
        wrong = _("{path} holds {n} series called {wanted!r}.").format(
            path=folder, n=len(found), wanted=wanted
        )
    raise FileError(
        wrong,
        _("Expected the number, UID or description of one of them: {list}.").format(list=listing),
        _("Name one with series=, on the command line with --series."),
    )


def number_of(header: Any, tag: str, index: int | None = None) -> float | None:
    """A numeric element as float; None when it is absent, empty or no finite number."""
    try:
        value = header.get(tag)
        if index is not None and value is not None and not isinstance(value, (str, bytes)):
            value = value[index] if hasattr(value, "__len__") else value
        number = float(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def numbers_of(header: Any, tag: str, count: int) -> tuple[float, ...] | None:
    """A multi-valued numeric element of exactly `count` finite numbers, or None."""
    try:
        values = tuple(float(v) for v in header.get(tag) or ())
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(abs(v) < float("inf") for v in values) else None


def text_of(header: Any, tag: str) -> str:
    """An element as text, several values joined by a backslash; "" when absent."""
    try:
        value = header.get(tag)
    except (ValueError, TypeError):
        return ""
    if value is None:
        return ""
    values = [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)
    return "\\".join(str(v).strip() for v in values)


def _files(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise checks.unreadable(Path(error.filename or folder), error) from error

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        found += [Path(place, name) for name in sorted(names) if name.upper() != "DICOMDIR"]
    return found


def _series_of(headers: Iterable[tuple[Path, Any]]) -> list[DicomSeries]:
    # Directions and pixel sizes are compared with a tolerance: scanners write them with rounding noise.
    groups: dict[tuple, list[tuple[tuple[float, ...], list[tuple[Path, Any]]]]] = {}
    for path, header in headers:
        plane = _plane(header)
        alike = groups.setdefault((*_stack_key(header), len(plane)), [])
        for other, members in alike:
            if all(abs(a - b) < _SAME_PLANE for a, b in zip(plane, other, strict=True)):
                members.append((path, header))
                break
        else:
            alike.append((plane, [(path, header)]))
    stacks = []
    for members in (members for alike in groups.values() for _plane_of_all, members in alike):
        members, copies = _without_copies(members)
        for n, (label, part) in enumerate(_split(members)):
            stacks.append((label, part, copies if n == 0 else 0))
    stacks.sort(key=lambda stack: _order(stack[1]))
    series = []
    for number, (label, members, copies) in enumerate(stacks, start=1):
        first = members[0][1]
        description = text_of(first, "SeriesDescription") or text_of(first, "ProtocolName")
        series.append(
            DicomSeries(
                number,
                f"{description} {label}".strip(),
                text_of(first, "Modality"),
                sum(int(number_of(header, "NumberOfFrames") or 1) for _path, header in members),
                text_of(first, "SeriesInstanceUID"),
                tuple(path for path, _header in members),
                tuple(header for _path, header in members),
                copies,
            )
        )
    # Equal descriptions cannot be told apart by the user; the number behind them can.
    return [
        replace(s, description=f"{s.description} [{s.number}]")
        if sum(o.description == s.description and o.uid == s.uid for o in series) > 1
        else s
        for s in series
    ]


def _stack_key(header: Any) -> tuple:
    """What all images of one volume have in common."""
    frames = int(number_of(header, "NumberOfFrames") or 1)
    return (
        text_of(header, "SeriesInstanceUID"),
        header.get("Rows"),
        header.get("Columns"),
        header.get("SamplesPerPixel"),
        # Every multi-frame file, and every image without a position, is a volume of its own.
        text_of(header, "SOPInstanceUID")
        if frames > 1 or numbers_of(header, "ImagePositionPatient", 3) is None
        else None,
    )


def _plane(header: Any) -> tuple[float, ...]:
    """Directions and pixel size of an image, as far as it has them."""
    direction = numbers_of(header, "ImageOrientationPatient", 6) or ()
    return (*direction, *(numbers_of(header, "PixelSpacing", 2) or ()))


def _without_copies(members: list[tuple[Path, Any]]) -> tuple[list[tuple[Path, Any]], int]:
    """One file per SOP instance, and how many were left out."""
    unique: dict[str, tuple[Path, Any]] = {}
    for n, member in enumerate(members):
        unique.setdefault(text_of(member[1], "SOPInstanceUID") or f"#{n}", member)
    return list(unique.values()), len(members) - len(unique)


def _split(members: list[tuple[Path, Any]]) -> list[tuple[str, list[tuple[Path, Any]]]]:
    """The group itself when no two of its images lie at one place, else parts told apart by one element."""
    if _all_apart(members):
        return [("", members)]
    for tag in _SPLITTERS:
        parts: dict[str, list[tuple[Path, Any]]] = {}
        for member in members:
            parts.setdefault(text_of(member[1], tag), []).append(member)
        if len(parts) > 1 and all(_all_apart(part) for part in parts.values()):
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tag).lower()
            return [(f"({words} {value})", part) for value, part in sorted(parts.items(), key=_natural)]
    return [("", members)]


def _natural(item: tuple[str, Any]) -> tuple:
    number = re.fullmatch(r"-?\d+(\.\d+)?", item[0])
    return (0, float(item[0]), "") if number else (1, 0.0, item[0])


def _all_apart(members: list[tuple[Path, Any]]) -> bool:
    places = [numbers_of(header, "ImagePositionPatient", 3) for _path, header in members]
    rounded = [tuple(round(v, 3) for v in place) for place in places if place]
    return len(set(rounded)) == len(rounded)


def _order(members: list[tuple[Path, Any]]) -> tuple:
    header = members[0][1]
    return (number_of(header, "SeriesNumber") or 0.0, text_of(header, "SeriesInstanceUID"), -len(members))
