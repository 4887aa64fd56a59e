"""NIfTI-1 and NIfTI-2 files: voxels with their checksum verified, and the sheared grids that ITK drops.

References: https://nifti.nimh.nih.gov/nifti-1 (nifti1.h), nifti2.h.
"""

from __future__ import annotations

import gzip
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.errors import FileError, GeometryError
from ..core.i18n import _
from ..core.volume import LPS_TO_RAS, SHEAR_TOLERANCE, Volume
from . import checks

_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_COLORS = {128: 3, 2304: 4}
_COMPLEX = {32, 1792, 2048}

# Grid codes of the sform that are the scanner's own space; 3 and 4 are templates, where shear comes from an
# affine registration and the qform still says how the image was taken.
_SCANNER_CODES = (1, 2)


@dataclass(frozen=True)
class _Header:
    """What MedPrep needs of a header; `order` is "<" or ">"."""

    order: str
    sizes: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, ...]
    offset: int
    slope: float
    intercept: float
    qform: int
    sform: int
    quaternion: tuple[float, ...]
    rows: np.ndarray
    second: bool

    @property
    def components(self) -> int:
        return _COLORS.get(self.datatype, self.sizes[4])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.order + _TYPES.get(self.datatype, "u1"))

    @property
    def byte_count(self) -> int:
        return int(np.prod(self.sizes[:3])) * self.components * self.dtype.itemsize


def read_nifti(path: Path) -> Volume:
    """Read a single-file NIfTI; scaling is applied, RGB comes as (k, j, i, 3), a 2-D image as one slice.

    Raises
    ------
    FileError
        when it is damaged, 4-D, complex, or of a type that no image has.
    """
    header = _header(path)
    _check(path, header)
    data = checks.read_all(path, header.offset + header.byte_count)
    array = np.frombuffer(data, header.dtype, header.byte_count // header.dtype.itemsize, header.offset)
    i, j, k = header.sizes[:3]
    if header.datatype in _COLORS:
        array = array.reshape(k, j, i, header.components)
    elif header.components > 1:
        # A vector's components are the slowest axis in the file.
        array = np.moveaxis(array.reshape(header.components, k, j, i), 0, -1)
    else:
        array = array.reshape(k, j, i)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if header.datatype not in _COLORS:
        array = _scaled(array, header.slope, header.intercept)
    return Volume(array, _matrix(path, header))


def _header(path: Path) -> _Header:
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as stream:
        data = stream.read(540)
    if len(data) < 352:
        raise checks.damaged(path)
    second = data[4:8] == b"n+2\0"
    size = 540 if second else 348
    order = "<" if struct.unpack("<i", data[:4])[0] == size else ">"

    def unpack(form: str, at: int) -> tuple:
        return struct.unpack_from(order + form, data, at)

    if second:
        dim, pixdim = unpack("8q", 16), unpack("8d", 104)
        datatype, offset = unpack("h", 12)[0], unpack("q", 168)[0]
        slope, intercept = unpack("2d", 176)
        qform, sform = unpack("2i", 344)
        quaternion, rows = unpack("6d", 352), np.array(unpack("12d", 400))
    else:
        dim, pixdim = unpack("8h", 40), unpack("8f", 76)
        datatype, offset = unpack("h", 70)[0], int(unpack("f", 108)[0])
        slope, intercept = unpack("2f", 112)
        qform, sform = unpack("2h", 252)
        quaternion, rows = unpack("6f", 256), np.array(unpack("12f", 280))
    count = dim[0]
    if not 1 <= count <= 7 or min(dim[1 : count + 1]) < 1:
        raise checks.damaged(path)
    sizes = tuple(int(n) for n in dim[1 : count + 1]) + (1,) * (7 - count)
    scaling, codes = (slope, intercept), (qform, sform)
    rows = rows.reshape(3, 4)
    return _Header(order, sizes, datatype, pixdim, offset, *scaling, *codes, quaternion, rows, second)


def _check(path: Path, header: _Header) -> None:
    if header.datatype in _COMPLEX:
        raise checks.complex_values(path)
    if header.datatype not in _TYPES and header.datatype not in _COLORS:
        raise FileError(
            _("{path} holds values of NIfTI type {code}.").format(path=path, code=header.datatype),
            _("Expected 8- to 64-bit integers, 32- or 64-bit floating point, RGB or RGBA."),
            _("Convert it to one of these."),
        )
    several = header.sizes[4] > 1 and header.datatype in _COLORS
    if header.sizes[3] > 1 or several or max(header.sizes[5:]) > 1:
        used = [n for n in header.sizes]
        while len(used) > 3 and used[-1] == 1:
            used.pop()
        raise checks.four_dimensional(path, used)


def _scaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Values times slope plus intercept; whole numbers stay whole, others become floating point."""
    if slope == 0 or not np.isfinite([slope, intercept]).all() or (slope, intercept) == (1.0, 0.0):
        return array
    whole = array.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer()
    if whole and max(abs(slope), abs(intercept)) < 2**31 and array.dtype.itemsize <= 4:
        return array.astype(np.int64) * int(slope) + int(intercept)
    dtype = np.float32 if array.dtype.itemsize <= 2 or array.dtype == np.float32 else np.float64
    result = np.empty(array.shape, dtype)
    for plane, out in zip(array, result, strict=True):
        np.copyto(out, plane * float(slope) + float(intercept), casting="same_kind")
    return result


def _matrix(path: Path, header: _Header) -> np.ndarray:
    """IJK-to-RAS matrix: ITK's, unless the sform is sheared (which ITK replaces) or the image is 2-D."""
    sform = np.vstack([header.rows, [0, 0, 0, 1]])
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    usable = header.sform > 0 and bool(np.isfinite(sform).all() and (lengths > 1e-9).all())
    if usable and abs(np.linalg.det(sform[:3, :3] / lengths)) > 1e-6:
        axes = sform[:3, :3] / lengths
        sheared = np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR_TOLERANCE
        if sheared and (header.sform in _SCANNER_CODES or header.qform <= 0):
            return sform
        if not sheared and (header.sizes[2] == 1 or header.second):
            return sform
    steps = [step for step, size in zip(header.pixdim[1:4], header.sizes[:3], strict=True) if size > 1]
    if not usable and not all(np.isfinite(step) and step != 0 for step in steps):
        raise GeometryError(
            _("The spacing in {path} is {spacing} mm.").format(path=path, spacing=header.pixdim[1:4]),
            _("Expected spacing above zero."),
            _("Correct the spacing in Slicer's Volumes module, or export the image again."),
        )
    if header.second:
        return _quaternion_matrix(header)
    return _itk_matrix(path)


def _quaternion_matrix(header: _Header) -> np.ndarray:
    """The qform (method 2 of nifti1.h), or bare spacing when there is none (method 1)."""
    matrix = np.diag([*(abs(step) or 1.0 for step in header.pixdim[1:4]), 1.0])
    if header.qform <= 0:
        return matrix
    b, c, d = header.quaternion[:3]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    rotation[:, 2] *= -1 if header.pixdim[0] < 0 else 1
    matrix[:3, :3] = rotation @ matrix[:3, :3]
    matrix[:3, 3] = header.quaternion[3:]
    return matrix


def _itk_matrix(path: Path) -> np.ndarray:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO")
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise checks.damaged(path) from error
    full = reader.GetDimension()
    used = min(full, 3)
    direction, spacing, origin = np.eye(3), np.ones(3), np.zeros(3)
    direction[:used, :used] = np.reshape(reader.GetDirection(), (full, full))[:used, :used]
    spacing[:used], origin[:used] = reader.GetSpacing()[:3], reader.GetOrigin()[:3]
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = direction * spacing, origin
    return LPS_TO_RAS @ lps
