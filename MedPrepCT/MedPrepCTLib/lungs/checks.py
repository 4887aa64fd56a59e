"""Judgement of segmented lungs: their size, their shape from slice to slice, what was seen around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check

from .findings import Findings
from .segmentation import AIRWAY, LEFT_LUNG, LUNG, RIGHT_LUNG

# A whole adult lung holds 1 to 4 litres; below this the lung is cut off, collapsed or missed.
_SMALL_LUNG = 300.0  # ml
# From one slice to the next a lung's area changes by less than this share of its largest, per 10 mm.
_STEP, _STEP_MM = 0.4, 10.0
# Lungs this tall show a trachea or main bronchi.
_TALL_MM, _AIRWAY_ML = 130.0, 2.0
_GAPS = 0.13
_LEAST_SHARE, _MOST_SHARE = 0.12, 0.75
_OTHER_GAS_ML = 10.0
# Of the lungs' volume: more gas beside them than this is worth a look.
_HIGH_GAS = 0.05


def lung_checks(
    found: np.ndarray, findings: Findings, volumes: Mapping[int, float], spacing_kji: Sequence[float]
) -> list[Check]:
    """Checks of the result.

    Parameters
    ----------
    found : uint8 (k, j, i) in (superior, posterior, left) order. volumes : ml of each value.
    """
    return [
        *_sizes(findings, volumes),
        _complete(found),
        _even(found, spacing_kji),
        _airway(found, findings, volumes, spacing_kji),
        _gas(findings, volumes),
        _walls(findings),
        _share(findings),
        _posture(findings),
    ]


def _sizes(findings: Findings, volumes: Mapping[int, float]) -> list[Check]:
    if findings.unknown_side:
        return [
            Check(
                _("Side of the lung"),
                "warn",
                _("cannot be told"),
                _("right or left"),
                _("Neither the other lung nor spine, heart or trachea show; the segment is named lung."),
            )
        ]
    checks = []
    for value, name in ((RIGHT_LUNG, _("Right lung")), (LEFT_LUNG, _("Left lung"))):
        volume = volumes.get(value, 0.0)
        ok = volume >= _SMALL_LUNG
        checks.append(
            Check(
                name,
                "pass" if ok else "warn",
                f"{volume:.0f} ml" if volume >= 10 else f"{volume:.2g} ml",
                f">= {_SMALL_LUNG:.0f} ml",
                "" if ok else _("Small: look whether the lung is cut off, collapsed, removed or missed."),
            )
        )
    return checks


def _complete(found: np.ndarray) -> Check:
    """Whether lung reaches the border of the scan."""
    ends = {
        _("bottom"): found[0],
        _("top"): found[-1],
        _("front"): found[:, 0],
        _("back"): found[:, -1],
        _("right side"): found[:, :, 0],
        _("left side"): found[:, :, -1],
    }
    cut = [name for name, end in ends.items() if np.isin(end, (RIGHT_LUNG, LEFT_LUNG, LUNG)).any()]
    return Check(
        _("Lungs complete"),
        "warn" if cut else "pass",
        _("cut off at the {places}").format(places=", ".join(cut)) if cut else _("inside the scan"),
        "",
        _("Volumes are those of the part that was scanned.") if cut else "",
    )


def _even(found: np.ndarray, spacing_kji: Sequence[float]) -> Check:
    """Whether each lung's area goes on from slice to slice."""
    largest, where = 0.0, 0
    thick = max(1.0, spacing_kji[0] / _STEP_MM)
    for value in (RIGHT_LUNG, LEFT_LUNG, LUNG):
        area = np.count_nonzero(found == value, axis=(1, 2)).astype(float)
        if len(area) < 2 or area.max() * spacing_kji[1] * spacing_kji[2] < 500.0:
            continue
        step = np.abs(np.diff(area)) / area.max() / thick
        if step.max() > largest:
            largest, where = float(step.max()), int(step.argmax())
    ok = largest < _STEP
    return Check(
        _("Area from slice to slice"),
        "pass" if ok else "warn",
        _("changes by up to {share:.0f} %").format(share=100 * largest),
        f"< {100 * _STEP:.0f} %",
        ""
        if ok
        else _(
            "Look at the {height:.0f} mm above the lowest slice: part of a lung is missing, or something was "
            "taken for lung."
        ).format(height=(where + 0.5) * spacing_kji[0]),
    )


def _airway(found, findings: Findings, volumes: Mapping[int, float], spacing_kji: Sequence[float]) -> Check:
    lung = np.isin(found, (RIGHT_LUNG, LEFT_LUNG, LUNG)).any(axis=(1, 2))
    height = np.count_nonzero(lung) * spacing_kji[0]
    volume = volumes.get(AIRWAY, 0.0)
    missing = height > _TALL_MM and volume < _AIRWAY_ML
    return Check(
        _("Airway"),
        "warn" if missing else "pass",
        f"{volume:.0f} ml",
        _("a trachea above lungs of this height") if height > _TALL_MM else "",
        _("Not found: trachea and main bronchi may count as lung, or this may be no whole chest.")
        if missing
        else "",
    )


def _gas(findings: Findings, volumes: Mapping[int, float]) -> Check:
    name = _("Gas beside the lungs")
    if findings.pleural_gas > 0:
        return Check(
            name,
            "warn",
            _("{volume:.0f} ml without vessels at the ribs").format(volume=findings.pleural_gas),
            _("none"),
            _("Looks like a pneumothorax, or a bulla as large; it is not counted as lung."),
        )
    lungs = sum(volumes.get(value, 0.0) for value in (RIGHT_LUNG, LEFT_LUNG, LUNG))
    if findings.high_gas > _HIGH_GAS * lungs:
        return Check(
            name,
            "warn",
            _("{volume:.0f} ml at the height of the lungs").format(volume=findings.high_gas),
            f"< {100 * _HIGH_GAS:.0f} %",
            _("Not counted as lung: look whether it is bowel under a high diaphragm, or dark lung."),
        )
    ok = findings.other_gas < _OTHER_GAS_ML
    return Check(
        name,
        "pass",
        _("none") if ok else _("{volume:.0f} ml in the bowel").format(volume=findings.other_gas),
        "",
        "" if ok else _("Stomach or colon below the diaphragm; it is not counted as lung."),
    )


def _walls(findings: Findings) -> Check:
    ok = findings.gaps < _GAPS
    return Check(
        _("Lung at the chest wall"),
        "pass" if ok else "warn",
        _("{share:.0f} % of it lies far from the ribs").format(share=100 * findings.gaps),
        f"< {100 * _GAPS:.0f} %",
        ""
        if ok
        else _("Fluid, consolidated or collapsed lung lies between; it holds no air and is left out."),
    )


def _share(findings: Findings) -> Check:
    share = findings.lung_share
    ok = _LEAST_SHARE <= share <= _MOST_SHARE
    return Check(
        _("Lungs in the body"),
        "pass" if ok else "warn",
        _("{share:.0f} % of the largest cross-section").format(share=100 * share),
        f"{100 * _LEAST_SHARE:.0f} .. {100 * _MOST_SHARE:.0f} %",
        "" if ok else _("Unusual for a chest: look whether lung is missing or something else was taken."),
    )


def _posture(findings: Findings) -> Check:
    wrong = [
        text
        for seen, text in (
            (findings.spine_in_front, _("the spine lies in front")),
            (findings.upside_down, _("the trachea lies below the lungs")),
        )
        if seen
    ]
    return Check(
        _("Patient as the header says"),
        "fail" if wrong else "pass",
        ", ".join(wrong) if wrong else _("spine at the back, trachea above"),
        "",
        _("The image contradicts its directions: right and left may be swapped. Correct the header first.")
        if wrong
        else "",
    )
