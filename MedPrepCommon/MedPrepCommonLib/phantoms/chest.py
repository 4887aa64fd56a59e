"""A built-in chest CT whose truth is known: the demo's input, and the ruler for lungs, nodules and metal."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .chest_anatomy import (
    AIRWAY,
    BLOOD_HU,
    BOWEL_GAS,
    LEFT_LUNG,
    METAL,
    MUSCLE_HU,
    RIB,
    RIGHT_LUNG,
    TABLE,
    VESSEL,
    ChestAnatomy,
)
from .chest_scanner import acquire, add_metal, blur_along_k
from .chest_trees import (
    FINE_TUBE,
    LUMEN_TUBE,
    SEGMENTAL_TUBE,
    VESSEL_TUBE,
    WALL_TUBE,
    airway_tubes,
    draw_tubes,
    segmental_tubes,
    vessel_tubes,
)

_SOLID_HU, _GROUND_GLASS_HU = 35.0, -610.0
# Radius of a part-solid nodule's solid core, relative to the nodule's.
_CORE = 0.55


@dataclass(frozen=True)
class Nodule:
    """A nodule asked for: where, how large, of what kind.

    Parameters
    ----------
    side : 1 right lung, 2 left lung.
    position_mm : (z, y, x) in mm from the phantom's middle; for a juxtapleural nodule only the direction from
        the lung's middle counts, and the nodule is set on the pleura there.
    radius_mm : radius of the ball. kind : "solid", "part-solid" or "ground-glass". juxtapleural : lies on the
        pleura.
    """

    side: int
    position_mm: tuple[float, float, float]
    radius_mm: float
    kind: str = "solid"
    juxtapleural: bool = False


DEFAULT_NODULES = (
    Nodule(RIGHT_LUNG, (52.0, -6.0, -66.0), 5.0),
    Nodule(RIGHT_LUNG, (-22.0, 34.0, -84.0), 2.5),
    Nodule(RIGHT_LUNG, (14.0, 10.0, -124.0), 6.0, juxtapleural=True),
    Nodule(RIGHT_LUNG, (-40.0, 82.0, -80.0), 9.0, juxtapleural=True),
    Nodule(RIGHT_LUNG, (76.0, 26.0, -52.0), 7.0, "ground-glass"),
    Nodule(LEFT_LUNG, (30.0, -30.0, 78.0), 3.5),
    Nodule(LEFT_LUNG, (-46.0, 46.0, 74.0), 8.0),
    Nodule(LEFT_LUNG, (40.0, 70.0, 82.0), 4.0, juxtapleural=True),
    Nodule(LEFT_LUNG, (0.0, -10.0, 128.0), 7.5, juxtapleural=True),
    Nodule(LEFT_LUNG, (64.0, 10.0, 62.0), 6.0, "ground-glass"),
)


@dataclass(frozen=True)
class PlacedNodule:
    """A nodule as drawn: centre as (k, j, i) index with fractions, radius in mm, value in nodule_labels."""

    center_kji: tuple[float, float, float]
    radius_mm: float
    kind: str
    juxtapleural: bool
    side: int
    label: int


@dataclass(frozen=True)
class ChestPhantom:
    """A synthetic chest CT with its truth; every array is (k, j, i), i to the patient's left, j back, k up.

    Parameters
    ----------
    hu : int16 Hounsfield units.
    labels : uint8, 1 right lung, 2 left lung, 3 airway; lungs include their vessels and nodules.
    structures : uint8 codes, see the properties. nodule_labels : uint8, n for the n-th nodule.
    nodules : what and where they are. spacing_kji : mm.
    ijkToRAS : (4, 4), LPS axes; RAS (0, 0, 0) is the middle of the phantom.
    padding : HU outside the circular field of view.
    """

    hu: np.ndarray
    labels: np.ndarray
    structures: np.ndarray
    nodule_labels: np.ndarray
    nodules: tuple[PlacedNodule, ...]
    spacing_kji: tuple[float, float, float]
    ijkToRAS: np.ndarray
    padding: int

    @property
    def vessels(self) -> np.ndarray:
        """Pulmonary vessels inside the lungs, bool."""
        return self.structures == VESSEL

    @property
    def ribs(self) -> np.ndarray:
        """Bony ribs, bool."""
        return self.structures == RIB

    @property
    def table(self) -> np.ndarray:
        """The patient table, bool."""
        return self.structures == TABLE

    @property
    def bowel_gas(self) -> np.ndarray:
        """Gas in stomach and colon, bool."""
        return self.structures == BOWEL_GAS

    @property
    def metal(self) -> np.ndarray:
        """Pacemaker, lead, sternal wires and clips, with the specks below any sensible minimum size, bool."""
        return self.structures == METAL


def make_chest_phantom(
    shape: tuple[int, int, int] = (150, 256, 256),
    spacing_kji: tuple[float, float, float] = (2.0, 1.4, 1.4),
    seed: int = 7,
    *,
    touching: bool = False,
    metal: bool = True,
    arms: bool = False,
    nodules: Sequence[Nodule] = DEFAULT_NODULES,
    noise_hu: float = 16.0,
    padding: int = -2000,
    workers: int = 2,
) -> ChestPhantom:
    """Draw the reference chest on a grid; the same seed shows the same patient at any spacing.

    Parameters
    ----------
    shape : (k, j, i) voxels.
    spacing_kji : mm; the grid's middle is the middle of the chest, which needs about 300 mm x 340 mm x 340 mm
        (smaller grids crop it).
    seed : of vessels, texture and noise.
    touching : the lungs meet at the anterior junction with only a pleural septum between them.
    metal : pacemaker with lead, sternal wires, clips and single-voxel specks, up to 3071 HU.
    arms : arms at the sides. nodules : what to place.
    noise_hu : standard deviation of the noise in soft tissue.
    padding : value outside the circular field of view (scanners use -1024, -2000, -2048 or -3024).
    workers : threads.

    Returns
    -------
    ChestPhantom : image and truth. Equal for equal arguments on one platform (to within rounding elsewhere).
    """
    sk, sj, si = (float(step) for step in spacing_kji)
    nk, nj, ni = (int(size) for size in shape)
    if min(nk, nj, ni) < 1 or min(sk, sj, si) <= 0:
        raise ValueError(f"shape {shape} and spacing {spacing_kji} must be positive")
    anatomy = ChestAnatomy(touching=touching, arms=arms)
    # Separate streams: a change in one part of the drawing leaves the others as they were.
    tree_rng, texture_rng, metal_rng, noise_rng = (np.random.default_rng([seed, n]) for n in range(4))
    z = (np.arange(nk) - (nk - 1) / 2) * sk
    y = (np.arange(nj) - (nj - 1) / 2) * sj
    x = (np.arange(ni) - (ni - 1) / 2) * si
    # Thick slices are averages over their thickness: an odd number of planes, so that one lies in the middle.
    planes = 1 + 2 * int(np.ceil((sk / 2.6 - 1) / 2)) if sk > 2.6 else 1
    fine_z = (z[:, None] + ((np.arange(planes) + 0.5) / planes - 0.5) * sk).ravel()

    tubes = np.zeros((nk * planes, nj, ni), np.uint8)
    segmental = segmental_tubes(tree_rng)
    lumens = airway_tubes()
    vessels = vessel_tubes(anatomy, tree_rng)
    # A vessel thinner than a voxel fills it only in part: drawn a voxel wide, but fainter.
    thinnest = 0.62 * max(sj, si)
    draw_tubes(
        tubes, [v for v in vessels if v.start_radius < thinnest], FINE_TUBE, fine_z, y, x, thinnest=thinnest
    )
    draw_tubes(tubes, [v for v in vessels if v.start_radius >= thinnest], VESSEL_TUBE, fine_z, y, x)
    draw_tubes(tubes, [tube.widened(0.8) for tube in segmental], WALL_TUBE, fine_z, y, x)
    draw_tubes(tubes, [tube.widened(1.3) for tube in lumens], WALL_TUBE, fine_z, y, x)
    draw_tubes(tubes, segmental, SEGMENTAL_TUBE, fine_z, y, x)
    draw_tubes(tubes, lumens, LUMEN_TUBE, fine_z, y, x)

    placed = [_place(anatomy, nodule) for nodule in nodules]
    field = _TextureField(texture_rng, y, x)
    hu = np.empty((nk, nj, ni), np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    structures = np.zeros(hu.shape, np.uint8)
    nodule_labels = np.zeros(hu.shape, np.uint8)
    blur = (0.55 / sj, 0.55 / si)

    def draw(k: int) -> None:
        total = np.zeros((nj, ni), np.float32)
        votes = np.zeros((4, nj, ni), np.uint8)
        for plane in range(k * planes, (k + 1) * planes):
            here, lungs, codes, balls = _plane(
                anatomy, x[None, :], y[:, None], fine_z[plane], field.at(fine_z[plane]), tubes[plane], placed
            )
            total += here
            for label in (RIGHT_LUNG, LEFT_LUNG, AIRWAY):
                votes[label] += lungs == label
            if plane == k * planes + planes // 2:
                structures[k], nodule_labels[k] = codes, balls
        total /= planes
        labels[k] = np.where(2 * votes.max(axis=0) >= planes, votes.argmax(axis=0), 0)
        structures[k][(structures[k] == VESSEL) & (labels[k] == 0)] = 0
        nodule_labels[k][(labels[k] != RIGHT_LUNG) & (labels[k] != LEFT_LUNG)] = 0
        hu[k] = np.rint(ndimage.gaussian_filter(total, blur, truncate=3.0))

    with ThreadPoolExecutor(max(1, workers)) as pool:
        list(pool.map(draw, range(nk)))
    if planes == 1:
        blur_along_k(hu)
    if metal:
        add_metal(hu, structures, z, y, x, metal_rng)
    acquire(hu, structures, y, x, noise_rng, noise_hu, padding)
    where = [
        PlacedNodule(
            tuple(
                float((c - axis[0]) / step)
                for c, axis, step in zip(centre, (z, y, x), (sk, sj, si), strict=True)
            ),
            nodule.radius_mm,
            nodule.kind,
            nodule.juxtapleural,
            nodule.side,
            n + 1,
        )
        for n, (nodule, centre) in enumerate(placed)
    ]
    ijkToRAS = np.diag([-si, -sj, sk, 1.0])
    ijkToRAS[:3, 3] = (-x[0], -y[0], z[0])
    return ChestPhantom(
        hu, labels, structures, nodule_labels, tuple(where), (sk, sj, si), ijkToRAS, int(padding)
    )


def _place(anatomy: ChestAnatomy, nodule: Nodule) -> tuple[Nodule, tuple[float, float, float]]:
    """Where the nodule's centre goes, (z, y, x) in mm; a juxtapleural one is moved onto the pleura."""
    z, y, x = nodule.position_mm
    if not nodule.juxtapleural:
        return nodule, (z, y, x)
    middle = np.array([z, 5.0, -62.0 if nodule.side == RIGHT_LUNG else 70.0])
    way = np.array([z, y, x]) - middle
    way /= np.linalg.norm(way)
    steps = middle + np.arange(0.0, 140.0, 0.25)[:, None] * way
    inside = anatomy.lung_side(steps[:, 2], steps[:, 1], steps[:, 0]) == nodule.side
    first = np.flatnonzero(inside)[0]
    leave = first + np.argmin(inside[first:])
    # The ball's middle lies inside the lung, its outer third beyond the pleura.
    return nodule, tuple(steps[leave] - way * nodule.radius_mm * 0.4)


class _TextureField:
    """A smooth random field of about unit variance, the same in mm whatever the grid."""

    _STEP_MM, _HALF_MM = 22.0, 260.0

    def __init__(self, rng: np.random.Generator, y, x) -> None:
        size = int(2 * self._HALF_MM / self._STEP_MM) + 2
        self._knots = rng.normal(0.0, 1.35, (size, size, size)).astype(np.float32)
        self._along_y, self._along_x = self._weights(y, size), self._weights(x, size)

    def _weights(self, at, size: int) -> np.ndarray:
        """(n, size) smooth-step interpolation weights."""
        position = np.clip((np.atleast_1d(at) + self._HALF_MM) / self._STEP_MM, 0, size - 1.001)
        low = position.astype(int)
        share = position - low
        share = share * share * (3 - 2 * share)
        weights = np.zeros((len(low), size), np.float32)
        weights[np.arange(len(low)), low] = 1 - share
        weights[np.arange(len(low)), low + 1] = share
        return weights

    def at(self, z: float) -> np.ndarray:
        """(j, i) float32 field of the plane at height z mm."""
        plane = np.tensordot(self._weights(z, len(self._knots))[0], self._knots, axes=1)
        return self._along_y @ plane @ self._along_x.T


def _plane(anatomy, x, y, z, texture, tubes, placed):
    """HU, lung labels, structure codes and nodule labels of one plane, before the scanner."""
    hu, lungs, codes = anatomy.paint(x, y, z, texture)
    inside = lungs > 0
    np.copyto(hu, -480.0, where=inside & (tubes == FINE_TUBE))
    vessel = inside & (tubes == VESSEL_TUBE)
    np.copyto(hu, BLOOD_HU, where=vessel)
    np.copyto(codes, VESSEL, where=vessel)
    balls = np.zeros(hu.shape, np.uint8)
    for n, (nodule, centre) in enumerate(placed):
        if abs(z - centre[0]) >= nodule.radius_mm:
            continue
        ball = (x - centre[2]) ** 2 + (y - centre[1]) ** 2 + (z - centre[0]) ** 2 < nodule.radius_mm**2
        ball &= inside
        solid = ball if nodule.kind == "solid" else np.zeros_like(ball)
        if nodule.kind == "part-solid":
            core = nodule.radius_mm * _CORE
            away = (x - centre[2]) ** 2 + (y - centre[1]) ** 2 + (z - centre[0]) ** 2
            solid = ball & (away < core * core)
        np.copyto(hu, _GROUND_GLASS_HU, where=ball & ~solid & (hu < -300))
        np.copyto(hu, _SOLID_HU, where=solid)
        np.copyto(balls, n + 1, where=ball)
        codes[solid] = 0
    np.copyto(hu, MUSCLE_HU - 15.0, where=tubes == WALL_TUBE)
    lumen = tubes == LUMEN_TUBE
    np.copyto(hu, -990.0, where=lumen | ((tubes == SEGMENTAL_TUBE) & inside))
    codes[(tubes >= WALL_TUBE) & (codes == VESSEL)] = 0
    np.copyto(lungs, AIRWAY, where=lumen)
    return hu, lungs, codes, balls
