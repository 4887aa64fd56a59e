"""Quality control of a radiograph before anything is computed from it."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from MedPrepCommonLib.core import input_checks
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, operation
from MedPrepCommonLib.core.result import Check, Curve, Figure, Result, check_table, worst
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.numeric.histograms import counted

from ..lungs.polarity import DOUBTFUL, estimate_polarity
from ..picture.collimation import Field, find_field
from ..picture.radiograph import Radiograph, radiograph
from .polarity import tag_of

# Fewer grey levels than this show steps in smooth shading.
_FEW_LEVELS = 100
# Share of pixels at the lowest and at the highest value (percent) from which detail is lost. Air is black in
# many images; nothing of the patient should be white.
_BLACK, _WHITE = 25.0, 1.0


@operation(
    "xray.check",
    title=_("Check"),
    console="check",
    modality="DX",
    outputs=("check", "histogram"),
    records=("check", "histogram"),
    cite=("DICOM PS3.3 C.8.11 Digital X-Ray", "DICOM PS3.3 C.7.6.3.1.2 Photometric Interpretation"),
    vectors=True,
    units={"top": "px", "bottom": "px", "left": "px", "right": "px", "black": "%", "white": "%"},
)
class CheckXray:
    """Check a radiograph: bit depth, polarity, saturation, exposed field, pixel size, orientation,
    processing."""

    smallestSide: Annotated[
        int, Span(16, 4096, 16, 0), Help(_("Fewer pixels than this along the shorter side are too few"))
    ] = 256

    presets = {
        "any": Preset(_("Any radiograph"), "", smallestSide=256),
        "network": Preset(_("For networks that take 512 x 512 pixels"), "", smallestSide=512),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        picture = radiograph(image)
        field = find_field(picture.plane)
        job.report(0.3)
        inside = picture.plane[field.where]
        levels = np.unique(inside)
        job.report(0.6)
        low, high = levels[0], levels[-1]
        black, white = (float(100 * np.mean(inside == value)) for value in (low, high))
        inverted, confidence = estimate_polarity(picture.plane)
        checks = [
            _size(picture, self.smallestSide),
            _depth(picture, len(levels)),
            _polarity(picture, inverted, confidence),
            *_saturation(len(levels), black, white),
            _field(field, picture),
            *(line.check for line in input_checks.judge(image, input_checks.Wanted("DX"), content=False)),
        ]
        return Result(
            tables={"check": check_table(checks)},
            figures={"histogram": _histogram(inside)},
            metrics={
                "minimum": float(low),
                "maximum": float(high),
                "mean": float(inside.mean(dtype=np.float64)),
                "standardDeviation": float(inside.std(dtype=np.float64)),
                "bitsUsed": picture.bits,
                "greyLevels": len(levels),
                "black": black,
                "white": white,
                "looksInverted": inverted,
                "polarityConfidence": confidence,
                "top": field.top,
                "bottom": field.bottom,
                "left": field.left,
                "right": field.right,
                "spacingKnown": picture.spacing_known,
                "verdict": worst(checks),
            },
            checks=checks,
            notes=[*picture.notes, *_shown(image)],
        )


def _shown(image: Volume) -> list[str]:
    """Display windows and tables, where the file brings them."""
    if image.info.get("voiLut"):
        return [_("The file brings a display table (VOI LUT); it was not applied to the values.")]
    if image.display is not None and image.info.get("photometricInterpretation"):
        level, width = image.display
        text = _("The display window (level {level:g}, width {width:g}) was not applied to the values.")
        return [text.format(level=level, width=width)]
    return []


def _size(picture: Radiograph, least: int) -> Check:
    rows, columns = picture.plane.shape
    ok = min(rows, columns) >= least
    return Check(
        _("Size"),
        "pass" if ok else "warn",
        _("{columns} x {rows} pixels").format(columns=columns, rows=rows),
        f">= {least}",
        "" if ok else _("Too coarse for fine detail: look for the original, not a preview."),
    )


def _depth(picture: Radiograph, levels: int) -> Check:
    stored = picture.volume.info.get("bitsStored")
    value = _("{n} bits used").format(n=picture.bits) if picture.bits else picture.plane.dtype.name
    if stored and stored != picture.bits:
        value += _(" of {n}").format(n=stored)
    value += _(", {n} grey levels").format(n=levels)
    limit = f">= {_FEW_LEVELS}"
    if levels == 1:
        return Check(_("Bit depth"), "fail", value, limit, _("The image is empty: choose another one."))
    few = levels < _FEW_LEVELS
    return Check(
        _("Bit depth"),
        "warn" if few else "pass",
        value,
        limit,
        _("Few grey levels: export the image again at its full depth, without windowing.") if few else "",
    )


def _polarity(picture: Radiograph, inverted: bool, confidence: float) -> Check:
    tag = tag_of(picture)
    body = str(picture.volume.info.get("bodyPart", "")).upper()
    parts = [tag + (_(", turned when it was read") if tag == "MONOCHROME1" else "")] if tag else []
    sure = confidence >= DOUBTFUL
    if not sure:
        parts.append(_("cannot be told from the image"))
    else:
        look = _("looks inverted") if inverted else _("air is dark")
        parts.append(_("{look} (confidence {sure:.2f})").format(look=look, sure=confidence))
    wrong = sure and inverted and (not body or "CHEST" in body or "THORAX" in body)
    advice = ""
    if wrong and tag:
        advice = _(
            "File and image disagree: look at the image. If bone is dark, use Polarity, method invert."
        )
    elif wrong:
        advice = _("Bone seems to be dark: use Polarity to turn the grey levels around.")
    return Check(
        _("Polarity"), "warn" if wrong else "pass", "; ".join(parts), _("air dark, bone bright"), advice
    )


def _saturation(levels: int, black: float, white: float) -> list[Check]:
    if levels < 3:
        return []
    checks = []
    for name, share, limit in ((_("Black pixels"), black, _BLACK), (_("White pixels"), white, _WHITE)):
        too_many = share > limit
        advice = _("Detail was cut off there: look for the original, unwindowed image.") if too_many else ""
        checks.append(
            Check(name, "warn" if too_many else "pass", f"{share:.2f} %", f"<= {limit:g} %", advice)
        )
    return checks


def _field(field: Field, picture: Radiograph) -> Check:
    rows, columns = picture.plane.shape
    if field.covers((rows, columns)):
        return Check(_("Exposed field"), "pass", _("the whole image"))
    share = 100 * field.shape[0] * field.shape[1] / (rows * columns)
    return Check(
        _("Exposed field"),
        "pass",
        _("rows {top} to {bottom}, columns {left} to {right} ({share:.0f} %)").format(
            top=field.top, bottom=field.bottom - 1, left=field.left, right=field.right - 1, share=share
        ),
        "",
        _("The image has a border; Crop to the exposed field removes it."),
    )


def _histogram(inside: np.ndarray) -> Figure:
    counts, edges = counted(inside, 256)
    curve = Curve(
        _("pixels"),
        tuple(float(v) for v in (edges[1:] + edges[:-1]) / 2),
        tuple(float(n) for n in counts),
    )
    return Figure(_("Grey levels in the exposed field"), _("grey level"), _("pixels"), (curve,))
