"""Local contrast by CLAHE, slice by slice, with more than 8 bits."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Words, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry.orientation import orientation
from MedPrepCommonLib.numeric import voxel_statistics
from MedPrepCommonLib.numeric.clahe import clahe_stack

from ..quality.hounsfield import find_padding


@operation(
    "ct.clahe",
    title=_("Local contrast (CLAHE)"),
    console="clahe",
    modality="CT",
    outputs=("image",),
    cite=("Zuiderveld 1994, Contrast limited adaptive histogram equalization, Graphics Gems IV:474-485",),
)
class Clahe:
    """Raise local contrast in each axial slice, on a windowed image or on Hounsfield units.

    The result is a picture: its values are no Hounsfield units any more. Window or clip first; on raw HU the
    contrast is spread over air and bone too.
    """

    clipLimit: Annotated[
        float, Span(1, 40, 0.5, 2), Help(_("How much contrast may grow: 1 hardly at all, 2 usual, 4 strong"))
    ] = 2.0
    tiles: Annotated[
        int, Span(1, 64, 1, 0), Help(_("Tiles along each side of a slice; contrast is local to a tile"))
    ] = 8
    outputType: Annotated[
        Literal["uint16", "float"],
        Words(uint16=_("Grey levels 0 to 65535"), float=_("Numbers 0 to 1")),
        Help(_("uint16: 0 to 65535; float: 0 to 1. Both keep more than 8 bits")),
    ] = "uint16"

    presets = {
        "usual": Preset(_("Clip limit 2, 8 x 8 tiles"), "usual clinical setting", clipLimit=2, tiles=8),
        "strong": Preset(_("Clip limit 4, 8 x 8 tiles"), "", clipLimit=4, tiles=8),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        axes = orientation(image)
        stack = axes.view(image.array)
        # Axial slices; an image of one single slice in another plane is equalized in that plane.
        across = next((axis for axis in range(3) if stack.shape[axis] == 1), 0)
        top, dtype = (65535, np.uint16) if self.outputType == "uint16" else (1.0, np.float32)
        slices = clahe_stack(
            np.moveaxis(stack, across, 0),
            self.clipLimit,
            self.tiles,
            dtype=dtype,
            value_range=_range_without_padding(image),
            job=job,
        )
        array = np.ascontiguousarray(axes.undo(np.moveaxis(slices, 0, across)))
        return Result(images={"image": image.with_array(array, name="", display=(top / 2, float(top)))})


def _range_without_padding(image: Volume) -> tuple[float, float] | None:
    """Smallest value that is not padding, and largest; None (the whole range) without padding."""
    padding = find_padding(image.array)
    if padding is None:
        return None
    return voxel_statistics.extremes(image.array, without=padding)
