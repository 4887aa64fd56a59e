"""Local contrast by CLAHE with given parameters."""

from __future__ import annotations

from typing import Annotated

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import Volume

from ..contrast.equalizing import OutputType, Region, equalize, field_of
from ..picture.radiograph import radiograph

ZUIDERVELD = "Zuiderveld 1994, Contrast limited adaptive histogram equalization, Graphics Gems IV:474-485"


@operation(
    "xray.clahe",
    title=_("Local contrast (CLAHE)"),
    console="clahe",
    modality="DX",
    outputs=("image",),
    cite=(ZUIDERVELD,),
    vectors=True,
)
class Clahe:
    """Raise the local contrast of a radiograph, at 8 to 16 bits.

    An 8-bit image gives OpenCV's result. In deeper images the clip limit means the same, and the result has
    more grey levels than 8 bits hold.
    """

    clipLimit: Annotated[
        float,
        Span(1, 40, 0.1, 2, slider=True),
        Help(_("How much contrast may grow: 1 hardly at all, 2 usual, 4 strong")),
    ] = 2.0
    tiles: Annotated[
        int, Span(1, 64, 1, 0), Help(_("Tiles along each side; contrast is local to a tile"))
    ] = 8
    region: Region = "field"
    outputType: OutputType = "auto"

    presets = {
        "weak": Preset(_("Weak: clip limit 1, 8 x 8 tiles"), "", clipLimit=1, tiles=8),
        "usual": Preset(
            _("Usual: clip limit 2, 8 x 8 tiles"), "usual for chest radiographs", clipLimit=2, tiles=8
        ),
        "strong": Preset(_("Strong: clip limit 4, 8 x 8 tiles"), "", clipLimit=4, tiles=8),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        picture = radiograph(image)
        field = field_of(picture, self.region)
        made = equalize(picture, field, self.clipLimit, self.tiles, self.outputType, job)
        return Result(images={"image": made}, notes=list(picture.notes))
