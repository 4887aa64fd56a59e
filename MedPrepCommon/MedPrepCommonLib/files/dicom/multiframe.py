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
from .. import checks
from .facts import base_info, display_window, lone_thickness, rescale_of, stack_info
from .geometry import stack_geometry
from .pixels import read_pixels
from .scan import TAGS, number_of, numbers_of, read_header, text_of


def read_multiframe(path: Path, name: str, job: Job) -> Volume:
    """Read a multi-frame file whose frames form one stack.

    Raises
    ------
    FileError
        when the frames have no positions (cine, rotating X-ray), several lie at one place (time points,
        echoes), or they point in different directions.
    """
    header = read_header(path, tags=None)
    if header is None:
        raise checks.damaged(path)
    frames = [_Frame(header, n) for n in range(int(number_of(header, "NumberOfFrames") or 1))]
    directions = {frame.direction for frame in frames}
    spacings = {frame.spacing for frame in frames}
    if None in directions or None in spacings or any(frame.place is None for frame in frames):
        raise FileError(
            _("{path} has {n} frames without a place in the patient.").format(path=path, n=len(frames)),
            _("Expected a stack of slices (enhanced CT or MR)."),
            _("Save the frame that you need as an image of its own."),
        )
    if len({tuple(round(v, 3) + 0.0 for v in d) for d in directions}) > 1 or len(spacings) > 1:
        raise FileError(
            _("{path} has frames in different directions or sizes.").format(path=path),
            _("Expected one stack of parallel slices."),
            _("Export each stack as a series of its own."),
        )
    places = np.array([frame.place for frame in frames])
    if len({tuple(np.round(place, 3)) for place in places}) < len(frames):
        raise FileError(
            _("{path} has several frames at one place (time points or echoes).").format(path=path),
            _("Expected one frame per slice position."),
            _("Export each time point as a series of its own."),
        )
    first = frames[0]
    geometry = stack_geometry(places, first.direction, first.spacing, lone_thickness(first.measures))
    job.report(0.1, _("Reading frames"))
    array = read_pixels(path)
    if array.shape[:3] != (len(frames), header.Rows, header.Columns):
        raise checks.damaged(path)
    rescales = [frame.rescale for frame in frames]
    array = _as_each_frame_says(array, rescales)[list(geometry.order)]
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    info = {**base_info([first.header]), **stack_info(geometry)}
    if len(set(rescales)) > 1:
        for key in ("rescaleSlope", "rescaleIntercept", "padding"):
            info.pop(key, None)
    return Volume(
        smallest_integers(array),
        geometry.ijkToRAS,
        name,
        text_of(header, "Modality"),
        info,
        display_window(first.header),
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
    def header(self) -> Any:
        """The file's header with this frame's own elements where a single-frame file has them."""
        import pydicom

        merged = pydicom.Dataset()
        for source in (self._top, self.measures, self._values, self._group("FrameVOILUTSequence")):
            for tag in TAGS:
                if tag in source:
                    setattr(merged, tag, source.get(tag))
        return merged


def _as_each_frame_says(array: np.ndarray, rescales: list[tuple[float, float]]) -> np.ndarray:
    """ITK rescales every frame as the first one says; where they differ, each by its own."""
    if len(set(rescales)) == 1:
        return array
    slope, intercept = rescales[0]
    result = np.empty(array.shape, np.float32)
    for n, (own_slope, own_intercept) in enumerate(rescales):
        stored = np.rint((array[n] - intercept) / slope)
        result[n] = stored * own_slope + own_intercept
    return result
