"""Image files to Volumes: NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, BMP, and DICOM files and folders.

What a file is, its first bytes tell; names without a suffix are fine. A file that is cut short or damaged
is an error, never an image with holes: ITK fills a truncated NIfTI with zeros and ignores its checksum.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.errors import FileError, MedPrepError
from ..core.i18n import _
from ..core.integers import smallest_integers
from ..core.job import Job
from ..core.terminology import TISSUE, segment_from_entry
from ..core.volume import LabelVolume, Segment, Volume
from . import checks, nifti_reading
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
    ".jpg",
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
    if path.name.upper() == "DICOMDIR" and path.is_file():
        path = path.parent
    folder = path.is_dir()
    volume = reading.read_series(path, series, job) if folder else _read_file(path, job)
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
        "nifti": lambda: _nifti(path),
        "dicom": lambda: reading.read_file(path, job),
        "nrrd": lambda: _nrrd(path),
        "metaimage": lambda: _metaimage(path),
        "png": lambda: _picture(path, "PNGImageIO"),
        "jpeg": lambda: _picture(path, "JPEGImageIO"),
        "tiff": lambda: _picture(path, "TIFFImageIO"),
        "bmp": lambda: _picture(path, "BMPImageIO"),
    }
    if kind not in readers:
        raise FileError(
            _("{path} is not an image that MedPrep can read.").format(path=path),
            _("Expected {formats}.").format(formats=_FORMATS),
            _("Convert it, for example with Slicer, or check that the file is complete."),
        )
    try:
        return readers[kind]()
    except MedPrepError:
        raise
    except OSError as error:
        raise checks.unreadable(path, error) from error


def _nifti(path: Path) -> Volume:
    volume = nifti_reading.read_nifti(path)
    return volume.with_array(smallest_integers(volume.array))


def _itk(path: Path, io: str) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(io)
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
        if reader.GetDimension() > 3:
            raise checks.four_dimensional(path, reader.GetSize())
        if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
            raise checks.complex_values(path)
        return reader.Execute()
    except RuntimeError as error:
        raise checks.damaged(path) from error


def _nrrd(path: Path) -> Volume:
    checks.check_nrrd(path)
    image = _itk(path, "NrrdImageIO")
    keys = image.GetMetaDataKeys()
    if any(re.fullmatch(r"Segment\d+_ID", key) for key in keys):
        return _segmentation(path, image)
    listed = any(image.GetMetaData(key) == "list" for key in keys if key.startswith("NRRD_kinds"))
    if listed and image.GetNumberOfComponentsPerPixel() > 4:
        raise checks.four_dimensional(path, (*image.GetSize(), image.GetNumberOfComponentsPerPixel()))
    volume = Volume.from_sitk(image)
    return volume.with_array(smallest_integers(volume.array))


def _metaimage(path: Path) -> Volume:
    checks.check_metaimage(path)
    image = _itk(path, "MetaImageIO")
    volume = Volume.from_sitk(image)
    modality = image.GetMetaData("Modality") if image.HasMetaDataKey("Modality") else ""
    known = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR"}
    return volume.with_array(smallest_integers(volume.array), modality=known.get(modality, ""))


def _picture(path: Path, io: str) -> Volume:
    """A PNG, JPEG, TIFF or BMP: its resolution says how to print it, not how large a pixel is."""
    if io == "JPEGImageIO":
        checks.check_jpeg(path)
    if io in ("PNGImageIO", "TIFFImageIO"):
        checks.check_channels(path, "png" if io == "PNGImageIO" else "tiff")
    image = _itk(path, io)
    volume = Volume.from_sitk(image)
    array = smallest_integers(volume.array)
    # ITK's axes are LPS: columns run to the patient's left, rows to the back, as Slicer loads a picture.
    return Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]), info={"spacingKnown": False})


def _segmentation(path: Path, image: sitk.Image) -> LabelVolume:
    """A ``.seg.nrrd`` as Slicer writes it: one layer, or several when segments may overlap."""
    stored = sitk.GetArrayFromImage(image)
    layers = stored[..., np.newaxis] if stored.ndim == 3 else stored
    numbers = sorted(
        int(m[1]) for key in image.GetMetaDataKeys() if (m := re.fullmatch(r"Segment(\d+)_ID", key))
    )

    def value(number: int, key: str, default: str) -> str:
        name = f"Segment{number}_{key}"
        return image.GetMetaData(name) if image.HasMetaDataKey(name) else default

    own = [int(value(n, "LabelValue", "1")) for n in numbers]
    distinct = len(set(own)) == len(own)
    array = np.zeros(layers.shape[:3], np.uint8 if len(own) < 256 and max(own) < 256 else np.int16)
    segments: list[Segment] = []
    for order, (number, label) in enumerate(zip(numbers, own, strict=True), start=1):
        mask = layers[..., int(value(number, "Layer", "0"))] == label
        name = value(number, "Name", value(number, "ID", f"{label}"))
        clash = array[mask]
        if clash.any():
            other = next(s.name for s in segments if s.value == clash.max())
            raise FileError(
                _("Segments {first!r} and {second!r} of {path} overlap.").format(
                    first=other, second=name, path=path
                ),
                _("Expected segments that do not overlap."),
                _("Subtract one from the other in Slicer's Segment Editor, and save again."),
            )
        final = label if distinct else order
        array[mask] = final
        color = [float(c) for c in value(number, "Color", "0.5 0.7 0.5").split()]
        entry = re.search(r"TerminologyEntry:([^|]*)", value(number, "Tags", ""))
        segments.append(segment_from_entry(final, name, entry[1] if entry else "", color))
    # The geometry does not depend on the layers.
    plain = Volume.from_sitk(image)
    return LabelVolume(array, plain.ijkToRAS, segments=tuple(segments))
