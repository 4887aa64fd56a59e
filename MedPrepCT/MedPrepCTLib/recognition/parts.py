"""Which parts of the body a CT shows: each slice is told by outline, lung and bone, then extents add up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.i18n import _

from .cells import Cells

# Share of lung in a slice of a chest (less where the field of view cuts it), and the most in an abdomen.
_LUNG, _LUNG_CUT, _NO_LUNG = 0.12, 0.05, 0.04
# A closed skull: square centimetres inside, its share of the slice, HU of a brain (blood and calcium above).
_SKULL_CM2, _SKULL_SHARE, _BRAIN_HU = 35.0, 0.3, (-20.0, 120.0)
# Square centimetres of a slice: smaller is no trunk of anybody, larger is no head, neck or limb.
_TRUNK_CM2, _SLIM_CM2 = 150.0, 280.0
# Share of a slice's border that lies in the body where it does not show it whole.
_CUT = 0.3
# Millimetres of a part that a scan must hold to be one of that part; a scan of which it is half, is too.
_EXTENT = {"head": 35.0, "neck": 50.0, "chest": 110.0, "abdomen": 110.0, "pelvis": 80.0, "limb": 100.0}
_HALF = 0.5
# Bone of a pelvis lies at both sides, deeper than ribs: square centimetres at each side, denser than kidneys
# with contrast agent.
_SIDE_BONE_CM2, _DEEP_MM, _PELVIC_HU = 5.0, 22.0, 280
# Where bone lies between front (0) and back (1) of a slim slice: a vertebra of a child is at the back.
_VERTEBRA = 0.62
# Spread of HU inside of a body of plastic or water.
_UNIFORM_HU = 25.0


class Parts(NamedTuple):
    """Parts from head to foot, how sure that is, and the evidence in words."""

    names: tuple[str, ...]
    confidence: float
    evidence: str


def find_parts(cells: Cells) -> Parts:
    """The parts of the body that make up a scan."""
    if _is_hollow(cells):
        return Parts(("object",), 0.8, _("a skull filled with air"))
    kinds = slice_kinds(cells)
    extent = {name: float(np.sum(kinds == name)) * cells.spacing_kji[0] for name in _EXTENT}
    known = sum(extent.values())
    if known < 0.4 * len(kinds) * cells.spacing_kji[0]:
        return _no_patient(cells)
    total = max(known, 1e-6)
    names = tuple(name for name, mm in extent.items() if mm >= _EXTENT[name] or mm >= _HALF * total)
    if not names:
        names = (max(extent, key=extent.get),)
    if "head" in names and "limb" in names:
        names = tuple(name for name in names if name != "limb")
    evidence = ", ".join(
        _("{part} {mm:.0f} mm").format(part=_WORDS[name], mm=mm) for name, mm in extent.items() if mm > 0
    )
    # A few slices can be anywhere: what they show is said, and with less weight.
    sure = 0.9 if total >= 40 or len(kinds) == 1 else 0.7
    return Parts(names, sure if max(extent.values()) >= 0.5 * total or len(names) > 1 else 0.4, evidence)


def _is_hollow(cells: Cells) -> bool:
    """Whether a skull holds air where a brain should be, as in phantoms for registration."""
    bone = cells.bone.any((1, 2))
    air = 0
    for k in np.flatnonzero(bone):
        wall = ndimage.binary_dilation(cells.hu[k] > 0, iterations=1)
        inside = ndimage.binary_fill_holes(wall) & ~wall
        air += bool(inside.sum() * cells.cm2 > _SKULL_CM2 and np.median(cells.hu[k][inside]) < -960)
    return air > 0.12 * len(bone)


_WORDS = {
    "head": _("skull"),
    "neck": _("neck"),
    "chest": _("lungs"),
    "abdomen": _("trunk without lung"),
    "pelvis": _("pelvic bones"),
    "limb": _("limb"),
}


def slice_kinds(cells: Cells) -> np.ndarray:
    """The part of each slice, (k,) of texts: a key of _EXTENT, or "" where it cannot be told."""
    area, lung, bone = cells.area(cells.whole), cells.area(cells.lung), cells.area(cells.bone)
    skull, inner = cells.skull
    # Where the field of view cuts the body, its size is not known.
    cut = cells.at_border > _CUT
    kinds = np.full(len(area), "", dtype="<U8")
    for k in range(len(area)):
        if area[k] < 8:
            continue
        if skull[k] > _SKULL_CM2 and skull[k] > _SKULL_SHARE * area[k]:
            kinds[k] = "head" if _BRAIN_HU[0] < inner[k] < _BRAIN_HU[1] else ""
        elif lung[k] > (_LUNG_CUT if cut[k] else _LUNG) * area[k]:
            kinds[k] = "chest"
        elif area[k] > (_TRUNK_CM2 if cut[k] else _SLIM_CM2):
            if lung[k] < _NO_LUNG * area[k]:
                kinds[k] = "pelvis" if _has_pelvic_bone(cells, k) else "abdomen"
        elif bone[k] > 0.01 * area[k] and not cut[k]:
            kinds[k] = "slim"
    slim = kinds == "slim"
    kinds[slim] = _slim_kind(cells, slim, kinds)
    # Shoulders: a wide trunk without lung above the lungs of a chest.
    lungs = np.flatnonzero(kinds == "chest")
    without = np.isin(kinds, ("abdomen", "pelvis"))
    if lungs.size > 0.5 * without.sum():
        kinds[without & (np.arange(len(kinds)) > lungs.max())] = ""
    return kinds


def _has_pelvic_bone(cells: Cells, k: int) -> bool:
    whole = largest_in_plane(cells.whole[k])
    columns = np.flatnonzero(whole.any(0))
    deep = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=cells.spacing_kji[1:])[1:-1, 1:-1]
    bone = (cells.hu[k] > _PELVIC_HU) & (deep > _DEEP_MM)
    third = (columns[-1] - columns[0] + 1) / 3
    sides = (bone[:, : int(columns[0] + third)], bone[:, int(np.ceil(columns[-1] + 1 - third)) :])
    return all(side.sum() * cells.cm2 > _SIDE_BONE_CM2 for side in sides)


def _slim_kind(cells: Cells, slim: np.ndarray, kinds: np.ndarray) -> str:
    """What slices too slim for an adult's trunk are: neck or face beside a skull or with an airway, the trunk
    of a child with its vertebra at the back, or a limb."""
    if (kinds == "head").any():
        return "neck"
    airway, places = 0, []
    for k in np.flatnonzero(slim):
        whole = largest_in_plane(cells.whole[k])
        rows, columns = (np.flatnonzero(whole.any(axis)) for axis in (1, 0))
        gas = (cells.hu[k] < -300) & ndimage.binary_erosion(whole, iterations=2)
        middle = np.zeros_like(gas)
        width = columns[-1] - columns[0] + 1
        middle[rows[0] :, columns[0] + width // 3 : columns[-1] - width // 3 + 1] = True
        airway += bool(0.3 < (gas & middle).sum() * cells.cm2 < 12)
        bone = np.flatnonzero((cells.bone[k] & whole).any(1))
        if bone.size:
            mean = np.average(np.arange(len(whole)), weights=(cells.bone[k] & whole).sum(1))
            places.append((mean - rows[0]) / max(rows[-1] - rows[0], 1))
    if airway > 0.4 * slim.sum():
        return "neck"
    return "abdomen" if places and np.median(places) > _VERTEBRA else "limb"


def largest_in_plane(plane: np.ndarray) -> np.ndarray:
    """The largest connected part of a slice, (j, i)."""
    labels, count = ndimage.label(plane)
    return plane if count < 2 else labels == np.bincount(labels.ravel())[1:].argmax() + 1


def _no_patient(cells: Cells) -> Parts:
    """A phantom of plastic, water or air in a skull; () where it cannot be told."""
    if cells.area(cells.body).max() < 20:
        return Parts((), 0.0, _("nothing to be seen"))
    inside = cells.hu[ndimage.binary_erosion(cells.body, iterations=2)]
    if inside.size and float(np.subtract(*np.percentile(inside, [95, 5]))) < 2 * _UNIFORM_HU:
        return Parts(("object",), 0.8, _("one material all through"))
    return Parts((), 0.0, _("no part that is known"))
