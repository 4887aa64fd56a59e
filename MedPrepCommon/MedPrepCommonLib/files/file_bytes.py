"""The bytes of an image file: those that its header asks for, unpacked up to that size and no further.

Everything here reads regular files only: a named pipe or a device would never end.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import bounds
from ..core.errors import FileError
from ..core.i18n import _
from .checks import damaged, opened

# Small pieces of compressed data: what is left of one is copied for each of its members.
_READ, _CHUNK = 1 << 16, 1 << 22
# Zeros behind the voxels that fill up a block of a tape or a disk are no data.
_FILLING = 4096
GZIP, EITHER = 31, 47


def size_of(path: Path) -> int:
    """Bytes of a regular file."""
    with opened(path) as stream:
        return os.fstat(stream.fileno()).st_size


def start_of(path: Path, count: int) -> bytes:
    """The first `count` bytes, or fewer where there are fewer; unpacked when the file is gzip."""
    with opened(path) as stream:
        data = stream.read(2)
        stream.seek(0)
        if data != b"\x1f\x8b":
            return stream.read(count)
        try:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return unpacked.read(count)
        except (OSError, EOFError, zlib.error) as error:
            raise damaged(path) from error


def is_packed(path: Path) -> bool:
    """Whether the file is gzip, by its first bytes."""
    with opened(path) as stream:
        return stream.read(2) == b"\x1f\x8b"


def values(
    path: Path, start: int, dtype: np.dtype, count: int, packing: int = 0, skip: int = 0
) -> np.ndarray:
    """`count` values that the file holds from byte `start` on, and nothing after them.

    Parameters
    ----------
    start : byte of the file where they, or their compressed form, begin.
    packing : 0 as they are, GZIP, or EITHER (zlib or gzip).
    skip : bytes to leave out after unpacking.

    Returns
    -------
    np.ndarray
        (count,) of `dtype`, in the file's byte order.

    Raises
    ------
    FileError
        when there are fewer bytes than that, or more, or a checksum is wrong.
    """
    needed = count * dtype.itemsize
    if not bounds.VOXELS.holds(count):
        raise too_large(path, count)
    there = size_of(path) - start
    if there < 0 or skip < 0 or (packing and needed + skip > there * bounds.DEFLATE.high):
        raise damaged(path)
    with opened(path) as stream:
        stream.seek(start)
        if packing == 0:
            _hold(path, there - skip, needed, lambda: _all_zero(stream, start + skip + needed))
            return np.fromfile(path, dtype, count, offset=start + skip)
        return _filled(path, _inflated(path, stream, packing), skip, needed).view(dtype)


def _hold(path: Path, there: int, needed: int, filling: Callable[[], bool]) -> None:
    """Raise unless as many bytes are there as are needed, or a few zeros more."""
    if there < needed:
        raise damaged(path)
    if there > needed and not (there - needed < _FILLING and filling()):
        raise too_long(path)


def _all_zero(stream: BinaryIO, place: int) -> bool:
    stream.seek(place)
    return not stream.read(_FILLING).strip(b"\0")


def _filled(path: Path, pieces: Iterator[bytes], skip: int, needed: int) -> np.ndarray:
    """(needed,) uint8 of what follows `skip` bytes; all pieces are taken, for the checksum is at the end."""
    found, done, rest = np.empty(needed, np.uint8), -skip, 0
    for piece in pieces:
        if done < 0:
            cut = min(-done, len(piece))
            piece, done = piece[cut:], done + cut
        room = needed - done if done >= 0 else 0
        taken = np.frombuffer(piece, np.uint8, min(room, len(piece)))
        if taken.size:
            found[done : done + taken.size] = taken
            done += taken.size
        rest += len(piece) - taken.size
        if rest >= _FILLING or piece[taken.size :].strip(b"\0"):
            raise too_long(path)
    if done < needed:
        raise damaged(path)
    return found


def _inflated(path: Path, stream: BinaryIO, window: int) -> Iterator[bytes]:
    """Pieces of zlib or gzip data of one or more members, verified; zeros may follow (tape blocks)."""
    packer, waiting, ended = zlib.decompressobj(window), b"", False
    try:
        while True:
            if not waiting:
                waiting = stream.read(_READ)
                ended = not waiting
            if packer.eof:
                waiting = waiting.lstrip(b"\0")
                if ended:
                    return
                if not waiting:
                    continue
                packer = zlib.decompressobj(window)
            piece = packer.decompress(waiting, _CHUNK)
            waiting = packer.unused_data if packer.eof else packer.unconsumed_tail
            if piece:
                yield piece
            elif ended and not packer.eof:
                raise damaged(path)
    except zlib.error as error:
        raise damaged(path) from error


def below(header: Path, name: str) -> Path:
    """The data file called `name` of `header`: in its folder or below, and a regular file.

    Raises
    ------
    FileError
        when nothing is there, or the name leads elsewhere: a stranger could name any file of yours.
    """
    parts = Path(name.replace("\\", "/")) if os.name == "nt" else Path(name)
    path = header.parent / parts
    plain = bool(name) and not parts.is_absolute() and not parts.drive and ".." not in parts.parts
    if plain and "\0" not in name and os.path.isfile(path):
        real = Path(os.path.realpath(path))
        homes = {Path(os.path.realpath(header.parent)), Path(os.path.realpath(header)).parent}
        plain = any(home in real.parents for home in homes)
    if not plain:
        raise FileError(
            _("{path} keeps its voxels in {data}, which is not in its folder.").format(
                path=header, data=parts.name
            ),
            _("Expected a file beside the header or in a folder below."),
            _("Put it there and correct the header, or save the image as one file (.mha, .nrrd, .nii.gz)."),
        )
    if not os.path.lexists(path):
        raise FileError(
            _("{path} keeps its voxels in {data}, which is not there.").format(path=header, data=path.name),
            _("Expected both files in one folder."),
            _("Copy them together, or save the image as one file (.mha, .nrrd, .nii.gz)."),
        )
    return path


def text(path: Path, wanted: int, convert: Callable[[str], Any], dtype: np.dtype, start: int) -> np.ndarray:
    """`wanted` numbers written as text from byte `start` on."""
    if not bounds.VOXELS.holds(wanted):
        raise too_large(path, wanted)
    # A digit and a blank is the least that a number takes.
    if size_of(path) - start < 2 * wanted - 1:
        raise damaged(path)
    with opened(path) as stream:
        stream.seek(start)
        words = stream.read(40 * wanted + _FILLING).replace(b",", b" ").split()
    if len(words) != wanted:
        raise damaged(path)
    try:
        return np.array([convert(word.decode("ascii")) for word in words]).astype(dtype)
    except (ValueError, OverflowError) as error:
        raise damaged(path) from error


def too_long(path: Path) -> FileError:
    """What to say about a file that holds more than its header says."""
    return FileError(
        _("{path} holds more data than its header says.").format(path=path),
        _("Expected as many bytes as the header's sizes need."),
        _("Its header may be damaged or of another file: export the image again."),
    )


def too_large(path: Path, count: int) -> FileError:
    """What to say about more values than MedPrep takes."""
    return FileError(
        _("{path} says that it holds {count} values.").format(path=path, count=count),
        _("Expected at most {most:.3g}.").format(most=bounds.VOXELS.high),
        _("Its header may be damaged; else crop or resample the image first."),
    )
