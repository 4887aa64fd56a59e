"""Cut a radiograph down to its exposed field; label maps go along."""

from __future__ import annotations

from typing import Annotated

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume

from ..picture.collimation import find_field
from ..picture.radiograph import radiograph


@operation(
    "xray.crop",
    title=_("Crop to the exposed field"),
    console="crop",
    modality="DX",
    outputs=("image",),
    cite=("DICOM PS3.3 C.8.7.3 X-Ray Collimator Module",),
    vectors=True,
    units={"top": "px", "bottom": "px", "left": "px", "right": "px"},
)
class Crop:
    """Cut off the collimator's shutters and drawn borders; every pixel that is left keeps its place and
    value.

    Label maps on the image's grid are cut in the same way. An image without a border comes back as it is.
    """

    margin: Annotated[
        int, Span(0, 1000, 1, 0), Unit("px"), Help(_("Pixels beyond the field's edges that stay"))
    ] = 0

    presets = {
        "field": Preset(_("The exposed field"), "", margin=0),
        "margin": Preset(_("With 20 pixels around it"), "", margin=20),
    }

    def __call__(self, image: Volume, labels: tuple[LabelVolume, ...], job: Job) -> Result:
        for label in labels:
            label.require_grid_of(image, _("label map"))
        picture = radiograph(image)
        rows, columns = picture.plane.shape
        field = find_field(picture.plane)
        top, left = max(0, field.top - self.margin), max(0, field.left - self.margin)
        bottom, right = min(rows, field.bottom + self.margin), min(columns, field.right + self.margin)
        box = slice(top, bottom), slice(left, right)
        share = (bottom - top) * (right - left) / (rows * columns)
        whole = picture.back(picture.as_stored(picture.plane))
        note = _("The exposed field is {share:.1f} % of the image.").format(share=100 * share)
        if share == 1.0:
            note = _("The image has no border.")
        return Result(
            images={"image": picture.cut(whole, *box)},
            labels={name: picture.cut(label, *box) for name, label in _named(labels).items()},
            metrics={"top": top, "bottom": bottom, "left": left, "right": right, "share": share},
            notes=[*picture.notes, note],
        )


def _named(labels: tuple[LabelVolume, ...]) -> dict[str, LabelVolume]:
    """The label maps by their own names where these are free, else numbered."""
    named: dict[str, LabelVolume] = {}
    for label in labels:
        base = label.name or "labels"
        base = f"{base} labels" if base == "image" else base
        name, n = base, 2
        while name in named:
            name, n = f"{base} {n}", n + 1
        named[name] = label
    return named
