"""Airway and vessel trees of the built-in chest phantom, and how tubes are drawn into a grid.

Tubes are tapered capsules in millimetres: start (x, y, z), end (x, y, z), radius at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chest_anatomy import LEFT_LUNG, RIGHT_LUNG, ChestAnatomy

# Codes of the tube map, in the order in which they are drawn (later ones win).
FINE_TUBE, VESSEL_TUBE, WALL_TUBE, SEGMENTAL_TUBE, LUMEN_TUBE = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Tube:
    """A tapered capsule, mm."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    start_radius: float
    end_radius: float

    def widened(self, by: float) -> Tube:
        """The same tube with both radii grown by `by` mm."""
        return Tube(self.start, self.end, self.start_radius + by, self.end_radius + by)


# Trachea, main and lobar bronchi: chains of (x, y, z, lumen radius), each chain drawn point to point.
AIRWAY_CHAINS = (
    ((0, -6, 175, 8.6), (0, -2, 110, 8.4), (2, 6, 70, 8.2), (3, 11, 40, 8.2)),  # trachea
    ((3, 11, 40, 7.4), (-12, 13, 28, 6.8), (-27, 13, 16, 6.2)),  # right main bronchus
    ((-27, 13, 16, 4.6), (-44, 9, 26, 4.0), (-58, 5, 38, 3.0)),  # right upper lobe
    ((-27, 13, 16, 5.6), (-35, 13, -8, 5.0)),  # intermediate bronchus
    ((-35, 13, -8, 3.6), (-47, -8, -20, 3.2), (-55, -22, -28, 2.5)),  # middle lobe
    ((-35, 13, -8, 4.6), (-45, 24, -30, 4.0), (-52, 31, -48, 3.0)),  # right lower lobe
    ((3, 11, 40, 6.8), (21, 13, 24, 6.2), (38, 14, 12, 5.6)),  # left main bronchus
    ((38, 14, 12, 4.6), (52, 3, 22, 3.9), (63, -6, 36, 2.8)),  # left upper lobe
    ((38, 14, 12, 4.8), (47, 27, -14, 4.2), (55, 36, -42, 3.0)),  # left lower lobe
)
# Where the vessel tree of each lung starts.
_VESSEL_ROOTS = {RIGHT_LUNG: (-33.0, 3.0, 6.0), LEFT_LUNG: (36.0, 5.0, 14.0)}


def airway_tubes() -> list[Tube]:
    """Lumens of trachea, main and lobar bronchi."""
    tubes = []
    for chain in AIRWAY_CHAINS:
        for a, b in zip(chain[:-1], chain[1:], strict=True):
            tubes.append(Tube(a[:3], b[:3], a[3], b[3]))
    return tubes


def segmental_tubes(rng: np.random.Generator) -> list[Tube]:
    """Lumens that go on from the lobar bronchi into the lungs; they count as lung, not as airway."""
    tubes = []
    for chain in AIRWAY_CHAINS:
        if chain[-1][3] > 3.05:
            continue
        before, tip = np.array(chain[-2][:3], float), np.array(chain[-1][:3], float)
        ahead = (tip - before) / np.linalg.norm(tip - before)
        for _ in range(3):
            way = ahead + rng.normal(0.0, 0.55, 3)
            way /= np.linalg.norm(way)
            middle = tip + way * rng.uniform(11.0, 16.0)
            way = way + rng.normal(0.0, 0.25, 3)
            end = middle + way / np.linalg.norm(way) * rng.uniform(12.0, 18.0)
            tubes.append(Tube(tuple(tip), tuple(middle), 1.9, 1.5))
            tubes.append(Tube(tuple(middle), tuple(end), 1.5, 0.9))
    return tubes


def vessel_tubes(anatomy: ChestAnatomy, rng: np.random.Generator, leaves: int = 800) -> list[Tube]:
    """Pulmonary vessels of both lungs.

    Points strewn through the lung join, nearest to the hilum first, the tree at the node that makes the way
    to the hilum short; radii follow Murray's law (a parent's radius cubed is the sum of its children's
    cubed).
    """
    tubes: list[Tube] = []
    for side, root in _VESSEL_ROOTS.items():
        sign = -1.0 if side == RIGHT_LUNG else 1.0
        draws = rng.uniform((0.0, -85.0, -122.0), (126.0, 92.0, 122.0), (leaves * 8, 3))
        draws[:, 0] *= sign
        inside = anatomy.lung_side(draws[:, 0], draws[:, 1], draws[:, 2]) == side
        inside &= anatomy.pleural_depth(draws[:, 0], draws[:, 1], draws[:, 2]) < -4.0
        points = np.vstack([root, draws[inside][:leaves]])
        order = np.argsort(np.linalg.norm(points - points[0], axis=1), kind="stable")
        points = points[order]
        parent = np.full(len(points), -1)
        way = np.zeros(len(points))
        for n in range(1, len(points)):
            reach = np.linalg.norm(points[:n] - points[n], axis=1)
            parent[n] = int(np.argmin(reach + 0.45 * (way[:n] + reach)))
            way[n] = way[parent[n]] + reach[parent[n]]
        cubes = np.full(len(points), 0.5**3)
        for n in range(len(points) - 1, 0, -1):
            cubes[parent[n]] += cubes[n]
        radii = np.minimum(np.cbrt(cubes), 4.6)
        for n in range(1, len(points)):
            a, b = points[parent[n]], points[n]
            # A slight bend in the middle: vessels are not straight.
            bend = (a + b) / 2 + rng.normal(0.0, 0.06, 3) * np.linalg.norm(b - a)
            middle = (radii[n] * 1.08, radii[n])
            tubes.append(Tube(tuple(a), tuple(bend), middle[0], middle[0]))
            tubes.append(Tube(tuple(bend), tuple(b), middle[0], middle[1]))
    return tubes


def draw_tubes(tube_map, tubes, code: int, z, y, x, keep_over: int = 255, thinnest: float = 0.0) -> None:
    """Draw tubes into a (k, j, i) uint8 map.

    Parameters
    ----------
    tube_map : changed in place; voxels whose value is above `keep_over` are left alone.
    z, y, x : voxel centres in mm along k, j, i (each rising).
    thinnest : smallest radius drawn, mm, so that a wire thinner than a voxel stays in one piece.
    """
    axes = (np.asarray(x), np.asarray(y), np.asarray(z))
    for tube in tubes:
        start, end = np.array(tube.start), np.array(tube.end)
        r0, r1 = max(tube.start_radius, thinnest), max(tube.end_radius, thinnest)
        low = np.minimum(start - r0, end - r1)
        high = np.maximum(start + r0, end + r1)
        spans = [
            slice(*np.searchsorted(axis, (lo, hi))) for axis, lo, hi in zip(axes, low, high, strict=True)
        ]
        if any(span.start >= span.stop for span in spans):
            continue
        px = axes[0][spans[0]][None, None, :] - start[0]
        py = axes[1][spans[1]][None, :, None] - start[1]
        pz = axes[2][spans[2]][:, None, None] - start[2]
        way = end - start
        length2 = float(way @ way) or 1.0
        along = np.clip((px * way[0] + py * way[1] + pz * way[2]) / length2, 0.0, 1.0)
        distance2 = (px - along * way[0]) ** 2 + (py - along * way[1]) ** 2 + (pz - along * way[2]) ** 2
        inside = distance2 < (r0 + along * (r1 - r0)) ** 2
        block = tube_map[spans[2], spans[1], spans[0]]
        if keep_over < 255:
            inside &= block <= keep_over
        block[inside] = code
