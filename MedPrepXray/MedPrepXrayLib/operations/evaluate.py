"""Numbers on what an enhancement did to a radiograph, and whether it helped."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Label, Preset, operation
from MedPrepCommonLib.core.result import Check, Curve, Figure, Result, Table
from MedPrepCommonLib.core.volume import Volume

from ..contrast.equalizing import Region, field_of
from ..contrast.image_quality import Measures, measure
from ..contrast.judging import CLEAR, Judgement, advice, judge
from ..picture.radiograph import radiograph

# Equal images have no error to compare the peak with; tables hold numbers only.
LARGEST_PSNR = 99.0

SSIM = "Wang et al. 2004, IEEE Trans Image Process 13(4):600-612 (SSIM), doi:10.1109/TIP.2003.819861"
NOISE = "Immerkaer 1996, Comput Vis Image Underst 64(2):300-302 (noise), doi:10.1006/cviu.1996.0060"


@operation(
    "xray.evaluate",
    title=_("Evaluate enhancement"),
    console="evaluate",
    modality="DX",
    outputs=("evaluation", "histogram"),
    records=("evaluation", "histogram"),
    cite=(SSIM, NOISE),
    vectors=True,
)
class Evaluate:
    """Say in numbers what an enhancement did to a radiograph, and whether it is better for it.

    Takes the original and the enhanced image; each is looked at from black to white of its own depth. The
    score is the detail gained minus noise, false structures, lost sharpness and clipping; above 0 is better.
    """

    region: Region = "field"

    presets = {
        "field": Preset(_("Inside the exposed field"), "", region="field"),
        "image": Preset(_("Everywhere"), "", region="image"),
    }

    def __call__(
        self, image: Volume, enhanced: Annotated[Volume, Label(_("Enhanced image"))], job: Job
    ) -> Result:
        enhanced.require_grid_of(image, _("enhanced image"))
        before, after = radiograph(image), radiograph(enhanced)
        where = field_of(before, self.region).where
        reference, changed = before.unit()[where], after.unit()[where]
        job.report(0.2, _("Measuring"))
        measures = measure(reference, changed)
        job.report(0.9)
        judgement = judge(measures)
        return Result(
            tables={"evaluation": evaluation_table(measures, judgement)},
            figures={"histogram": _histogram(reference, changed)},
            metrics={**finite(measures), "score": judgement.score, "verdict": judgement.verdict},
            checks=[verdict_check(judgement)],
            notes=list(before.notes),
        )


def finite(measures: Measures) -> dict[str, float]:
    """The measures by name, without infinities."""
    found = {name: float(value) for name, value in measures._asdict().items()}
    found["psnr"] = min(found["psnr"], LARGEST_PSNR)
    return {name: value if np.isfinite(value) else 1e6 for name, value in found.items()}


def evaluation_table(measures: Measures, judgement: Judgement) -> Table:
    """One row per measure: its name, its value and what it says."""
    meaning = {
        "contrastGain": _("standard deviation, enhanced / original"),
        "rangeGain": _("range from the 0.5th to the 99.5th percentile, enhanced / original"),
        "entropyGain": _("information (entropy of 256 grey levels), enhanced / original"),
        "edgeGain": _("mean gradient, enhanced / original; noise counts too"),
        "psnr": _("dB; likeness to the original, {limit:g} for equal images").format(limit=LARGEST_PSNR),
        "ssim": _("structural similarity to the original, 1 for equal images"),
        "noiseGain": _("noise where the original is smooth, enhanced / original"),
        "detailGain": _("contrast of ribs, vessels and borders, enhanced / original"),
        "sharpnessGain": _("slope of the strongest edges beyond that, enhanced / original"),
        "structure": _("correlation of these structures, 1 for the same"),
        "clipped": _("share of pixels that became black or white"),
    }
    rows = [(name, value, meaning[name]) for name, value in finite(measures).items()]
    rows.append(("score", judgement.score, judgement.verdict))
    return Table(_("Evaluation"), ("measure", "value", "meaning"), tuple(rows))


def verdict_check(judgement: Judgement) -> Check:
    """The judgement as a line of quality control."""
    return Check(
        _("Enhancement"),
        "warn" if judgement.score < -CLEAR else "pass",
        _("{verdict} (score {score:.2f})").format(verdict=judgement.verdict, score=judgement.score),
        f">= {-CLEAR:g}",
        advice(judgement.verdict),
    )


def _histogram(reference: np.ndarray, changed: np.ndarray) -> Figure:
    edges = np.linspace(0, 1, 129)
    centres = tuple(float(v) for v in (edges[1:] + edges[:-1]) / 2)

    def curve(name: str, grey: np.ndarray) -> Curve:
        counts, _edges = np.histogram(grey, edges)
        return Curve(name, centres, tuple(float(n) for n in counts))

    return Figure(
        _("Grey levels"),
        _("grey level (0 black, 1 white)"),
        _("pixels"),
        (curve(_("original"), reference), curve(_("enhanced"), changed)),
    )
