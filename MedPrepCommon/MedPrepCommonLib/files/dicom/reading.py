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

from ...core.errors import FileError, MedPrepError
from ...core.i18n import _
from ...core.integers import smallest_integers
from ...core.job import Job
from ...core.volume import Volume
from .. import checks
from . import mosaic as dicommosaic
from . import words
from .facts import base_info, display_window, lone_thickness, pixel_spacing, stack_info, thicknesses
from .geometry import stack_geometry
from .header import TAGS, frames_of, numbers_of, read_header, text_of
from .multiframe import read_multiframe
from .pixels import read_pixels
from .scan import DicomSeries, pick, scan_dicom, series_of

__all__ = ["DicomSeries", "read_file", "read_series", "scan_dicom"]

_THREADS = 4
# How much more neighbouring slices differ than every second one where two scans alternate.
_ALTERNATE = 1.5


def read_series(folder: Path, wanted: int | str | None = None, job: Job | None = None) -> Volume:
    """Read the series of a folder (see :func:`scan_dicom`): the only one, or the one that `wanted` names.

    Raises
    ------
    FileError
        when there is no image, several series, or a file is damaged.
    """
    job = job or Job.quiet()
    series = pick(scan_dicom(folder, job.part(0.0, 0.2)), wanted, folder)
    return _read(series, job.part(0.2, 1.0))


def read_file(path: Path, job: Job | None = None) -> Volume:
    """Read one DICOM file: a slice, or the volume of a multi-frame file or a mosaic.

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
        ).hiding(path)
    return _read(series_of([(path, header)])[0], job or Job.quiet())


def _read(series: DicomSeries, job: Job) -> Volume:
    document = words.document(series.headers[0])
    if document:
        raise FileError(
            _("{path} is no image of a patient but a picture of text: {what}.").format(
                path=series.files[0], what=document
            ),
            _("Expected an image of a patient."),
            _("Choose another series."),
        ).hiding(series.files[0])
    try:
        if frames_of(series.headers[0]) > 1:
            return read_multiframe(series.files[0], series.label, job)
        if dicommosaic.is_mosaic(series.headers[0]):
            return _read_mosaic(series.files[0], series.label, job)
        return _read_slices(series, job)
    except MedPrepError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise checks.damaged(series.files[0]) from error


def _read_slices(series: DicomSeries, job: Job) -> Volume:
    first = series.headers[0]
    files, headers, copies = list(series.files), list(series.headers), series.copies
    spacing, spacing_info = pixel_spacing(first)
    direction = numbers_of(first, "ImageOrientationPatient", 6)
    places = [numbers_of(header, "ImagePositionPatient", 3) for header in headers]
    info = base_info(headers)
    if direction is None or not all(places):
        # A projection: rows and columns as ITK and Slicer show them.
        geometry = stack_geometry(np.zeros((1, 3)), (1, 0, 0, 0, 1, 0), spacing, 1.0)
        info.update(spacing_info)
    else:
        keep, doubles = _distinct(files, headers, places)
        copies += doubles
        files, headers = [files[n] for n in keep], [headers[n] for n in keep]
        geometry = stack_geometry(
            np.array([places[n] for n in keep]),
            direction,
            spacing,
            lone_thickness(first),
            thicknesses(headers),
        )
        info.update(stack_info(geometry, headers))
    if copies:
        info["duplicateSlices"] = copies
    array = _pixels([(files[n], headers[n]) for n in geometry.order], job)
    if series.repeats and _alternates(array):
        raise FileError(
            _("Image numbers come twice in {path}, and its slices differ from one to the next.").format(
                path=files[0].parent
            ),
            _("Expected one scan: this looks like two that interleave under one identifier."),
            _("Separate them into folders of their own and read one at a time."),
        ).hiding(files[0].parent)
    array = geometry.laid_out(array)
    return Volume(
        array, geometry.ijkToRAS, series.label, text_of(first, "Modality"), info, display_window(headers)
    )


def _read_mosaic(path: Path, name: str, job: Job) -> Volume:
    header = read_header(path, (*TAGS, *dicommosaic.TAGS))
    mosaic = dicommosaic.read_mosaic(path, header)
    job.report(0.1, _("Reading the mosaic"))
    geometry = stack_geometry(mosaic.positions, mosaic.direction, mosaic.spacing, lone_thickness(header))
    slices = geometry.laid_out(mosaic.cut(_slice(path, header))[list(geometry.order)])
    info = {**base_info([header]), **stack_info(geometry, [header] * mosaic.count), "mosaic": mosaic.count}
    return Volume(
        smallest_integers(np.ascontiguousarray(slices)),
        geometry.ijkToRAS,
        name,
        text_of(header, "Modality"),
        info,
        display_window([header]),
    )


def _alternates(array: np.ndarray) -> bool:
    """Whether slices are less like their neighbours than like the next but one."""
    if len(array) < 6:
        return False
    sample = array[:, :: max(1, array.shape[1] // 64), :: max(1, array.shape[2] // 64)].astype(np.float32)
    beside = np.abs(sample[1:-1] - sample[:-2]).mean(axis=(1, 2))
    beyond = np.abs(sample[2:] - sample[:-2]).mean(axis=(1, 2))
    return bool(np.median(beside) > _ALTERNATE * np.median(beyond))


def _distinct(files: Sequence[Path], headers: Sequence[Any], places: Sequence[Any]) -> tuple[list[int], int]:
    """Indices of one file per place; two different images at one place are an error."""
    seen: dict[tuple, int] = {}
    keep, doubles = [], 0
    for n, place in enumerate(places):
        key = tuple(round(v, 3) for v in place)
        if key not in seen:
            seen[key] = n
            keep.append(n)
        elif np.array_equal(_slice(files[n], headers[n]), _slice(files[seen[key]], headers[seen[key]])):
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


def _pixels(members: Sequence[tuple[Path, Any]], job: Job) -> np.ndarray:
    """(k, j, i[, c]) of slices in order; as int16 when every value fits."""
    array: np.ndarray | None = None
    for n, plane in enumerate(_slices(members)):
        job.report(n / len(members), _("Reading slices"))
        if array is None:
            array = np.empty((len(members), *plane.shape), plane.dtype)
        elif plane.dtype != array.dtype:
            # Slices may be rescaled differently, so one may need a wider type than the first.
            wider = np.result_type(plane.dtype, array.dtype)
            array = array.astype(wider, copy=False)
        array[n] = plane
    assert array is not None
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return smallest_integers(array)


def _slices(members: Sequence[tuple[Path, Any]]) -> Iterator[np.ndarray]:
    """The slices in order, decoded by a few threads that stay a little ahead."""
    if len(members) < 4:
        yield from itertools.starmap(_slice, members)
        return
    pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))
    try:
        remaining = iter(members)
        ahead = deque(pool.submit(_slice, *member) for member in itertools.islice(remaining, 2 * _THREADS))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(_slice, *member) for member in itertools.islice(remaining, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _slice(path: Path, header: Any) -> np.ndarray:
    """(j, i[, c]) of a single-frame file, rescaled."""
    return read_pixels(path, header)[0]
