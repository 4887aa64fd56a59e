"""The header of a NRRD file: parsed in one place, every number checked before it is used.

Reference: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import bounds
from ..core.errors import FileError
from ..core.i18n import _
from . import checks, file_bytes

_TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_DTYPES = {name: dtype for dtype, names in _TYPES.items() for name in names.split(", ")}
_PACKED, _TEXT = ("gzip", "gz"), ("txt", "text", "ascii")
_ORDERS = {"little": "<", "big": ">"}
# Fields have old spellings without the blank.
_SPELLINGS = {
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
    "axismins": "axis mins",
    "centerings": "centers",
}
_UNIT_WORDS = {
    1.0: ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "???", "none", "unknown"),
    1e-3: ("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers", "micrometre"),
    1e-6: ("nm", "nanometer", "nanometers"),
    10.0: ("cm", "centimeter", "centimeters"),
    1000.0: ("m", "meter", "meters", "metre", "metres"),
}
MILLIMETRES = {word: size for size, words in _UNIT_WORDS.items() for word in words}
_DOMAIN = ("domain", "space", "time", "???", "none")
_COMPLEX = ("complex",)
# Kinds of an axis that runs over the values of a voxel.
_VALUES = re.compile(
    r"vector|covariant-vector|normal|stub|scalar|list|point|quaternion|[234]-(vector|color|normal|gradient)"
    r"|(rgb|rgba|hsv|xyz)-color|[23]d-(masked-)?(symmetric-)?matrix"
)


@dataclass(frozen=True)
class Header:
    """Fields (lower case), key/value pairs, sizes per axis (fastest first), and where the header ends."""

    path: Path
    fields: dict[str, str]
    keys: dict[str, str]
    sizes: tuple[int, ...]
    dtype: np.dtype
    kinds: tuple[str, ...]
    end: int

    def words(self, field: str) -> list[str]:
        """The blank-separated words of a field, one per axis; [] where it is not there."""
        found = self.fields.get(field, "").split()
        if found and len(found) != len(self.sizes):
            raise checks.damaged(self.path)
        return found

    def numbers(self, field: str) -> list[float]:
        """The numbers of a field, one per axis; NaN where the file says nothing."""
        try:
            return [float(word) for word in self.words(field)] or [math.nan] * len(self.sizes)
        except ValueError as error:
            raise checks.damaged(self.path) from error

    def units(self, field: str) -> list[str]:
        """Quoted words of a field."""
        return re.findall(r'"([^"]*)"', self.fields.get(field, ""))

    def whole(self, field: str) -> int:
        """A whole number; 0 where it is not there."""
        return _whole(self.path, self.fields.get(field, "0"))

    @property
    def component_axis(self) -> int | None:
        """The axis that runs over the values of a voxel."""
        outside = [n for n, kind in enumerate(self.kinds) if kind not in _DOMAIN]
        return outside[0] if outside else None


def parse(path: Path) -> Header:
    """The header of a NRRD file.

    Raises
    ------
    FileError
        when it is damaged, or of a kind that MedPrep does not read.
    """
    with checks.opened(path) as stream:
        start = stream.read(int(bounds.TEXT_HEADER.high))
    blank = re.search(rb"\r?\n\r?\n", start)
    end = blank.end() if blank else len(start)
    lines = [line.rstrip("\r") for line in start[:end].decode("utf-8", "replace").split("\n")]
    if not lines or not re.fullmatch(r"NRRD000[1-5]\s*", lines[0]):
        raise checks.damaged(path)
    fields, keys = _entries(path, lines[1:])
    if not blank and "data file" not in fields:
        raise checks.damaged(path)
    sizes = tuple(_whole(path, word) for word in fields.get("sizes", "").split())
    if not 1 <= len(sizes) <= 16 or len(sizes) != _whole(path, fields.get("dimension", "")):
        raise checks.damaged(path)
    header = Header(path, fields, keys, sizes, _dtype(path, fields), _kinds(path, fields, len(sizes)), end)
    _check_kinds(header)
    return header


def _entries(path: Path, lines: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for number, line in enumerate(lines):
        if not line or line.startswith("#"):
            continue
        found = re.match(r"([^:]*):(=|\s+|$)(.*)", line)
        if not found:
            raise checks.damaged(path)
        name, mark, value = found.groups()
        if mark == "=":
            keys[name] = value.replace("\\n", "\n").replace("\\\\", "\\")
            continue
        name = name.strip().lower()
        fields[_SPELLINGS.get(name, name)] = value.strip()
        if _SPELLINGS.get(name, name) == "data file" and value.strip().upper().startswith("LIST"):
            # The names of the slices fill the rest of the header.
            fields["data files"] = "\n".join(lines[number + 1 :])
            break
    return fields, keys


def _whole(path: Path, word: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", word.strip()):
        raise checks.damaged(path)
    return int(word)


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype:
    name = " ".join(fields.get("type", "").lower().split())
    if name not in _DTYPES:
        raise checks.unsupported(path, _("type {name}").format(name=name or "?"), ", ".join(_DTYPES))
    dtype = np.dtype(_DTYPES[name])
    encoding, order = fields.get("encoding", "").lower(), fields.get("endian", "").lower()
    if encoding not in ("raw", *_PACKED, *_TEXT):
        raise checks.unsupported(path, _("encoding {name}").format(name=encoding or "?"), "raw, gzip, text")
    if encoding in _TEXT or dtype.itemsize == 1:
        return dtype
    if order not in _ORDERS:
        raise checks.damaged(path)
    return np.dtype(_ORDERS[order] + dtype.str[1:])


def _kinds(path: Path, fields: dict[str, str], dimension: int) -> tuple[str, ...]:
    kinds = fields.get("kinds", "").lower().split() or ["???"] * dimension
    if len(kinds) != dimension:
        raise checks.damaged(path)
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    if len(directions) == dimension:
        # An axis without a direction is none of space, whether it has a kind or not.
        kinds = [
            "vector" if direction == "none" and kind in _DOMAIN else kind
            for kind, direction in zip(kinds, directions, strict=True)
        ]
    return tuple(kinds)


def _check_kinds(header: Header) -> None:
    path, kinds, sizes = header.path, header.kinds, header.sizes
    if any(kind in _COMPLEX for kind in kinds):
        raise checks.complex_values(path)
    outside = [n for n, kind in enumerate(kinds) if kind not in _DOMAIN]
    if not all(_VALUES.fullmatch(kinds[n]) for n in outside):
        raise checks.damaged(path)
    if len(outside) > 1:
        raise checks.unsupported(path, _("several axes of values"), _("one axis of values per voxel"))
    inside = [n for n in range(len(sizes)) if n not in outside]
    components = sizes[outside[0]] if outside else 1
    timed = any(kinds[n] == "time" and sizes[n] > 1 for n in inside)
    extra = [n for n in inside[3:] if sizes[n] != 1]
    if timed or extra or (outside and kinds[outside[0]] == "list" and components > 4):
        raise checks.four_dimensional(path, [*(sizes[n] for n in inside), *(sizes[n] for n in outside)])
    if not inside:
        raise checks.damaged(path)
    checks.check_size(path, [sizes[n] for n in inside], components)


def read_values(header: Header) -> np.ndarray:
    """The stored values in the file's order, one-dimensional, native byte order.

    Raises
    ------
    FileError
        when there are fewer or more than the header says.
    """
    path, count = header.path, math.prod(header.sizes)
    if not bounds.VOXELS.holds(count):
        raise file_bytes.too_large(path, count)
    files, each = _data_files(header)
    if len(files) == 1:
        found = _of_file(header, *files[0], count)
    else:
        if len(files) * each != count:
            raise checks.damaged(path)
        found = np.concatenate([_of_file(header, file, start, each) for file, start in files])
    return found.astype(header.dtype.newbyteorder("="), copy=False)


def data_files(path: Path) -> list[Path]:
    """The files that hold the voxels of a NRRD: itself, or those that its header names.

    Raises
    ------
    FileError
        when the header is damaged, or names files outside of its folder.
    """
    return [file for file, _start in _data_files(parse(path))[0]]


def _data_files(header: Header) -> tuple[list[tuple[Path, int]], int]:
    """(file, first byte of its data) of every data file, and how many values each holds when several."""
    path, target = header.path, header.fields.get("data file", "")
    if not target:
        return [(path, header.end)], 0
    words = target.split()
    if words[0].upper() == "LIST":
        names = [line.strip() for line in header.fields.get("data files", "").splitlines() if line.strip()]
        deep = words[1:]
    elif "%" in target:
        names, deep = numbered(path, target)
    else:
        names, deep = [target], []
    axes = _whole(path, deep[0]) if deep else len(header.sizes) - 1
    if not names or not 1 <= axes <= len(header.sizes) or not bounds.DATA_FILES.holds(len(names)):
        raise checks.damaged(path)
    return [(file_bytes.below(path, name), 0) for name in names], math.prod(header.sizes[:axes])


def numbered(path: Path, target: str) -> tuple[list[str], list[str]]:
    """File names of "FORMAT MIN MAX STEP [...]" and the words after; nothing but one %d is taken.

    Raises
    ------
    FileError
        for any other pattern: the C library would be handed whatever stands there.
    """
    words = target.split()
    at = next(n for n, word in enumerate(words) if "%" in word)
    pattern, numbers = " ".join(words[: at + 1]), words[at + 1 :]
    place = re.fullmatch(r"([^%]*)%(0?[0-9]{0,2})d([^%]*)", pattern)
    if not place or len(numbers) < 2:
        raise checks.damaged(path)
    first, last, step = (_whole(path, word) for word in (*numbers[:3], "1")[:3])
    files = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
    if not files or not bounds.DATA_FILES.holds(len(files)):
        raise FileError(
            _("{path} counts its data files from {first} to {last} by {step}.").format(
                path=path, first=first, last=last, step=step
            ),
            _("Expected {span} files.").format(span=bounds.DATA_FILES.span),
            _("Correct the header, or export the image again."),
        )
    return [f"{place[1]}{n:{place[2]}d}{place[3]}" for n in files], numbers[3:]


def _of_file(header: Header, file: Path, start: int, count: int) -> np.ndarray:
    encoding, dtype = header.fields["encoding"].lower(), header.dtype
    lines, skip = header.whole("line skip"), header.whole("byte skip")
    if lines < 0 or skip < -1 or not lines <= 100_000:
        raise checks.damaged(header.path)
    if lines:
        with checks.opened(file) as stream:
            stream.seek(start)
            for _line in range(lines):
                stream.readline(1 << 20)
            start = stream.tell()
    if encoding in _TEXT:
        convert = float if dtype.kind == "f" else int
        return file_bytes.text(file, count, convert, dtype, start)
    if encoding in _PACKED:
        return file_bytes.values(file, start, dtype, count, file_bytes.GZIP, max(skip, 0))
    if skip == -1:
        # The data are what stands at the end.
        skip = file_bytes.size_of(file) - start - count * dtype.itemsize
    return file_bytes.values(file, start, dtype, count, 0, skip)
