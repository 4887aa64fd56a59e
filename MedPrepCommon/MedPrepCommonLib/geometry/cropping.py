"""Boxes of whole voxels cut out of an image, reaching beyond it where they must, exactly in place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ..core.errors import ParameterError
from ..core.i18n import _
from ..core.volume import LabelVolume, Volume

AnyVolume = TypeVar("AnyVolume", bound=Volume)

# Places closer than this to the middle between two voxels lie there: a rounding error must not decide.
_TIE = 1e-6
# What CT pads with: air, as outside the reconstructed field of view.
_AIR = -1024
# A result beyond this does not fit the computers that this is made for.
LARGEST_RESULT = 8 * 2**30


class Box(NamedTuple):
    """Voxels of an image, or of where it would go on: index of the first and number along k, j, i."""

    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    def inside(self, shape: Sequence[int]) -> bool:
        """Whether an image of `shape` holds all of it."""
        return all(
            s >= 0 and s + n <= whole for s, n, whole in zip(self.start, self.shape, shape, strict=True)
        )

    @property
    def centre(self) -> tuple[float, float, float]:
        """Index (k, j, i) of its middle."""
        return tuple(s + (n - 1) / 2 for s, n in zip(self.start, self.shape, strict=True))


def rising(volume: Volume) -> tuple[bool, bool, bool]:
    """Whether each axis k, j, i runs rather towards right, anterior or superior than the other way.

    Where a place lies midway between two voxels this decides, so that the same anatomy gives the same result
    however it is stored.
    """
    main = np.abs(volume.directions).argmax(axis=0)
    return tuple(bool(volume.directions[main[n], n] > 0) for n in (2, 1, 0))


def centred(centre: Sequence[float], shape: Sequence[int], up: Sequence[bool]) -> Box:
    """The box of `shape` whose middle is nearest to the index `centre` (k, j, i); `up` as :func:`rising`."""
    return Box(
        tuple(
            nearest(c - (n - 1) / 2, towards_end) for c, n, towards_end in zip(centre, shape, up, strict=True)
        ),
        tuple(map(int, shape)),
    )


def nearest(position: float, towards_end: bool) -> int:
    """The whole number nearest to `position`; midway between two, the upper one if `towards_end`."""
    upper = math.floor(position + 0.5 + _TIE)
    tie = abs(position + 0.5 - upper) <= _TIE
    return upper - 1 if tie and not towards_end else upper


def moved_inside(box: Box, shape: Sequence[int], up: Sequence[bool]) -> Box:
    """`box` moved as little as it takes to lie in an image of `shape`; centred where it is longer."""
    starts = []
    for s, n, whole, towards_end in zip(box.start, box.shape, shape, up, strict=True):
        starts.append(
            min(max(s, 0), whole - n) if n <= whole else nearest((whole - n) / 2, towards_end),
        )
    return Box(tuple(starts), box.shape)


def bounding_box(mask: np.ndarray) -> Box | None:
    """The smallest box around what is not zero in a (k, j, i) mask; None when nothing is."""
    plane = mask.any(axis=0)
    lines = (mask.reshape(len(mask), -1).any(axis=1), plane.any(axis=1), plane.any(axis=0))
    found = [np.flatnonzero(line) for line in lines]
    if found[0].size == 0:
        return None
    return Box(tuple(int(n[0]) for n in found), tuple(int(n[-1] - n[0]) + 1 for n in found))


def cut(
    array: np.ndarray,
    box: Box,
    pad: str = "constant",
    value: float = 0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The values of a box, a copy.

    Parameters
    ----------
    array : (k, j, i) or (k, j, i, component).
    pad : how the image goes on beyond its edge: "constant" (`value`), "edge" (the outermost voxel's value) or
        "reflect" (mirrored at the outermost voxel's centre, which is not repeated).
    value : must fit the array's type.
    out : where to put them; of the box's shape.
    """
    if out is None:
        out = np.empty((*box.shape, *array.shape[3:]), array.dtype.newbyteorder("="))
    ends = [s + n for s, n in zip(box.start, box.shape, strict=True)]
    inner = [
        slice(min(max(s, 0), n), max(min(e, n), 0))
        for s, e, n in zip(box.start, ends, array.shape, strict=False)
    ]
    if box.inside(array.shape[:3]):
        out[...] = array[tuple(inner)]
    elif pad == "constant":
        out[...] = value
        if all(part.stop > part.start for part in inner):
            place = tuple(
                slice(part.start - s, part.stop - s) for part, s in zip(inner, box.start, strict=True)
            )
            out[place] = array[tuple(inner)]
    else:
        for axis, (s, e, n) in enumerate(zip(box.start, ends, array.shape, strict=False)):
            if s >= 0 and e <= n:
                array = array[(slice(None),) * axis + (slice(s, e),)]
            else:
                array = array.take(_continued(np.arange(s, e), n, pad), axis=axis)
        out[...] = array
    return out


def _continued(index: np.ndarray, size: int, pad: str) -> np.ndarray:
    """The voxel that stands for each index of an axis of `size` voxels."""
    if pad == "edge" or size == 1:
        return np.clip(index, 0, size - 1)
    phase = index % (2 * size - 2)
    return np.minimum(phase, 2 * size - 2 - phase)


def cut_volume(volume: AnyVolume, box: Box, pad: str, value: float) -> AnyVolume:
    """A box of an image or label map as one of its own; every voxel stays where it is in the patient."""
    matrix = volume.ijkToRAS.copy()
    matrix[:3, 3] = volume.ijkToRAS[:3] @ [*box.start[::-1], 1.0]
    return dataclasses.replace(volume, array=cut(volume.array, box, pad, value), ijkToRAS=matrix, name="")


def padding(image: Volume, pad: str, value: float) -> tuple[str, float]:
    """How :func:`cut` continues an image, from what a user chose.

    Parameters
    ----------
    pad : "auto" (the image's smallest value; for CT not below air, -1024 HU), "minimum", "constant", "edge",
        "reflect".
    value : for "constant".

    Raises
    ------
    ParameterError
        when the image's type cannot hold the value.
    """
    if pad in ("edge", "reflect"):
        return pad, 0.0
    if pad == "constant":
        require_fit(image, value)
        return pad, value
    lowest = image.array.min().item()
    return "constant", max(lowest, _AIR) if pad == "auto" and image.modality == "CT" else lowest


def require_fit(image: Volume, value: float) -> None:
    """Raise :class:`ParameterError` unless the image's type holds `value`."""
    dtype = image.array.dtype
    if dtype.kind == "f":
        return
    limits = np.iinfo(dtype)
    if value != int(value) or not limits.min <= value <= limits.max:
        raise ParameterError(
            _("The padding value is {value:g}.").format(value=value),
            _("Expected a whole number from {low} to {high}, as the image's voxels ({type}).").format(
                low=limits.min, high=limits.max, type=dtype
            ),
            _("Choose a value that the image can hold, or another padding."),
        )


def distinct_names(labels: Sequence[LabelVolume]) -> list[str]:
    """What label maps are called in a result: their own names, numbered where two are equal."""
    names: list[str] = []
    for label in labels:
        base = label.name or "labels"
        base = f"{base} labels" if base == "image" else base
        name, n = base, 2
        while name in names:
            name, n = f"{base} {n}", n + 1
        names.append(name)
    return names


def require_same_grid(image: Volume, labels: Sequence[LabelVolume]) -> None:
    """Raise :class:`GeometryError` for a label map that does not lie on the image's voxels."""
    for label in labels:
        label.require_grid_of(image, _("label map {name!r}").format(name=label.name))


def require_room(shape: Sequence[int], bytes_per_voxel: int) -> None:
    """Raise :class:`ParameterError` when a result would not fit into memory."""
    size = math.prod(shape) * bytes_per_voxel
    if size > LARGEST_RESULT:
        raise ParameterError(
            _("The result would have {shape} voxels and fill {size:.1f} GB.").format(
                shape=" x ".join(map(str, tuple(shape)[::-1])), size=size / 2**30
            ),
            _("Expected at most {limit:.0f} GB.").format(limit=LARGEST_RESULT / 2**30),
            _("Choose a smaller size or fewer patches."),
        )
