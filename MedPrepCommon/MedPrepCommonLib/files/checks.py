"""What a file is by its first bytes, and what to say when it cannot be read."""

from __future__ import annotations

import gzip
import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from .. import bounds
from ..core.errors import FileError
from ..core.i18n import _

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
                return "nifti" if is_nifti(stream.read(348)) else ""
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
    with opened(path) as stream:
        return stream.read(size)


def opened(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises
    ------
    FileError
        when it is missing, may not be read, or is a pipe, a device or a folder.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FileError(
                _("{path} is no regular file.").format(path=path),
                _("Expected an image file or a DICOM folder."),
                _("Copy its content into a file first."),
            )
        return open(path, "rb")
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
    expected = _("Expected an image file or a DICOM folder.")
    return FileError(wrong.format(path=path), expected, advice).hiding(path)


def damaged(path: Path) -> FileError:
    """What to say about a file that is cut short or whose checksum is wrong."""
    return FileError(
        _("{path} is damaged or incomplete.").format(path=path),
        _("Expected a whole image file."),
        _("Copy or export it again."),
    ).hiding(path)


def no_memory(path: Path) -> FileError:
    """What to say about an image that does not fit into memory."""
    return FileError(
        _("There is not enough memory for {path}.").format(path=path),
        "",
        _("Close other programs, or crop or resample the image elsewhere first."),
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


def check_size(path: Path, sizes: Sequence[int], components: int = 1) -> None:
    """Raise unless every size and the values per voxel lie within their bounds."""
    wrong = next((n for n in sizes if not bounds.AXIS.holds(n)), None)
    if wrong is not None:
        raise _out_of_bounds(_("{path} says that an axis has {n} voxels."), path, wrong, bounds.AXIS)
    if not bounds.COMPONENTS.holds(components):
        wrong_values = _("{path} says that a voxel has {n} values.")
        raise _out_of_bounds(wrong_values, path, components, bounds.COMPONENTS)


def _out_of_bounds(wrong: str, path: Path, n: int, bound: bounds.Bound) -> FileError:
    return FileError(
        wrong.format(path=path, n=n),
        _("Expected {span}.").format(span=bound.span),
        _("Its header may be damaged; export the image again."),
    )


def unsupported(path: Path, what: str, expected: str) -> FileError:
    """What to say about a kind of a format that MedPrep does not read."""
    return FileError(
        _("{path} is of a kind that MedPrep does not read: {what}.").format(path=path, what=what),
        _("Expected {expected}.").format(expected=expected),
        _("Convert it, for example with Slicer."),
    )
