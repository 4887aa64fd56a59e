"""Display windows: a range of Hounsfield units mapped to grey levels, as DICOM defines it.

DICOM PS3.3 C.11.2.1.2.1 (LINEAR) maps [c - w/2, c + w/2 - 1] and C.11.2.1.3.2 (LINEAR_EXACT) maps
[c - w/2, c + w/2] to the full output range. Whole grey levels are rounded half up, ``floor(y + 0.5)``, never
truncated.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, Words, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.numeric import blocks

from ..quality.hounsfield import hu_checks, hu_notes

DICOM = (
    "DICOM PS3.3 C.11.2.1.2 Window Center and Window Width",
    "DICOM PS3.3 C.11.2.1.3 VOI LUT Function",
)
CLINICAL = "usual clinical setting"

LEVEL_SPAN, WIDTH_SPAN = Span(-2000, 4000, 10, 1, slider=True), Span(1, 8000, 10, 1, slider=True)
Function = Annotated[
    Literal["LINEAR", "LINEAR_EXACT"],
    Words(LINEAR=_("Linear (DICOM default)"), LINEAR_EXACT=_("Linear exact")),
    Help(_("LINEAR is DICOM's default (its ramp is 1 HU narrower); LINEAR_EXACT spans the full width")),
]
Output = Annotated[
    Literal["uint8", "float"],
    Words(uint8=_("Grey levels 0 to 255"), float=_("Numbers 0 to 1")),
    Help(_("uint8: whole grey levels 0 to 255; float: 0 to 1 without loss of steps")),
]

WINDOWS = {
    "lung": Preset(_("Lung"), CLINICAL, level=-600, width=1500),
    "mediastinum": Preset(_("Mediastinum"), CLINICAL, level=50, width=350),
    "bone": Preset(_("Bone"), CLINICAL, level=300, width=2000),
    "brain": Preset(_("Brain"), CLINICAL, level=40, width=80),
    "abdomen": Preset(_("Abdomen"), CLINICAL, level=50, width=400),
    "lungHighResolution": Preset(_("Lung, high resolution"), CLINICAL, level=-650, width=1500),
    "lungConservative": Preset(_("Lung, conservative"), CLINICAL, level=-600, width=1450),
}


def window_bounds(level: float, width: float, function: str) -> tuple[float, float]:
    """HU that map to the lowest and to the highest output value (DICOM PS3.3 C.11.2.1.2.1, C.11.2.1.3.2)."""
    return level - width / 2, level + width / 2 - (1 if function == "LINEAR" else 0)


def apply_window(
    array: np.ndarray, level: float, width: float, function: str, output: str, job: Job
) -> np.ndarray:
    """`array` through the window as uint8 [0, 255] or float32 [0, 1]."""
    low, high = window_bounds(level, width, function)
    top, dtype = (255, np.uint8) if output == "uint8" else (1, np.float32)
    return blocks.linear_map(array, low, high, 0, top, dtype=dtype, job=job).array


def display_of(output: str) -> tuple[float, float]:
    return (127.5, 255.0) if output == "uint8" else (0.5, 1.0)


@operation(
    "ct.window",
    title=_("Window"),
    console="window",
    modality="CT",
    outputs=("image",),
    cite=DICOM,
)
class Window:
    """Map a range of Hounsfield units to grey levels, as a display window does."""

    level: Annotated[
        float, LEVEL_SPAN, Unit("HU"), Help(_("Centre of the window: the density of most interest"))
    ] = -600.0
    width: Annotated[
        float,
        WIDTH_SPAN,
        Unit("HU"),
        Help(_("Full width of the window: narrow for contrast, wide for range")),
    ] = 1500.0
    function: Function = "LINEAR"
    outputType: Output = "uint8"

    presets = WINDOWS

    def __call__(self, image: Volume, job: Job) -> Result:
        array = apply_window(image.array, self.level, self.width, self.function, self.outputType, job)
        volume = image.with_array(array, name="", display=display_of(self.outputType))
        return Result(images={"image": volume}, notes=hu_notes(image), checks=hu_checks(image))
