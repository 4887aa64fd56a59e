"""Whether an enhanced radiograph is better than the one it was made from: more detail, or just more?"""

from __future__ import annotations

import math
from typing import NamedTuple

from MedPrepCommonLib.core.i18n import _

from .image_quality import Measures

# Twice the detail is as much as counts as better; more is a matter of taste, and costs noise.
_ENOUGH = 1.0
# Costs per unit: of noise beyond the detail (octaves), of structures that changed, of lost sharpness (octaves
# beyond a little), of pixels that became black or white.
_NOISE, _STRUCTURE, _SHARPNESS, _CLIPPING = 1.0, 4.0, 2.0, 5.0
_LITTLE = 0.15
# Scores within this of 0 make no clear difference.
CLEAR = 0.1
# Less detail than this is a flatter image; an image with more than _RAISED has been enhanced at all.
_FLATTER, _RAISED = 0.95, 1.2


class Judgement(NamedTuple):
    """`score` above 0 is better; `verdict` is better, unchanged, blurred, flatter, noisier or
    over-enhanced."""

    score: float
    verdict: str


def judge(measures: Measures) -> Judgement:
    """The score of an enhancement, and what it comes from.

    The score is the detail gained (in octaves, at most 1) minus what it costs: noise that grew more than the
    detail, structures that changed, edges that lost slope, pixels that became black or white. 0 is no change.
    """
    detail = max(measures.detailGain, 1e-6)
    costs = {
        "noisier": _NOISE * max(0.0, math.log2(max(measures.noiseGain, 1e-6) / detail)),
        "over-enhanced": _STRUCTURE * (1.0 - measures.structure) + _CLIPPING * measures.clipped,
        "blurred": _SHARPNESS * max(0.0, -math.log2(max(measures.sharpnessGain, 1e-6)) - _LITTLE),
    }
    score = min(math.log2(detail), _ENOUGH) - sum(costs.values())
    if score > CLEAR:
        return Judgement(score, "better")
    if score >= -CLEAR:
        return Judgement(score, "unchanged")
    worst = max(costs, key=costs.get)
    if detail < _FLATTER and -math.log2(detail) > costs[worst]:
        return Judgement(score, "flatter")
    # Noise that comes with a great deal more contrast comes from the enhancement.
    if worst == "noisier" and detail > _RAISED:
        worst = "over-enhanced"
    return Judgement(score, worst)


def advice(verdict: str) -> str:
    """What to do about a verdict; empty for a good one."""
    return {
        "unchanged": _("The image hardly gains; it may be left as it is, or enhanced a little more."),
        "blurred": _("Edges are less steep than before: smooth less."),
        "flatter": _("Structures stand out less than before: choose a stronger enhancement, or none."),
        "noisier": _("Noise grew, detail did not: enhance less, or reduce the noise first."),
        "over-enhanced": _("Noise or false structures grew more than detail: choose a lower clip limit."),
    }.get(verdict, "")
