"""Multi-frame DICOM (enhanced CT and MR): one file, a stack of frames placed by functional groups.

DICOM PS3.3 C.7.6.16: what is the same for all frames stands in the shared groups, the rest per frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import FileError
from ...core.i18n import _
from ...core.integers import smallest_integers
from ...core.job import Job
from ...core.volume import Volume
from .facts import base_info, display_window, lone_thickness, stack_info
from .geometry import stack_geometry
from .header import TAGS, frames_of, numbers_of, read_header, text_of
from .pixels import read_pixels, rescale_of

# Elements of a single-frame file, and where the groups of a frame keep what they say.
_ELSEWHERE = (
    ("EchoTime", "MREchoSequence", "EffectiveEchoTime"),
    ("RepetitionTime", "MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    ("FlipAngle", "MRTimingAndRelatedParametersSequence", "FlipAngle"),
    ("EchoTrainLength", "MRTimingAndRelatedParametersSequence", "EchoTrainLength"),
    ("InversionTime", "MRModifierSequence", "InversionTimes"),
    ("DiffusionBValue", "MRDiffusionSequence", "DiffusionBValue"),
    ("ImageType", "MRImageFrameTypeSequence", "FrameType"),
    ("ImageType", "CTImageFrameTypeSequence", "FrameType"),
    ("ConvolutionKernel", "CTReconstructionSequence", "ConvolutionKernel"),
    ("KVP", "CTXRayDetailsSequence", "KVP"),
    ("FrameLaterality", "FrameAnatomySequence", "FrameLaterality"),
    ("AnatomicRegionSequence", "FrameAnatomySequence", "AnatomicRegionSequence"),
)


def read_multiframe(path: Path, name: str, job: Job) -> Volume:
    """Read a multi-frame file whose frames form one stack.

    Raises
    ------
    FileError
        when the frames have no positions (cine, rotating X-ray), several lie at one place (time points,
        echoes), or they point in different directions.
    """
    header = read_header(path, tags=None)
    frames = [_Frame(header, n) for n in range(frames_of(header))]
    directions = {frame.direction for frame in frames}
    spacings = {frame.spacing for frame in frames}
    direction, spacing = frames[0].direction, frames[0].spacing
    placed = None not in directions | spacings and all(frame.place is not None for frame in frames)
    if not placed or direction is None or spacing is None:
        raise FileError(
            _("{path} has {n} frames without a place in the patient.").format(path=path, n=len(frames)),
            _("Expected a stack of slices (enhanced CT or MR)."),
            _("Save the frame that you need as an image of its own."),
        ).hiding(path)
    if len({tuple(round(v, 3) + 0.0 for v in d or ()) for d in directions}) > 1 or len(spacings) > 1:
        raise FileError(
            _("{path} has frames in different directions or sizes.").format(path=path),
            _("Expected one stack of parallel slices."),
            _("Export each stack as a series of its own."),
        ).hiding(path)
    places = np.array([frame.place for frame in frames])
    if len({tuple(np.round(place, 3)) for place in places}) < len(frames):
        raise FileError(
            _("{path} has several frames at one place (time points or echoes).").format(path=path),
            _("Expected one frame per slice position."),
            _("Export each time point as a series of its own."),
        ).hiding(path)
    first = frames[0]
    geometry = stack_geometry(places, direction, spacing, lone_thickness(first.measures))
    job.report(0.1, _("Reading frames"))
    rescales = [frame.rescale for frame in frames]
    array = geometry.laid_out(read_pixels(path, header, rescales)[list(geometry.order)])
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    headers = [frame.header for frame in frames]
    info = {**base_info(headers[:1]), **stack_info(geometry, headers)}
    if len(set(rescales)) > 1:
        for key in ("rescaleSlope", "rescaleIntercept", "padding"):
            info.pop(key, None)
    return Volume(
        smallest_integers(array),
        geometry.ijkToRAS,
        name,
        text_of(header, "Modality"),
        info,
        display_window(headers),
    )


class _Frame:
    """One frame's functional groups, its own before the shared ones."""

    def __init__(self, header: Any, number: int) -> None:
        groups = [
            header.get(tag) or []
            for tag in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
        ]
        self._groups = [g for g in (groups[0][number : number + 1], groups[1][:1]) if len(g)]
        self.measures = self._group("PixelMeasuresSequence")
        self.place = numbers_of(self._group("PlanePositionSequence"), "ImagePositionPatient", 3)
        self.direction = numbers_of(self._group("PlaneOrientationSequence"), "ImageOrientationPatient", 6)
        self.spacing = numbers_of(self.measures, "PixelSpacing", 2)
        self._values = self._group("PixelValueTransformationSequence")
        self.rescale = rescale_of(self._values)
        self._top = header

    def _group(self, name: str) -> Any:
        for group in self._groups:
            found = group[0].get(name)
            if found:
                return found[0]
        return {}

    @property
    def header(self) -> _Merged:
        """The file's elements, and this frame's own where a single-frame file has them."""
        merged = _Merged()
        for source in (self._top, self.measures, self._values, self._group("FrameVOILUTSequence")):
            merged.update({tag: source.get(tag) for tag in TAGS if tag in source})
        for tag, group, element in _ELSEWHERE:
            value = self._group(group).get(element)
            if value not in (None, ""):
                merged[tag] = value
        merged.pixels = self._top.pixels
        return merged


class _Merged(dict):
    """Elements by keyword, asked for as a pydicom data set is."""

    pixels: Any
