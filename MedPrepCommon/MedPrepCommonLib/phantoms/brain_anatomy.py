"""The head that the brain phantom draws: shapes, folds and tissues, one plane at a time.

Millimetres: x to the patient's left, y to the back, z up; the origin lies near the middle of the brain.
"""

from __future__ import annotations

import numpy as np

from .brain_shapes import Noise, Plane, blend

# Tissues of the head, in the order of INTENSITY's rows.
CSF, GREY, WHITE, BONE, MARROW, FAT, MUSCLE, EYE, AIR = range(9)

# Signal of each tissue per sequence at 3 T, in units of the scanner.
INTENSITY = {
    "T1": (260.0, 610.0, 880.0, 90.0, 520.0, 1080.0, 430.0, 270.0, 0.0),
    "T2": (1480.0, 790.0, 560.0, 60.0, 480.0, 900.0, 300.0, 1420.0, 0.0),
    "FLAIR": (150.0, 830.0, 650.0, 60.0, 430.0, 800.0, 360.0, 170.0, 0.0),
}

_GYRUS_MM, _FOLIUM_MM, _TEXTURE_MM, _WARP_MM = 6.5, 4.0, 9.0, 45.0
_CORTEX, _FOLIUM_CORTEX = 2.7, 1.5
_SULCUS_DEPTH, _FOLIUM_DEPTH = 19.0, 10.0

_DEEP_GREY = (
    ((15.5, -16, 13), (5.0, 17, 8.5)),  # caudate nucleus
    ((26, -2, 3), (6.0, 18, 10.5)),  # putamen
    ((10.5, 14, 8), (8.5, 13, 8.5)),  # thalamus
    ((27, 18, -17), (6.5, 16, 5.5)),  # hippocampus
)
_AIR_SPACES = (
    ((7, -66, -47), (6, 26, 16), True),  # nasal cavity
    ((29, -60, -52), (11, 14, 13), True),  # maxillary sinus
    ((0, -14, -78), (9, 7, 26), False),  # pharynx
    ((9, -92, 0), (8, 4, 8), True),  # frontal sinus
    ((0, -38, -32), (10, 9, 7), False),  # sphenoid sinus
)


class HeadAnatomy:
    """One adult head; `plane` gives the tissue shares of a plane.

    Parameters
    ----------
    rng : of folds and texture. y, x : mm of rows and columns.
    """

    def __init__(self, rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> None:
        self._x, self._y = x, y
        steps = [float(abs(axis[1] - axis[0])) for axis in (y, x) if len(axis) > 1]
        self._voxel = max(steps, default=1.0)
        self._sulci = Noise(rng, _GYRUS_MM, y, x)
        self._folia = Noise(rng, _FOLIUM_MM, y, x)
        self._texture = Noise(rng, _TEXTURE_MM, y, x)
        self._warps = [Noise(rng, _WARP_MM, y, x) for _ in range(3)]

    def plane(self, height: float, whole_head: bool) -> tuple[np.ndarray, np.ndarray]:
        """Tissue shares (9, y, x) that sum to 1 and texture (y, x) of about unit size, at `height` mm.

        Without `whole_head` everything outside the brain and its coat of CSF is air.
        """
        x, y, z = (2.6 * warp.at(height) for warp in self._warps)
        x += self._x.astype(np.float32)
        y += self._y.astype(np.float32)[:, None]
        z += np.float32(height)
        plane = Plane(self._y, self._x, x, y, z, height, self._voxel, AIR + 1)
        texture = self._texture.at(height)
        cerebrum, cerebellum, stem = _cerebrum(plane), _cerebellum(plane), _stem(plane)
        brain = np.minimum(np.minimum(cerebrum, cerebellum), stem)
        cavity = _cavity(plane, brain)
        if whole_head:
            _paint_outside(plane, cavity, texture)
        # What the brain does not fill of its cavity is CSF; a skull-stripped image keeps a thin coat of it.
        plane.paint(CSF, plane.ramp(np.maximum(cavity, brain - (30.0 if whole_head else 1.5))))
        if (cerebellum < 5).any():
            sheet = self._folia.distance(height)
            _paint_folded(plane, cerebellum, sheet, _FOLIUM_DEPTH, _FOLIUM_CORTEX, 0.15)
        plane.paint(WHITE, plane.ramp(stem))
        plane.paint_ellipsoid(CSF, (0, 35, -36), (8, 5, 11))  # fourth ventricle
        if (cerebrum < 5).any():
            _paint_cerebrum(plane, cerebrum, self._sulci.distance(height))
        return plane.shares, texture


def _cerebrum(p: Plane) -> np.ndarray:
    lobes = p.ellipsoid((8, 0, 12), (59, 85, 58), paired=True)
    base = -17.0 - p.z + 0.0006 * (p.y + 10.0) ** 2
    lobes = -blend(-lobes, -base, width=14)
    return blend(lobes, p.ellipsoid((43, -10, -17), (24, 40, 23), paired=True), width=7)


def _cerebellum(p: Plane) -> np.ndarray:
    hemispheres = p.ellipsoid((21, 52, -37), (34, 31, 25), paired=True)
    return blend(hemispheres, p.ellipsoid((0, 50, -36), (17, 27, 21)), width=6)


def _stem(p: Plane) -> np.ndarray:
    below = np.minimum(p.z + 5.0, 0.0)
    middle = 13.0 + 0.0035 * below * below
    radius = np.clip(15.0 + 0.12 * (p.z + 20.0), 6.5, 14.0)
    tube = np.maximum(np.hypot(p.x, 1.15 * (p.y - middle)) - radius, p.z + 2.0)
    return blend(tube, p.ellipsoid((0, 9, -31), (18, 13, 14)), width=4)


def _cavity(p: Plane, brain: np.ndarray) -> np.ndarray:
    """What the skull encloses: the brain, a little room, and the spinal canal."""
    vault = p.ellipsoid((0, 0, 13), (69.5, 88, 60.5))
    floor = -24.0 - p.z + 0.0006 * (p.y + 10.0) ** 2
    canal = np.maximum(np.hypot(p.x, p.y - 36.0) - 11.0, p.z + 55.0)
    return blend(-blend(-vault, -floor, width=14), brain - 2.0, canal, width=5)


def _paint_folded(p: Plane, hull, sheet, depth, cortex: float, gap: float) -> None:
    """Cortex along the hull and along the sulci that reach `depth` mm into it, white matter inside."""
    below = -hull
    sulcus = np.hypot(sheet, np.maximum(below - depth, 0.0))
    sulcus -= gap * (1.0 + 1.1 * np.exp(np.minimum(hull, 0.0) / 5.0)) + 0.25
    inside = p.ramp(hull)
    p.paint(WHITE, inside)
    p.paint(GREY, inside * p.ramp(np.minimum(sulcus, below) - cortex))
    p.paint(CSF, inside * p.ramp(sulcus))


def _paint_cerebrum(p: Plane, hull: np.ndarray, sulci: np.ndarray) -> None:
    # The hemispheres part above, before and behind the corpus callosum, and meet around the ventricles.
    around = blend(
        np.hypot((p.y - 4.0) / 1.6, p.z - 4.0) - 26.0, p.ellipsoid((0, 12, -6), (30, 22, 26)), width=8
    )
    fissure = np.hypot(p.side, np.maximum(-around, 0.0))
    # The lateral fissure parts the temporal lobe from the rest.
    lateral = np.hypot(0.75 * (p.z + 1.0 - 0.22 * (p.y + 10.0)), np.maximum(34.0 - p.side, 0.0))
    lateral[(p.y < -42) | (p.y > 34)] = 99.0
    # Sulci of the surface do not cut into the middle of the brain.
    core = p.ellipsoid((12, 6, 4), (26, 40, 24), paired=True)
    deep = np.minimum(fissure, lateral)
    sheet = np.minimum(np.hypot(sulci, np.maximum(-core, 0.0)), deep)
    _paint_folded(p, hull, sheet, np.where(deep <= sheet, 60.0, _SULCUS_DEPTH), _CORTEX, 0.3)
    inside = p.ramp(hull)
    for center, radii in _DEEP_GREY:
        # Deep grey matter holds fibres too: a little brighter than cortex on T1.
        p.paint_ellipsoid(GREY, center, radii, True, inside, 0.82)
    if not -20 < p.z[0, 0] < 40:
        return
    arched = Plane.__new__(Plane)
    arched.__dict__ = {**p.__dict__, "z": p.z + 0.004 * (p.y - 2.0) ** 2}
    body = arched.ellipsoid((8.5, 0, 17), (6.0, 33, 6.5), paired=True)
    trigone = p.ellipsoid((21, 34, 8), (6.5, 17, 8.5), paired=True)
    lateral = np.minimum(
        blend(body, trigone, width=4), p.ellipsoid((31, 14, -12), (3.0, 19, 4.0), paired=True)
    )
    # The septum parts the two lateral ventricles.
    lateral = np.maximum(lateral, 1.1 - p.side)
    third = p.ellipsoid((0, 8, 2), (2.3, 15, 10))
    p.paint(CSF, inside * p.ramp(np.minimum(lateral, third)))


def _paint_outside(p: Plane, cavity: np.ndarray, texture: np.ndarray) -> None:
    face = p.ellipsoid((0, -44, -58), (56, 52, 62))
    nose = p.ellipsoid((0, -96, -46), (11, 16, 17))
    neck = np.maximum(np.hypot(p.x, 0.95 * (p.y - 18.0)) - 60.0, p.z + 60.0)
    outline = blend(cavity - 13.0, face, neck, nose, width=12)
    p.paint(FAT, p.ramp(outline))
    # Beneath the skin muscle, streaked with fat; over the vault there is next to no muscle.
    depth = -outline - 3.5 - 3.0 * np.clip((p.z + 20.0) / 40.0, 0.0, 1.0)
    p.paint(MUSCLE, p.ramp(-depth) * np.clip(0.8 - 0.9 * texture, 0.15, 1.0))
    p.paint(BONE, p.ramp(cavity - 7.0 + 3.5 * np.clip((-p.z - 25.0) / 20.0, 0.0, 1.0)))
    p.paint(MARROW, p.ramp(np.maximum(np.abs(cavity - 3.6) - 1.3, -25.0 - p.z)))
    if p.box((0, -40, -92), (50, 52, 34)):
        jaw = np.maximum(np.abs(p.ellipsoid((0, -40, -92), (46, 48, 30))) - 4.5, p.y + 25.0)
        p.paint(BONE, p.ramp(jaw))
    p.paint_ellipsoid(BONE, (0, 12, -100), (11, 9, 60))
    p.paint_ellipsoid(MARROW, (0, 12, -100), (9, 7, 58))
    outside = p.ramp(-cavity)
    p.paint_ellipsoid(FAT, (31, -66, -27), (18, 25, 16), True, outside)
    p.paint_ellipsoid(EYE, (32, -76, -27), (12, 12, 12), True, outside)
    for center, radii, paired in _AIR_SPACES:
        p.paint_ellipsoid(AIR, center, radii, paired, outside)
