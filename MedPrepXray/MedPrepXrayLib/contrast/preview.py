"""CLAHE on a small copy of a radiograph, fast enough to follow a slider."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume

from ..picture.radiograph import Radiograph, radiograph
from .equalizing import equalize, field_of
from .image_quality import measure
from .judging import Judgement, judge

# Pixels of the copy, about: what a slice view shows at most.
_PIXELS = 700_000


class ContrastPreview:
    """A radiograph made ready for being equalized again and again.

    Parameters
    ----------
    image : the radiograph.

    Raises
    ------
    MedPrepError
        when the volume is no radiograph, or has no contrast.
    """

    def __init__(self, image: Volume) -> None:
        self._picture = reduced(radiograph(image))
        self._fields = {region: field_of(self._picture, region) for region in ("field", "image")}
        self._last: tuple[Volume, str] | None = None

    def enhance(self, clipLimit: float, tiles: int, region: str, **_others: object) -> Volume:
        """The small copy with these parameters, uint8, at the image's place."""
        made = equalize(self._picture, self._fields[region], clipLimit, tiles, "uint8", Job.quiet())
        self._last = made, region
        return made

    def judge(self) -> tuple[dict[str, float], Judgement]:
        """Measures of the last enhancement, on the small copy; too slow for a slider, fit for a thread."""
        made, region = self._last
        where = self._fields[region].where
        measures = measure(self._picture.unit()[where], radiograph(made).unit()[where])
        return measures._asdict(), judge(measures)


def reduced(picture: Radiograph, pixels: int = _PIXELS) -> Radiograph:
    """The radiograph with about so many pixels at most, each the mean of a square of whole pixels."""
    rows, columns = picture.plane.shape
    step = int(np.ceil(np.sqrt(rows * columns / pixels)))
    if step <= 1 or min(rows, columns) < 2 * step:
        return picture
    rows, columns = rows // step * step, columns // step * step
    part = picture.plane[:rows, :columns].reshape(rows // step, step, columns // step, step)
    small = part.mean(axis=(1, 3), dtype=np.float32)
    if picture.plane.dtype.kind != "f":
        small = np.rint(small).astype(picture.plane.dtype)
    # The place of the pixels that are kept, then one voxel for each square of them.
    kept = picture.cut(picture.back(picture.as_stored(picture.plane)), slice(0, rows), slice(0, columns))
    steps = [1 if axis == picture.axis else step for axis in range(3)][::-1]
    matrix = kept.ijkToRAS.copy()
    matrix[:3, 3] = kept.ijkToRAS[:3] @ [*((n - 1) / 2 for n in steps), 1.0]
    matrix[:3, :3] = kept.ijkToRAS[:3, :3] * steps
    turned = small[tuple(slice(None, None, -1 if flip else 1) for flip in picture.flips)]
    # The depth of the whole image is that of its copy.
    top = 2**picture.bits - 1 if picture.bits else 0
    info = {**kept.info, **({"bitsStored": picture.bits} if top else {})}
    volume = replace(kept, array=np.expand_dims(turned, picture.axis), ijkToRAS=matrix, info=info)
    made = radiograph(volume)
    return replace(made, bits=picture.bits)
