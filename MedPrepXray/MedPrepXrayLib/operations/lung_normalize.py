"""A radiograph with grey levels that mean the same in every patient: standard scores of the lungs."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Label, Preset, Span, Unit, When, Words, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.geometry.resampling import antialias_sigma, resample_grid
from MedPrepCommonLib.numeric import blocks, voxel_statistics

from ..picture.radiograph import Radiograph, radiograph


@operation(
    "xray.lungNormalize",
    title=_("Normalize by the lungs"),
    console="lungNormalize",
    modality="DX",
    outputs=("image", "lungs"),
    labels=("lungs",),
    cite=("Philipsen et al. 2015, IEEE Trans Med Imaging 34(9):1965-1975, doi:10.1109/TMI.2015.2418031",),
    vectors=True,
    units={"top": "px", "bottom": "px", "left": "px", "right": "px"},
)
class LungNormalize:
    """Scale a radiograph so that its lungs have mean 0 and standard deviation 1.

    Exposure, processing, arms, shutters and letters no longer matter then. The image may be cut to the
    lungs and brought to a square of fixed size; proportions are kept, and every pixel keeps its place.
    """

    outside: Annotated[
        Literal["zero", "keep"],
        Words(zero=_("Set to 0 (the lungs' mean)"), keep=_("Keep, on the lungs' scale")),
        Help(_("What becomes of everything outside the lungs")),
    ] = "zero"
    crop: Annotated[bool, Help(_("Cut the image to the box that holds both lungs"))] = False
    margin: Annotated[
        float,
        Span(0, 100, 1, 1),
        Unit("%"),
        When("crop", True),
        Help(_("Around that box on every side, as a share of its longer side")),
    ] = 5.0
    size: Annotated[
        int,
        Span(0, 4096, 64, 0),
        Unit("px"),
        Help(_("Rows and columns of the result, filled up with 0 to a square; 0 keeps the size")),
    ] = 0

    presets = {
        "keepSize": Preset(_("Same size, lungs only"), "", outside="zero", crop=False, size=0),
        "network512": Preset(_("512 x 512, lungs only"), "", outside="zero", crop=False, size=512),
        "lungs512": Preset(
            _("512 x 512, cut to the lungs, surroundings kept"), "", outside="keep", crop=True, size=512
        ),
    }

    def __call__(
        self, image: Volume, lungs: Annotated[LabelVolume, Label(_("Lung fields"))], job: Job
    ) -> Result:
        picture = radiograph(image)
        inside = picture.mask(lungs) != 0
        if not inside.any():
            raise InputError(
                _("The lungs are empty."),
                _("Expected at least one pixel of lung."),
                _("Find them with xray.lungFields, or draw them."),
            )
        found = voxel_statistics.statistics(picture.plane, inside, job=job.part(0.0, 0.2))
        if not found.standardDeviation > 1e-12 * max(abs(found.mean), 1.0):
            raise InputError(
                _("Every pixel of the lungs is {value:g}.").format(value=found.mean),
                _("Expected lungs with contrast (a standard deviation above zero)."),
                _("Choose another image or label map."),
            )
        plane = blocks.standardize(
            picture.plane, found.mean, found.standardDeviation, dtype=np.float32, job=job.part(0.2, 0.5)
        )
        scaled, fields = picture.back(plane, display=(0.0, 6.0)), replace(lungs, array=lungs.array.copy())
        metrics = {"mean": found.mean, "standardDeviation": found.standardDeviation, "pixels": found.count}
        if self.crop:
            box = _box(inside, self.margin)
            scaled, fields = picture.cut(scaled, *box), picture.cut(fields, *box)
            names = ("top", "bottom", "left", "right")
            metrics |= dict(zip(names, (n for span in box for n in (span.start, span.stop)), strict=True))
        if self.size:
            scaled, fields = (
                _square(volume, picture, self.size, part)
                for volume, part in ((scaled, job.part(0.5, 0.8)), (fields, job.part(0.8, 0.9)))
            )
            if picture.spacing_known:
                metrics["pixelSize"] = scaled.spacing[0 if picture.axis != 2 else 1]
        if self.outside == "zero":
            # After resampling, so that the lungs' edge is not mixed with zeros.
            scaled = scaled.with_array(np.where(fields.array != 0, scaled.array, np.float32(0)))
        return Result(
            images={"image": scaled}, labels={"lungs": fields}, metrics=metrics, notes=list(picture.notes)
        )


def _box(inside: np.ndarray, margin: float) -> tuple[slice, slice]:
    """Rows and columns that hold the lungs, with a margin in percent of the longer side, within the image."""
    places = [np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0)]
    extra = round(margin / 100 * max(int(p[-1] - p[0]) + 1 for p in places))
    rows, columns = (
        slice(max(0, int(p[0]) - extra), min(count, int(p[-1]) + 1 + extra))
        for p, count in zip(places, inside.shape, strict=True)
    )
    return rows, columns


def _square(volume: Volume, picture: Radiograph, size: int, job: Job) -> Volume:
    """The whole of `volume` in `size` x `size` square pixels, as large as fits, 0 around it."""
    labels = isinstance(volume, LabelVolume)
    spacing, axes = volume.spacing_kji, [axis for axis in range(3) if axis != picture.axis]
    pixel = max(volume.shape[axis] * spacing[axis] for axis in axes) / size
    starts, steps, shape, sigma = [0.0] * 3, [1.0] * 3, [1] * 3, [0.0] * 3
    for axis in axes:
        steps[axis] = pixel / spacing[axis]
        starts[axis] = (volume.shape[axis] - 1) / 2 - steps[axis] * (size - 1) / 2
        shape[axis] = size
        sigma[axis] = 0.0 if labels else antialias_sigma(spacing[axis], pixel) / spacing[axis]
    array = resample_grid(
        volume.array, starts, steps, shape, order=0 if labels else 1, sigma=sigma, outside=0, job=job
    )
    matrix = volume.ijkToRAS.copy()
    matrix[:3, :3] = volume.ijkToRAS[:3, :3] * steps[::-1]
    matrix[:3, 3] = volume.ijkToRAS[:3] @ [*starts[::-1], 1.0]
    return replace(volume, array=array, ijkToRAS=matrix)
