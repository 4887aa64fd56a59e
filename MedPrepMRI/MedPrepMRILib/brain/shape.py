"""Is a mask a brain? Its volume, form, symmetry and position, held against those of known brains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check, Verdict

from .tissue import Atlas, atlas, laid_on

# Millilitres of a brain with the CSF in its ventricles and sulci. Adults: 1100 to 1750 (intracranial 1468 on
# average, Blatter et al., AJNR 16:241, 1995; 1.2 to 1.65 litres of the 20 training heads); children: 1000
# from two years on (Courchesne et al., Radiology 216:672, 2000). Beyond the outer limits nothing is a whole
# brain that was born at term.
_USUAL, _POSSIBLE = (950.0, 1850.0), (350.0, 2050.0)
# Overlap (Dice) with the usual form, laid on by an affine map: 0.95 to 0.97 of the 20 training heads and
# their mirror images.
_FORM, _NO_FORM = 0.92, 0.86
# Overlap (Dice) of one side with the other: 0.96 to 0.98 of those heads.
_SYMMETRY, _NO_SYMMETRY = 0.93, 0.88
# Degrees between the head and the axes that the file states; patients are not turned further in a head coil.
_TURN, _NO_HEAD = 30.0, 50.0
# Overlap (Dice) of what the network says of an image and of its mirror image.
_AGREEMENT, _GUESSWORK = 0.95, 0.88
# A slab cuts the brain where more than this share of an end plane is brain.
_CUT = 0.1


@dataclass(frozen=True)
class Shape:
    """Volume (ml), overlap with the usual form and of both sides (Dice), turn (degrees), whether ends cut
    it."""

    volume: float
    form: float
    symmetry: float
    turn: float
    cut: bool


def shape_of(
    coarse: np.ndarray, spacing: float, volume: float, cut: bool, usual: Atlas | None = None
) -> Shape:
    """Measure a mask.

    Parameters
    ----------
    coarse : (i, j, k) bool, axes to the right, the front and the top. spacing : mm. volume : ml.
    """
    usual = usual or atlas()
    matrix, shift, form = laid_on(coarse, spacing, usual)
    left, _sizes, right = np.linalg.svd(matrix)
    turn = left @ right
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    if np.linalg.det(turn) < 0:
        angle = 180.0
    size = usual.brain.shape
    middle = (np.array(size) - 1) / 2
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 3)
    places = ((grid - middle) * usual.spacing - shift) @ np.linalg.inv(matrix).T / spacing
    there = ndimage.map_coordinates(coarse.astype(np.float32), places.T, order=1).reshape(size) > 0.5
    total = 2 * np.count_nonzero(there)
    symmetry = 2 * np.count_nonzero(there & there[::-1]) / total if total else 0.0
    return Shape(volume, form, float(symmetry), angle, cut)


def cut_by_ends(mask: np.ndarray) -> bool:
    """Whether the field of view ends within the brain: its mask (any order of axes) lies on an end."""
    return any(mask.take(end, axis).mean() > _CUT for axis in range(3) for end in (0, -1))


def shape_checks(shape: Shape, agreement: float) -> list[Check]:
    """What of the mask is not as in a brain."""
    advice = _("Look at the mask: this may be no brain, or a part of it. Give a mask of your own.")
    checks = [_volume(shape)]
    if not shape.cut:
        checks += [
            _least(_("Form of the brain"), shape.form, _FORM, _NO_FORM, advice),
            _least(_("Symmetry of the brain"), shape.symmetry, _SYMMETRY, _NO_SYMMETRY, advice),
            _turn(shape.turn),
        ]
    doubt = _("Look at the mask: the network is not sure where the brain ends.")
    return [*checks, _least(_("Confidence"), agreement, _AGREEMENT, _GUESSWORK, doubt)]


def _volume(shape: Shape) -> Check:
    low, high = _USUAL
    verdict: Verdict = "pass" if low <= shape.volume <= high else "warn"
    if shape.cut:
        verdict = "pass" if shape.volume <= high else "warn"
    if shape.volume > _POSSIBLE[1] or (shape.volume < _POSSIBLE[0] and not shape.cut):
        verdict = "fail"
    return Check(
        _("Brain volume"),
        verdict,
        f"{shape.volume:.0f} ml" + (_(", cut by the field of view") if shape.cut else ""),
        _("{low:.0f} to {high:.0f} ml (brain with CSF, from two years on)").format(low=low, high=high),
        "" if verdict == "pass" else _("Look at the mask; change the fraction, or give a mask of your own."),
    )


def _least(name: str, value: float, usual: float, least: float, advice: str) -> Check:
    verdict: Verdict = "pass" if value >= usual else "warn" if value >= least else "fail"
    return Check(name, verdict, f"{value:.3f}", f">= {usual:g}", "" if verdict == "pass" else advice)


def _turn(angle: float) -> Check:
    verdict: Verdict = "pass" if angle <= _TURN else "warn" if angle <= _NO_HEAD else "fail"
    advice = _(
        "The head lies otherwise than the file says: check the orientation, or whether this is a head."
    )
    return Check(
        _("Position of the head"),
        verdict,
        _("turned by {angle:.0f} degrees").format(angle=angle),
        f"<= {_TURN:.0f}",
        "" if verdict == "pass" else advice,
    )
