"""Lung fields of a radiograph: by the network or classically, in either polarity, tidied and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.result import Check

from . import classical, input, model, shape
from .polarity import DOUBTFUL, polarity_of

# Expected Dice below which a result should be looked at, and below which it is none: of patients whom the
# method had not seen, the worst tenth lies below the first; most of what is no chest lies below the second.
LIMITS = {"model": (0.95, 0.8), "classical": (0.9, 0.38)}
# Correlation with the mean chest below which a result in doubt is none, and below which it is none when its
# confidence is under the third: chests reach 0.4, turned and opaque ones 0.32; heads mostly stay below 0.3.
_UNLIKE, _UNLIKELY, _UNSURE = 0.3, 0.36, 0.9
# How large an image is shown the second time, when lungs reach its edges.
_SMALLER = 0.8
# Share of the image that both lungs cover: less is a detail in something else.
_SMALLEST = 0.04
# Area of the smaller lung as a share of the larger: less is an effusion, a collapse, or a mistake.
_ASYMMETRIC = 0.45
# Longest way between the heights of the two lungs' middles, as a share of their height.
_SHIFTED = 0.35


@dataclass(frozen=True)
class LungFields:
    """What was found on a plane.

    Parameters
    ----------
    sides : (rows, columns) uint8, 1 for the lung on the image's left, 2 on its right.
    confidence : per side, the Dice coefficient that the method expects of itself.
    pieces : per side, in how many pieces it came before the largest was kept.
    inverted : whether air is bright in the image.
    polarity : how sure that is, 0 to 1.
    checks : plausibility; a "fail" means that `sides` is empty.
    """

    sides: np.ndarray
    confidence: tuple[float, float]
    pieces: tuple[int, int]
    inverted: bool
    polarity: float
    checks: list[Check]


def find_lung_fields(
    plane: np.ndarray,
    spacing: tuple[float, float] = (1.0, 1.0),
    method: str = "model",
    job: Job | None = None,
    forward: model.Forward | None = None,
) -> LungFields:
    """The lung fields of an upright frontal chest radiograph.

    Parameters
    ----------
    plane : (rows, columns), any type, depth, size and polarity.
    spacing : between rows and between columns; only its proportions count.
    method : "model" (the network) or "classical".
    forward : another network instead of the one that comes with MedPrep.

    Raises
    ------
    MissingPackageError
        for "model" without OpenCV.
    """
    job = job or Job.quiet()
    frame = input.frame_of(plane.shape, spacing)
    channels = input.channels(*input.place(plane, frame))
    job.report(0.2, _("Looking for the lungs"))
    inverted, sure = polarity_of(channels)
    scores_of = _model(forward) if method == "model" else classical.side_scores
    found = shape.tidied(scores_of(_upright(channels, inverted)))
    job.report(0.5)
    if sure < DOUBTFUL:
        # The lungs tell better than the whole image which way round it is.
        other = shape.tidied(scores_of(_upright(channels, not inverted)))
        if sum(other.confidence) > sum(found.confidence):
            found, inverted = other, not inverted
    job.report(0.7)
    if method == "model" and _at_edge(found.labels, frame):
        # Lungs larger than the network is used to, it knows better when they are smaller.
        smaller = input.frame_of(plane.shape, spacing, _SMALLER)
        again = scores_of(_upright(input.channels(*input.place(plane, smaller)), inverted))
        found = shape.tidied((found.scores + input.enlarged(again, _SMALLER)) / 2)
    job.report(0.8)
    checks = judged(found.labels, found.confidence, frame, LIMITS[method])
    if min(found.confidence) < LIMITS[method][0] and not any(check.verdict == "fail" for check in checks):
        like = classical.likeness(_upright(channels, inverted))
        least = _UNLIKELY if np.mean(found.confidence) < _UNSURE else _UNLIKE
        if like < least:
            value = _("none found: this does not look like a chest (likeness {like:.2f})").format(like=like)
            checks = [_none(value, f">= {least:g}")]
    if any(check.verdict == "fail" for check in checks):
        sides = np.zeros(plane.shape, np.uint8)
    else:
        sides = shape.labels_of(found.scores, frame)
    return LungFields(sides, found.confidence, found.pieces, inverted, sure, checks)


def _model(forward: model.Forward | None) -> Callable[[np.ndarray], np.ndarray]:
    forward = forward or model.network()
    return lambda channels: model.side_scores(channels, forward)


def _upright(channels: np.ndarray, inverted: bool) -> np.ndarray:
    return -channels if inverted else channels


def judged(
    labels: np.ndarray,
    confidence: tuple[float, float],
    frame: input.Frame,
    limits: tuple[float, float] = LIMITS["model"],
) -> list[Check]:
    """Whether two lungs were found that look like lungs.

    Parameters
    ----------
    labels : (n, n) over the square, 1 and 2 for the lungs on the image's left and right.
    confidence : of either, 0 to 1. frame : where the image lies in the square.
    limits : below the first of them is a warning, below the second a failure.
    """
    sure, none = limits
    scale = labels.shape[0] / input.SIZE
    whole = np.prod([n * step * scale for n, step in zip(frame.shape, frame.steps, strict=True)])
    areas = [int(np.count_nonzero(labels == side)) for side in (1, 2)]
    share = sum(areas) / max(float(whole), 1.0)
    mean = float(np.average(confidence, weights=areas)) if sum(areas) else 0.0
    if mean < none or share < _SMALLEST:
        value = _("none found (confidence {sure:.2f}, {share:.0f} % of the image)")
        limit = _("confidence >= {limit:g}").format(limit=none)
        return [_none(value.format(sure=mean, share=100 * share), limit)]
    checks = [
        _line(_("Confidence"), min(confidence) >= sure, f"{min(confidence):.3f}", f">= {sure:g}", _LOOK),
        _line(
            _("Symmetry"),
            min(areas) >= _ASYMMETRIC * max(areas),
            f"{min(areas) / max(areas):.2f}",
            f">= {_ASYMMETRIC:g}",
            _("One lung is much smaller: look whether it is opaque, cut off or missed."),
        ),
    ]
    if min(areas):
        checks.append(_position(labels))
    edge = _at_edge(labels, frame)
    checks.append(
        _line(
            _("Lungs complete"),
            not edge,
            _("cut off at the {places}").format(places=", ".join(edge)) if edge else _("inside the image"),
            "",
            _("Areas are those of the part that is shown."),
        )
    )
    return checks


_LOOK = _("Look at the outline before using it; draw what is wrong by hand.")


def _none(value: str, limit: str) -> Check:
    advice = _("Choose an upright frontal chest radiograph, or draw the lungs by hand.")
    return Check(_("Lung fields"), "fail", value, limit, advice)


def _line(name: str, good: bool, value: str, limit: str, advice: str) -> Check:
    return Check(name, "pass" if good else "warn", value, limit, "" if good else advice)


def _position(labels: np.ndarray) -> Check:
    """Both lungs beside each other: the left one's middle further left, at about the same height."""
    places = [np.argwhere(labels == side) for side in (1, 2)]
    (y1, x1), (y2, x2) = (p.mean(axis=0) for p in places)
    height = max(np.ptp(p[:, 0]) + 1 for p in places)
    shift = abs(y1 - y2) / height
    return _line(
        _("Position"),
        x1 < x2 and shift <= _SHIFTED,
        _("middles {shift:.0f} % of a lung's height apart").format(shift=100 * shift),
        f"<= {100 * _SHIFTED:.0f} %",
        _LOOK,
    )


def _at_edge(labels: np.ndarray, frame: input.Frame) -> list[str]:
    """At which edges of the image lung is cut off."""
    scale = labels.shape[0] / input.SIZE
    corners = []
    for count, step, offset in zip(frame.shape, frame.steps, frame.offsets, strict=True):
        first = int(np.ceil(offset * scale))
        corners.append((first, max(first, int(np.floor((offset + count * step) * scale)) - 1)))
    (top, bottom), (left, right) = corners
    lines = {
        _("top"): labels[top, left : right + 1],
        _("bottom"): labels[bottom, left : right + 1],
        _("left"): labels[top : bottom + 1, left],
        _("right"): labels[top : bottom + 1, right],
    }
    # Two pixels of the coarse map may be the outline's own width.
    return [name for name, line in lines.items() if np.count_nonzero(line) > 2]
