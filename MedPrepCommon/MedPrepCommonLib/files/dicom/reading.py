"""DICOM files and folders to Volumes.

Headers are read with pydicom, pixels with ITK (GDCM decodes every transfer syntax and turns MONOCHROME1 into
MONOCHROME2). The geometry comes from the positions of all slices, so that a tilted gantry, missing or
unevenly spaced slices are seen and not straightened.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import FileError
from ...core.i18n import _
from ...core.integers import smallest_integers
from ...core.job import Job
from ...core.volume import Volume
from .. import checks
from .facts import base_info, display_window, lone_thickness, pixel_spacing, stack_info
from .geometry import stack_geometry
from .multiframe import read_multiframe
from .pixels import read_pixels
from .scan import DicomSeries, number_of, numbers_of, pick, read_header, scan_dicom, text_of

__all__ = ["DicomSeries", "read_file", "read_series", "scan_dicom"]

_THREADS = 4
_RUN_LENGTH = "1.2.840.10008.1.2.5"


def read_series(folder: Path, wanted: int | str | None = None, job: Job | None = None) -> Volume:
    """Read the series of a folder (see :func:`scan_dicom`): the only one, or the one that `wanted` names.

    Raises
    ------
    FileError
        when there is no image, several series, or a file is damaged.
    """
    job = job or Job.quiet()
    series = pick(scan_dicom(folder, job.part(0.0, 0.2)), wanted, folder)
    return _read(series.files, series.headers, series.description, series.copies, job.part(0.2, 1.0))


def read_file(path: Path, job: Job | None = None) -> Volume:
    """Read one DICOM file: a slice, or the volume of a multi-frame file.

    Raises
    ------
    FileError
        when it holds no image, is damaged, or its frames are no stack.
    """
    header = read_header(path)
    if header is None:
        raise FileError(
            _("{path} holds no image.").format(path=path),
            _("Expected a DICOM file with pixels."),
            _("Choose another file, or the folder of the series."),
        )
    description = text_of(header, "SeriesDescription") or text_of(header, "ProtocolName")
    return _read((path,), (header,), description, 0, job or Job.quiet())


def _read(files: Sequence[Path], headers: Sequence[Any], name: str, copies: int, job: Job) -> Volume:
    first = headers[0]
    _refuse_wrong_decoding(files[0], first)
    if len(files) == 1 and (number_of(first, "NumberOfFrames") or 1) > 1:
        return read_multiframe(files[0], name, job)
    spacing, spacing_info = pixel_spacing(first)
    direction = numbers_of(first, "ImageOrientationPatient", 6)
    places = [numbers_of(header, "ImagePositionPatient", 3) for header in headers]
    info = base_info(headers)
    if direction is None or not all(places):
        if len(files) > 1:
            raise FileError(
                _("{n} of the {total} images of the series have no position.").format(
                    n=sum(place is None for place in places), total=len(files)
                ),
                _("Expected ImagePositionPatient and ImageOrientationPatient in each."),
                _("Read one file at a time."),
            )
        # A projection: rows and columns as ITK and Slicer show them.
        geometry = stack_geometry(np.zeros((1, 3)), (1, 0, 0, 0, 1, 0), spacing, 1.0)
        info.update(spacing_info)
        files, order = list(files), (0,)
    else:
        keep, doubles = _distinct(files, places)
        copies += doubles
        files = [files[n] for n in keep]
        geometry = stack_geometry(
            np.array([places[n] for n in keep]), direction, spacing, lone_thickness(first)
        )
        info.update(stack_info(geometry))
        order = geometry.order
        if len(files) == 1:
            tilt = number_of(first, "GantryDetectorTilt")
            info.update(gantryTilt=abs(tilt) if tilt is not None else 0.0)
    if copies:
        info["duplicateSlices"] = copies
    array = _pixels([files[n] for n in order], (first.Rows, first.Columns), job)
    return Volume(array, geometry.ijkToRAS, name, text_of(first, "Modality"), info, display_window(first))


def _refuse_wrong_decoding(path: Path, header: Any) -> None:
    """GDCM mixes up the bytes of run-length coded colours deeper than 8 bits, without a word."""
    syntax = str(header.file_meta.get("TransferSyntaxUID", "")) if hasattr(header, "file_meta") else ""
    deep = (number_of(header, "BitsAllocated") or 0) > 8 and (number_of(header, "SamplesPerPixel") or 1) > 1
    if syntax == _RUN_LENGTH and deep:
        raise FileError(
            _("{path} holds run-length coded colours of more than 8 bits.").format(path=path),
            _("Expected another coding of the pixels."),
            _("Export the image uncompressed."),
        )


def _distinct(files: Sequence[Path], places: Sequence[Any]) -> tuple[list[int], int]:
    """Indices of one file per place; two different images at one place are an error."""
    seen: dict[tuple, int] = {}
    keep, doubles = [], 0
    for n, place in enumerate(places):
        key = tuple(round(v, 3) for v in place)
        if key not in seen:
            seen[key] = n
            keep.append(n)
        elif np.array_equal(_slice(files[n]), _slice(files[seen[key]])):
            doubles += 1
        else:
            raise FileError(
                _("The series has several different images at the place {place}.").format(
                    place=", ".join(f"{v:g}" for v in place)
                ),
                _("Expected one image per slice position."),
                _("Separate the time points, echoes or reconstructions, and read one at a time."),
            )
    return keep, doubles


def _pixels(files: Sequence[Path], shape: tuple[int, int], job: Job) -> np.ndarray:
    """(k, j, i[, c]) of slices in order; as int16 when every value fits."""
    array: np.ndarray | None = None
    for n, plane in enumerate(_slices(files)):
        job.report(n / len(files), _("Reading slices"))
        if plane.shape[:2] != tuple(shape):
            raise checks.damaged(files[n])
        if array is None:
            array = np.empty((len(files), *plane.shape), plane.dtype)
        elif plane.dtype != array.dtype:
            # Slices may be rescaled differently, so one may need a wider type than the first.
            wider = np.result_type(plane.dtype, array.dtype)
            array = array.astype(wider, copy=False)
        array[n] = plane
    assert array is not None
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return smallest_integers(array)


def _slices(files: Sequence[Path]) -> Iterator[np.ndarray]:
    """The slices in order, decoded by a few threads that stay a little ahead."""
    if len(files) < 4:
        yield from map(_slice, files)
        return
    pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))
    try:
        remaining = iter(files)
        ahead = deque(pool.submit(_slice, path) for path in itertools.islice(remaining, 2 * _THREADS))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(_slice, path) for path in itertools.islice(remaining, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _slice(path: Path) -> np.ndarray:
    """(j, i[, c]) of a single-frame file, rescaled."""
    array = read_pixels(path)
    if array.shape[0] != 1:
        raise checks.damaged(path)
    return array[0]
