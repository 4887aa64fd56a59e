"""The header of a NIfTI-1 or NIfTI-2 file: parsed in one place, every number checked before it is used.

References: https://nifti.nimh.nih.gov/nifti-1 (nifti1.h), nifti2.h.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import FileError
from ..core.i18n import _
from . import checks, file_bytes

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
COLORS = {128: 3, 2304: 4}
_COMPLEX = {32, 1792, 2048}
# Where voxels may begin at the earliest, in a single file: behind the header and its extension flag.
_FIRST = {False: 352, True: 544}
_HEADER = {False: 348, True: 540}


@dataclass(frozen=True)
class Header:
    """What MedPrep needs of a header, as it stands there; `order` is "<" or ">"."""

    order: str
    dimensions: int
    sizes: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, ...]
    units: int
    offset: int
    slope: float
    intercept: float
    qform: int
    sform: int
    quaternion: tuple[float, ...]
    rows: np.ndarray

    @property
    def components(self) -> int:
        """Values per voxel."""
        return COLORS.get(self.datatype, self.sizes[4])

    @property
    def dtype(self) -> np.dtype:
        """Type of a stored value, in the file's byte order."""
        return np.dtype(self.order + _TYPES.get(self.datatype, "u1"))

    @property
    def byte_count(self) -> int:
        """Bytes of all voxels; whole numbers of Python do not overflow."""
        return math.prod(self.sizes[:3]) * self.components * self.dtype.itemsize

    @property
    def scaled(self) -> bool:
        """Whether slope and intercept mean anything: nifti1.h says "if scl_slope is nonzero"."""
        return self.slope != 0 and math.isfinite(self.slope) and (self.slope, self.intercept) != (1.0, 0.0)


def parse(path: Path) -> Header:
    """The header of `path`, a single file that may be gzip whatever its name says.

    Raises
    ------
    FileError
        when a number of it is impossible, or the image is 4-D, complex or of a type that no image has.
    """
    data = file_bytes.start_of(path, _FIRST[True])
    second = data[4:8] == b"n+2\0"
    if len(data) < _FIRST[second]:
        raise checks.damaged(path)
    orders = [order for order in "<>" if struct.unpack_from(f"{order}i", data)[0] == _HEADER[second]]
    if not orders:
        raise checks.damaged(path)
    header = _unpacked(data, orders[0], second)
    dimensions, sizes = header.dimensions, header.sizes
    if not 1 <= dimensions <= 7 or min(sizes) < 1 or not _FIRST[second] <= header.offset < 1 << 40:
        raise checks.damaged(path)
    if header.scaled and not math.isfinite(header.intercept):
        raise checks.damaged(path)
    _check_kind(path, header)
    checks.check_size(path, sizes[:3], header.components)
    return header


def _unpacked(data: bytes, order: str, second: bool) -> Header:
    def unpack(form: str, at: int) -> tuple:
        return struct.unpack_from(order + form, data, at)

    if second:
        dim, pixdim = unpack("8q", 16), unpack("8d", 104)
        (datatype,), (offset,), (units,) = unpack("h", 12), unpack("q", 168), unpack("i", 500)
        scaling, codes = unpack("2d", 176), unpack("2i", 344)
        quaternion, rows = unpack("6d", 352), unpack("12d", 400)
    else:
        dim, pixdim = unpack("8h", 40), unpack("8f", 76)
        (datatype,), (start,), (units,) = unpack("h", 70), unpack("f", 108), unpack("B", 123)
        # A whole number in a floating-point field; anything else is no place in a file.
        offset = int(start) if math.isfinite(start) and start == int(start) else -1
        scaling, codes = unpack("2f", 112), unpack("2h", 252)
        quaternion, rows = unpack("6f", 256), unpack("12f", 280)
    count = dim[0]
    sizes = tuple(dim[1 : count + 1]) + (1,) * (7 - count) if 1 <= count <= 7 else (0,) * 7
    (slope, intercept), (qform, sform) = scaling, codes
    return Header(
        order, count, sizes, datatype, pixdim, units & 7, offset, slope, intercept, qform, sform, quaternion,
        np.reshape(rows, (3, 4)).astype(np.float64),
    )  # fmt: skip


def _check_kind(path: Path, header: Header) -> None:
    if header.datatype in _COMPLEX:
        raise checks.complex_values(path)
    if header.datatype not in _TYPES and header.datatype not in COLORS:
        raise FileError(
            _("{path} holds values of NIfTI type {code}.").format(path=path, code=header.datatype),
            _("Expected 8- to 64-bit integers, 32- or 64-bit floating point, RGB or RGBA."),
            _("Convert it to one of these."),
        )
    several = header.sizes[4] > 1 and header.datatype in COLORS
    if header.sizes[3] > 1 or several or max(header.sizes[5:]) > 1:
        used = list(header.sizes)
        while len(used) > 3 and used[-1] == 1:
            used.pop()
        raise checks.four_dimensional(path, used)
