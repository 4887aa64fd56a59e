"""Patches put together to the image they were cut from, overlaps blended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from ..core.errors import GeometryError, InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.patch_set import Patch, PatchSet
from ..core.volume import LabelVolume, Segment, Volume

BLENDS = ("gaussian", "linear", "constant")
# Of a patch's length, as nnU-Net weighs its tiles.
_SIGMA = 1 / 8
# NIfTI keeps positions to some 1e-5 mm; patches lie on whole voxels.
_SAME_PLACE = 1e-3
# Slices that are put together at a time, at least.
_SLAB = 32


class Source(Protocol):
    """Patches with their places: a :class:`PatchSet`, or a folder of them."""

    patches: tuple[Patch, ...]
    ijkToRAS: np.ndarray
    shape: tuple[int, int, int]
    size: tuple[int, int, int]
    modality: str
    history: tuple[dict[str, Any], ...]

    def values(self, number: int, name: str) -> np.ndarray:
        """One patch of the array called `name`: (k, j, i) or (k, j, i, component)."""

    def segments_of(self, name: str) -> tuple[Segment, ...] | None:
        """What the values of that array mean; None where it is no label map."""


def reassemble(
    patches: PatchSet | Source,
    reference: Volume | None = None,
    *,
    name: str = "image",
    blend: Literal["gaussian", "linear", "constant"] = "gaussian",
    outside: float = 0.0,
    job: Job | None = None,
) -> Volume:
    """The image (or label map) on the grid that the patches were cut from.

    Overlaps are averaged, weighted by the distance from the middle of each patch. Of a label map each voxel
    takes the value of the patch that weighs most there. Patches of coarser scales are left out.

    Parameters
    ----------
    reference : an image that must have that grid; its place in the patient is the result's.
    name : "image", the name of a label map, or of an array that was added to the files.
    blend : "gaussian" (deviation of an eighth of the patch), "linear" (falling to the border), "constant".
    outside : value of voxels that no patch covers; their share is ``1 - info["covered"]`` of the result.

    Raises
    ------
    GeometryError
        when `reference` has another grid.
    InputError
        when there are no patches of scale 1.
    """
    if blend not in BLENDS:
        raise ParameterError(
            _("The blending is {blend!r}.").format(blend=blend),
            _("Expected one of {blends}.").format(blends=", ".join(BLENDS)),
            _("Choose one of them."),
        )
    job = job or Job.quiet()
    if reference is not None and not cut_from(patches, reference):
        raise GeometryError(
            _("The reference has another grid than the image that the patches were cut from."),
            _("Expected {shape} voxels at the same place.").format(
                shape=" x ".join(map(str, patches.shape[::-1]))
            ),
            _("Choose that image, or put the patches together first and restore the result to the other."),
        )
    chosen = [n for n, patch in enumerate(patches.patches) if patch.scale == 1]
    if not chosen:
        raise InputError(
            _("There are no patches at the image's own scale."),
            _("Expected at least one."),
            _("Cut patches on a grid, with one scale."),
        )
    segments = patches.segments_of(name)
    starts = [tuple(round(v) for v in patches.patches[n].first[::-1]) for n in chosen]

    def read(index: int) -> np.ndarray:
        return patches.values(chosen[index], name)

    weights = [_profile(n, blend) for n in patches.size]
    put = _vote if segments is not None else _average
    array, covered = put(read, starts, weights, patches.shape, outside, job)
    fields: dict[str, Any] = {
        "name": name,
        "modality": patches.modality,
        "history": patches.history,
        "info": {"covered": covered},
    }
    matrix = patches.ijkToRAS if reference is None else reference.ijkToRAS
    if segments is not None:
        return LabelVolume(array, matrix, segments=tuple(segments), **fields)
    return Volume(array, matrix, **fields)


def cut_from(patches: PatchSet | Source, reference: Volume) -> bool:
    """Whether `reference` has the grid that the patches were cut from."""
    own = Volume(np.broadcast_to(np.uint8(0), patches.shape), patches.ijkToRAS)
    return own.same_grid(reference, _SAME_PLACE)


def _profile(size: int, blend: str) -> np.ndarray:
    """Weight of each voxel along one axis of a patch, above zero."""
    away = np.abs(np.arange(size) - (size - 1) / 2)
    if blend == "constant":
        return np.ones(size)
    if blend == "linear":
        return (size + 1) / 2 - away
    return np.exp(-0.5 * (away / (size * _SIGMA)) ** 2)


def _laid_out(
    read: Callable[[int], np.ndarray],
    starts: Sequence[tuple[int, ...]],
    weights: Sequence[np.ndarray],
    shape: tuple[int, int, int],
    job: Job,
) -> Iterator[tuple[int, int, Iterator[tuple[Any, np.ndarray, np.ndarray]]]]:
    """Slab by slab: its first and last plane, and of each patch there its place, values and weights."""
    kernel = weights[0][:, None, None] * weights[1][:, None] * weights[2]

    def parts(low: int, high: int, members: Sequence[int]) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        for index in members:
            job.check()
            place, part = _overlap(starts[index], kernel.shape, (low, 0, 0), (high, *shape[1:]))
            yield place, read(index)[part], kernel[part]

    for low, high, members in _slabs(starts, len(weights[0]), shape[0], job):
        yield low, high, parts(low, high, members)


def _average(
    read: Callable[[int], np.ndarray],
    starts: Sequence[tuple[int, ...]],
    weights: Sequence[np.ndarray],
    shape: tuple[int, int, int],
    outside: float,
    job: Job,
) -> tuple[np.ndarray, float]:
    """Weighted mean of what covers each voxel, in the type of the patches, and the share that is covered."""
    first = read(0)
    rest = first.shape[3:]
    result, covered = np.empty((*shape, *rest), first.dtype.newbyteorder("=")), 0
    whole = first.dtype.kind in "iu"
    for low, high, parts in _laid_out(read, starts, weights, shape, job):
        total = np.zeros((high - low, *shape[1:], *rest))
        weight = np.zeros((high - low, *shape[1:]))
        for place, values, share in parts:
            total[place] += values * (share[..., None] if rest else share)
            weight[place] += share
        there = weight > 0
        covered += int(np.count_nonzero(there))
        weight[~there] = 1
        total /= weight[..., None] if rest else weight
        total[~there] = outside
        result[low:high] = np.rint(total) if whole else total
    return result, covered / float(np.prod(shape))


def _vote(
    read: Callable[[int], np.ndarray],
    starts: Sequence[tuple[int, ...]],
    weights: Sequence[np.ndarray],
    shape: tuple[int, int, int],
    outside: float,
    job: Job,
) -> tuple[np.ndarray, float]:
    """The value of the patch that weighs most at each voxel, and the share that is covered."""
    first = read(0)
    result, covered = np.full(shape, int(outside), first.dtype.newbyteorder("=")), 0
    for low, high, parts in _laid_out(read, starts, weights, shape, job):
        best = np.zeros((high - low, *shape[1:]))
        for place, values, share in parts:
            better = share > best[place]
            best[place][better] = share[better]
            result[low:high][place][better] = values[better]
        covered += int(np.count_nonzero(best))
    return result, covered / float(np.prod(shape))


def _slabs(
    starts: Sequence[tuple[int, ...]], depth: int, length: int, job: Job
) -> list[tuple[int, int, list[int]]]:
    """First and last slice of pieces of the image, and the patches that reach into each."""
    thick = max(_SLAB, depth)
    slabs = []
    for low in range(0, length, thick):
        job.report(low / length)
        high = min(low + thick, length)
        slabs.append(
            (low, high, [n for n, start in enumerate(starts) if start[0] < high and start[0] + depth > low])
        )
    return slabs


def _overlap(
    start: Sequence[int], size: Sequence[int], low: Sequence[int], high: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a patch lies in the piece from `low` to `high`, and which part of the patch that is."""
    place, part = [], []
    for s, n, a, b in zip(start, size, low, high, strict=True):
        first, last = max(s, a), max(min(s + n, b), max(s, a))
        place.append(slice(first - a, last - a))
        part.append(slice(first - s, last - s))
    return tuple(place), tuple(part)
