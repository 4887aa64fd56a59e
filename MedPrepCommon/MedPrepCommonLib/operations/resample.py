"""Resample an image and its label maps to another voxel size, exactly in place."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal, NamedTuple

import numpy as np

from ..core.errors import ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Preset, Span, Unit, When, Words, operation
from ..core.result import Result
from ..core.volume import LabelVolume, Volume
from ..geometry.cropping import LARGEST_RESULT, distinct_names, require_same_grid
from ..geometry.resampling import ORDERS, antialias_sigma, output_grid, resample_grid


class Grid(NamedTuple):
    """Where the output samples lie: input index of the first and step between them, per axis k, j, i."""

    starts: tuple[float, ...]
    steps: tuple[float, ...]
    shape: tuple[int, ...]
    ijkToRAS: np.ndarray


def _grid(image: Volume, spacing: tuple[float, float, float]) -> Grid:
    # An axis of one single voxel has nothing to interpolate between: it stays.
    kept = [
        old if n == 1 else new for n, old, new in zip(image.shape[::-1], image.spacing, spacing, strict=True)
    ]
    starts, steps, shape = output_grid(image.shape, image.spacing_kji, kept[::-1])
    matrix = image.ijkToRAS.copy()
    matrix[:3, :3] = image.directions * kept
    matrix[:3, 3] = image.ijkToRAS[:3] @ [*starts[::-1], 1.0]
    return Grid(starts, steps, shape, matrix)


@operation(
    "resample",
    title=_("Resample"),
    console="resample",
    outputs=("image",),
    cite=(
        "Unser 1999, IEEE Signal Processing Magazine 16(6):22-38 (B-splines), doi:10.1109/79.799930",
        "Cardoso et al. 2015, MICCAI (scale factor point spread function matching), "
        "doi:10.1007/978-3-319-24571-3_81",
    ),
    vectors=True,
)
class Resample:
    """Resample an image, and any number of label maps on its grid, to another voxel size.

    The box that the voxels fill keeps its centre, and the axes keep their directions. Label maps take the
    nearest voxel's value. The image keeps its type: whole numbers are rounded and limited to what the type
    holds. An axis of a single voxel is left as it is.
    """

    spacing: Annotated[
        tuple[float, float, float],
        Span(0.05, 50, 0.1, 3),
        Unit("mm"),
        Help(_("Voxel size along i, j, k; one number for all three makes the image isotropic")),
    ] = (1.0, 1.0, 1.0)
    method: Annotated[
        Literal["cubic", "linear", "quintic", "nearest"],
        Words(
            cubic=_("Cubic B-spline"),
            linear=_("Linear"),
            quintic=_("Quintic B-spline"),
            nearest=_("Nearest neighbour"),
        ),
        Help(_("cubic B-spline keeps nodules sharp; linear cannot overshoot; quintic is sharper still")),
    ] = "cubic"
    antialias: Annotated[
        bool,
        When("method", "cubic", "linear", "quintic"),
        Help(
            _("Smooth as much as a coarser grid needs, so that fine detail does not turn into false patterns")
        ),
    ] = True

    presets = {
        "isotropic": Preset(
            _("1 mm isotropic"), "Liao et al. 2019, on LUNA16 and DSB 2017 scans", spacing=(1.0, 1.0, 1.0)
        ),
        "fast": Preset(_("2 mm isotropic, linear"), "", spacing=(2.0, 2.0, 2.0), method="linear"),
    }

    def __call__(self, image: Volume, labels: tuple[LabelVolume, ...], job: Job) -> Result:
        require_same_grid(image, labels)
        grid = _grid(image, self.spacing)
        self._guard(image, labels, grid.shape)
        # Most of the work is the image's.
        share = 1.0 if not labels else 0.8
        array = self._image(image, grid, job.part(0.0, share))
        resampled: dict[str, LabelVolume] = {}
        for n, (name, label) in enumerate(zip(distinct_names(labels), labels, strict=True)):
            part = job.part(
                share + n * (1 - share) / len(labels), share + (n + 1) * (1 - share) / len(labels)
            )
            values = resample_grid(label.array, grid.starts, grid.steps, grid.shape, order=0, job=part)
            resampled[name] = dataclasses.replace(label, array=values, ijkToRAS=grid.ijkToRAS)
        return Result(
            images={"image": dataclasses.replace(image, array=array, ijkToRAS=grid.ijkToRAS, name="")},
            labels=resampled,
            metrics={"voxelsBefore": math.prod(image.shape), "voxelsAfter": math.prod(grid.shape)},
        )

    def _image(self, image: Volume, grid: Grid, job: Job) -> np.ndarray:
        sigma = None
        if self.antialias and self.method != "nearest":
            # In input voxels. An axis that gets finer is not blurred.
            old, new = image.spacing_kji, [t * s for t, s in zip(grid.steps, image.spacing_kji, strict=True)]
            sigma = [antialias_sigma(a, b) / a for a, b in zip(old, new, strict=True)]
        return resample_grid(
            image.array, grid.starts, grid.steps, grid.shape, order=ORDERS[self.method], sigma=sigma, job=job
        )

    def _guard(self, image: Volume, labels: tuple[LabelVolume, ...], shape: tuple[int, int, int]) -> None:
        per_voxel = image.components * image.array.itemsize + sum(label.array.itemsize for label in labels)
        size = math.prod(shape) * per_voxel
        if size > LARGEST_RESULT:
            raise ParameterError(
                _("The result would have {shape} voxels and fill {size:.1f} GB.").format(
                    shape=" x ".join(map(str, shape[::-1])), size=size / 2**30
                ),
                _("Expected at most {limit:.0f} GB.").format(limit=LARGEST_RESULT / 2**30),
                _("Choose a larger spacing, or crop the image first."),
            )
