"""What the headers of PNG, JPEG, TIFF and BMP files say, held against the bytes that are there.

The decoders behind ITK believe a header: a picture of 2 kB would take gigabytes, a cut one come half black.
References: PNG (W3C), JPEG (ITU T.81), TIFF 6.0, EXIF 2.3.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from .. import bounds
from ..core.errors import FileError
from ..core.i18n import _
from . import checks

# A block of 8 x 8 pixels takes a bit at least, however it is coded.
_JPEG_PIXELS_OF_A_BYTE = 512
_JPEG_SCANS = 128
_ORIENTATION = 274


@dataclass(frozen=True)
class Picture:
    """Rows and columns as stored, and the EXIF orientation (1 is upright)."""

    rows: int
    columns: int
    orientation: int = 1


def png(path: Path, data: bytes) -> Picture:
    """Check a PNG: chunk by chunk to its end, and no more pixels than its compressed bytes can hold."""
    position, packed, head, orientation, ended = 8, 0, b"", 1, False
    while position + 12 <= len(data) and not ended:
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        if len(body) < length or position + 12 + length > len(data):
            break
        head = body if kind == b"IHDR" and not head else head
        packed += length if kind == b"IDAT" else 0
        orientation = exif_orientation(body) if kind == b"eXIf" else orientation
        ended = kind == b"IEND"
        position += 12 + length
    if not ended or len(head) != 13:
        raise checks.damaged(path)
    columns, rows, depth, colour = struct.unpack(">IIBB", head[:10])
    if colour == 4:
        raise transparency(path)
    samples = {0: 1, 2: 3, 3: 1, 6: 4}.get(colour)
    if samples is None or depth not in (1, 2, 4, 8, 16):
        raise checks.damaged(path)
    _check_size(path, rows, columns, max(samples, 3 if colour == 3 else 1) * (2 if depth == 16 else 1))
    if rows * ((columns * samples * depth + 7) // 8) > packed * bounds.DEFLATE.high:
        raise checks.damaged(path)
    return Picture(rows, columns, orientation)


def jpeg(path: Path, data: bytes) -> Picture:
    """Check a JPEG: marker by marker to its end, where the decoder would fill what lacks with grey."""
    position, frame, orientation, scans = 2, b"", 1, 0
    while True:
        start = data.find(b"\xff", position)
        if start < 0 or start + 2 > len(data):
            raise checks.damaged(path)
        marker, position = data[start + 1], start + 2
        if marker == 0xD9:
            break
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            position -= marker == 0xFF
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if length < 2 or position + length > len(data):
            raise checks.damaged(path)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker not in (0xC0, 0xC1, 0xC2):
                raise checks.unsupported(path, _("lossless or arithmetic JPEG"), _("baseline or progressive"))
            frame = frame or body
        elif marker == 0xE1 and body.startswith(b"Exif\0\0") and not frame:
            orientation = exif_orientation(body[6:])
        scans += marker == 0xDA
        position += length
    if len(frame) < 6 or not scans or scans > _JPEG_SCANS:
        raise checks.damaged(path)
    depth, rows, columns, samples = struct.unpack(">BHHB", frame[:6])
    if depth != 8 or samples not in (1, 3):
        what = _("{samples} values of {depth} bits per pixel").format(samples=samples, depth=depth)
        raise checks.unsupported(path, what, _("grey levels or RGB of 8 bits"))
    _check_size(path, rows, columns, samples)
    if rows * columns > len(data) * _JPEG_PIXELS_OF_A_BYTE:
        raise checks.damaged(path)
    return Picture(rows, columns, orientation)


def exif_orientation(data: bytes) -> int:
    """The orientation tag in EXIF data, 1 to 8; 1 where there is none or it is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return 1
    place = struct.unpack_from(order + "I", data, 4)[0]
    if place + 2 > len(data):
        return 1
    count = struct.unpack_from(order + "H", data, place)[0]
    for at in range(place + 2, min(place + 2 + 12 * count, len(data) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag == _ORIENTATION and kind == 3:
            value = struct.unpack_from(order + "H", data, at + 8)[0]
            return value if 1 <= value <= 8 else 1
    return 1


_TIFF_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 16: "Q"}
# Least bytes that a byte of the picture takes: none, LZW, deflate (new and old number), PackBits, JPEG.
_TIFF_PACKED = {1: 1, 5: 4096, 8: 1032, 32946: 1032, 32773: 128, 7: 2048}
_TIFF_SAMPLES = {0: (1,), 1: (1,), 2: (3, 4), 3: (1,), 6: (3,)}


@dataclass(frozen=True)
class Tiff(Picture):
    """A TIFF's first page, and where in the file its tags of orientation and photometry are stored."""

    bits: int = 8
    samples: int = 1
    sample_format: int = 1
    photometric: int = 1
    entries: tuple[tuple[int, int], ...] = ()
    order: str = "<"
    palette: tuple[int, ...] = ()


def tiff(path: Path, data: bytes) -> Tiff:
    """Check a TIFF: one page, of a kind whose values are known, every strip or tile within the file."""
    order = "<" if data[:2] == b"II" else ">"
    pages, place, first = 0, _number(path, data, order, 4, "I"), None
    seen: set[int] = set()
    while place:
        if place in seen or len(seen) > 10_000:
            raise checks.damaged(path)
        seen.add(place)
        tags, following = _directory(path, data, order, place)
        reduced = _value(tags, 254, 0) & 5  # a thumbnail, or a mask of transparency
        if first is None and reduced:
            raise checks.unsupported(path, _("a TIFF that begins with a thumbnail"), _("one picture"))
        first = first or (tags, place)
        pages += not reduced
        place = following
    if first is None:
        raise checks.damaged(path)
    tags, place = first
    stack = re.search(rb"\bimages=(\d{1,9})", tags[270][0]) if 270 in tags and tags[270][0] else None
    pages = max(pages, int(stack[1])) if stack and tags[270][0].startswith(b"ImageJ") else pages
    if not bounds.PICTURE_PAGES.holds(pages):
        raise FileError(
            _("{path} holds {n} pages.").format(path=path, n=pages),
            _("Expected one picture."),
            _("Save the page as a file of its own; save a volume as NIfTI or NRRD, which keep its spacing."),
        )
    return _page(path, data, order, tags, place)


def _page(path: Path, data: bytes, order: str, tags: dict[int, tuple], place: int) -> Tiff:
    columns, rows = _value(tags, 256, 0), _value(tags, 257, 0)
    samples, photometric = _value(tags, 277, 1), _value(tags, 262, 1)
    bits, formats = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    packing, planes = _value(tags, 259, 1), _value(tags, 284, 1)
    if samples == 2:
        raise transparency(path)
    depth, kind = (min(bits), min(formats)) if len(bits) == len(formats) == 1 else (0, 0)
    known = depth in {1: (8, 16, 32), 2: (8, 16, 32), 3: (16, 32)}.get(kind, ())
    if not known or samples not in _TIFF_SAMPLES.get(photometric, ()) or packing not in _TIFF_PACKED:
        what = _("{samples} values of {bits} bits, photometry {photometric}, compression {packing}").format(
            samples=samples, bits=depth or "?", photometric=photometric, packing=packing
        )
        expected = _("grey levels of 8, 16 or 32 bits, or RGB, uncompressed, LZW, deflate, PackBits or JPEG")
        raise checks.unsupported(path, what, expected)
    if planes != 1 and samples > 1:
        raise checks.unsupported(path, _("colours in planes"), _("colours pixel by pixel"))
    if photometric == 0 and kind == 3:
        raise checks.unsupported(path, _("floating-point values in which white is zero"), _("black is zero"))
    _check_size(path, rows, columns, max(samples, 3 if photometric == 3 else 1) * depth // 8)
    _check_strips(path, len(data), tags, rows, columns * samples * depth // 8, packing)
    entries = tuple(
        (tag, at)
        for at in range(place + 2, place + 2 + 12 * _number(path, data, order, place, "H"), 12)
        if (tag := _number(path, data, order, at, "H")) in (_ORIENTATION, 262)
    )
    orientation = _value(tags, _ORIENTATION, 1)
    palette = tags.get(320, ()) if photometric == 3 else ()
    if photometric == 3 and (depth != 8 or len(palette) != 3 * 256):
        raise checks.damaged(path)
    return Tiff(
        rows=rows, columns=columns, orientation=orientation if 1 <= orientation <= 8 else 1, bits=depth,
        samples=samples, sample_format=kind, photometric=photometric, entries=entries, order=order,
        palette=palette,
    )  # fmt: skip


def _check_strips(
    path: Path, length: int, tags: dict[int, tuple], rows: int, row_bytes: int, packing: int
) -> None:
    tiled = 322 in tags
    starts, counts = tags.get(324 if tiled else 273, ()), tags.get(325 if tiled else 279, ())
    if (
        not starts
        or len(starts) != len(counts)
        or any(a + n > length for a, n in zip(starts, counts, strict=True))
    ):
        raise checks.damaged(path)
    if tiled:
        wide, high = _value(tags, 322, 0), _value(tags, 323, 0)
        if not wide or not high or wide % 16 or high % 16 or max(wide, high) > bounds.PICTURE_SIDE.high:
            raise checks.damaged(path)
        across = -(-_value(tags, 256, 0) // wide)
        wanted, needed = across * -(-rows // high), row_bytes * rows
    else:
        deep = min(_value(tags, 278, rows) or 0, rows)
        wanted, needed = (-(-rows // deep) if deep else 0), row_bytes * rows
    if len(starts) != wanted or needed > sum(counts) * _TIFF_PACKED[packing]:
        raise checks.damaged(path)


def _directory(path: Path, data: bytes, order: str, place: int) -> tuple[dict[int, tuple], int]:
    """The tags of one page (texts as one bytes object), and where the next page is."""
    count, tags = _number(path, data, order, place, "H"), {}
    for at in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind = (_number(path, data, order, at + step, "H") for step in (0, 2))
        n = _number(path, data, order, at + 4, "I")
        letter = _TIFF_TYPES.get(kind)
        if letter is None or tag in tags:
            continue
        size = struct.calcsize("<" + letter) * n
        start = at + 8 if size <= 4 else _number(path, data, order, at + 8, "I")
        if start + size > len(data):
            raise checks.damaged(path)
        tags[tag] = struct.unpack_from(f"{order}{n}{letter}", data, start)
    return tags, _number(path, data, order, place + 2 + 12 * count, "I")


def _number(path: Path, data: bytes, order: str, at: int, letter: str) -> int:
    if at < 0 or at + struct.calcsize("<" + letter) > len(data):
        raise checks.damaged(path)
    return struct.unpack_from(order + letter, data, at)[0]


def _value(tags: dict[int, tuple], tag: int, default: int) -> int:
    found = tags.get(tag, ())
    return found[0] if found and isinstance(found[0], int) else default


def _check_size(path: Path, rows: int, columns: int, pixel_bytes: int) -> None:
    if not bounds.PICTURE_SIDE.holds(rows) or not bounds.PICTURE_SIDE.holds(columns):
        raise checks.damaged(path)
    if not bounds.PICTURE_BYTES.holds(rows * columns * pixel_bytes):
        raise FileError(
            _("{path} says that it has {columns} x {rows} pixels.").format(
                path=path, columns=columns, rows=rows
            ),
            _("Expected at most {n} MB when decoded.").format(n=int(bounds.PICTURE_BYTES.high) >> 20),
            _("Its header may be damaged; else scale the picture down first."),
        )


def transparency(path: Path) -> FileError:
    """What to say about grey levels with transparency, which ITK refuses (PNG) or mixes up (TIFF)."""
    return FileError(
        _("{path} holds grey levels and transparency.").format(path=path),
        _("Expected grey levels or colours."),
        _("Save it without transparency (alpha channel)."),
    )
