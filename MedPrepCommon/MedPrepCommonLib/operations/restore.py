"""What a network found on a prepared image, back on the voxels of the image it was made from."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import numpy as np

from ..core.errors import InputError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Label, Preset, Span, When, Words, operation
from ..core.result import Check, Result
from ..core.volume import LabelVolume, Volume
from ..geometry import cropping
from ..geometry.label_grid import onto_grid, parallel_axes
from ..geometry.resampling import antialias_sigma, resample_grid

# Resampling rounds the field of view to whole voxels: up to a quarter of one may be missing at a border.
_BEYOND = 0.25 + 1e-6
# Voxels; NIfTI files keep positions less exactly than this.
_ALIGNED = 1e-3


@operation(
    "restore",
    title=_("Restore to the original grid"),
    console="restore",
    outputs=("image?",),
    cite=("Isensee et al. 2021, Nature Methods 18:203-211 (nnU-Net), doi:10.1038/s41592-020-01008-z",),
    vectors=True,
    own_grid=("labels",),
)
class Restore:
    """Put masks, or an image such as a probability map, back on the grid of the image they were made from.

    Both grids lie in the patient, so nothing else needs to be known. After cropping, padding, flipping and
    swapping of axes every voxel comes back bit by bit; after resampling each voxel takes the nearest one's
    value. What the prepared image did not cover is 0, or the value given.
    """

    method: Annotated[
        Literal["nearest", "linear"],
        Words(nearest=_("Nearest neighbour"), linear=_("Linear")),
        When("prediction", given=True),
        Help(_("For the image, after resampling: linear for probabilities. Masks take the nearest voxel")),
    ] = "nearest"
    outside: Annotated[
        float,
        Span(-1e6, 1e6, 1, 3),
        When("prediction", given=True),
        Help(_("Value of the image where the prepared image did not reach")),
    ] = 0.0

    presets = {
        "mask": Preset(_("Masks and labels"), "", method="nearest"),
        "probability": Preset(_("Probability maps, linear"), "", method="linear", outside=0),
    }

    def __call__(
        self,
        image: Volume,
        labels: Annotated[tuple[LabelVolume, ...], Label(_("Segmentation"))],
        prediction: Annotated[Volume | None, Label(_("Predicted image"))],
        job: Job,
    ) -> Result:
        if not labels and prediction is None:
            raise InputError(
                _("There is nothing to restore."),
                _("Expected a segmentation, or an image, on the grid of the prepared image."),
                _("Choose what the network found on the prepared image."),
            )
        result = Result()
        job.report(0.0)
        if prediction is not None:
            values = self._image(prediction, image, job.part(0.0, 0.5))
            result.images["image"] = dataclasses.replace(
                prediction, array=values, ijkToRAS=image.ijkToRAS, name=""
            )
        for n, (name, label) in enumerate(zip(cropping.distinct_names(labels), labels, strict=True)):
            job.report(0.5 + 0.5 * n / len(labels))
            array = label.array.astype(label.array.dtype.newbyteorder("="), copy=False)
            found = onto_grid(array, label.ijkToRAS, image.ijkToRAS, image.shape, _BEYOND)
            result.labels[name] = dataclasses.replace(label, array=found, ijkToRAS=image.ijkToRAS, name="")
            result.checks.append(_arrived(name, label, found, image))
        return result

    def _image(self, prediction: Volume, image: Volume, job: Job) -> np.ndarray:
        cropping.require_fit(prediction, self.outside)
        array = prediction.array.astype(prediction.array.dtype.newbyteorder("="), copy=False)
        grid = (prediction.ijkToRAS, image.ijkToRAS, image.shape, _BEYOND)
        to_source = np.linalg.inv(prediction.ijkToRAS) @ image.ijkToRAS
        # Columns and rows in array order (k, j, i).
        turn, offset = to_source[2::-1, 2::-1], to_source[2::-1, 3]
        corner = turn @ (np.array(image.shape) - 1.0) + offset
        aligned = all(np.abs(part - np.round(part)).max() < _ALIGNED for part in (turn, offset, corner))
        if self.method == "nearest" or aligned:
            values = onto_grid(array, *grid)
        else:
            values = _linear(array, prediction, image.shape, turn, offset, job.part(0.0, 0.8))
        job.report(0.8)
        if self.outside != 0 or self.method == "linear":
            covered = onto_grid(np.ones(prediction.shape, np.uint8), *grid)
            values[covered == 0] = self.outside
        job.report(1.0)
        return values


def _linear(
    array: np.ndarray,
    prediction: Volume,
    shape: tuple[int, int, int],
    turn: np.ndarray,
    offset: np.ndarray,
    job: Job,
) -> np.ndarray:
    """Values at ``turn @ index + offset``, linear; smoothed where the wanted grid is coarser."""
    axes = parallel_axes(turn, shape)
    spacing = prediction.spacing_kji
    if axes is not None:
        steps = [float(turn[axis, n]) for n, axis in enumerate(axes)]
        sizes = [spacing[axis] for axis in axes]
        sigma = [antialias_sigma(s, abs(step) * s) / s for s, step in zip(sizes, steps, strict=True)]
        starts = [float(offset[axis]) for axis in axes]
        turned = array.transpose(*axes, *range(3, array.ndim))
        return resample_grid(turned, starts, steps, shape, order=1, sigma=sigma, job=job)
    from scipy import ndimage

    result = np.empty((*shape, *array.shape[3:]), np.float64)
    for component in [...] if array.ndim == 3 else [(..., c) for c in range(array.shape[3])]:
        job.check()
        ndimage.affine_transform(
            array[component],
            turn,
            offset,
            output_shape=shape,
            output=result[component],
            order=1,
            mode="nearest",
        )
    return np.rint(result).astype(array.dtype) if array.dtype.kind in "iu" else result.astype(array.dtype)


def _arrived(name: str, label: LabelVolume, found: np.ndarray, image: Volume) -> Check:
    """Whether anything of a mask lies in the image that it is said to come from."""
    before = np.count_nonzero(label.array) * label.voxel_volume / 1000
    after = np.count_nonzero(found) * image.voxel_volume / 1000
    missing = before > 0 and after == 0
    return Check(
        _("{name} lies in the image").format(name=name),
        "warn" if missing else "pass",
        _("{before:.3g} ml prepared, {after:.3g} ml restored").format(before=before, after=after),
        "",
        _("Choose the image that the prepared image was made from.") if missing else "",
    )
