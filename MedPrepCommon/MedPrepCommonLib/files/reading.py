"""Image files to Volumes: NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, BMP, and DICOM files and folders.

What a file is, its first bytes tell; names without a suffix are fine. A file that is cut short or damaged
is an error, never an image with holes: each format has one place where its header is held against the bytes
that are there and against the bounds of :mod:`MedPrepCommonLib.bounds`, before anything is decoded.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.errors import FileError, MedPrepError
from ..core.i18n import _
from ..core.integers import smallest_integers
from ..core.job import Job
from ..core.terminology import TISSUE
from ..core.volume import LabelVolume, Segment, Volume
from . import checks, metaimage_reading, nifti_reading, nrrd_reading, picture_reading
from .dicom import reading

# Longest first, so that a.seg.nrrd is called "a".
_SUFFIXES = (
    ".seg.nrrd",
    ".nii.gz",
    ".nrrd",
    ".nhdr",
    ".nii",
    ".mha",
    ".mhd",
    ".png",
    ".jpeg",
    ".jfif",
    ".jpg",
    ".jpe",
    ".tiff",
    ".tif",
    ".bmp",
    ".dcm",
    ".ima",
)
_FORMATS = "NIfTI (.nii, .nii.gz), NRRD, MHA/MHD, PNG, JPEG, TIFF, BMP, DICOM"


def read_volume(
    path: str | os.PathLike[str],
    series: int | str | None = None,
    labels: bool = False,
    job: Job | None = None,
) -> Volume:
    """Read one image.

    Parameters
    ----------
    path : a file, or a folder that holds DICOM files (at any depth, with any names).
    series : which series of a DICOM folder: its number in the list that the error shows, its UID or the end
        of it, or its description. Needed only where there are several.
    labels : read whole numbers as a :class:`LabelVolume`; a ``.seg.nrrd`` always is one.
    job : for progress and cancel.

    Returns
    -------
    Volume
        array (k, j, i) or (k, j, i, component). DICOM values are rescaled (CT is in HU); MONOCHROME1 comes as
        MONOCHROME2 (low is dark). Integers that fit 16 bits are int16 (or as small as they were stored). A
        sheared grid (gantry tilt) keeps its sheared matrix. ``info`` holds what the file knows (see
        :mod:`MedPrepCommonLib.files.dicom.facts`), never a name, an identifier, a date or a path;
        ``spacingKnown`` is False where the file does not say how large a pixel is (it counts as 1 mm then).

    Raises
    ------
    FileError
        when it is missing, unreadable, damaged, not an image, 4-D or complex, or holds several series.
    GeometryError
        when its geometry is unusable.
    """
    path = Path(path)
    job = job or Job.quiet()
    try:
        if path.name.upper() == "DICOMDIR" and path.is_file():
            path = path.parent
        folder = path.is_dir()
        volume = reading.read_series(path, series, job) if folder else _read_file(path, job)
    except MedPrepError:
        raise
    except OSError as error:
        raise checks.unreadable(path, error) from error
    except MemoryError as error:
        raise checks.no_memory(path) from error
    except Exception as error:
        # Whatever a reader stumbles over is the file's fault; the cause is kept for who looks for it.
        raise checks.damaged(path) from error
    job.report(1.0)
    if not volume.name:
        volume = dataclasses.replace(volume, name=stem(path))
    return as_labels(volume) if labels else volume


def stem(path: str | os.PathLike[str]) -> str:
    """The file's name without its folder and image suffix: ``a.nii.gz`` and ``a.seg.nrrd`` are both "a"."""
    name = Path(path).name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def as_labels(volume: Volume) -> LabelVolume:
    """`volume` as a label map: values must be whole numbers; each gets a :class:`Segment` unless it has one.

    Raises
    ------
    FileError
        when the values are fractions, negative, or several per voxel.
    """
    if isinstance(volume, LabelVolume):
        return volume
    array = volume.array
    if volume.components > 1:
        raise FileError(
            _("{name!r} has {n} values per voxel.").format(name=volume.name, n=volume.components),
            _("Expected a label map: one whole number per voxel."),
            _("Save it as a single-channel image."),
        )
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int32)
        if not np.array_equal(whole, array):
            raise FileError(
                _("{name!r} has fractional values.").format(name=volume.name),
                _("Expected a label map: whole numbers."),
                _("Choose the label map, or leave out `labels` to read it as an image."),
            )
        array = smallest_integers(whole)
    values = np.unique(array)
    if values[0] < 0 or len(values) > 1000:
        raise FileError(
            _("{name!r} has {n} different values from {low} to {high}.").format(
                name=volume.name, n=len(values), low=values[0], high=values[-1]
            ),
            _("Expected a label map: some whole numbers from 0 up."),
            _("Choose the label map, or leave out `labels` to read it as an image."),
        )
    if values[-1] < 256:
        array = array.astype(np.uint8, copy=False)
    segments = tuple(
        Segment(int(v), _("label {value}").format(value=int(v)), TISSUE, TISSUE) for v in values if v
    )
    fields = {f.name: getattr(volume, f.name) for f in dataclasses.fields(Volume)}
    return LabelVolume(**{**fields, "array": array}, segments=segments)


def _read_file(path: Path, job: Job) -> Volume:
    kind = checks.kind_of(path)
    readers: dict[str, Callable[[], Volume]] = {
        "nifti": lambda: nifti_reading.read_nifti(path),
        "dicom": lambda: reading.read_file(path, job),
        "nrrd": lambda: nrrd_reading.read_nrrd(path),
        "metaimage": lambda: metaimage_reading.read_metaimage(path),
        **{name: lambda: picture_reading.read_picture(path, kind) for name in ("png", "jpeg", "tiff", "bmp")},
    }
    if kind not in readers:
        raise FileError(
            _("{path} is not an image that MedPrep can read.").format(path=path),
            _("Expected {formats}.").format(formats=_FORMATS),
            _("Convert it, for example with Slicer, or check that the file is complete."),
        )
    volume = readers[kind]()
    return volume if kind == "dicom" else volume.with_array(smallest_integers(volume.array))
