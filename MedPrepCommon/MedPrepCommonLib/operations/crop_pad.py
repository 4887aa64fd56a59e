"""One size for all images: crop what is too large, pad what is too small, everything stays in place."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np

from ..core.errors import InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Preset, Span, Unit, When, Words, operation
from ..core.parameters import Axes
from ..core.result import Check, Result
from ..core.volume import LabelVolume, Volume
from ..geometry import cropping
from ..geometry.cropping import Box

PAD_WORDS = {
    "auto": _("Automatic (air, or the smallest value)"),
    "minimum": _("Smallest value of the image"),
    "constant": _("Padding value"),
    "edge": _("Repeat the outermost voxel"),
    "reflect": _("Mirror the image"),
}
PAD_HELP = _(
    "How the image goes on beyond its border. auto: with its smallest value, for CT not below -1024 HU. "
    "Labels go on with 0; with edge and reflect they go on as the image does"
)


@operation(
    "cropPad",
    title=_("Crop or pad"),
    console="cropPad",
    outputs=("image",),
    cite=("Isensee et al. 2021, Nature Methods 18:203-211 (nnU-Net), doi:10.1038/s41592-020-01008-z",),
    vectors=True,
    units={"padded*": "voxels", "cropped*": "voxels"},
)
class CropPad:
    """Bring an image and its label maps to a fixed size, or to a multiple that a network can halve.

    No voxel is interpolated and none moves in the patient, so that label maps can be restored exactly.
    An axis of a single voxel is left as it is.
    """

    mode: Annotated[
        Literal["multiple", "size"],
        Words(multiple=_("Pad to a multiple"), size=_("Fixed size")),
        Help(_("multiple: pad only, nothing is lost; size: crop or pad to so many voxels")),
    ] = "multiple"
    multiple: Annotated[
        tuple[float, float, float],
        Span(1, 512, 1, 0),
        When("mode", "multiple"),
        Help(_("multiple: the result's voxels along i, j, k can be divided by this")),
    ] = (32.0, 32.0, 32.0)
    size: Annotated[
        tuple[float, float, float],
        Span(0, 4096, 1, 0),
        When("mode", "size"),
        Help(_("size: voxels along i, j, k; 0 leaves that axis as it is")),
    ] = (128.0, 128.0, 128.0)
    centre: Annotated[
        Literal["image", "mask", "point"],
        Words(image=_("Of the image"), mask=_("Of the mask"), point=_("The point")),
        Help(
            _("What comes to lie in the middle of the result; of the mask: the middle of the box around it")
        ),
    ] = "image"
    point: Annotated[
        tuple[float, float, float],
        Span(-10000, 10000, 1, 2),
        Axes("RAS"),
        Unit("mm"),
        When("centre", "point"),
        Help(_("centre point: right, anterior and superior in the patient")),
    ] = (0.0, 0.0, 0.0)
    pad: Annotated[
        Literal["auto", "minimum", "constant", "edge", "reflect"], Words(PAD_WORDS), Help(PAD_HELP)
    ] = "auto"
    padValue: Annotated[
        float,
        Span(-1e6, 1e6, 1, 3),
        When("pad", "constant"),
        Help(_("pad constant: the value of voxels beyond the border")),
    ] = 0.0

    presets = {
        "divisible": Preset(_("Multiple of 32 voxels, nothing cropped"), "", mode="multiple", multiple=32),
        "cube128": Preset(_("128 voxels along each axis"), "", mode="size", size=128),
        "slices512": Preset(_("Slices of 512 x 512"), "", mode="size", size=(512, 512, 0)),
    }

    def __post_init__(self) -> None:
        require_whole("cropPad.multiple", self.multiple)
        require_whole("cropPad.size", self.size)

    def __call__(
        self,
        image: Volume,
        labels: tuple[LabelVolume, ...],
        mask: Annotated[LabelVolume | None, When("centre", "mask")],
        job: Job,
    ) -> Result:
        cropping.require_same_grid(image, labels)
        middle = self._middle(image, mask)
        box = cropping.centred(middle, self._shape(image, middle), cropping.rising(image))
        return cut_all(image, labels, box, self.pad, self.padValue, job)

    def _middle(self, image: Volume, mask: LabelVolume | None) -> tuple[float, float, float]:
        """Index (k, j, i) of what comes to lie in the middle."""
        if self.centre == "mask":
            if mask is None:
                raise InputError(
                    _("There is no mask to centre on."),
                    _("Expected a mask on the image's grid."),
                    _("Choose a mask, or another centre."),
                )
            return cropping.bounding_box(mask.inside(image)).centre
        if self.centre == "point":
            index = np.linalg.inv(image.ijkToRAS) @ [*self.point, 1.0]
            return tuple(float(v) for v in index[2::-1])
        return Box((0, 0, 0), image.shape).centre

    def _shape(self, image: Volume, middle: tuple[float, float, float]) -> tuple[int, ...]:
        shape = []
        for n, centre, multiple, size in zip(
            image.shape, middle, self.multiple[::-1], self.size[::-1], strict=True
        ):
            if n == 1 or (self.mode == "size" and size == 0):
                # Nothing to choose from along this axis: centred on the image it stays.
                shape.append(n)
            elif self.mode == "size":
                shape.append(int(size))
            else:
                # All of the image on both sides of the centre.
                needed = n + math.ceil(2 * abs(centre - (n - 1) / 2) - 1e-6)
                shape.append(round_up(needed, int(multiple)))
        return tuple(shape)


def require_whole(name: str, values: tuple[float, ...]) -> None:
    """Raise :class:`ParameterError` unless all are whole numbers."""
    if any(value != int(value) for value in values):
        raise ParameterError(
            _("{name} is {value}.").format(name=name, value=tuple(values)),
            _("Expected whole numbers of voxels."),
            _("Round them."),
        )


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not less than `number`."""
    return -(-number // multiple) * multiple


def cut_all(
    image: Volume, labels: tuple[LabelVolume, ...], box: Box, pad: str, value: float, job: Job
) -> Result:
    """The box cut out of an image and its label maps, with a check of what labels lose."""
    per_voxel = image.components * image.array.itemsize + sum(label.array.itemsize for label in labels)
    cropping.require_room(box.shape, per_voxel)
    job.report(0.0)
    how, filled = cropping.padding(image, pad, value)
    result = Result(images={"image": cropping.cut_volume(image, box, how, filled)})
    job.report(0.6)
    for n, (name, label) in enumerate(zip(cropping.distinct_names(labels), labels, strict=True)):
        found = cropping.cut_volume(label, box, how, 0)
        result.labels[name] = found
        result.checks.append(_kept(name, label, box))
        job.report(0.6 + 0.4 * (n + 1) / len(labels))
    cropped = [
        max(-s, 0) + max(s + n - whole, 0)
        for s, n, whole in zip(box.start, box.shape, image.shape, strict=True)
    ]
    lost = [
        max(min(s, whole), 0) + max(whole - max(s + n, 0), 0)
        for s, n, whole in zip(box.start, box.shape, image.shape, strict=True)
    ]
    for axis, letter in enumerate("kji"):
        result.metrics[f"padded{letter.upper()}"] = cropped[axis]
        result.metrics[f"cropped{letter.upper()}"] = min(lost[axis], image.shape[axis])
    return result


def _kept(name: str, label: LabelVolume, box: Box) -> Check:
    """How much of a label map is still there."""
    inner = tuple(
        slice(min(max(s, 0), whole), max(min(s + n, whole), 0))
        for s, n, whole in zip(box.start, box.shape, label.shape, strict=True)
    )
    before = np.count_nonzero(label.array)
    lost = before - np.count_nonzero(label.array[inner])
    return Check(
        _("Nothing of {name} cut off").format(name=name),
        "warn" if lost else "pass",
        _("{volume:.3g} ml cut off ({share:.1f} %)").format(
            volume=lost * label.voxel_volume / 1000, share=100 * lost / before
        )
        if lost
        else _("all of it inside"),
        "",
        _("Choose a larger size or another centre if it is needed.") if lost else "",
    )
