"""Bring intensities to the range or distribution that a network was trained on."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from . import blocks, voxel_statistics
from .errors import InputError, ParameterError
from .i18n import _
from .job import Job
from .operation import Help, Preset, Span, Words, operation
from .result import Result
from .volume import LabelVolume, Volume

_ANY = Span(-1e6, 1e6, 10, 3)
_RANGES = {"[0, 1]": (0.0, 1.0), "[-1, 1]": (-1.0, 1.0)}


@operation(
    "normalize",
    title=_("Normalize"),
    console="normalize",
    outputs=("image",),
    cite=("Isensee et al. 2021, Nature Methods 18:203-211 (nnU-Net), doi:10.1038/s41592-020-01008-z",),
)
class Normalize:
    """Scale intensities: from given bounds to a fixed range, or to zero mean and unit standard deviation."""

    method: Annotated[
        Literal["minmax", "zscore"],
        Words(minmax=_("Between two bounds"), zscore=_("Mean 0, deviation 1 (z-score)")),
        Help(_("minmax: low..high becomes the chosen range; zscore: (value - mean) / standard deviation")),
    ] = "minmax"
    low: Annotated[
        float, _ANY, Help(_("minmax: value that becomes the lower end; what lies below is limited"))
    ] = -1200.0
    high: Annotated[
        float, _ANY, Help(_("minmax: value that becomes the upper end; what lies above is limited"))
    ] = 600.0
    range: Annotated[Literal["[0, 1]", "[-1, 1]"], Help(_("minmax: range of the result"))] = "[0, 1]"
    statistics: Annotated[
        Literal["image", "given"],
        Words(image=_("Of this image"), given=_("Given, of the training data")),
        Help(
            _("zscore: measure mean and deviation in this image (within the mask, if any), or use given ones")
        ),
    ] = "image"
    mean: Annotated[float, _ANY, Help(_("zscore with given statistics: mean of the training data"))] = 0.0
    standardDeviation: Annotated[
        float,
        Span(1e-6, 1e6, 1, 6),
        Help(_("zscore with given statistics: standard deviation of the training data")),
    ] = 1.0

    presets = {
        "lungNodule": Preset(
            _("Lung nodule, -1200 to 600 HU to [0, 1]"),
            "Liao et al. 2019, on LUNA16 and DSB 2017 scans",
            method="minmax",
            low=-1200,
            high=600,
            range="[0, 1]",
        ),
        "softTissue": Preset(
            _("Soft tissue, -200 to 400 HU to [0, 1]"),
            "",
            method="minmax",
            low=-200,
            high=400,
            range="[0, 1]",
        ),
        "bone": Preset(
            _("Bone, -200 to 3000 HU to [0, 1]"), "", method="minmax", low=-200, high=3000, range="[0, 1]"
        ),
        "brain": Preset(
            _("Brain, 0 to 80 HU to [0, 1]"), "", method="minmax", low=0, high=80, range="[0, 1]"
        ),
        "zscore": Preset(
            _("Zero mean, unit deviation of this image"), "", method="zscore", statistics="image"
        ),
    }

    def __post_init__(self) -> None:
        if self.method == "minmax" and not self.low < self.high:
            raise ParameterError(
                _("normalize goes from {low:g} to {high:g}.").format(low=self.low, high=self.high),
                _("Expected low below high."),
                _("Swap the two."),
            )

    def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        if mask is not None:
            mask.require_grid_of(image, _("mask"))
        return self._zscore(image, mask, job) if self.method == "zscore" else self._minmax(image, job)

    def _minmax(self, image: Volume, job: Job) -> Result:
        low, high = _RANGES[self.range]
        mapped = blocks.linear_map(image.array, self.low, self.high, low, high, count=True, job=job)
        if _constant(mapped.array):
            raise InputError(
                _("Between {low:g} and {high:g} every voxel has the same value.").format(
                    low=self.low, high=self.high
                ),
                _("Expected an image with contrast there."),
                _("Choose bounds inside the image's own range."),
            )
        size = image.array.size
        return Result(
            images={"image": image.with_array(mapped.array, name="", display=((low + high) / 2, high - low))},
            metrics={
                "low": self.low,
                "high": self.high,
                "below": mapped.below / size,
                "above": mapped.above / size,
            },
        )

    def _zscore(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        mean, deviation = self.mean, self.standardDeviation
        if self.statistics == "image":
            if mask is not None and not mask.array.any():
                raise InputError(
                    _("The mask is empty."),
                    _("Expected at least one voxel inside."),
                    _("Choose another mask, or none."),
                )
            found = voxel_statistics.statistics(
                image.array, None if mask is None else mask.array, job=job.part(0.0, 0.5)
            )
            mean, deviation = found.mean, found.standardDeviation
            if not deviation > 1e-12 * max(abs(mean), 1.0):
                raise InputError(
                    _("Every voxel is {value:g}.").format(value=mean),
                    _("Expected an image with contrast (a standard deviation above zero)."),
                    _("Choose another image or mask."),
                )
        array = blocks.standardize(image.array, mean, deviation, dtype=np.float32, job=job.part(0.5, 1.0))
        return Result(
            images={"image": image.with_array(array, name="", display=(0.0, 6.0))},
            metrics={"mean": mean, "standardDeviation": deviation},
        )


def _constant(array: np.ndarray) -> bool:
    """Whether every voxel has the same value; most images show that they have not in the first slices."""
    first = array.flat[0]
    return all((part == first).all() for part in array)
