"""Anatomy of the built-in chest phantom: where each tissue lies, in millimetres.

One reference adult, supine, arms raised: x grows to the patient's left, y to the back, z to the head (LPS x
and y, superior z). The origin is the middle of the chest, a little below the carina. Sizes are those of a
textbook thorax (chest 300 mm x 215 mm, lungs 240 mm high, trachea 17 mm wide), not of any patient.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

RIGHT_LUNG, LEFT_LUNG, AIRWAY = 1, 2, 3
# Structure codes of ChestPhantom.structures.
VESSEL, RIB, TABLE, BOWEL_GAS, METAL = 1, 2, 3, 4, 5

AIR_HU, FAT_HU, MUSCLE_HU, BLOOD_HU = -1000.0, -100.0, 55.0, 150.0

# Pleural envelope (outer border of both lungs together): z, half width, half depth, centre in y; mm.
_ENVELOPE = np.array(
    [
        (-165, 128, 84, -4),
        (-130, 128, 85, -3),
        (-100, 127, 86, -2),
        (-60, 125, 85, -2),
        (-20, 121, 82, -2),
        (20, 114, 77, 0),
        (60, 99, 66, 4),
        (90, 80, 52, 11),
        (108, 63, 38, 17),
        (120, 50, 25, 21),
        (126, 40, 16, 23),
        (131, 34, 9, 24),
        (165, 34, 9, 24),
    ],
    float,
)
_LUNG_TOP_MM = 127.0
# Great vessels outside the lungs as capsules: start (x, y, z), end (x, y, z), radius; mm.
_GREAT_VESSELS = (
    ((-20, -14, 12), (-21, -16, 84), 8.5),  # superior vena cava
    ((-4, -22, -8), (-2, -22, 46), 14.5),  # ascending aorta
    ((-2, -22, 48), (16, 30, 52), 13.0),  # arch
    ((20, 44, 48), (17, 46, -170), 12.0),  # descending aorta
    ((13, -32, -4), (15, -22, 22), 13.0),  # pulmonary trunk
    ((14, -18, 20), (-34, 2, 10), 9.5),  # right pulmonary artery
    ((15, -20, 22), (38, 8, 18), 9.5),  # left pulmonary artery
    ((-10, -24, 60), (-16, -10, 125), 5.5),  # brachiocephalic artery
    ((5, -12, 60), (14, 0, 125), 4.5),  # left carotid artery
    ((12, 4, 60), (26, 12, 125), 4.5),  # left subclavian artery
    ((-21, -18, 84), (34, -28, 100), 6.0),  # left brachiocephalic vein
)


def _ellipse(x, y, centre_x, centre_y, radius_x, radius_y):
    """Squared elliptic radius: below 1 inside."""
    return ((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2


def _depth_below(x, y, half_width, half_depth, centre_y):
    """Radial distance in mm from a superellipse of exponent 2.5: negative inside, positive outside."""
    dy = y - centre_y
    u, v = np.abs(x) / half_width, np.abs(dy) / half_depth
    level = u * u * np.sqrt(u) + v * v * np.sqrt(v)
    radius = np.sqrt(x * x + dy * dy)
    return radius * (1.0 - np.maximum(level, 1e-6) ** -0.4)


def capsule_section(x, y, z, start, end, radius):
    """Mask of a plane z cut through a capsule (cylinder with round ends), None where the plane misses it."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    if z < min(start[2], end[2]) - radius or z > max(start[2], end[2]) + radius:
        return None
    axis = end - start
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / (axis @ axis), 0.0, 1.0)
    distance = (dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2
    return distance < radius * radius


class ChestAnatomy:
    """Tissue at every point of the reference chest.

    Parameters
    ----------
    touching : the lungs meet in front of the heart and great vessels with only a thin pleural septum between
        (anterior junction), where otherwise mediastinal fat lies.
    arms : arms at the sides instead of raised.
    """

    def __init__(self, touching: bool = False, arms: bool = False) -> None:
        self.touching, self.arms = touching, arms
        table = _ENVELOPE
        self._half_width = PchipInterpolator(table[:, 0], table[:, 1])
        self._half_depth = PchipInterpolator(table[:, 0], table[:, 2])
        self._centre_y = PchipInterpolator(table[:, 0], table[:, 3])

    def pleural_depth(self, x, y, z):
        """Signed distance in mm from the pleural envelope, negative inside the thoracic cavity."""
        z = np.clip(z, -165.0, 165.0)
        return _depth_below(x, y, self._half_width(z), self._half_depth(z), self._centre_y(z))

    def diaphragm_height(self, x, y):
        """Height z in mm of the diaphragm under each point (x, y); the right dome stands higher."""
        right = -48.0 - 62.0 * _ellipse(x, y, -60.0, -10.0, 70.0, 82.0) ** 1.15
        left = -60.0 - 54.0 * _ellipse(x, y, 62.0, -10.0, 66.0, 82.0) ** 1.15
        return np.maximum(np.where(x < 0, right, left), -124.0)

    def mediastinum(self, x, y, z):
        """Mask of everything between the lungs: heart, great vessels, spine, hila, junction fat."""
        central = _ellipse(x, y, 1.0, 6.0, np.interp(z, (-60, 20, 70, 125), (24, 27, 31, 33)), 44.0) < 1
        spine = _ellipse(x, y, 0.0, 70.0, 27.0, 32.0) < 1
        behind = (np.abs(x - 2) < 15) & (y > 20)
        heart = _ellipse(x, y, 22.0, -24.0, 60.0, 48.0) + ((z + 34.0) / 54.0) ** 2 < 1
        knob = _ellipse(x, y, 12.0, 14.0, 24.0, 34.0) + ((z - 52.0) / 17.0) ** 2 < 1
        aorta = (_ellipse(x, y, 18.0, 45.0, 14.5, 14.5) < 1) & (np.asarray(z) < 50)
        hilum = _ellipse(np.abs(x + 1), y, 33.0, 8.0, 15.0, 17.0) + ((z - 8.0) / 24.0) ** 2 < 1
        width = np.interp(z, (-80, -40, 20, 60, 90), (26, 9, 5, 6, 22))
        if self.touching:
            # Nothing but pleura where the lungs meet (drawn by paint), softly above and below.
            width = np.minimum(width, np.interp(z, (-30, -18, 52, 64), (26, 0.0, 0.0, 26)))
            anterior = (np.abs(x - 2) < width) & (y < 5)
            heart &= (y > -58) | (np.abs(z - 17) > 35)
        else:
            # A wedge: wide at the great vessels, a junction line in front of them, wider at the sternum.
            wedge = (
                width + 0.012 * np.maximum(y + 62.0, 0.0) ** 2 * 0.55 + 0.05 * np.maximum(-y - 62.0, 0.0) ** 2
            )
            anterior = (np.abs(x - 2) < np.minimum(wedge, 29.0)) & (y < 5)
        return central | spine | behind | heart | knob | aorta | hilum | anterior

    def lung_side(self, x, y, z):
        """0 outside the lungs, 1 in the right, 2 in the left (airways and vessels inside count as lung)."""
        inside = (self.pleural_depth(x, y, z) < 0) & (np.asarray(z) < _LUNG_TOP_MM)
        inside &= (z > self.diaphragm_height(x, y)) & ~self.mediastinum(x, y, z)
        return np.where(inside, np.where(x < 2, RIGHT_LUNG, LEFT_LUNG), 0).astype(np.uint8)

    def paint(self, x, y, z: float, texture):
        """One axial plane of the patient and the table.

        Parameters
        ----------
        x, y : (1, i) and (j, 1) positions in mm. z : height in mm.
        texture : (j, i) smooth random field of unit variance, for tissue that is not uniform.

        Returns
        -------
        hu : (j, i) float32. lungs : (j, i) uint8 of 0, 1, 2. structures : (j, i) uint8 codes.
        """
        shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        hu = np.full(shape, AIR_HU, np.float32)
        structures = np.zeros(shape, np.uint8)
        self._table(hu, structures, x, y)
        depth = self.pleural_depth(x, y, z)
        self._wall(hu, structures, x, y, z, depth, texture)
        lungs = self.lung_side(x, y, z)
        cavity = depth < 0
        below = cavity & (z < self.diaphragm_height(x, y) - 3.0)
        self._mediastinum(hu, x, y, z, cavity & (lungs == 0), texture)
        self._abdomen(hu, structures, x, y, z, below, texture)
        self._spine(hu, x, y, z)
        # Supine lungs are denser at the back; texture stands for regional ventilation.
        lung = -868.0 + 0.42 * (y + 10.0) + 12.0 * texture
        np.copyto(hu, lung, where=lungs > 0, casting="unsafe")
        if self.touching:
            # The pleura is thinner than a voxel: each voxel takes the share of it that it holds.
            half = 0.5 * abs(float(x.flat[1] - x.flat[0])) if x.size > 1 else 0.5
            pleura = np.clip(np.minimum(x + half, 2.6) - np.maximum(x - half, 1.4), 0, None) / (2 * half)
            pleura = np.broadcast_to(pleura, shape).astype(np.float32)
            np.copyto(hu, hu + pleura * (MUSCLE_HU - hu), where=(lungs > 0) & (y < 5))
        fissure = np.abs(z + 8.0 + 0.95 * (y - 6.0) + 0.05 * np.abs(x)) < 0.9
        np.copyto(hu, -640.0, where=fissure & (lungs > 0))
        return hu, lungs, structures

    def _table(self, hu, structures, x, y) -> None:
        """A curved carbon-fibre table top with foam core and a mattress."""
        drop = y - 119.0 + 0.0011 * x * x
        np.copyto(hu, -925.0, where=(drop > 0) & (drop < 9) & (np.abs(x) < 190))
        top = y - 130.0 + 0.0011 * x * x
        on_table = np.abs(x) < 205
        np.copyto(hu, -955.0, where=on_table & (top > 0) & (top < 26))
        shell = on_table & ((np.abs(top - 1.2) < 1.2) | (np.abs(top - 25.0) < 1.2))
        np.copyto(hu, -60.0, where=shell)
        np.copyto(structures, TABLE, where=on_table & (top > 0) & (top < 26.2))

    def _wall(self, hu, structures, x, y, z, depth, texture) -> None:
        """Skin, fat, muscle, ribs, sternum, scapulae, and arms when they lie at the sides."""
        shoulders = np.interp(z, (40, 95, 130, 165), (0, 22, 46, 40))
        half_width = 150.0 + shoulders + np.interp(z, (-150, -60, 0), (-4, -2, 0))
        half_depth = 109.0 - np.interp(z, (60, 130, 165), (0, 16, 26))
        skin = -_depth_below(x, y, half_width, half_depth, 8.0)
        fat_thickness = 11.0 + 5.0 * (y < -30) + 5.0 * np.clip(np.abs(x) / 120.0 - 0.5, 0, 1) + 1.5 * texture
        body = skin > 0
        np.copyto(hu, FAT_HU, where=body)
        np.copyto(hu, 20.0, where=body & (skin < 1.8))
        muscle = body & (skin > fat_thickness)
        np.copyto(hu, MUSCLE_HU, where=muscle)
        # Fat planes between the muscle layers, as in a real chest wall.
        if z < 112.0:
            np.copyto(hu, -85.0, where=muscle & (np.abs(depth - 16.0 - 2.0 * texture) < 1.6))
        np.copyto(hu, MUSCLE_HU - 10.0, where=(depth < 10.5) & body)
        self._ribs(hu, structures, x, y, z, depth)
        self._sternum(hu, x, y, z)
        if 5.0 < z < 112.0:
            angle = np.arctan2(y - 5.0, np.abs(x))
            blade = np.abs(depth - 17.0 - 6.0 * np.sin(3.0 * angle)) < 2.6
            blade &= (angle > 0.42) & (angle < np.interp(z, (5, 60, 112), (0.72, 1.0, 0.85)))
            np.copyto(hu, 430.0, where=blade & (skin > 6))
        for side in (-1, 1):
            clavicle = capsule_section(x, y, z, (side * 14, -66, 92), (side * 118, -42, 124), 6.2)
            if clavicle is not None:
                np.copyto(hu, 420.0, where=clavicle & body)
        if self.arms:
            for side in (-1, 1):
                arm = _ellipse(x, y, side * (half_width + 34.0), 42.0, 33.0, 38.0)
                np.copyto(hu, FAT_HU, where=arm < 1)
                np.copyto(hu, MUSCLE_HU, where=arm < 0.62)
                bone = _ellipse(x, y, side * (half_width + 34.0), 42.0, 11.0, 11.0)
                np.copyto(hu, 620.0, where=bone < 1)
                np.copyto(hu, -40.0, where=bone < 0.35)

    def _ribs(self, hu, structures, x, y, z, depth) -> None:
        """Ribs descend from the spine to the front; one periodic band makes all of them."""
        if z > 122.0:
            return
        around = np.arctan2(np.abs(x), y - self._centre_y(z))  # 0 at the spine, pi at the sternum
        pitch = 25.0
        phase = (z + 46.0 * (1.0 - np.cos(around)) + 4.0) / pitch
        from_middle = np.abs(phase - np.floor(phase) - 0.5) * pitch
        shell = np.abs(depth - 5.8)
        rib = (from_middle < 5.4) & (shell < 3.6) & (np.abs(x) > 20) & (around < 2.75)
        cartilage = rib & (around > 2.35)
        np.copyto(hu, 480.0, where=rib)
        np.copyto(hu, 170.0, where=(from_middle < 4.0) & (shell < 2.1) & rib)
        np.copyto(hu, 95.0, where=cartilage)
        np.copyto(structures, RIB, where=rib & ~cartilage)

    def _sternum(self, hu, x, y, z) -> None:
        if not -62.0 < z < 92.0:
            return
        front = self._centre_y(z) - self._half_depth(z) - 7.0
        u = x / np.interp(z, (-62, 30, 70), (13, 16, 25))
        plate = u**4 + ((y - front - 0.004 * x * x) / 5.6) ** 2
        np.copyto(hu, 360.0, where=plate < 1)
        np.copyto(hu, 130.0, where=plate < 0.55)

    def _spine(self, hu, x, y, z) -> None:
        level = (z + 12.0) / 25.0
        level -= np.floor(level)
        vertebra = _ellipse(x, y, 0.0, 68.0, 17.5, 15.0)
        canal = _ellipse(x, y, 0.0, 91.0, 9.5, 8.0)
        if level < 0.16:
            np.copyto(hu, 80.0, where=vertebra < 1)
        else:
            np.copyto(hu, 420.0, where=vertebra < 1)
            np.copyto(hu, 190.0, where=vertebra < (0.8 if 0.24 < level < 0.92 else 0.0))
        arch = _ellipse(x, y, 0.0, 91.0, 15.0, 13.0) < 1
        process = (np.abs(x) < 3.2) & (y > 99) & (y < 113)
        if 0.35 < level < 0.75:
            arch |= (np.abs(y - 93 - 0.12 * np.abs(x)) < 5) & (np.abs(x) < 34)
        if level > 0.25:
            np.copyto(hu, 360.0, where=(arch | process) & (vertebra >= 1))
        np.copyto(hu, 25.0, where=canal < 1)

    def _mediastinum(self, hu, x, y, z, where, texture) -> None:
        """Heart and great vessels (contrast enhanced) in mediastinal fat."""
        np.copyto(hu, -80.0 + 12.0 * texture, where=where, casting="unsafe")
        heart = _ellipse(x, y, 22.0, -22.0, 55.0, 42.0) + ((z + 36.0) / 49.0) ** 2
        np.copyto(hu, 85.0, where=where & (heart < 1))
        for centre_x, centre_y, centre_z, radii in (
            (40, -18, -44, (23, 21, 33)),  # left ventricle
            (6, -40, -42, (25, 15, 30)),  # right ventricle
            (-18, -22, -28, (16, 21, 26)),  # right atrium
            (14, 8, -14, (28, 13, 20)),  # left atrium
        ):
            chamber = (
                _ellipse(x, y, centre_x, centre_y, radii[0], radii[1]) + ((z - centre_z) / radii[2]) ** 2
            )
            np.copyto(hu, BLOOD_HU, where=where & (chamber < 1))
        for start, end, radius in _GREAT_VESSELS:
            section = capsule_section(x, y, z, start, end, radius)
            if section is not None:
                np.copyto(hu, BLOOD_HU, where=where & section)
        # Oesophagus, with swallowed air above the hila.
        np.copyto(hu, 35.0, where=where & (_ellipse(x, y, 3.0, 33.0, 9.0, 6.5) < 1))
        if 60.0 < z < 78.0 or -36.0 < z < -22.0:
            np.copyto(hu, -900.0, where=where & (_ellipse(x, y, 3.0, 32.0, 4.2, 2.6) < 1))

    def _abdomen(self, hu, structures, x, y, z, where, texture) -> None:
        """Liver, spleen, stomach with a gas bubble, and gas in the colon close under the left dome."""
        np.copyto(hu, -105.0, where=where)
        liver = (x < 28 - 0.25 * (y + 20)) & (_ellipse(x, y, -48.0, -8.0, 86.0, 78.0) < 1)
        np.copyto(hu, 105.0 + 4.0 * texture, where=where & liver, casting="unsafe")
        spleen = _ellipse(x, y, 92.0, 34.0, 27.0, 34.0) + ((z + 112.0) / 46.0) ** 2 < 1
        np.copyto(hu, 115.0, where=where & spleen)
        stomach = _ellipse(x, y, 58.0, -12.0, 38.0, 38.0) + ((z + 106.0) / 42.0) ** 2
        np.copyto(hu, 60.0, where=where & (stomach < 1))
        np.copyto(hu, 15.0, where=where & (stomach < 0.86))
        gas = (stomach < 0.86) & (y < -22)
        colon = _ellipse(x, y, 84.0, -42.0, 22.0, 24.0) + ((z + 128.0) / 34.0) ** 2
        np.copyto(hu, 40.0, where=where & (colon < 1))
        flexure = _ellipse(x, y, -20.0, -62.0, 34.0, 13.0) + ((z + 146.0) / 18.0) ** 2
        np.copyto(hu, 40.0, where=where & (flexure < 1))
        gas |= (colon < 0.8) | (flexure < 0.75)
        np.copyto(hu, -985.0, where=where & gas)
        np.copyto(structures, BOWEL_GAS, where=where & gas)
        np.copyto(hu, BLOOD_HU, where=where & (_ellipse(x, y, 17.0, 46.0, 12.0, 12.0) < 1))
