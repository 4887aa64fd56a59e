"""The lung fields of a chest radiograph as segments of the right and left lung, and how far to trust them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Words, operation
from MedPrepCommonLib.core.result import Check, Result, Table
from MedPrepCommonLib.core.terminology import LUNGS
from MedPrepCommonLib.core.volume import Volume

from ..lungs.fields import LungFields, find_lung_fields
from ..lungs.polarity import DOUBTFUL
from ..picture.opencv import OPENCV
from ..picture.radiograph import Radiograph, radiograph, right_is_right

RIGHT_LUNG, LEFT_LUNG = 1, 2


@operation(
    "xray.lungFields",
    title=_("Lung fields"),
    console="segmentLungFields",
    modality="DX",
    outputs=("lungs?", "lungFields"),
    labels=("lungs",),
    records=("lungFields",),
    cite=(
        "Ronneberger, Fischer and Brox 2015, U-Net, MICCAI, doi:10.1007/978-3-319-24574-4_28",
        "Winther et al. 2020, COVID-19 Image Repository, doi:10.25835/0090041",
        "Vercauteren et al. 2009, NeuroImage 45(1):S61-S72, doi:10.1016/j.neuroimage.2008.10.040",
    ),
    vectors=True,
)
class LungFieldsXray:
    """Segment the lung fields of an upright frontal chest radiograph, the parts behind the heart included.

    Works at any size, depth and polarity. What is no frontal chest gives no lungs, and a failed check that
    says why. Not for diagnosis.
    """

    method: Annotated[
        Literal["model", "classical"],
        Words(model=_("Trained network"), classical=_("Mean chest, fitted")),
        Help(
            _(
                "model: a small U-Net, needs OpenCV; classical: a mean chest bent onto the image, less "
                "exact, needs nothing"
            )
        ),
    ] = "model"

    presets = {
        "model": Preset(_("Trained network"), "", method="model"),
        "classical": Preset(_("Without OpenCV"), "", method="classical"),
    }

    def packages(self) -> dict[str, str]:
        """What must be installed for the chosen method."""
        return OPENCV if self.method == "model" else {}

    def __call__(self, image: Volume, job: Job) -> Result:
        picture = radiograph(image)
        found = find_lung_fields(picture.plane, picture.spacing, self.method, job.part(0.0, 0.9))
        mirrored, told = right_is_right(picture)
        of_side = (LEFT_LUNG, RIGHT_LUNG) if mirrored else (RIGHT_LUNG, LEFT_LUNG)
        plane = np.array([0, *of_side], np.uint8)[found.sides]
        job.report(0.95)
        table, metrics = _measured(picture, plane, found, of_side)
        failed = any(check.verdict == "fail" for check in found.checks)
        checks = [*found.checks, *_polarity(found)]
        if not failed:
            checks.append(Check(_("Sides"), "pass", told))
        return Result(
            labels={} if failed else {"lungs": picture.labels(plane, LUNGS)},
            tables={"lungFields": table},
            metrics=metrics,
            checks=checks,
            notes=[*picture.notes, *(check.value for check in found.checks if check.verdict == "fail")],
        )


def _measured(
    picture: Radiograph, plane: np.ndarray, found: LungFields, of_side: tuple[int, int]
) -> tuple[Table, dict[str, float]]:
    known = picture.spacing_known
    # Without a pixel size an area means nothing: pixels stand in the table, and no figure is compared.
    pixel = float(np.prod(picture.spacing)) / 100 if known else 1.0
    unit = "cm2" if known else _("pixels")
    counts = np.bincount(plane.ravel(), minlength=3)
    rows, metrics = [], {"inverted": found.inverted}
    for segment in LUNGS:
        side = of_side.index(segment.value)
        area = float(counts[segment.value] * pixel)
        confidence = found.confidence[side] if counts[segment.value] else 0.0
        share = 100 * float(counts[segment.value]) / plane.size
        rows.append((segment.name, area, share, round(confidence, 4), found.pieces[side]))
        word = segment.name.replace(" lung", "Lung")
        metrics |= {f"{word}Share": share, f"{word}Confidence": confidence}
        if known:
            metrics[f"{word}Area"] = area
    areas = counts[1:3]
    metrics["symmetry"] = float(areas.min() / areas.max()) if areas.max() else 0.0
    columns = ("segment", f"area ({unit})", "share of the image (%)", "confidence", "pieces")
    return Table(_("Lung fields"), columns, tuple(rows)), metrics


def _polarity(found: LungFields) -> list[Check]:
    if not found.inverted:
        return []
    return [
        Check(
            _("Polarity"),
            "warn",
            _("air looks bright (confidence {sure:.2f})").format(sure=found.polarity),
            _("air dark"),
            _("The lungs were found all the same. Turn the grey levels around before training on the image.")
            if found.polarity >= DOUBTFUL
            else _("Look at the image: its polarity is in doubt."),
        )
    ]
