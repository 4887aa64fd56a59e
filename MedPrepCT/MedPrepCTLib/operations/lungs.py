"""The lungs of a CT as segments with their volumes and densities, whatever way the scan is stored."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Check, Result, Table
from MedPrepCommonLib.core.terminology import LUNGS, STRUCTURE
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.geometry.orientation import orientation
from MedPrepCommonLib.numeric import voxel_statistics

from ..lungs.checks import lung_checks
from ..lungs.findings import Findings
from ..lungs.segmentation import AIRWAY, LUNG, examine_lungs
from ..quality.hounsfield import require_hu

_TRACHEA = ("SCT", "44567001", "Trachea")
SEGMENTS = (*LUNGS, Segment(AIRWAY, "airway", STRUCTURE, _TRACHEA, None, (182 / 255, 228 / 255, 255 / 255)))
# A lung alone in a picture that shows nothing to tell its side by.
_EITHER = Segment(LUNG, "lung", STRUCTURE, LUNGS[0].code, None, LUNGS[0].color)


@operation(
    "ct.lungs",
    title=_("Lungs"),
    console="segmentLungs",
    modality="CT",
    outputs=("lungs", "volumes"),
    labels=("lungs",),
    records=("volumes",),
    cite=("Hu, Hoffman and Reinhardt 2001, IEEE Trans Med Imaging 20(6):490-498, doi:10.1109/42.929615",),
    units={"*Volume": "ml", "*Density": "HU"},
)
class Lungs:
    """Segment the right lung, the left lung and the airway on Hounsfield units.

    A lung alone in a small picture that shows nothing to tell its side by is named lung. A scan without lung
    (of the abdomen, say) gives an empty label map and a failed check, so that a recipe goes on with the rest
    of its work.
    """

    threshold: Annotated[
        float,
        Span(-900, -200, 10, 0, slider=True),
        Unit("HU"),
        Help(_("Less dense than this is air or lung; raise it for dense lungs (fibrosis, expiration)")),
    ] = -500.0
    closing: Annotated[
        float,
        Span(2, 20, 1, 1),
        Unit("mm"),
        Help(_("Radius up to which vessels and nodules at the pleura are closed into the lung")),
    ] = 8.0

    presets = {
        "inspiration": Preset(
            _("Inspiration (usual)"), "Hu, Hoffman and Reinhardt 2001, -500 HU as usual since", threshold=-500
        ),
        "dense": Preset(_("Dense lungs: fibrosis, expiration"), "", threshold=-350),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        require_hu(image)
        axes = orientation(image)
        missing: list[Check] = []
        findings = Findings()
        spacing = axes.reorder(image.spacing_kji)
        try:
            found, findings = examine_lungs(
                axes.view(image.array),
                spacing,
                threshold=self.threshold,
                closing_mm=self.closing,
                job=job.part(0.0, 0.9),
            )
        except InputError as error:
            found = np.zeros(axes.view(image.array).shape, np.uint8)
            missing = [Check(_("Lungs"), "fail", error.wrong, error.expected, error.advice)]
        labels = np.ascontiguousarray(axes.undo(found))
        segments = (*SEGMENTS, _EITHER) if findings.unknown_side else SEGMENTS
        table, metrics = _measure(image, labels, segments, job.part(0.9, 1.0))
        lungs = LabelVolume(
            labels, image.ijkToRAS, modality=image.modality, segments=segments, history=image.history
        )
        volumes = {segment.value: metrics[f"{_word(segment)}Volume"] for segment in segments}
        return Result(
            labels={"lungs": lungs},
            tables={"volumes": table},
            metrics=metrics,
            checks=missing or lung_checks(found, findings, volumes, spacing),
            notes=[check.value for check in missing],
        )


def _word(segment: Segment) -> str:
    return segment.name.replace(" lung", "Lung")


def _measure(
    image: Volume, labels: np.ndarray, segments: tuple[Segment, ...], job: Job
) -> tuple[Table, dict[str, float]]:
    """Volume and density of each segment; a segment that was not found has no row."""
    rows, metrics = [], {}
    around = _occupied(labels)
    image_part, labels = image.array[around], labels[around]
    boxes = ndimage.find_objects(labels, max_label=max(segment.value for segment in segments))
    for n, segment in enumerate(segments):
        job.report(n / len(segments), segment.name)
        word, box = _word(segment), boxes[segment.value - 1]
        metrics[f"{word}Volume"] = 0.0
        if box is None:
            continue
        stats = voxel_statistics.statistics(image_part[box], labels[box] == segment.value)
        volume = stats.count * image.voxel_volume / 1000
        rows.append((segment.name, volume, stats.mean, stats.standardDeviation))
        metrics |= {f"{word}Volume": volume, f"{word}Density": stats.mean}
    columns = ("segment", "volume (ml)", "mean (HU)", "standard deviation (HU)")
    return Table(_("Lung volumes"), columns, tuple(rows)), metrics


def _occupied(labels: np.ndarray) -> tuple[slice, ...]:
    """The box that holds every label, found much faster than the box of each label in the whole image."""
    plane = np.bitwise_or.reduce(labels, axis=0)
    lines = (labels.reshape(len(labels), -1).any(axis=1), plane.any(axis=1), plane.any(axis=0))
    inside = [np.flatnonzero(line) for line in lines]
    return tuple(slice(int(n[0]), int(n[-1]) + 1) if n.size else slice(0, 0) for n in inside)
