"""Which DICOM images make one volume: a patient, study, frame and series, one image a place.

Identifiers alone do not tell: anonymisers empty them, write one for all, or leave a series' number to two
patients. An empty identifier equals nothing, a repeated one proves nothing; places, times, image numbers and,
where these agree, the pixels decide.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .header import frames_of, number_of, numbers_of, text_of
from .mosaic import is_mosaic
from .pixels import read_pixels

Member = tuple[Path, Any]

# Direction cosines and millimetres per pixel of one stack differ by less.
_SAME_PLANE = 1e-3
# Digits of a millimetre that count as one place.
_PLACE = 3
# What tells apart images of one series that were taken at the same place, likeliest first.
_SPLITTERS = (
    "AcquisitionNumber",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "NominalPercentageOfCardiacPhase",
    "DiffusionBValue",
    "ImageType",
    "EchoTime",
    "InversionTime",
    "FlipAngle",
    "KVP",
    "ConvolutionKernel",
    "DiffusionGradientOrientation",
    "AcquisitionDateTime",
    "AcquisitionTime",
)
# When an image was taken, beside where.
_TIMES = ("AcquisitionDateTime", "AcquisitionTime", "TriggerTime", "TemporalPositionIdentifier")
# What two scans that interleave differ in, if in anything.
_SCAN = (*_SPLITTERS[:-2], "SliceThickness", "Manufacturer", "AcquisitionDateTime", "AcquisitionTime")


@dataclass(frozen=True)
class Stack:
    """Images that make one volume.

    Parameters
    ----------
    label : what tells it from others of its series, "" where there is none.
    members : path and header of each image.
    copies : files left out because another one holds the same image.
    repeats : image numbers come twice although no image lies at another's place: perhaps two scans.
    """

    label: str
    members: tuple[Member, ...]
    copies: int = 0
    repeats: bool = False


def stacks_of(members: Iterable[Member]) -> list[Stack]:
    """The volumes that some images make, in the order of their series numbers."""
    groups: dict[tuple, list[Member]] = {}
    for path, header in members:
        groups.setdefault(_key(header), []).append((path, header))
    alike = [part for group in groups.values() for part in _by_frame_of_reference(group)]
    stacks = [stack for group in alike for part in _by_plane(group) for stack in _stacks(part)]
    return sorted(stacks, key=_order)


def _key(header: Any) -> tuple:
    """What all images of one volume have in common, beside the frame of reference."""
    series = text_of(header, "SeriesInstanceUID")
    identity = ("PatientID", "StudyInstanceUID", "SeriesNumber", "Modality")
    instead = () if series else ("SeriesDescription", "ProtocolName", "ConvolutionKernel", "SequenceName")
    single = frames_of(header) > 1 or is_mosaic(header) or _place(header) is None
    return (
        series,
        *(text_of(header, tag) for tag in (*identity, *instead, "Rows", "Columns", "SamplesPerPixel")),
        # Every file of several slices, and every image without a position, is a volume of its own.
        (text_of(header, "SOPInstanceUID"),) if single else None,
    )


def _by_frame_of_reference(members: list[Member]) -> list[list[Member]]:
    parts: dict[str, list[Member]] = {}
    for member in members:
        parts.setdefault(text_of(member[1], "FrameOfReferenceUID"), []).append(member)
    # One for each file was made up by whoever replaced the identifiers.
    return [members] if len(parts) == len(members) > 2 else list(parts.values())


def _by_plane(members: list[Member]) -> list[list[Member]]:
    """Images of the same direction and pixel size; with a tolerance, as scanners write rounding noise."""
    parts: list[tuple[tuple[float, ...], list[Member]]] = []
    for member in members:
        plane = _plane(member[1])
        for other, part in parts:
            if len(plane) == len(other) and all(
                abs(a - b) < _SAME_PLANE for a, b in zip(plane, other, strict=True)
            ):
                part.append(member)
                break
        else:
            parts.append((plane, [member]))
    return [part for _plane_of_all, part in parts]


def _plane(header: Any) -> tuple[float, ...]:
    direction = numbers_of(header, "ImageOrientationPatient", 6) or ()
    return (*direction, *(numbers_of(header, "PixelSpacing", 2) or ()))


def _place(header: Any) -> tuple[float, ...] | None:
    place = numbers_of(header, "ImagePositionPatient", 3)
    return None if place is None else tuple(round(v, _PLACE) + 0.0 for v in place)


def _stacks(members: list[Member]) -> list[Stack]:
    members, copies = _without_copies(members)
    first = members[0][1]
    if _place(first) is None or frames_of(first) > 1 or is_mosaic(first):
        return [Stack("", (member,), copies if n == 0 else 0) for n, member in enumerate(members)]
    parts, repeats = _split(members)
    return [
        Stack(label, tuple(part), copies if n == 0 else 0, repeats) for n, (label, part) in enumerate(parts)
    ]


def _without_copies(members: list[Member]) -> tuple[list[Member], int]:
    """The images without those whose place, time and pixels are another's, and how many those are."""
    alike: dict[tuple, list[Member]] = {}
    for member in members:
        header = member[1]
        key = (_place(header), *(text_of(header, tag) for tag in (*_SPLITTERS, *_TIMES)))
        alike.setdefault(key, []).append(member)
    if len(alike) == len(members):
        return members, 0
    kept: list[Member] = []
    for group in alike.values():
        images: list[np.ndarray] = []
        for path, header in group:
            image = read_pixels(path, header) if len(group) > 1 else None
            if image is not None and any(np.array_equal(image, other) for other in images):
                continue
            if image is not None:
                images.append(image)
            kept.append((path, header))
    return kept, len(members) - len(kept)


def _split(members: list[Member]) -> tuple[list[tuple[str, list[Member]]], bool]:
    """The group itself, or parts told apart by what their headers say; and whether a doubt is left."""
    if not _all_apart(members):
        most = max(Counter(_place(header) for _path, header in members).values())

        def complete(parts: Sequence[Sequence[Member]]) -> bool:
            return len(parts) == most and all(map(_all_apart, parts))

        def apart(parts: Sequence[Sequence[Member]]) -> bool:
            return all(map(_all_apart, parts)) and min(map(len, parts)) > 1

        parts = _parted(members, _SPLITTERS, complete) or _in_turn(members)
        return parts or _parted(members, _SPLITTERS, apart) or [("", members)], False
    if not _numbers_repeat(members):
        return [("", members)], False

    def scans(parts: Sequence[Sequence[Member]]) -> bool:
        whole = all(len(part) > 1 and not _numbers_repeat(part) for part in parts)
        return whole and _interleave(parts)

    found = _parted(members, _SCAN, scans)
    return (found, False) if found else ([("", members)], True)


def _parted(
    members: list[Member], tags: Sequence[str], good: Callable[[list[list[Member]]], bool]
) -> list[tuple[str, list[Member]]] | None:
    """Parts by the first element, or pair of elements, whose parts are good; else by folder."""
    varying = [tag for tag in tags if len({text_of(header, tag) for _path, header in members}) > 1]
    for chosen in [*((tag,) for tag in varying), *itertools.combinations(varying, 2)]:
        parts: dict[tuple[str, ...], list[Member]] = {}
        for member in members:
            parts.setdefault(tuple(text_of(member[1], tag) for tag in chosen), []).append(member)
        if good(list(parts.values())):
            found = sorted(parts.items(), key=lambda item: [_natural(text) for text in item[0]])
            return [(_label(chosen, values), part) for values, part in found]
    folders: dict[Path, list[Member]] = {}
    for member in members:
        folders.setdefault(member[0].parent, []).append(member)
    if len(folders) > 1 and good(list(folders.values())):
        return [(f"(folder {n})", part) for n, (_path, part) in enumerate(sorted(folders.items()), start=1)]
    return None


def _in_turn(members: list[Member]) -> list[tuple[str, list[Member]]] | None:
    """Time points by their image numbers, which count through all places or stay at one."""
    numbered = sorted((number_of(header, "InstanceNumber") or 0, n) for n, (_p, header) in enumerate(members))
    places = len({_place(header) for _path, header in members})
    ordered = [members[n] for _number, n in numbered]
    if len({number for number, _n in numbered}) < len(members) or len(members) % places:
        return None
    times = len(members) // places
    volumes = [ordered[n : n + places] for n in range(0, len(ordered), places)]
    turns = [ordered[n::times] for n in range(times)]
    parts = next((parts for parts in (volumes, turns) if all(map(_all_apart, parts))), [])
    return [(f"(time {n})", part) for n, part in enumerate(parts, start=1)] or None


def _label(tags: Sequence[str], values: Sequence[str]) -> str:
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tag).lower() for tag in tags]
    return "(" + ", ".join(f"{word} {value}" for word, value in zip(words, values, strict=True)) + ")"


def _natural(text: str) -> tuple:
    number = re.fullmatch(r"-?\d+(\.\d+)?", text)
    return (0, float(text), "") if number else (1, 0.0, text)


def _all_apart(members: Sequence[Member]) -> bool:
    places = [_place(header) for _path, header in members]
    return len(set(places)) == len(places)


def _numbers_repeat(members: Sequence[Member]) -> bool:
    """Whether image numbers come twice; one for all, or one that is absent, says nothing."""
    numbers = Counter(number_of(header, "InstanceNumber") for _path, header in members)
    return None not in numbers and len(numbers) > 1 and max(numbers.values()) > 1


def _interleave(parts: Sequence[Sequence[Member]]) -> bool:
    """Whether two parts of one direction share a stretch of the patient."""
    direction = numbers_of(parts[0][0][1], "ImageOrientationPatient", 6)
    if direction is None:
        return False
    normal = np.cross(direction[:3], direction[3:])
    along = [[float(np.dot(normal, _place(header) or (0, 0, 0))) for _p, header in part] for part in parts]
    extents = sorted((min(values), max(values)) for values in along)
    return any(b[0] < a[1] for a, b in itertools.pairwise(extents))


def _order(stack: Stack) -> tuple:
    header = stack.members[0][1]
    series = (number_of(header, "SeriesNumber") or 0.0, text_of(header, "SeriesInstanceUID"))
    return (*series, text_of(header, "PatientID"), text_of(header, "StudyInstanceUID"), -len(stack.members))
