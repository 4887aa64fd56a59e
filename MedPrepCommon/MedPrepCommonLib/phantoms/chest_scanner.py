"""What the scanner and the surgeon add to the chest phantom: metal, slice profile, noise, field of view."""

from __future__ import annotations

import numpy as np

from .chest_anatomy import METAL
from .chest_trees import Tube, draw_tubes

_SATURATION_HU = 3071
# Pacemaker lead: generator, subclavian vein, superior vena cava, right ventricle; (x, y, z) in mm.
_LEAD = (
    (66, -88, 84),
    (50, -60, 96),
    (8, -34, 97),
    (-20, -16, 82),
    (-21, -14, 20),
    (-14, -24, -30),
    (24, -42, -62),
)
# One loop of a sternal wire: x, y, rise in z; mm.
_WIRE_CORNERS = ((-16, -96, 0), (16, -96, 3), (15, -82, 2), (-15, -82, 0), (-16, -96, 0))


def blur_along_k(hu: np.ndarray) -> None:
    """Slice profile of a thin-slice scan: weights 1, 2, 1 along k, in place."""
    if len(hu) < 3:
        return
    before = hu[0].astype(np.int32)
    here = before
    for k in range(len(hu)):
        after = hu[min(k + 1, len(hu) - 1)].astype(np.int32)
        hu[k] = (before + 2 * here + after + 2) >> 2
        before, here = here, after


def add_metal(hu, structures, z, y, x, rng) -> None:
    """Pacemaker with lead, sternal wires, clips, specks of one voxel, the pacemaker's streaks; in place."""
    step = max(y[1] - y[0] if len(y) > 1 else 1.0, x[1] - x[0] if len(x) > 1 else 1.0)
    slab = z[1] - z[0] if len(z) > 1 else 1.0
    wire_radius = 0.5 * float(np.hypot(step, min(slab, 2.0)))
    parts = np.zeros(hu.shape, np.uint8)
    wires = [Tube(a, b, 0.9, 0.9) for a, b in zip(_LEAD[:-1], _LEAD[1:], strict=True)]
    for height in (-40, -12, 16, 44):
        corners = [(px, py, height + up) for px, py, up in _WIRE_CORNERS]
        wires += [Tube(a, b, 0.7, 0.7) for a, b in zip(corners[:-1], corners[1:], strict=True)]
    draw_tubes(parts, wires, 1, z, y, x, thinnest=wire_radius)
    clips = rng.uniform((-26, -44, -50), (40, -30, 40), (7, 3))
    staples = [Tube(tuple(c), tuple(c + (3.5, 1.0, 2.0)), 1.5, 1.5) for c in clips]
    draw_tubes(parts, staples, 1, z, y, x, thinnest=wire_radius)
    # The generator: a flat box with round corners under the skin of the left chest.
    near = np.abs(z - 82) < 24
    if near.any():
        u = np.abs(x[None, None, :] - 78) / 23.0
        v = np.abs(z[near][:, None, None] - 82) / 21.0
        w = np.abs(y[None, :, None] + 87.5 - 0.1 * (x[None, None, :] - 78)) / 4.2
        parts[near] |= ((u**4 + v**4 < 1) & (w < 1)).astype(np.uint8)
    body = hu > -200
    for _ in range(14):
        k, j, i = (int(rng.integers(0, size)) for size in hu.shape)
        if body[k, j, i]:
            parts[k, j, i] = 1
    metal = parts > 0
    _add_streaks(hu, metal, z, y, x)
    hu[metal] = np.minimum(2850 + rng.integers(0, 500, int(metal.sum())), _SATURATION_HU)
    structures[metal] = METAL


def _add_streaks(hu, metal, z, y, x) -> None:
    """Bright and dark rays around the pacemaker, fading with distance."""
    centre_y, centre_x = -88.0, 78.0
    across, down = x[None, :] - centre_x, y[:, None] - centre_y
    angle = np.arctan2(down, across)
    rays = np.cos(9 * angle + 0.7) + 0.6 * np.cos(17 * angle)
    rays *= 70.0 * np.exp(-np.sqrt(across**2 + down**2) / 45.0)
    rays = np.rint(rays).astype(np.int16)
    for k in np.flatnonzero(np.abs(z - 82.0) < 20.0):
        tissue = hu[k] > -940
        hu[k][tissue] += rays[tissue]


def acquire(hu, structures, y, x, rng, noise_hu: float, padding: int) -> None:
    """Add scanner noise, clip to 12 bits, pad outside the circular field of view; in place, by slice."""
    radius = min(-x[0], -y[0]) + 0.5 * min(
        abs(x[1] - x[0]) if len(x) > 1 else 1, abs(y[1] - y[0]) if len(y) > 1 else 1
    )
    outside = x[None, :] ** 2 + y[:, None] ** 2 > radius * radius
    for k in range(len(hu)):
        here = hu[k].astype(np.float32)
        if noise_hu > 0:
            white = rng.standard_normal(here.shape, dtype=np.float32)
            # Reconstruction kernels leave noise that is correlated between neighbours.
            white[:-1] += white[1:]
            white[:, :-1] += white[:, 1:]
            # Quantum noise is lower in air than in the patient.
            here += white * (0.5 * noise_hu * np.where(here > -950, 1.0, 0.55).astype(np.float32))
        here = np.clip(np.rint(here), -1024, _SATURATION_HU)
        here[outside] = padding
        hu[k] = here
        structures[k][outside] = 0
