"""What a CT is, for the input checks: asked of every image of a recipe for CT."""

from __future__ import annotations

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.recognition import Recognition, recognises
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry.orientation import orientation

from ..quality.hounsfield import look
from .cells import Cells
from .parts import find_parts
from .placement import find_placement


@recognises("CT")
def recognise(volume: Volume, job: Job) -> Recognition:
    """Parts of the body by lung, skull and bone, and how it lies; nothing without Hounsfield units."""
    if volume.components > 1 or sorted(volume.shape)[1] < 8:
        return Recognition(evidence=_("too small to be told"))
    judgement, _padding = look(volume)
    if judgement.kind != "HU":
        return Recognition(evidence=_("no Hounsfield units"))
    axes = orientation(volume)
    cells = Cells.of(axes.view(volume.array), axes.reorder(volume.spacing_kji), job)
    parts, placement = find_parts(cells), find_placement(cells)
    return Recognition(
        parts=parts.names,
        confidence=parts.confidence,
        evidence=parts.evidence,
        placement=placement.words,
        placement_confidence=placement.confidence,
    )
