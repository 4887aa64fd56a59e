"""Limit Hounsfield units to the range that matters, and say what share of the image that cost."""

from __future__ import annotations

from typing import Annotated

from MedPrepCommonLib.core.errors import ParameterError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.numeric import blocks

from ..quality.hounsfield import hu_checks, look

_SPAN = Span(-4096, 32767, 10, 1, slider=True)
_TASK = "usual range for the task"


@operation(
    "ct.clip",
    title=_("Clip"),
    console="clip",
    modality="CT",
    outputs=("image",),
    # LUNA16 itself prescribes no range; this one is its best known users'.
    cite=(
        "Liao et al. 2019, IEEE Trans Neural Netw Learn Syst 30(11):3484-3495 (lung range), arXiv:1711.08324",
    ),
)
class Clip:
    """Limit Hounsfield units to a range.

    Reported are the shares of voxels below and above the range; those outside the scanner's field of view
    (padding, see ``ct.check``) are counted apart from air that is clipped. An integer image stays integer:
    a fractional bound is rounded half up.
    """

    low: Annotated[
        float, _SPAN, Unit("HU"), Help(_("Everything less dense becomes this value; air is -1000"))
    ] = -1200.0
    high: Annotated[
        float,
        _SPAN,
        Unit("HU"),
        Help(_("Everything denser becomes this value; cortical bone is 1000 to 2000")),
    ] = 600.0

    presets = {
        "softTissue": Preset(_("Soft tissue"), _TASK, low=-200, high=400),
        "wholeBody": Preset(_("Whole body"), _TASK, low=-1000, high=1000),
        "bone": Preset(_("Bone"), _TASK, low=-200, high=3000),
        "lungNodule": Preset(
            _("Lung nodule (LUNA16)"), "Liao et al. 2019, on LUNA16 and DSB 2017 scans", low=-1200, high=600
        ),
        "lung": Preset(_("Lung"), _TASK, low=-1500, high=600),
    }

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ParameterError(
                _("ct.clip goes from {low:g} to {high:g} HU.").format(low=self.low, high=self.high),
                _("Expected low below high."),
                _("Swap the two."),
            )

    def __call__(self, image: Volume, job: Job) -> Result:
        judgement, padding = look(image)
        apart = padding if padding is not None and padding < self.low else None
        mapped = blocks.clip(image.array, self.low, self.high, count=True, apart=apart, job=job)
        total, clipped_padding = image.array.size, mapped.apart or 0
        below = mapped.below - clipped_padding
        middle, width = (self.low + self.high) / 2, self.high - self.low
        return Result(
            images={
                "image": image.with_array(mapped.array, name="", display=image.display or (middle, width))
            },
            metrics={
                "below": below / total,
                "above": mapped.above / total,
                "padding": clipped_padding / total,
            },
            notes=judgement.notes(),
            checks=hu_checks(image, judgement),
        )
