"""Pixels of one DICOM file: plain ones are taken as they lie there, others decoded by GDCM through ITK."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ...core.errors import FileError
from ...core.i18n import _
from .. import checks
from .header import Pixels, frames_of, inflate, number_of, read_header, text_of

_RUN_LENGTH = "1.2.840.10008.1.2.5"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT = "1.2.840.10008.1.2"
_PLAIN = "1.2.840.10008.1.2.1"
# Secondary capture, of one frame and of several: what says nothing about the values.
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7.3"
_PIXEL_MODULE_WORDS = """
    Rows Columns NumberOfFrames SamplesPerPixel PlanarConfiguration PhotometricInterpretation BitsAllocated
    BitsStored HighBit PixelRepresentation RedPaletteColorLookupTableDescriptor
    GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor
    RedPaletteColorLookupTableData GreenPaletteColorLookupTableData BluePaletteColorLookupTableData
    SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
    SegmentedBluePaletteColorLookupTableData
"""
_PIXEL_MODULE = tuple(_PIXEL_MODULE_WORDS.split())


def read_pixels(path: Path, header: Any, rescales: Sequence[tuple[float, float]] = ()) -> np.ndarray:
    """(frame, j, i[, c]) of a DICOM file, rescaled and MONOCHROME2.

    Parameters
    ----------
    header : from :func:`.header.read_header`.
    rescales : (slope, intercept) of each frame, where the file's groups say; else the header's for all.

    Raises
    ------
    FileError
        when the pixels cannot be decoded, or are others than the header says.
    """
    rescales = rescales or [rescale_of(header)]
    if header.pixels.coded or not _is_plain(header):
        _refuse_wrong_decoding(path, header)
        stored = _decoded(path, header)
    else:
        stored = _stored(path, header)
    if header.pixels.kind != "integer" or stored.ndim == 4:
        return stored
    if len(set(rescales)) == 1:
        return _rescaled(stored, header, rescales[0])
    planes = [_rescaled(plane, header, own) for plane, own in zip(stored, rescales, strict=True)]
    return np.stack(planes).astype(np.result_type(*{plane.dtype for plane in planes}), copy=False)


def rescale_of(header: Any) -> tuple[float, float]:
    """(slope, intercept) of a slice; (1, 0) when it has none."""
    slope, intercept = number_of(header, "RescaleSlope"), number_of(header, "RescaleIntercept")
    return (1.0 if slope is None else slope, 0.0 if intercept is None else intercept)


def inverted(header: Any, stored: Any) -> Any:
    """Stored values with low as dark: those of MONOCHROME1 turned within their bits."""
    if text_of(header, "PhotometricInterpretation") != "MONOCHROME1":
        return stored
    low, high = stored_range(header)
    return low + high - stored


def stored_range(header: Any) -> tuple[int, int]:
    """The least and the largest value that the stored bits can hold."""
    bits = int(number_of(header, "BitsStored") or number_of(header, "BitsAllocated") or 16)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if _is_signed(header) else (0, 2**bits - 1)


def _is_signed(header: Any) -> bool:
    return number_of(header, "PixelRepresentation") == 1


def _is_plain(header: Any) -> bool:
    """Whether the values lie in the file one after the other, as numpy's types hold them."""
    if header.pixels.kind != "integer":
        return True
    allocated = number_of(header, "BitsAllocated")
    stored, high = number_of(header, "BitsStored"), number_of(header, "HighBit")
    return (
        allocated in (8, 16, 32)
        and (stored is None or 1 <= stored <= allocated)
        and (high is None or (stored or allocated) - 1 <= high < allocated)
        and (number_of(header, "SamplesPerPixel") or 1) == 1
        and text_of(header, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2", "")
    )


def _stored(path: Path, header: Any) -> np.ndarray:
    """(frame, j, i) of plain values, without what other bits of their bytes hold."""
    where = header.pixels
    order = "<" if where.little else ">"
    if where.kind == "integer":
        size = int(header.BitsAllocated) // 8
        dtype = np.dtype(f"{order}{'i' if _is_signed(header) else 'u'}{size}")
    else:
        dtype = np.dtype(order + ("f4" if where.kind == "float" else "f8"))
    data = _bytes(path, where)
    if dtype.itemsize == 1 and where.words and not where.little:
        data = np.frombuffer(data + bytes(len(data) % 2), "u2").byteswap().tobytes()
    shape = (frames_of(header), int(header.Rows), int(header.Columns))
    values = np.frombuffer(data, dtype, int(np.prod(shape))).reshape(shape)
    values = values.astype(dtype.newbyteorder("="), copy=False)
    if where.kind != "integer":
        return values
    allocated = 8 * dtype.itemsize
    bits = int(number_of(header, "BitsStored") or allocated)
    high = int(number_of(header, "HighBit") or bits - 1)
    if bits < allocated:
        # Shifting left and back drops what lies above, and spreads the sign.
        values = np.right_shift(np.left_shift(values, allocated - 1 - high), allocated - bits)
    return values


def _bytes(path: Path, where: Pixels) -> bytes:
    """The values as they lie in the file."""
    if where.syntax == _DEFLATED:
        data = inflate(path, where.start + where.length)[where.start :]
    else:
        with open(path, "rb") as file:
            file.seek(where.start)
            data = file.read(where.length)
    if len(data) < where.length:
        raise checks.damaged(path)
    return data


def _rescaled(stored: np.ndarray, header: Any, how: tuple[float, float]) -> np.ndarray:
    slope, intercept = how
    low, high = stored_range(header)
    turned = text_of(header, "PhotometricInterpretation") == "MONOCHROME1"
    if not turned and how == (1.0, 0.0):
        return stored
    ends = sorted((slope * low + intercept, slope * high + intercept))
    if not (float(slope).is_integer() and float(intercept).is_integer()) or max(map(abs, ends)) >= 2**53:
        return inverted(header, stored.astype(np.float64)) * slope + intercept
    reach = (abs(slope) + 1) * 2 ** (8 * stored.dtype.itemsize) + abs(intercept)
    wide = np.int32 if reach < 2**31 else np.int64
    values = inverted(header, stored.astype(wide)) * wide(slope) + wide(intercept)
    fitting = (np.uint8, np.int16, np.uint16, np.int32)
    limits = ((dtype, np.iinfo(dtype)) for dtype in fitting)
    narrow = next((dtype for dtype, n in limits if n.min <= ends[0] and ends[1] <= n.max), wide)
    return values.astype(narrow, copy=False)


def _refuse_wrong_decoding(path: Path, header: Any) -> None:
    """GDCM mixes up the bytes of run-length coded colours deeper than 8 bits, without a word."""
    deep = (number_of(header, "BitsAllocated") or 0) > 8 and (number_of(header, "SamplesPerPixel") or 1) > 1
    if header.pixels.syntax == _RUN_LENGTH and deep:
        raise FileError(
            _("{path} holds run-length coded colours of more than 8 bits.").format(path=path),
            _("Expected another coding of the pixels."),
            _("Export the image uncompressed."),
        ).hiding(path)


def _decoded(path: Path, header: Any) -> np.ndarray:
    """(frame, j, i[, c]) of stored values, as GDCM decodes them.

    It is given the pixels and what describes them, nothing else: other elements, and what follows the pixels,
    have made it loop, and its choice of a rescale depends on the class of the object.
    """
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "image.dcm")
        _write_bare(path, header, name)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(name)
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise checks.damaged(path) from error
    array = sitk.GetArrayFromImage(image)
    array = array if image.GetDimension() == 3 else array[np.newaxis]
    if array.shape[:3] != (frames_of(header), int(header.Rows), int(header.Columns)):
        raise checks.damaged(path)
    return array


def _write_bare(path: Path, header: Any, name: str) -> None:
    """A DICOM file of the pixels alone; low is dark in it as it lies, whatever the file says."""
    import pydicom

    where: Pixels = header.pixels
    source = read_header(path, _PIXEL_MODULE)
    bare = pydicom.Dataset()
    bare.SOPClassUID = _CAPTURE if frames_of(header) == 1 else _CAPTURES
    bare.SOPInstanceUID = "1.2.3"
    for keyword in _PIXEL_MODULE:
        if keyword in source:
            bare[keyword] = source[keyword]
    if text_of(bare, "PhotometricInterpretation") in ("MONOCHROME1", ""):
        bare.PhotometricInterpretation = "MONOCHROME2"
    bare.PixelData = _bytes(path, where)
    bare["PixelData"].VR = "OB" if where.coded or not where.words else "OW"
    syntax = _PLAIN if where.syntax in ("", _DEFLATED) else where.syntax
    if where.coded:
        bare["PixelData"].is_undefined_length = True
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = syntax
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        implicit, little = syntax == _IMPLICIT, where.little
        bare.save_as(name, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
