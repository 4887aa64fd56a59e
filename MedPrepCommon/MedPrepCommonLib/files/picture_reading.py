"""PNG, JPEG, TIFF and BMP files as one-slice volumes, upright and with low values dark."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .. import bounds
from ..core.i18n import _
from ..core.integers import smallest_integers
from ..core.volume import Volume
from . import checks, picture_headers

_READERS = {"png": "PNGImageIO", "jpeg": "JPEGImageIO", "tiff": "TIFFImageIO"}


def read_picture(path: Path, kind: str) -> Volume:
    """A picture ("png", "jpeg", "tiff" or "bmp"): (1, rows, columns) or (1, rows, columns, colour).

    EXIF orientation is applied and WhiteIsZero inverted: what a viewer shows is what comes. Its resolution
    says how to print it, not how large a pixel is.

    Raises
    ------
    FileError
        when it is damaged, holds several pages, or is of a kind that MedPrep does not read.
    """
    with checks.opened(path) as stream:
        data = stream.read(int(bounds.PICTURE_BYTES.high) + (1 << 20))
    array, orientation = _bmp(path, data) if kind == "bmp" else _decoded(path, kind, data)
    array = smallest_integers(_upright(array, orientation))[np.newaxis]
    # ITK's axes are LPS: columns run to the patient's left, rows to the back, as Slicer loads a picture.
    return Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]), info={"spacingKnown": False})


def _decoded(path: Path, kind: str, data: bytes) -> tuple[np.ndarray, int]:
    header = getattr(picture_headers, kind)(path, data)
    plain: Path | None = path
    turned = isinstance(header, picture_headers.Tiff) and (header.orientation, header.photometric) != (1, 1)
    if turned or not _has_plain_name(path):
        plain = None
    with _file(path, _as_stored(header, data)) if plain is None else _itself(path) as name:
        reader = sitk.ImageFileReader()
        reader.SetImageIO(_READERS[kind])
        reader.SetFileName(name)
        try:
            array = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise checks.damaged(path) from error
    if array.shape[:2] != (header.rows, header.columns) or array.ndim > 3:
        raise checks.damaged(path)
    if isinstance(header, picture_headers.Tiff):
        array = _tiff_values(path, header, array)
    return array, header.orientation


def _as_stored(header: picture_headers.Picture, data: bytes) -> bytes:
    """The file with its orientation and photometry set to the plain ones: they are seen to here."""
    if not isinstance(header, picture_headers.Tiff):
        return data
    changed = bytearray(data)
    for tag, at in header.entries:
        if tag == 274 or header.photometric in (0, 3):
            struct.pack_into(header.order + "HIH", changed, at + 2, 3, 1, 1)
    return bytes(changed)


def _tiff_values(path: Path, header: picture_headers.Tiff, array: np.ndarray) -> np.ndarray:
    """What the samples mean: ITK takes every sample of 16 bits for a whole number without sign.

    Tiles and some colours come as 8-bit RGBA, made by libtiff: right for samples of 8 bits, lost for others.
    """
    wanted = 3 if header.photometric in (3, 6) else header.samples
    found = array.shape[2] if array.ndim == 3 else 1
    if header.palette and found == 1:
        # 16 bits a colour, of which 8 are meant.
        return _by_palette(array, (np.reshape(header.palette, (3, 256)).T >> 8).astype(np.uint8))
    if found != wanted and found == 4 and header.bits == 8:
        array = array[..., 0] if wanted == 1 else array[..., :wanted]
    elif found != wanted or array.dtype.itemsize * 8 != header.bits:
        what = _("{bits} bits in tiles or a palette").format(bits=header.bits)
        raise checks.unsupported(path, what, _("strips of grey levels or RGB"))
    if header.sample_format == 3 and header.bits == 16:
        array = array.view(np.float16).astype(np.float32)
    elif header.sample_format == 2 and array.dtype.kind == "u":
        array = array.view(array.dtype.str.replace("u", "i"))
    if header.photometric == 0:
        # White is zero: inverted once, within the bits that are stored.
        array = (-1 - array) if header.sample_format == 2 else np.iinfo(array.dtype).max - array
    return array


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """The picture as a viewer shows it; `orientation` is that of EXIF and TIFF (where row 0, column 0 go)."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _has_plain_name(path: Path) -> bool:
    """Whether a C++ library can be handed the file's name: one that is not UTF-8 ends the process."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _itself(path: Path) -> Iterator[str]:
    yield os.fspath(path)


@contextmanager
def _file(path: Path, data: bytes) -> Iterator[str]:
    """A file with this content under a plain name, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="medprep-") as folder:
        copy = Path(folder) / "picture"
        copy.write_bytes(data)
        yield os.fspath(copy)


def _bmp(path: Path, data: bytes) -> tuple[np.ndarray, int]:
    """Uncompressed BMP of 8, 24 or 32 bits; rows are stored bottom up unless their count is negative."""
    start, size = (int.from_bytes(data[at : at + 4], "little") for at in (10, 14))
    if size == 12:
        columns, rows, _planes, bits = struct.unpack_from("<HHHH", data.ljust(26, b"\0"), 18)
        packing, colours = 0, 0
    else:
        columns, rows, _planes, bits, packing = struct.unpack_from("<iiHHI", data.ljust(54, b"\0"), 18)
        colours = int.from_bytes(data[46:50], "little")
    height = abs(rows)
    if bits not in (8, 24, 32) or packing not in (0, 3) or (packing == 3 and bits != 32):
        what = _("{bits} bits, compression {packing}").format(bits=bits, packing=packing)
        raise checks.unsupported(path, what, _("8, 24 or 32 bits, uncompressed"))
    line = (columns * bits + 31) // 32 * 4
    fits = bounds.PICTURE_SIDE.holds(height) and bounds.PICTURE_SIDE.holds(columns) and start >= 14 + size
    # Some programs fill the file up to a word.
    if not fits or not 0 <= len(data) - start - line * height < 16:
        raise checks.damaged(path)
    stored = np.frombuffer(data, np.uint8, line * height, start).reshape(height, line)
    array = stored[:, : columns * bits // 8].reshape(height, columns, bits // 8)
    array = array[::-1] if rows > 0 else array
    if bits > 8:
        return array[..., 2::-1], 1
    return _coloured(path, array[..., 0], data[14 + size : start], 3 if size == 12 else 4, colours), 1


def _coloured(path: Path, indices: np.ndarray, table: bytes, step: int, colours: int) -> np.ndarray:
    """What the indices mean by the colour table behind the header."""
    count = min(colours or 256, 256)
    if len(table) < count * step or indices.max() >= count:
        raise checks.damaged(path)
    return _by_palette(indices, np.frombuffer(table, np.uint8, count * step).reshape(count, step)[:, 2::-1])


def _by_palette(indices: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Grey levels (rows, columns) where the palette (colours, 3) has only greys, else RGB."""
    grey = (palette == palette[:, :1]).all()
    return palette[:, 0][indices] if grey else palette[indices]
