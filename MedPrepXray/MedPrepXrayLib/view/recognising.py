"""Tells a frontal chest from a lateral one, a limb, an abdomen and a slice, and says how it lies."""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.core.errors import MedPrepError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.recognition import SURE, Recognition, recognises
from MedPrepCommonLib.core.volume import Volume

from ..lungs import input as lunginput
from ..picture.radiograph import radiograph, right_is_right
from . import network

# Public frontal chests have a larger share of one (99 % of 341), other pictures hardly ever (1 of 147).
_FRONTAL = 0.9
# From which shares on a chest is said to lie otherwise than stated: turned ones are plain to see; of left and
# right (among the upright ones), which hang on the heart alone, a quarter is told, and none wrong in 381.
_TURNED, _MIRRORED = 0.8, 0.88
_PARTS = {"lateral": "chest", "limb": "limb", "abdomen": "abdomen", "other": "other"}


@recognises("XR")
def recognise(volume: Volume, job: Job) -> Recognition:
    """What a radiograph shows by its content alone; nothing for a volume that is no single picture."""
    try:
        picture = radiograph(volume)
    except MedPrepError:
        return Recognition()
    frame = lunginput.frame_of(picture.plane.shape, picture.spacing)
    channels = lunginput.channels(*lunginput.place(picture.plane, frame))
    job.report(0.5)
    if not channels.any():
        return Recognition()
    return judged(network.shares_of_both(network.shrunk(channels)), right_is_right(picture)[0])


def judged(shares: np.ndarray, mirrored: bool = False) -> Recognition:
    """What the network's shares mean.

    Parameters
    ----------
    shares : (CLASSES,), see :func:`network.shares`.
    mirrored : whether the patient's left is on the left of the image, as its header has it.
    """
    count = len(network.PLACEMENTS)
    frontal, others = shares[:count], shares[count:]
    confidence = float(frontal.sum())
    if confidence >= _FRONTAL:
        place, sure = _placement(frontal / max(confidence, 1e-12), mirrored)
        evidence = _("two lungs beside a heart, {sure:.0f} %").format(sure=100 * confidence)
        return Recognition("frontal", ("chest",), confidence, evidence, place, sure)
    if confidence >= 0.5:
        evidence = _("too little like a frontal chest, {sure:.0f} %").format(sure=100 * confidence)
        return Recognition("other", ("other",), SURE, evidence)
    name = network.OTHERS[int(others.argmax())]
    evidence = _("no frontal chest, {sure:.0f} %").format(sure=100 * others.sum())
    if name == "slice":
        return Recognition("slice", (), float(others.sum()), evidence)
    kind = "lateral" if name == "lateral" else "other"
    return Recognition(kind, (_PARTS[name],), float(others.sum()), evidence)


def _placement(frontal: np.ndarray, mirrored: bool) -> tuple[str, float]:
    """In words how a frontal chest lies against its header, and how sure that is; "" where as it should."""
    turns = frontal.reshape(2, 4).sum(axis=0)
    turn = int(turns.argmax())
    if turn and turns[turn] >= _TURNED:
        words = {
            1: _("turned by 90 degrees, counter-clockwise"),
            2: _("upside down"),
            3: _("turned by 90 degrees, clockwise"),
        }
        return words[turn], float(turns[turn])
    right, wrong = float(frontal[4 * mirrored]), float(frontal[4 * (not mirrored)])
    exchanged = wrong / max(right + wrong, 1e-12)
    if exchanged >= _MIRRORED:
        return _("left and right are exchanged: the heart lies on the wrong side"), exchanged
    return "", 1 - exchanged
