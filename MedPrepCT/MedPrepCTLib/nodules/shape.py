"""The shape of a bright spot in a lung, felt out by rays from its middle.

From the middle, rays go in all directions until the HU have fallen half way to the lung around. Their lengths
are alike in a nodule. In a vessel some run on along it, at a branching in three directions; a fissure or a
strip of pleura is wide in one plane and thin across it. A few long rays are vessels that end at a nodule:
they are cut off before size is measured. The idea is that of star-shaped boundary search (de Hoop, Gietema et
al., Radiology 252(2), 2009, compare six such programs); lengths are millimetres, so the grid does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.parallel import Crew

from ..grid.coarse_grid import CoarseGrid
from .blobs import Seeds
from .juxtapleural import LungField
from .surroundings import Surroundings, glass_border, look_around

# Cell sizes of the coarser copies of the image in which larger spots are felt out with less noise.
_LEVELS_MM = (1.2, 2.4)
_CELLS_PER_RADIUS = 2.4
# Rays reach this many radii, in steps of a part of the radius.
_REACH, _STEP = 3.2, 0.16
# A ray longer than this many median lengths runs along a vessel.
_LONG = 1.7
_FAINT = 0.3
_AIR_HU = 70.0
_FEW, _MANY = 66, 162
_CHUNK = 128


@dataclass(frozen=True)
class Shapes:
    """What the rays found, one entry for each seed.

    Parameters
    ----------
    centre : (n, 3) mm from the field's first voxel. radius : median length of the rays, mm.
    volume : mm3 without vessels. threshold : HU of the border. level : HU inside. background : HU around.
    elongation : shortest over longest axis, 0..1. middle : middle over longest axis.
    spread : 80th over 20th percentile of the rays' lengths.
    leak : share of rays that run on beyond 1.7 median lengths. free : share that ended at all.
    pleural : share of rays that end at the border of the lung.
    faint : the leak when rays end only near the HU around, as they do last along thin vessels.
    beside : share of what lies between 1.5 and 2.3 radii that is as dense. air : share of the neighbourhood
        that is darker than lung: lumen of a bronchus.
    around : what lies around.
    """

    centre: np.ndarray
    radius: np.ndarray
    volume: np.ndarray
    threshold: np.ndarray
    level: np.ndarray
    background: np.ndarray
    elongation: np.ndarray
    middle: np.ndarray
    spread: np.ndarray
    leak: np.ndarray
    free: np.ndarray
    pleural: np.ndarray
    faint: np.ndarray
    beside: np.ndarray
    air: np.ndarray
    around: Surroundings

    def __len__(self) -> int:
        return len(self.radius)

    @property
    def diameter(self) -> np.ndarray:
        """(n,) mm, of the balls of equal volume."""
        return np.cbrt(6 * self.volume / np.pi)

    def pick(self, chosen: np.ndarray) -> Shapes:
        """The shapes at an index or mask."""
        return Shapes(*(getattr(self, f.name)[chosen] for f in fields(self)[:-1]), self.around.pick(chosen))

    @staticmethod
    def joined(parts: Sequence[Shapes]) -> Shapes:
        """One after the other."""
        return Shapes(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Shapes)[:-1]),
            Surroundings.joined([p.around for p in parts]),
        )


def directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over the sphere (half a Fibonacci lattice); the last half is the
    first, turned round."""
    n = np.arange(count // 2) + 0.5
    height = 1 - 2 * n / count
    turn = np.pi * (1 + 5**0.5) * n
    across = np.sqrt(1 - height**2)
    half = np.stack([height, across * np.cos(turn), across * np.sin(turn)], axis=1)
    return np.concatenate([half, -half])


class Probe:
    """Reads HU of a lung field at any place in mm, from a copy of it that suits the size looked for."""

    def __init__(self, field: LungField, job: Job) -> None:
        self.field = field
        self._images = [(field.hu, (1, 1, 1))]
        self._cells = [max(field.spacing_kji)]
        for n, cell in enumerate(_LEVELS_MM):
            grid = CoarseGrid(field.hu.shape, field.spacing_kji, cell)
            if grid.factors != self._images[-1][1]:
                self._images.append(
                    (
                        grid.mean(field.hu, job.part(n / len(_LEVELS_MM), (n + 1) / len(_LEVELS_MM))),
                        grid.factors,
                    )
                )
                self._cells.append(cell)

    def level(self, radius: np.ndarray) -> np.ndarray:
        """Which copy suits a radius in mm."""
        return sum(
            (radius >= _CELLS_PER_RADIUS * cell).astype(int) for cell in self._cells[1:]
        ) + 0 * radius.astype(int)

    def at(self, places: np.ndarray, level: int) -> np.ndarray:
        """HU at (..., 3) mm, interpolated linearly; float32."""
        image, factors = self._images[level]
        steps = np.array(self.field.spacing_kji)
        cells = [(places[..., a] / steps[a] + 0.5) / factors[a] - 0.5 for a in range(3)]
        return ndimage.map_coordinates(image, cells, np.float32, order=1, mode="nearest")

    def inside(self, places: np.ndarray) -> np.ndarray:
        """Whether (..., 3) mm lie in the lung."""
        shape = self.field.inside.shape
        index, within = 0, True
        for a in range(3):
            voxel = np.rint(places[..., a] / self.field.spacing_kji[a]).astype(np.int64)
            within = within & (voxel >= 0) & (voxel < shape[a])
            index = index * shape[a] + np.clip(voxel, 0, shape[a] - 1)
        return self.field.inside.reshape(-1)[index] & within


def feel_out(probe: Probe, seeds: Seeds, share: float, job: Job | None = None) -> Shapes:
    """Shapes of the spots at some seeds.

    Parameters
    ----------
    share : how far the HU fall, from the level inside to that around, before a ray ends; 0.5 is half way.
    """
    job = job or Job.quiet()
    levels = probe.level(seeds.radius)
    pieces = []
    for level in np.unique(levels):
        which = np.flatnonzero(levels == level)
        pieces += [(level, which[n : n + _CHUNK]) for n in range(0, len(which), _CHUNK)]
    found: list[Shapes | None] = [None] * len(pieces)

    def task(piece: int, worker: int) -> None:
        level, which = pieces[piece]
        centre, radius = seeds.centre[which], seeds.radius[which]
        for _ in range(2):
            shapes = _rays(probe, level, centre, radius, share, _FEW)
            centre, radius = shapes.centre, np.clip(shapes.radius, 0.6 * radius, 1.6 * radius)
        found[piece] = _rays(probe, level, centre, radius, share, _MANY)

    with Crew() as crew:
        crew.run(task, len(pieces), job)
    order = np.argsort(np.concatenate([which for _, which in pieces])) if pieces else np.empty(0, int)
    return Shapes.joined([f for f in found]).pick(order)


def _rays(
    probe: Probe, level: int, centre: np.ndarray, radius: np.ndarray, share: float, count: int
) -> Shapes:
    way = directions(count)
    steps = np.arange(0.0, _REACH + 1e-6, _STEP)
    length = radius[:, None] * steps
    places = centre[:, None, None] + way[None, :, None] * length[:, None, :, None]
    hu = probe.at(places, level)
    core = steps <= 0.45
    inner = np.median(hu[:, :, core].reshape(len(hu), -1), axis=1)
    outer = hu[:, :, steps >= 1.4]
    darkest, around = np.percentile(outer.reshape(len(outer), -1), (8, 25), axis=1)
    threshold = around + share * (inner - around)
    reach, free = _lengths(hu, threshold, steps)
    reach = reach * radius[:, None]
    beyond = centre[:, None] + way * (reach + np.maximum(0.8, 0.12 * radius[:, None]))[..., None]
    wall = ~probe.inside(beyond)
    whole = _completed(reach, wall)
    median = np.median(whole, axis=1)
    limit = _LONG * median[:, None]
    cubes = np.minimum(reach, limit) ** 3
    shift = 0.75 * (cubes * np.minimum(reach, limit))[:, :, None] * way
    shift = shift.sum(axis=1) / cubes.sum(axis=1)[:, None]
    farthest = np.linalg.norm(shift, axis=1)
    shift *= np.minimum(1.0, 0.7 * radius / np.maximum(farthest, 1e-9))[:, None]
    ends = way * np.minimum(whole, 3 * median[:, None])[..., None]
    moments = np.einsum("nda,ndb->nab", ends, ends) / count
    axes = np.sqrt(np.maximum(np.linalg.eigvalsh(moments), 1e-9))
    faint, _ = _lengths(hu, around + _FAINT * (inner - around), steps)
    glass, _ = _lengths(hu, glass_border(around, inner), steps)
    ratio = length / median[:, None]
    ring = ((ratio > 1.5) & (ratio < 2.3))[:, None]
    ring = np.broadcast_to(ring, hu.shape)
    near = np.broadcast_to((ratio < 1.6)[:, None], hu.shape)
    low, high = np.percentile(whole, (20, 80), axis=1)
    return Shapes(
        centre + shift,
        median,
        4 / 3 * np.pi * cubes.mean(axis=1),
        threshold,
        inner,
        around,
        axes[:, 0] / axes[:, 2],
        axes[:, 1] / axes[:, 2],
        high / np.maximum(low, 1e-6),
        (whole > limit).mean(axis=1),
        free.mean(axis=1),
        wall.mean(axis=1),
        (_completed(faint * radius[:, None], wall) > limit).mean(axis=1),
        (ring & (hu > threshold[:, None, None])).sum(axis=(1, 2)) / np.maximum(ring.sum(axis=(1, 2)), 1),
        (near & (hu < around[:, None, None] - _AIR_HU)).sum(axis=(1, 2))
        / np.maximum(near.sum(axis=(1, 2)), 1),
        look_around(
            hu,
            ratio,
            way,
            whole,
            _completed(glass * radius[:, None], wall),
            ~probe.inside(centre[:, None] + 1.8 * median[:, None, None] * way),
            threshold,
            inner,
            around,
            around - darkest,
        ),
    )


def _completed(reach: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Lengths of the rays as they were without the chest wall.

    A ray that ends at the wall gets the length of the one that goes the other way; where both end at the
    wall, the median of the free ones.
    """
    half = reach.shape[1] // 2
    other, other_wall = np.roll(reach, half, axis=1), np.roll(wall, half, axis=1)
    free = np.where(wall, np.nan, reach)
    with np.errstate(all="ignore"):
        usual = np.nanmedian(np.where(wall.all(axis=1)[:, None], reach, free), axis=1)
    return np.where(wall, np.where(other_wall, usual[:, None], other), reach)


def _lengths(hu: np.ndarray, threshold: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each ray goes before it falls to the threshold, in the unit of `steps`, and whether it does.

    Parameters
    ----------
    hu : (n, rays, steps). threshold : (n,).
    """
    ended = hu <= threshold[:, None, None]
    ended[:, :, 0] = False
    first = np.argmax(ended, axis=2)
    free = first > 0
    first = np.where(free, first, len(steps) - 1)
    after = np.take_along_axis(hu, first[..., None], 2)[..., 0]
    before = np.take_along_axis(hu, first[..., None] - 1, 2)[..., 0]
    # Between two steps the border lies where the line through both crosses the threshold.
    back = np.clip((threshold[:, None] - after) / np.maximum(before - after, 1.0), 0, 1)
    return np.maximum(first - np.where(free, back, 0.0), 0.25) * _STEP, free
