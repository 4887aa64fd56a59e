"""Draw nodules into a chest CT: lobed balls, solid, part-solid and ground-glass, where there is room.

The lungs of a phantom are tidier than those of a patient. Nodules whose place is known, in scans whose
vessels, fissures and noise are real, keep the score of ct.nodules honest.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_GAP_MM = 6.0
# Width of the border over which a nodule fades into the lung, mm, as a scanner draws it.
_EDGE_MM = 1.0
_SOLID_HU, _GLASS_HU = (-20.0, 60.0), (-680.0, -480.0)
# Radius of a part-solid nodule's core over the nodule's.
_CORE = 0.55
_GRAIN_HU = 12.0


def draw_into(
    hu: np.ndarray,
    lungs: np.ndarray,
    spacing_kji,
    rng: np.random.Generator,
    count: int,
    diameters_mm: tuple[float, float] = (4.0, 20.0),
    keep_away: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A copy of a scan with nodules, and where they are.

    Parameters
    ----------
    hu : (k, j, i) Hounsfield units. lungs : bool, the same shape. spacing_kji : mm.
    diameters_mm : smallest and largest; even over the logarithm. A third lies on the pleura.
    keep_away : (n, 4) k, j, i (voxels) and diameter (mm) of real nodules.

    Returns
    -------
    (k, j, i) int16, and (n, 6) rows k, j, i (voxels), diameter (mm), solid (0 or 1), juxtapleural (0 or 1);
    fewer rows than asked for where there is no room.
    """
    spacing = np.asarray(spacing_kji, float)
    drawn, truth = hu.astype(np.float32), []
    taken = [] if keep_away is None else [row[:4] for row in keep_away]
    depth = ndimage.distance_transform_edt(np.pad(lungs, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1, 1:-1]
    places = np.argwhere(lungs)
    for _ in range(400 * count):
        if len(truth) == count:
            break
        radius = np.exp(rng.uniform(*np.log(np.array(diameters_mm) / 2)))
        pleural = rng.random() < 0.35
        kind = str(rng.choice(("solid", "part-solid", "ground-glass"), p=(0.65, 0.05, 0.3)))
        place = places[rng.integers(len(places))]
        deep = depth[tuple(place)]
        if not (0.3 * radius < deep < 0.6 * radius + 1 if pleural else deep > radius + 2):
            continue
        # Neither end of the scan cuts it.
        if min(place[0] + 0.5, len(hu) - place[0] - 0.5) * spacing[0] < radius:
            continue
        if any(np.linalg.norm((place - t[:3]) * spacing) < radius + t[3] / 2 + _GAP_MM for t in taken):
            continue
        centre = place + rng.uniform(-0.5, 0.5, 3)
        _draw(drawn, centre, radius, kind, spacing, rng)
        truth.append((*centre, 2 * radius, kind == "solid", pleural))
        taken.append(truth[-1][:4])
    return np.rint(drawn).astype(np.int16), np.array(truth, float).reshape(-1, 6)


def _draw(hu: np.ndarray, centre: np.ndarray, radius: float, kind: str, spacing: np.ndarray, rng) -> None:
    """One nodule, in place: nothing becomes less dense."""
    axes = np.exp(rng.normal(0, 0.12, 3))
    axes /= np.cbrt(np.prod(axes))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    lobes = rng.normal(size=(3, 3))
    room = 1.5 * radius + 3
    low = np.maximum(np.floor(centre - room / spacing).astype(int), 0)
    high = np.minimum(np.ceil(centre + room / spacing).astype(int) + 1, hu.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    solid, glass = rng.uniform(*_SOLID_HU), rng.uniform(*_GLASS_HU)
    parts = {
        "solid": ((1.0, solid),),
        "ground-glass": ((1.0, glass),),
        "part-solid": ((1.0, glass), (_CORE, solid)),
    }
    # Voxels are averages: three planes and two by two points in each.
    shifts = [((a + 0.5) / 3 - 0.5, b, c) for a in range(3) for b in (-0.25, 0.25) for c in (-0.25, 0.25)]
    for share, value in parts[kind]:
        covered = np.zeros([b - a for a, b in zip(low, high, strict=True)])
        for shift in shifts:
            grid = [
                (np.arange(a, b) + s - c) * step
                for a, b, s, c, step in zip(low, high, shift, centre, spacing, strict=True)
            ]
            place = np.stack(np.meshgrid(*grid, indexing="ij"), -1) @ turn / axes
            away = np.linalg.norm(place, axis=-1) + 1e-6
            way = place / away[..., None]
            border = share * radius * (1 + 0.06 * sum(np.sin(3 * (way @ lobe)) for lobe in lobes))
            covered += np.clip((border - away) / _EDGE_MM + 0.5, 0, 1)
        covered /= len(shifts)
        here = hu[box]
        rise = np.maximum(value - here, 0.0)
        hu[box] = here + covered * (rise + (rise > 0) * rng.normal(0, _GRAIN_HU, here.shape))
