"""What a file is by its first bytes, and whether it is whole: ITK reads some damaged files without a word."""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import FileError
from ..core.i18n import _

_CHUNK = 1 << 22
_BITMAP_HEADERS = tuple(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


def kind_of(path: Path) -> str:
    """ "nifti", "nrrd", "metaimage", "png", "jpeg", "tiff", "bmp", "dicom", or "" for anything else.

    Raises
    ------
    FileError
        when there is no such file, it is empty, or it cannot be opened.
    """
    start = head(path)
    if not start:
        raise FileError(
            _("{path} is empty (0 bytes).").format(path=path),
            _("Expected an image."),
            _("Copy or export it again."),
        )
    if start[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as stream:
                return "nifti" if is_nifti(stream.read(540)) else ""
        except (OSError, EOFError, zlib.error) as error:
            raise damaged(path) from error
    if is_nifti(start):
        return "nifti"
    if is_dicom(start):
        return "dicom"
    for magic, kind in (
        (b"NRRD000", "nrrd"),
        (b"\x89PNG\r\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
    ):
        if start.startswith(magic):
            return kind
    # Two letters alone may start any text; reserved bytes are 0, and the next header has a known length.
    if start[:2] == b"BM" and start[6:10] == bytes(4) and start[14:18] in _BITMAP_HEADERS:
        return "bmp"
    if re.search(rb"^\s*(ObjectType|NDims)\s*=", start, re.MULTILINE):
        return "metaimage"
    return ""


def head(path: Path, size: int = 1024) -> bytes:
    """The first `size` bytes of a file; :class:`FileError` says why when it cannot be opened."""
    try:
        with open(path, "rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise unreadable(path, error) from error


def is_nifti(start: bytes) -> bool:
    """Whether a file starts as a single-file NIfTI-1 or NIfTI-2."""
    return start[344:348] == b"n+1\0" or start[4:12] == b"n+2\0\r\n\x1a\n"


def is_dicom(start: bytes) -> bool:
    """Whether a file starts as DICOM PS3.10, or as a bare data set (old exports have no preamble)."""
    if start[128:132] == b"DICM":
        return True
    # A bare data set begins with group 0002 or 0008: a small tag, then a VR or a short length.
    if len(start) < 8 or start[:2] not in (b"\x08\0", b"\x02\0") or start[3] != 0:
        return False
    return start[4:6].isalpha() and start[4:6].isupper() or struct.unpack("<I", start[4:8])[0] < 256


def unreadable(path: Path, error: OSError) -> FileError:
    """What to say when the operating system refuses a file."""
    if isinstance(error, FileNotFoundError):
        wrong, advice = _("There is no file {path}."), _("Check the path.")
    elif isinstance(error, PermissionError):
        wrong, advice = _("You have no permission to read {path}."), _("Ask its owner for access.")
    else:
        wrong, advice = _("{path} cannot be read."), str(error.strerror or error)
    return FileError(wrong.format(path=path), _("Expected an image file or a DICOM folder."), advice)


def damaged(path: Path) -> FileError:
    """What to say about a file that is cut short or whose checksum is wrong."""
    return FileError(
        _("{path} is damaged or incomplete.").format(path=path),
        _("Expected a whole image file."),
        _("Copy or export it again."),
    )


def four_dimensional(path: Path, size: Sequence[int]) -> FileError:
    """What to say about a time series."""
    return FileError(
        _("{path} is 4-D ({size}).").format(path=path, size=" x ".join(str(n) for n in size)),
        _("Expected one 3-D volume."),
        _("Extract one time point first, in Slicer's Sequences module or with `fslroi`."),
    )


def complex_values(path: Path) -> FileError:
    """What to say about an image with a real and an imaginary part."""
    return FileError(
        _("{path} holds complex values.").format(path=path),
        _("Expected real numbers."),
        _("Save its magnitude as an image of its own."),
    )


def read_all(path: Path, expected: int = 0) -> bytes:
    """A file's bytes, decompressed when it is gzip; `expected` bytes at least.

    Raises
    ------
    FileError
        when it is cut short or its checksum is wrong.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    if data[:2] == b"\x1f\x8b":
        data = inflate(path, data, 31)
    if len(data) < expected:
        raise damaged(path)
    return data


def inflate(path: Path, data: bytes, window: int) -> bytes:
    """Decompress zlib (window 15) or gzip (31) data of one or more members; verifies the checksums."""
    parts = []
    try:
        while data.strip(b"\0"):
            member = zlib.decompressobj(window)
            parts.append(member.decompress(data))
            if not member.eof:
                raise damaged(path)
            data = member.unused_data
    except zlib.error as error:
        raise damaged(path) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_nrrd(path: Path) -> None:
    """Verify the checksum of a gzip-compressed NRRD, which ITK does not."""
    with open(path, "rb") as stream:
        start = stream.read(1 << 20)
        header, separator, _rest = start.partition(b"\n\n")
        if not separator:
            header, separator, _rest = start.partition(b"\r\n\r\n")
        fields = _fields(header, ":")
        if fields.get("encoding", "").lower() not in ("gzip", "gz"):
            return
        target = fields.get("data file", fields.get("datafile", ""))
        if not target:
            stream.seek(len(header) + len(separator))
            inflate(path, stream.read(), 31)
        elif "%" not in target and not target.startswith("LIST"):
            detached = path.parent / target
            inflate(detached, _bytes_of(detached, path), 31)


def check_metaimage(path: Path) -> None:
    """Verify the checksum of a compressed MetaImage, whose damage ITK only prints."""
    with open(path, "rb") as stream:
        start = stream.read(1 << 16)
        found = re.search(rb"^ElementDataFile\s*=\s*([^\r\n]*)\r?\n?", start, re.MULTILINE)
        if not found:
            raise damaged(path)
        fields = _fields(start[: found.end()], "=")
        target = found[1].decode("utf-8", "replace").strip()
        if target.upper() != "LOCAL" and "%" not in target and not target.startswith("LIST"):
            data = _bytes_of(path.parent / target, path)
        else:
            stream.seek(found.end())
            data = stream.read() if target.upper() == "LOCAL" else b""
    if data and fields.get("compresseddata", "").lower() == "true":
        inflate(path, data, 47)  # zlib or gzip


def check_jpeg(path: Path) -> None:
    """Raise when a JPEG ends before its end marker: the decoder would fill the rest with grey."""
    data = _bytes_of(path, path)
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:  # start of scan; FFD9 cannot occur inside coded data
            if b"\xff\xd9" in data[position:]:
                return
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise damaged(path)


def check_channels(path: Path, kind: str) -> None:
    """Raise for grey levels with transparency: ITK refuses such a PNG and mixes up such a TIFF."""
    if (_png_colour if kind == "png" else _tiff_samples)(path):
        raise FileError(
            _("{path} holds grey levels and transparency.").format(path=path),
            _("Expected grey levels or colours."),
            _("Save it without transparency (alpha channel)."),
        )


def _png_colour(path: Path) -> bool:
    """Whether the colour type of a PNG is grey with alpha."""
    return head(path, 26)[25:26] == b"\x04"


def _tiff_samples(path: Path) -> bool:
    """Whether the first image of a TIFF has two samples per pixel (tag 277)."""
    start = head(path, 8)
    if len(start) < 8:
        return False  # damaged; the reader says so
    order = "<" if start[:2] == b"II" else ">"
    with open(path, "rb") as stream:
        stream.seek(struct.unpack(order + "I", start[4:8])[0])
        count = int.from_bytes(stream.read(2), "little" if order == "<" else "big")
        entries = stream.read(12 * count)
    for n in range(len(entries) // 12):
        tag, _kind, _count, value = struct.unpack_from(order + "HHIH", entries, 12 * n)
        if tag == 277:
            return value == 2
    return False


def _fields(header: bytes, separator: str) -> dict[str, str]:
    lines = (line.partition(separator) for line in header.decode("latin-1").splitlines())
    return {key.strip().lower(): value.strip() for key, mark, value in lines if mark}


def _bytes_of(data_file: Path, named_in: Path) -> bytes:
    if not os.path.isfile(data_file):
        raise FileError(
            _("{path} keeps its voxels in {data}, which is not there.").format(
                path=named_in, data=data_file.name
            ),
            _("Expected both files in one folder."),
            _("Copy them together, or save the image as one file (.mha, .nrrd, .nii.gz)."),
        )
    return data_file.read_bytes()
