"""Cut away the empty space around the patient, or around a mask."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Preset, Span, Unit, When, Words, operation
from ..core.result import Result
from ..core.volume import LabelVolume, Volume
from ..geometry import cropping
from ..geometry.cropping import Box
from ..numeric.components import sparse_components
from .crop_pad import cut_all, require_whole, round_up

# Pieces smaller than this share of the largest are noise or a cable, not the patient.
_SPECK = 0.01
_AIR = -1024


@operation(
    "cropForeground",
    title=_("Crop to foreground"),
    console="cropForeground",
    outputs=("image",),
    cite=(
        "Otsu 1979, IEEE Trans Syst Man Cybern 9(1):62-66, doi:10.1109/TSMC.1979.4310076",
        "Isensee et al. 2021, Nature Methods 18:203-211 (nnU-Net), doi:10.1038/s41592-020-01008-z",
    ),
    vectors=True,
    units={"padded*": "voxels", "cropped*": "voxels"},
)
class CropForeground:
    """Crop an image and its label maps to the box around the foreground or a mask, plus a margin.

    No voxel is interpolated and none moves in the patient, so that label maps can be restored exactly.
    """

    method: Annotated[
        Literal["automatic", "threshold"],
        Words(automatic=_("Automatic (Otsu)"), threshold=_("Threshold")),
        When("mask", given=False),
        Help(
            _(
                "What is foreground where no mask is given: automatic parts the image in two at Otsu's "
                "threshold; pieces below 1 % of the largest do not count"
            )
        ),
    ] = "automatic"
    threshold: Annotated[
        float,
        Span(-1e6, 1e6, 10, 3),
        When("method", "threshold") & When("mask", given=False),
        Help(_("threshold: what is above it is foreground; for CT in HU")),
    ] = -500.0
    margin: Annotated[
        float, Span(0, 500, 1, 1), Unit("mm"), Help(_("Kept around the box, as far as the image reaches"))
    ] = 5.0
    multiple: Annotated[
        tuple[float, float, float],
        Span(1, 512, 1, 0),
        Help(
            _(
                "The result's voxels along i, j, k can be divided by this: the box grows, and beyond the "
                "image it is padded; 1 for the box as it is"
            )
        ),
    ] = (1.0, 1.0, 1.0)

    presets = {
        "body": Preset(_("Body in CT, above -500 HU"), "", method="threshold", threshold=-500, margin=5),
        "automatic": Preset(_("Automatic, multiple of 16 voxels"), "", method="automatic", multiple=16),
    }

    def __post_init__(self) -> None:
        require_whole("cropForeground.multiple", self.multiple)

    def __call__(
        self, image: Volume, labels: tuple[LabelVolume, ...], mask: LabelVolume | None, job: Job
    ) -> Result:
        cropping.require_same_grid(image, labels)
        job.report(0.0)
        around = self._foreground(image, mask, job.part(0.0, 0.6))
        return cut_all(image, labels, self._grown(around, image), "auto", 0, job.part(0.6, 1.0))

    def _foreground(self, image: Volume, mask: LabelVolume | None, job: Job) -> Box:
        if mask is not None:
            return cropping.bounding_box(mask.inside(image))
        if image.components > 1:
            raise InputError(
                _("The image has {n} channels, and no mask was given.").format(n=image.components),
                _("Expected a mask of the foreground."),
                _("Give one, such as the brain mask."),
            )
        threshold = self.threshold if self.method == "threshold" else otsu(image)
        job.report(0.5)
        found = sparse_components(image.array, threshold, job=job.part(0.5, 1.0))
        if not len(found):
            raise InputError(
                _("There is nothing above {threshold:g} in the image.").format(threshold=threshold),
                _("Expected foreground."),
                _("Choose a lower threshold, or give a mask."),
            )
        boxes = found.box[found.count >= _SPECK * found.count[0]]
        low, high = boxes[:, :, 0].min(axis=0), boxes[:, :, 1].max(axis=0)
        return Box(tuple(map(int, low)), tuple(map(int, high - low)))

    def _grown(self, around: Box, image: Volume) -> Box:
        """The box with its margin, no further than the image, then up to the multiple."""
        start, shape = [], []
        for s, n, whole, spacing in zip(
            around.start, around.shape, image.shape, image.spacing_kji, strict=True
        ):
            margin = math.ceil(self.margin / spacing - 1e-6)
            low, high = max(s - margin, 0), min(s + n + margin, whole)
            start.append(low)
            shape.append(high - low)
        wanted = [
            n if whole == 1 else round_up(n, int(multiple))
            for n, whole, multiple in zip(shape, image.shape, self.multiple[::-1], strict=True)
        ]
        up = cropping.rising(image)
        grown = cropping.centred(Box(tuple(start), tuple(shape)).centre, wanted, up)
        return cropping.moved_inside(grown, image.shape, up)


def otsu(image: Volume) -> float:
    """Otsu's threshold; what pads a CT outside its field of view counts as air."""
    array = np.ascontiguousarray(image.array, image.array.dtype.newbyteorder("="))
    if image.modality == "CT":
        array = np.maximum(array, array.dtype.type(_AIR)) if array.dtype.kind in "if" else array
    if array.min() == array.max():
        raise InputError(
            _("Every voxel is {value:g}.").format(value=float(array.flat[0])),
            _("Expected foreground and background."),
            _("Choose another image, or give a mask."),
        )
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.Execute(sitk.GetImageFromArray(array))
    return float(otsu.GetThreshold())
