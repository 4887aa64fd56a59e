"""Trachea and bronchi: found as a dark tube near the midline, then grown until just before they leak.

Region growing from the trachea with the highest threshold that does not flood the lung is the method of most
airway extraction work (Lo et al., Extraction of airways from CT (EXACT'09), IEEE TMI 31(11), 2012).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.coarse_grid import CoarseGrid
from ..grid.morphology import IN_PLANE_CROSS, bounding_box, connected_to, dilate, erode
from ..grid.voxel_cells import FlatVolume, interpolate, neighbours

# Cross section of a trachea in an axial slice, and how far it strays from the spine.
_TRACHEA_MM2 = (40.0, 1000.0)
_MIDLINE_MM = 45.0
_SHORTEST_MM = 18.0
# Thresholds tried, lowest first; and how much the bronchi may add to the trachea before it must be a leak.
_GROWTH_HU = (-950, -910, -880, -850, -810, -760)
_BRONCHI_ML = 60.0
_WIDEST_BRONCHUS_MM = 8.0
# How far beyond the coarse airway lobar bronchi are followed, and how much they may add.
_FINE_MARGIN_MM, _FINE_BRONCHI_ML = 25.0, 15.0
_LUMEN_HU, _MIXED_HU, _AIR_HU = -900, -800, -500
_FINEST_RIM_MM, _RIM_ABOVE_LUNG_HU = 2.2, 70


def find_trachea(
    coarse: np.ndarray,
    inside: np.ndarray,
    middle: np.ndarray | None,
    spacing_kji: Sequence[float],
    scale: float = 1.0,
) -> np.ndarray | None:
    """Cells of the trachea where it is a round hole of its own in axial slices; bool (k, j, i), or None.

    Parameters
    ----------
    inside : air within the body, as :func:`body_air.air_inside` gives it.
    middle : column of the spine, (k,), or None where it does not show.
    scale : size of the patient compared with an adult.
    """
    sk, sj, si = spacing_kji
    labels, count = ndimage.label(inside, IN_PLANE_CROSS)
    if count == 0:
        return None
    k, j, i = np.nonzero(inside)
    name = labels[k, j, i]

    def total(weights=None):
        return np.bincount(name, weights, count + 1)

    cells = np.maximum(total(), 1)
    area = cells * sj * si
    x, y = i * si, j * sj
    cx, cy = total(x) / cells, total(y) / cells
    # Second moments; a cell's own extent added, so that a single cell is round.
    vx = total(x * x) / cells - cx * cx + si * si / 12
    vy = total(y * y) / cells - cy * cy + sj * sj / 12
    vxy = total(x * y) / cells - cx * cy
    spread = np.sqrt(np.maximum((vx - vy) ** 2 / 4 + vxy**2, 0))
    large, small = (vx + vy) / 2 + spread, np.maximum((vx + vy) / 2 - spread, 1e-3)
    compact = area / (4 * np.pi * np.sqrt(large * small))
    mean = total(coarse[k, j, i]) / cells
    away = 0.0 if middle is None else np.abs(cx - total(middle[k] * si) / cells)
    smallest, largest = (limit * scale**2 for limit in _TRACHEA_MM2)
    tube = (area >= smallest) & (area <= largest) & (large <= 6.5 * small) & (compact > 0.75)
    tube &= (mean < -720) & (away <= _MIDLINE_MM)
    # A sliver of lung at the edge of a cropped picture is round too; a trachea there would be cut open.
    edge = (j == 0) | (j == inside.shape[1] - 1) | (i == 0) | (i == inside.shape[2] - 1)
    tube[name[edge]] = False
    tube[0] = False
    # Lungs are what is large and no mere gas; the trachea is not found below their middle, bowel is.
    big = (area > 2.5 * largest) & (mean > -950)
    lung_cells = big[name]
    if not lung_cells.any():
        return None
    lung_height = np.median(k[lung_cells]) * sk
    chains, _ = ndimage.label(tube[labels], np.ones((3, 3, 3)))
    best, best_volume = None, 0.0
    for number, box in enumerate(ndimage.find_objects(chains), start=1):
        height = (box[0].stop - box[0].start) * sk
        here = chains[box] == number
        volume = here.sum() * sk * sj * si
        centre = (box[0].start + box[0].stop - 1) / 2 * sk
        if height >= _SHORTEST_MM * scale and centre > lung_height - 10.0 and volume > best_volume:
            best, best_volume = (box, here), volume
    if best is None:
        return None
    trachea = np.zeros_like(inside)
    trachea[best[0]] = best[1]
    return trachea


def grow(
    hu: np.ndarray,
    seeds: np.ndarray,
    room: np.ndarray,
    spacing_kji: Sequence[float],
    most_ml: float,
    prune: bool = False,
) -> np.ndarray:
    """The seeds and the dark cells connected to them, at the highest threshold that does not leak.

    Parameters
    ----------
    hu : (k, j, i). seeds : bool, in the airway. room : bool, where growth is allowed.
    most_ml : more than this is a leak; so is reaching the border of the array sideways.
    prune : try to cut leaks off (else the threshold before the leak is the last).
    """
    volume = float(np.prod(spacing_kji)) / 1000
    best = seeds & room
    before = best.sum() * volume
    near = dilate(seeds, 1.01 * max(spacing_kji), spacing_kji)

    def leaks(grown, factor=1.6, step_ml=12.0) -> bool:
        now = grown.sum() * volume
        sides = grown[:, :, [0, -1]].any() or grown[:, [0, -1], :].any()
        return now > most_ml or sides or now > factor * before + step_ml

    for threshold in _GROWTH_HU:
        dark = ((hu < threshold) & room) | seeds
        grown = connected_to(dark, seeds)
        if leaks(grown) and prune:
            # What is wider than any bronchus is lung: without it the tubes may go on to be followed.
            bulk = dilate(
                erode(grown & ~near, _WIDEST_BRONCHUS_MM, spacing_kji), _WIDEST_BRONCHUS_MM, spacing_kji
            )
            bulk = dilate(bulk, 1.01 * max(spacing_kji[1:]), spacing_kji)
            grown = connected_to(grown & ~(bulk & ~near), seeds)
            if leaks(grown, 1.15, 3.0):
                break
        elif leaks(grown):
            break
        best = grown
        before = grown.sum() * volume
    return best


def coarse_airway(
    coarse: np.ndarray, inside: np.ndarray, trachea: np.ndarray, spacing_kji: Sequence[float]
) -> np.ndarray:
    """Trachea and the bronchi that the coarse grid resolves; bool (k, j, i)."""
    sk, sj, si = spacing_kji
    margin = (int(110 / sk) + 1, int(60 / sj) + 1, int(80 / si) + 1)
    box = bounding_box(trachea, margin)
    seeds = trachea[box]
    most = seeds.sum() * float(np.prod(spacing_kji)) / 1000 + _BRONCHI_ML
    airway = np.zeros_like(inside)
    airway[box] = grow(coarse[box], seeds, inside[box], spacing_kji, most, prune=True)
    return airway


class FineAirway:
    """The airway's lumen on a grid fine enough for lobar bronchi.

    Parameters
    ----------
    lumen : bool (k, j, i) on `grid`, which covers the volume from voxel `start` (k, j, i) on.
    lung_hu : what the lung around it measures.
    """

    def __init__(self, lumen: np.ndarray, grid: CoarseGrid, start: Sequence[int], lung_hu: float) -> None:
        self.lumen, self.grid, self.start, self.lung_hu = lumen, grid, tuple(start), lung_hu

    def draw(self, hu: FlatVolume, labels: FlatVolume, threshold: float, value: int) -> None:
        """Write the airway's voxels into the labels, over the lungs where it runs inside them."""
        # The lumen was found below a low threshold: its rim, mixed with the wall, lies up to a cell further.
        # A little further still only what is denser than lung is that rim; so it is everywhere on cells
        # wider than the wall.
        spacing = self.grid.spacing_kji
        in_plane = 1.01 * max(spacing[1:])
        rim = dilate(self.lumen, in_plane, spacing) if in_plane < _FINEST_RIM_MM else self.lumen
        around = dilate(self.lumen, 1.5 * in_plane, spacing)
        cells = np.argwhere(dilate(around, 1.8, (1.0, 1.0, 1.0)))
        if not len(cells):
            return
        index, in_volume = hu.voxels(cells, self.grid.factors, self.start)
        here, value_here = labels.flat[index], hu.flat[index]
        near, wide = (
            interpolate(neighbours(mask, cells), self.grid.factors) >= 0.5 for mask in (rim, around)
        )
        airway = near | (wide & (value_here > self.lung_hu + _RIM_ABOVE_LUNG_HU))
        airway &= value_here < threshold
        labels.write(index, in_volume, np.where(airway, value, here).astype(np.uint8))


def fine_airway(
    hu: np.ndarray,
    spacing_kji: Sequence[float],
    cells: np.ndarray,
    trachea: np.ndarray,
    coarse_grid: CoarseGrid,
    lung_hu: float,
    job: Job,
) -> FineAirway:
    """Follow the airway further on a grid twice as fine, from the cells found on the coarse grid."""
    box = bounding_box(cells, [int(_FINE_MARGIN_MM / step) + 1 for step in coarse_grid.spacing_kji])
    start = tuple(span.start * f for span, f in zip(box, coarse_grid.factors, strict=True))
    stop = tuple(
        min(span.stop * f, size) for span, f, size in zip(box, coarse_grid.factors, hu.shape, strict=True)
    )
    region = hu[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    grid = CoarseGrid(region.shape, spacing_kji, 0.5 * min(coarse_grid.spacing_kji[1:]))
    fine = grid.mean(region, job.part(0.0, 0.4))
    # The cell that each fine cell lies in.
    inside = [
        np.minimum((np.arange(n) * f + f // 2) // cf, m - 1)
        for n, f, cf, m in zip(grid.shape, grid.factors, coarse_grid.factors, cells[box].shape, strict=True)
    ]
    known = cells[box][np.ix_(*inside)]
    lumen = known & (fine < _MIXED_HU)
    # The trachea is known; only its lower end and what follows may grow.
    below = np.flatnonzero(trachea[box].any(axis=(1, 2)))[0] * coarse_grid.spacing_kji[0] + _FINE_MARGIN_MM
    here = slice(0, int(below / grid.spacing_kji[0]) + 1)
    seeds = known[here] & (fine[here] < _LUMEN_HU)
    most = 1.35 * known[here].sum() * grid.cell_mm3 / 1000 + _FINE_BRONCHI_ML
    lumen[here] |= grow(fine[here], seeds, fine[here] < _AIR_HU, grid.spacing_kji, most)
    job.report(1.0)
    return FineAirway(lumen, grid, start, lung_hu)
