"""MetaImage files (``.mha``, ``.mhd`` with its data files): every number checked before it is used.

MetaIO, which ITK reads them with, hands patterns of the file to the C library, takes any count of
dimensions, and leaves memory as it was where compressed data are too short: it never sees a user's file.
Reference: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import bounds
from ..core.errors import GeometryError
from ..core.i18n import _
from ..core.volume import LPS_TO_RAS, Volume
from . import checks, file_bytes
from .nrrd_header import numbered

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR"}
_MILLIMETRES = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "?": 1.0, "": 1.0}
_FALSE = ("false", "0", "no")


@dataclass(frozen=True)
class _Header:
    """Fields by their names in lower case, and the byte at which LOCAL data begin."""

    path: Path
    fields: dict[str, str]
    names: list[str]
    end: int

    def text(self, *names: str) -> str:
        """The first of these fields that is there, or ""."""
        return next((self.fields[name] for name in names if name in self.fields), "")

    def yes(self, *names: str) -> bool:
        """Whether a field says true."""
        return self.text(*names).lower() not in ("", *_FALSE)

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        text = self.text(name) or str(default)
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise checks.damaged(self.path)
        return int(text)

    def numbers(self, count: int, *names: str) -> list[float] | None:
        """`count` numbers of the first of these fields, or None where there is none."""
        text = self.text(*names)
        if not text:
            return None
        try:
            found = [float(word) for word in text.split()]
        except ValueError as error:
            raise checks.damaged(self.path) from error
        if len(found) < count:
            raise checks.damaged(self.path)
        return found[:count]


def read_metaimage(path: Path) -> Volume:
    """Read a MetaImage; (k, j, i) or (k, j, i, component).

    Raises
    ------
    FileError
        when it is damaged, 4-D, or of a kind that MedPrep does not read.
    GeometryError
        when its geometry is unusable.
    """
    header = _parse(path)
    dimensions = header.whole("ndims", 0)
    if not 2 <= dimensions <= 7:
        raise checks.damaged(path)
    sizes = [int(n) if n == int(n) else 0 for n in _sizes(header, dimensions)]
    components = header.whole("elementnumberofchannels", 1)
    if any(n > 1 for n in sizes[3:]):
        raise checks.four_dimensional(path, sizes)
    checks.check_size(path, sizes, components)
    _check_kind(header)
    matrix, facts = _geometry(header, dimensions)
    shape = (*sizes[:3], *(1,) * (3 - dimensions))[::-1]
    array = _values(header, sizes, components).reshape((*shape, components) if components > 1 else shape)
    modality = _MODALITIES.get(header.text("modality"), "")
    return Volume(array, matrix, modality=modality, info=facts)


def data_files(path: Path) -> list[Path]:
    """The files that hold the voxels of a MetaImage: itself, or those that its header names.

    Raises
    ------
    FileError
        when the header is damaged, or names files outside of its folder.
    """
    header = _parse(path)
    target = header.text("elementdatafile")
    if target.upper() == "LOCAL":
        return [path]
    return _data_files(header, target, header.whole("ndims", 0))[0]


def _parse(path: Path) -> _Header:
    with checks.opened(path) as stream:
        start = stream.read(int(bounds.TEXT_HEADER.high))
    found = re.search(rb"^\s*ElementDataFile\s*=\s*([^\r\n]*)(\r?\n|$)", start, re.MULTILINE)
    if not found:
        raise checks.damaged(path)
    fields: dict[str, str] = {}
    for line in start[: found.end()].decode("utf-8", "replace").split("\n"):
        key, mark, value = line.partition("=")
        if mark:
            fields[key.strip().lower()] = value.strip()
    names: list[str] = []
    if fields.get("elementdatafile", "").upper().split()[:1] == ["LIST"]:
        names = [n.strip() for n in start[found.end() :].decode("utf-8", "replace").split("\n") if n.strip()]
    return _Header(path, fields, names, found.end())


def _sizes(header: _Header, dimensions: int) -> list[float]:
    sizes = header.numbers(dimensions, "dimsize")
    if sizes is None or not all(math.isfinite(n) for n in sizes):
        raise checks.damaged(header.path)
    return sizes


def _check_kind(header: _Header) -> None:
    kind, path = header.text("elementtype").upper(), header.path
    if header.text("objecttype").lower() not in ("", "image"):
        what = _("object {name}").format(name=header.text("objecttype")[:40])
        raise checks.unsupported(path, what, "ObjectType = Image")
    if kind not in _TYPES:
        raise checks.unsupported(path, _("type {name}").format(name=kind[:40] or "?"), ", ".join(_TYPES))
    slope, offset = (
        header.numbers(1, f"elementtointensityfunction{name}") or [default]
        for name, default in (("slope", 1.0), ("offset", 0.0))
    )
    if (slope[0], offset[0]) not in ((1.0, 0.0), (0.0, 0.0)):
        what = _("values with a slope and an offset")
        raise checks.unsupported(path, what, "ElementToIntensityFunctionSlope = 1")


def _geometry(header: _Header, dimensions: int) -> tuple[np.ndarray, dict[str, Any]]:
    """(4, 4) IJK-to-RAS matrix in mm, and what `info` says about it."""
    unit = header.text("distanceunits").lower()
    if unit not in _MILLIMETRES:
        raise GeometryError(
            _("{path} measures space in {unit!r}.").format(path=header.path, unit=unit[:40]),
            _("Expected mm, um or cm."),
            _("Correct the header, or export the image again."),
        )
    spacing = header.numbers(dimensions, "elementspacing", "elementsize")
    axes = header.numbers(dimensions**2, "transformmatrix", "rotation", "orientation")
    origin = header.numbers(dimensions, "offset", "position", "origin")
    used = min(dimensions, 3)
    directions, steps, place = np.eye(3), np.ones(3), np.zeros(3)
    if axes is not None:
        # Each row is the direction of one axis of the grid.
        directions[:used, :used] = np.reshape(axes, (dimensions, dimensions))[:used, :used].T
    steps[:used] = np.multiply(spacing[:used], _MILLIMETRES[unit]) if spacing else 1.0
    place[:used] = np.multiply(origin[:used], _MILLIMETRES[unit]) if origin else 0.0
    if (steps <= 0).any():
        raise GeometryError(
            _("The spacing in {path} is {spacing} mm.").format(
                path=header.path, spacing=tuple(spacing or ())
            ),
            _("Expected spacing above zero."),
            _("Correct the header, or export the image again."),
        )
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = directions * steps, place
    return LPS_TO_RAS @ lps, {} if spacing else {"spacingKnown": False}


def _values(header: _Header, sizes: list[int], components: int) -> np.ndarray:
    path, count = header.path, math.prod(sizes) * components
    if not bounds.VOXELS.holds(count):
        raise file_bytes.too_large(path, count)
    target = header.text("elementdatafile")
    if target.upper() == "LOCAL":
        return _of_file(header, path, header.end, count, True)
    files, axes = _data_files(header, target, len(sizes))
    if len(files) == 1 and axes is None:
        return _of_file(header, files[0], 0, count, True)
    each = math.prod(sizes[: axes or len(sizes) - 1]) * components
    if len(files) * each != count:
        raise checks.damaged(path)
    return np.concatenate([_of_file(header, file, 0, each, False) for file in files])


def _data_files(header: _Header, target: str, dimensions: int) -> tuple[list[Path], int | None]:
    """The data files, and of how many axes each is (None: one file holds all)."""
    path, words = header.path, target.split()
    if words[:1] and words[0].upper() == "LIST":
        names, deep = header.names, words[1:]
    elif "%" in target:
        names, deep = numbered(path, target)
    else:
        return [file_bytes.below(path, target)], None
    axes = int(deep[0]) if deep and deep[0].isdigit() else dimensions - 1
    if not names or not 1 <= axes <= dimensions or not bounds.DATA_FILES.holds(len(names)):
        raise checks.damaged(path)
    return [file_bytes.below(path, name) for name in names], axes


def _of_file(header: _Header, file: Path, start: int, count: int, whole: bool) -> np.ndarray:
    """`count` values of a file, in native byte order."""
    big = header.yes("binarydatabyteordermsb", "elementbyteordermsb")
    dtype = np.dtype((">" if big else "<") + _TYPES[header.text("elementtype").upper()])
    skip = header.whole("headersize", 0)
    if header.text("binarydata").lower() in _FALSE:
        convert = float if dtype.kind == "f" else int
        found = file_bytes.text(file, count, convert, dtype, start)
    elif header.yes("compresseddata"):
        stated = header.whole("compresseddatasize", 0)
        # What is stated is held against what is there; files without the size are whole too.
        if whole and stated and stated != file_bytes.size_of(file) - start:
            raise checks.damaged(file)
        found = file_bytes.values(file, start, dtype, count, file_bytes.EITHER)
    else:
        if skip == -1:
            skip = file_bytes.size_of(file) - start - count * dtype.itemsize
        found = file_bytes.values(file, start, dtype, count, 0, skip)
    return found.astype(dtype.newbyteorder("="), copy=False)
