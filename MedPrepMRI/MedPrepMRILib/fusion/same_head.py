"""Whether two sequences show the same head in the same place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check
from MedPrepCommonLib.core.volume import Volume

from ..brain.head import coarse, head
from .onto_grid import onto

_SPACING = 4.0
_BINS = 32
# Sequences of one head in place: overlap 0.97 and more, information 0.09 and more (3 T: T1, T2, FLAIR);
# 7 mm beside their place 0.95 and 0.03; two heads brought together 0.88.
_OVERLAP, _INFORMATION = 0.93, 0.05
_OTHER_OVERLAP, _NO_INFORMATION = 0.8, 0.02
# Fewer cells than these say nothing.
_LEAST = 500


@dataclass(frozen=True)
class Likeness:
    """How well a sequence fits the reference.

    Parameters
    ----------
    covered : share of the reference's head that the sequence's field of view covers.
    overlap : Dice coefficient of the two heads in the common field of view.
    information : shared information of the intensities there, from 0 (none) to 1 (one tells the other): the
        entropy correlation coefficient 2 I(a, b) / (H(a) + H(b)); None where there are too few voxels.
    """

    covered: float
    overlap: float
    information: float | None


def likeness(reference: Volume, image: Volume, matrix: np.ndarray) -> Likeness:
    """Compare two sequences on 4 mm.

    Parameters
    ----------
    matrix : (4, 4), takes RAS points of the reference to RAS points of the image.

    Raises
    ------
    InputError
        when the image covers less than a tenth of the reference's head.
    """
    fixed, moving = coarse(reference, _SPACING), coarse(image, _SPACING)
    inside = head(fixed)
    values, covered = onto(moving, fixed, matrix, "linear")
    outline = moving.with_array(head(moving).astype(np.float32))
    other = onto(outline, fixed, matrix, "linear")[0] > 0.5
    count = int(inside.sum())
    share = float((inside & covered).sum() / count) if count else 0.0
    if share < 0.1:
        raise InputError(
            _("The field of view covers {share:.0f} % of the reference's head.").format(share=100 * share),
            _("Expected images of the same head in the same place."),
            _("Switch the registration on, or choose images of one examination."),
        )
    one, two = inside & covered, other & covered
    both = one & two
    overlap = 2 * both.sum() / max(int(one.sum() + two.sum()), 1)
    information = _information(fixed.array[both], values[both]) if both.sum() >= _LEAST else None
    return Likeness(share, float(overlap), information)


def check(name: str, found: Likeness) -> Check:
    """The verdict on one sequence."""
    information = found.information
    if found.overlap < _OTHER_OVERLAP and (information is None or information < _NO_INFORMATION):
        verdict = "fail"
    elif found.overlap < _OVERLAP or (information is not None and information < _INFORMATION):
        verdict = "warn"
    else:
        verdict = "pass"
    shared = "" if information is None else _(", shared information {i:.3f}").format(i=information)
    advice = _(
        "Look at the two over each other. Switch the registration on; do not mix heads, or stripped and "
        "whole heads."
    )
    return Check(
        _("Same head ({name})").format(name=name),
        verdict,
        _("overlap {overlap:.2f}").format(overlap=found.overlap) + shared,
        f">= {_OVERLAP:g}, >= {_INFORMATION:g}",
        "" if verdict == "pass" else advice,
    )


def _information(one: np.ndarray, other: np.ndarray) -> float:
    """Entropy correlation coefficient over bins of equal counts, the bias of small samples taken off."""
    bins = int(np.clip(np.sqrt(one.size / 16), 4, _BINS))
    joint = np.bincount(_ranks(one, bins) * bins + _ranks(other, bins), minlength=bins * bins)
    joint = joint.reshape(bins, bins)
    first, second = joint.sum(axis=1), joint.sum(axis=0)
    entropies = _entropy(first), _entropy(second)
    mutual = sum(entropies) - _entropy(joint.ravel())
    # Miller and Madow: independent samples seem to share this much.
    mutual -= (np.count_nonzero(first) - 1) * (np.count_nonzero(second) - 1) / (2 * one.size)
    return float(max(0.0, 2 * mutual / sum(entropies))) if sum(entropies) > 0 else 0.0


def _ranks(values: np.ndarray, bins: int) -> np.ndarray:
    return np.searchsorted(np.quantile(values, np.arange(1, bins) / bins), values)


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
