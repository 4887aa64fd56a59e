"""Local contrast of a radiograph inside its exposed field, at the depth that its grey levels have."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Words
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.numeric.clahe import clahe

from ..picture.collimation import Field, find_field
from ..picture.radiograph import Radiograph

Region = Annotated[
    Literal["field", "image"],
    Words(field=_("Exposed field"), image=_("Whole image")),
    Help(_("field: only inside the collimator's edges, pixels outside keep their grey; image: everywhere")),
]
OutputType = Annotated[
    Literal["auto", "uint8", "uint16", "float"],
    Words(
        auto=_("As deep as the image"),
        uint8=_("Grey levels 0 to 255"),
        uint16=_("Grey levels 0 to 65535"),
        float=_("Numbers 0 to 1"),
    ),
    Help(_("auto: 8-bit images stay 8-bit, deeper ones become 0 to 65535, floating point becomes 0 to 1")),
]

# Grey levels that equalization tells apart: as many as 16-bit images have.
_BITS = 16


def field_of(picture: Radiograph, region: str) -> Field:
    """The exposed field, or the whole plane for the region "image".

    Raises
    ------
    InputError
        when every pixel there has the same value.
    """
    rows, columns = picture.plane.shape
    field = find_field(picture.plane) if region == "field" else Field(0, rows, 0, columns)
    inside = picture.plane[field.where]
    low, high = inside.min(), inside.max()
    if low == high:
        raise InputError(
            _("Every pixel is {value:g}.").format(value=float(low)),
            _("Expected an image with contrast."),
            _("Choose another image."),
        )
    return field


def equalize(
    picture: Radiograph, field: Field, clip_limit: float, tiles: int, output_type: str, job: Job
) -> Volume:
    """The radiograph with its local contrast raised inside `field`.

    8-bit images give OpenCV's 8-bit result. Deeper ones are equalized over the range that the field occupies.
    Outside the field a pixel keeps its place between black and white.
    """
    inside = picture.plane[field.where]
    dtype, top = depth_of(picture, output_type)
    shallow = picture.bits == 8
    result = clahe(
        inside,
        clip_limit,
        tiles,
        dtype=dtype,
        out_levels=top,
        bits=_BITS,
        value_range=(0, 255) if shallow else None,
        job=job,
    )
    if not field.covers(picture.plane.shape):
        whole = _rescaled(picture, dtype, top)
        whole[field.where] = result
        result = whole
    return _at_depth(picture, result, top)


def unequalized(picture: Radiograph, output_type: str) -> Volume:
    """The radiograph as :func:`equalize` returns it, with no contrast raised anywhere."""
    dtype, top = depth_of(picture, output_type)
    return _at_depth(picture, _rescaled(picture, dtype, top), top)


def _at_depth(picture: Radiograph, result: np.ndarray, top: float) -> Volume:
    info = {**picture.volume.info}
    if top > 1:
        info["bitsStored"] = 8 if top == 255 else 16
    return picture.back(result, display=(top / 2, float(top)), info=info)


def depth_of(picture: Radiograph, output_type: str) -> tuple[type, float]:
    """Type and largest value of the result."""
    if output_type == "auto":
        kind = picture.plane.dtype.kind
        output_type = "float" if kind == "f" else "uint8" if picture.bits == 8 else "uint16"
    return {"uint8": (np.uint8, 255.0), "uint16": (np.uint16, 65535.0), "float": (np.float32, 1.0)}[
        output_type
    ]


def _rescaled(picture: Radiograph, dtype: type, top: float) -> np.ndarray:
    """The plane from black to white of its own depth onto 0 to `top`, without any equalization."""
    grey = picture.unit() * top
    return np.rint(grey).astype(dtype) if top > 1 else grey.astype(dtype)
