"""Mosaics: all slices of a volume as tiles of one picture, as Siemens and UIH scanners write EPI.

Where the slices lie stands in private elements. Siemens: the number of tiles in (0019,100A) or the CSA image
header (0029,1010), which also holds the direction in which tiles follow each other; the picture's position is
that of a picture of the mosaic's size around the first slice. UIH: the number in (0065,1050) and, for each
slice, an item with its position in (0065,1051). A mosaic that does not say these things is refused: which end
of the patient comes first must not be guessed. (nipy.org/nibabel/dicom/dicom_mosaic.html)
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import FileError
from ...core.i18n import _
from .. import checks
from .header import number_of, numbers_of, text_of

_SIEMENS_CREATOR = (0x0019, 0x0010)
_SIEMENS_COUNT = (0x0019, 0x100A)
_SIEMENS_CSA = (0x0029, 0x1010)
_UIH_COUNT = (0x0065, 0x1050)
_UIH_SLICES = (0x0065, 0x1051)
#: Private elements that a header must be read with to take a mosaic apart.
TAGS = tuple(
    group << 16 | element for group, element in (_SIEMENS_COUNT, _SIEMENS_CSA, _UIH_COUNT, _UIH_SLICES)
)
_MOST_TILES = 1024
# Times that a picture is wider than what was acquired, from which it is more than interpolated.
_TILES = 3


@dataclass(frozen=True)
class Mosaic:
    """The tiles of a picture.

    Parameters
    ----------
    count : tiles that are slices; the last ones of the picture may be empty.
    rows, columns : of tiles.
    positions : (count, 3) LPS mm, centre of each slice's first voxel.
    direction : 6 direction cosines, along a row then along a column.
    spacing : (between rows, between columns) in mm.
    """

    count: int
    rows: int
    columns: int
    positions: np.ndarray
    direction: tuple[float, ...]
    spacing: tuple[float, ...]

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """(count, j, i) slices of a picture (j, i)."""
        height, width = picture.shape[0] // self.rows, picture.shape[1] // self.columns
        tiles = picture.reshape(self.rows, height, self.columns, width).swapaxes(1, 2)
        return tiles.reshape(-1, height, width)[: self.count]


def is_mosaic(header: Any) -> bool:
    """Whether a single image says that it is a mosaic."""
    types = text_of(header, "ImageType").upper().split("\\")
    if (number_of(header, "NumberOfFrames") or 1) > 1:
        return False
    # Anonymisers take words out of ImageType; the number of tiles or the picture's size are left then.
    return "MOSAIC" in types or "VFRAME" in types or _count(header, {}) > 1 or _is_far_larger(header)


def read_mosaic(path: Path, header: Any) -> Mosaic:
    """How the picture is divided and where its tiles lie.

    Parameters
    ----------
    header : with the private elements of :data:`TAGS`.

    Raises
    ------
    FileError
        when the file does not say how many slices there are or in which direction they follow each other.
    """
    uih = _UIH_COUNT in header
    fields = {} if uih else _csa_fields(header)
    count = _count(header, fields)
    direction = numbers_of(header, "ImageOrientationPatient", 6)
    spacing = numbers_of(header, "PixelSpacing", 2)
    if count < 1 or direction is None or spacing is None:
        raise _refusal(path, _("how many slices it holds, or how they lie"))
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns) if uih else columns
    if int(header.Rows) % rows or int(header.Columns) % columns:
        raise checks.damaged(path)
    positions = _listed(header, count) if uih else _in_a_row(path, header, fields, count, columns)
    if positions is None:
        raise _refusal(path, _("where its slices lie"))
    return Mosaic(count, rows, columns, positions, direction, spacing)


def _in_a_row(
    path: Path, header: Any, fields: Mapping[str, list[str]], count: int, columns: int
) -> np.ndarray | None:
    """(count, 3) positions of Siemens' slices."""
    corner = numbers_of(header, "ImagePositionPatient", 3)
    direction = np.array(header.ImageOrientationPatient, float)
    spacing = np.array(header.PixelSpacing, float)
    if corner is None:
        return None
    row, column = direction[:3], direction[3:]
    normal = _vector(fields.get("SliceNormalVector"))
    step = number_of(header, "SpacingBetweenSlices") or number_of(header, "SliceThickness")
    across = np.cross(row, column)
    if normal is None or abs(float(normal @ across)) < 0.9:
        raise _refusal(path, _("in which direction its slices follow each other"))
    if not step:
        raise _refusal(path, _("how far apart its slices lie"))
    # The corner is that of a picture of the mosaic's size with the slice in its middle.
    beside = (1 - 1 / columns) / 2
    first = (
        np.array(corner)
        + row * spacing[1] * int(header.Columns) * beside
        + column * spacing[0] * int(header.Rows) * beside
    )
    # Exactly along the normal of rows and columns, in the direction that the header names.
    way = across / np.linalg.norm(across) * np.sign(normal @ across)
    return first + np.arange(count)[:, None] * way * abs(step)


def _is_far_larger(header: Any) -> bool:
    """Whether an echo-planar picture has three times the pixels of what was acquired, or more, each way."""
    matrix = [value for value in numbers_of(header, "AcquisitionMatrix", 4) or () if value > 0]
    if "EP" not in text_of(header, "ScanningSequence").split("\\") or len(matrix) != 2:
        return False
    sizes = sorted((int(header.Rows), int(header.Columns)))
    return all(n % m == 0 and n / m >= _TILES for n, m in zip(sizes, sorted(matrix), strict=True))


def _refusal(path: Path, lacking: str) -> FileError:
    return FileError(
        _("{path} is a mosaic: all slices as tiles of one picture. It does not say {what}.").format(
            path=path, what=lacking
        ),
        _("Expected slices of their own, or the scanner's private elements about the tiles."),
        _("Export the series from the scanner as enhanced DICOM, without mosaic, or with private elements."),
    ).hiding(path)


def _count(header: Any, fields: Mapping[str, list[str]]) -> int:
    if _UIH_COUNT in header and text_of(header, "Manufacturer").upper().startswith("UIH"):
        return _whole(header[_UIH_COUNT].value)
    # Others than Siemens keep something else there.
    creator = str(header[_SIEMENS_CREATOR].value) if _SIEMENS_CREATOR in header else ""
    if _SIEMENS_COUNT in header and creator.upper().startswith("SIEMENS"):
        return _whole(header[_SIEMENS_COUNT].value)
    return _whole((fields.get("NumberOfImagesInMosaic") or [""])[0])


def _whole(value: Any) -> int:
    """A number of tiles, 0 where `value` is none."""
    if isinstance(value, bytes):
        if len(value) == 2 and not value.strip().isdigit():
            value = struct.unpack("<H", value)[0]
        else:
            value = value.decode("latin-1")
    try:
        number = float(str(value).strip("\0 "))
    except ValueError:
        return 0
    return int(number) if 1 < number <= _MOST_TILES and number.is_integer() else 0


def _listed(header: Any, count: int) -> np.ndarray | None:
    """(count, 3) positions of UIH's slices, in the order of the tiles."""
    items = header[_UIH_SLICES].value if _UIH_SLICES in header else []
    items = [] if isinstance(items, bytes) else list(items or [])
    places = [numbers_of(item, "ImagePositionPatient", 3) for item in items]
    return np.array(places, float) if len(places) == count and None not in places else None


def _csa_fields(header: Any) -> dict[str, list[str]]:
    """Values by name of Siemens' CSA image header; empty where there is none."""
    if _SIEMENS_CSA not in header:
        return {}
    data = header[_SIEMENS_CSA].value
    if not isinstance(data, bytes) or len(data) < 16:
        return {}
    new = data[:4] == b"SV10"
    at = 8 if new else 0
    fields: dict[str, list[str]] = {}
    first = 0
    try:
        count, at = struct.unpack_from("<I", data, at)[0], at + 8
        for n in range(min(count, 128)):
            name, _vm, _vr, _syngo, items, _xx = struct.unpack_from("<64si4siii", data, at)
            at += 84
            first = items if n == 0 else first
            values = []
            for _m in range(min(max(items, 0), 4096)):
                lengths = struct.unpack_from("<4i", data, at)
                at += 16
                # The older layout adds the number of items of the first field to each length.
                length = lengths[1] if new else lengths[0] - first
                if not 0 <= length <= len(data) - at:
                    return fields
                values.append(data[at : at + length].split(b"\0")[0].decode("latin-1").strip())
                at += (length + 3) // 4 * 4
            fields[name.split(b"\0")[0].decode("latin-1")] = [value for value in values if value]
    except struct.error:
        pass
    return fields


def _vector(values: list[str] | None) -> np.ndarray | None:
    if not values or len(values) != 3 or not all(re.fullmatch(r"[-+.\deE]+", value) for value in values):
        return None
    try:
        vector = np.array([float(value) for value in values])
    except ValueError:
        return None
    length = np.linalg.norm(vector)
    return vector / length if np.isfinite(length) and abs(length - 1) < 0.01 else None
