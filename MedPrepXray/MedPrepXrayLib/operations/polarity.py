"""Turn an inverted radiograph the right way round: air dark, bone bright."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Words, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import Volume

from ..lungs.polarity import DOUBTFUL, estimate_polarity
from ..picture.radiograph import Radiograph, radiograph


@operation(
    "xray.polarity",
    title=_("Polarity"),
    console="fixPolarity",
    modality="DX",
    outputs=("image",),
    cite=("DICOM PS3.3 C.7.6.3.1.2 Photometric Interpretation",),
    vectors=True,
)
class Polarity:
    """Make air dark and bone bright, where they are not.

    DICOM says which it is (MONOCHROME1 is turned when the file is read, once). A picture does not: there it
    is told from the grey levels of the chest, and turned only when that leaves little doubt.
    """

    method: Annotated[
        Literal["auto", "estimate", "invert"],
        Words(
            auto=_("By the file, else by the image"),
            estimate=_("By the image"),
            invert=_("Invert in any case"),
        ),
        Help(
            _(
                "auto: DICOM images stay as their file says, others are looked at; estimate: all are "
                "looked at; invert: turn the grey levels around"
            )
        ),
    ] = "auto"

    presets = {
        "auto": Preset(_("By the file, else by the image"), "", method="auto"),
        "invert": Preset(_("Invert"), "", method="invert"),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        picture = radiograph(image)
        inverted, confidence = estimate_polarity(picture.plane)
        told = tag_of(picture)
        if self.method == "invert":
            turn, note = True, _("The grey levels were inverted.")
        elif self.method == "auto" and told:
            turn, note = False, _("The file says {tag}; nothing was inverted.").format(tag=told)
        else:
            turn = inverted and confidence >= DOUBTFUL
            note = (
                _("The image looked inverted (confidence {sure:.2f}); its grey levels were turned around.")
                if turn
                else _("The image does not look inverted, or it cannot be told.")
            )
        return Result(
            images={"image": invert(picture) if turn else picture.back(picture.as_stored(picture.plane))},
            metrics={"inverted": turn, "looksInverted": inverted, "confidence": confidence},
            notes=[*picture.notes, note.format(sure=confidence)],
        )


def tag_of(picture: Radiograph) -> str:
    """MONOCHROME1 or MONOCHROME2 where the file says so; the values are MONOCHROME2 in either case."""
    tag = str(picture.volume.info.get("photometricInterpretation", ""))
    return tag if tag.startswith("MONOCHROME") else ""


def invert(picture: Radiograph) -> Volume:
    """The radiograph with black and white exchanged, at its own depth and type."""
    low, high = picture.scale
    turned = picture.as_stored(low + high - picture.plane.astype(np.float64))
    display = picture.volume.display
    if display is not None:
        display = (low + high - display[0], display[1])
    return picture.back(turned, display=display)
