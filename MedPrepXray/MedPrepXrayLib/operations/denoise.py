"""Less noise, edges kept, in a radiograph; how strong follows from the noise that is there."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import SimpleITK as sitk

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Words, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import Volume

from ..contrast.equalizing import field_of
from ..contrast.image_quality import noise, smooth_places
from ..picture.opencv import OPENCV, opencv
from ..picture.radiograph import Radiograph, radiograph

# Rows filtered at a time; between them one can cancel.
_ROWS = 256
# Bilateral: standard deviation in pixels, and how many pixels away still counts.
_REACH, _HALO = 1.5, 8
# Grey levels that differ by this many standard deviations of the noise are an edge.
_BILATERAL, _NON_LOCAL = 2.5, 1.5
# Non-local means: side of a patch, and of the window in which alike patches are sought (pixels).
_PATCH, _WINDOW = 5, 15


@operation(
    "xray.denoise",
    title=_("Reduce noise"),
    console="denoise",
    modality="DX",
    outputs=("image",),
    cite=(
        "Tomasi and Manduchi 1998, ICCV:839-846 (bilateral filter), doi:10.1109/ICCV.1998.710815",
        "Buades, Coll and Morel 2005, CVPR 2:60-65 (non-local means), doi:10.1109/CVPR.2005.38",
        "Immerkaer 1996, Comput Vis Image Underst 64(2):300-302 (noise), doi:10.1006/cviu.1996.0060",
    ),
    vectors=True,
)
class Denoise:
    """Reduce the noise of a radiograph and keep its edges; the image keeps its type and depth.

    How strongly follows from the noise that is measured in the smoothest half of the image.
    """

    method: Annotated[
        Literal["bilateral", "nonLocalMeans"],
        Words(bilateral=_("Bilateral filter"), nonLocalMeans=_("Non-local means")),
        Help(
            _(
                "bilateral: averages near pixels of like grey, always there; nonLocalMeans: averages pixels "
                "whose surroundings look alike, removes more noise, needs OpenCV"
            )
        ),
    ] = "bilateral"
    strength: Annotated[
        float,
        Span(0.1, 5, 0.1, 2, slider=True),
        Help(_("1 for the measured noise; more smooths fine detail too")),
    ] = 1.0

    presets = {
        "gentle": Preset(_("Gentle"), "", method="bilateral", strength=0.6),
        "usual": Preset(_("For the measured noise"), "", method="bilateral", strength=1.0),
        "nonLocalMeans": Preset(_("Non-local means (OpenCV)"), "", method="nonLocalMeans", strength=1.0),
    }

    def packages(self) -> dict[str, str]:
        """What must be installed for the chosen method."""
        return OPENCV if self.method == "nonLocalMeans" else {}

    def __call__(self, image: Volume, job: Job) -> Result:
        picture = radiograph(image)
        where = field_of(picture, "field").where
        grey = picture.unit()
        inside = grey[where]
        smooth = smooth_places(inside)
        before = noise(inside, smooth)
        # A drawn image without any noise still has the rounding of its levels.
        sigma = max(before * self.strength, 1e-5)
        job.report(0.1, _("Reducing noise"))
        method = _bilateral if self.method == "bilateral" else _non_local_means
        cleaned = method(grey, sigma, job.part(0.1, 0.95))
        low, high = picture.scale
        metrics = {
            "noiseBefore": before * (high - low),
            "noiseAfter": noise(cleaned[where], smooth) * (high - low),
        }
        return Result(
            images={"image": picture.back(_as_stored(cleaned, picture))},
            metrics=metrics,
            notes=list(picture.notes),
        )


def _as_stored(grey: np.ndarray, picture: Radiograph) -> np.ndarray:
    """0 to 1 back in the image's own levels and type."""
    low, high = picture.scale
    return picture.as_stored(grey.astype(np.float64) * (high - low) + low)


def _strips(rows: int, halo: int, job: Job):
    """(strip with its surroundings, strip within that, strip) for each strip of rows."""
    for start in range(0, rows, _ROWS):
        job.report(start / rows)
        stop = min(start + _ROWS, rows)
        first, last = max(0, start - halo), min(rows, stop + halo)
        yield slice(first, last), slice(start - first, stop - first), slice(start, stop)


def _bilateral(grey: np.ndarray, sigma: float, job: Job) -> np.ndarray:
    result = np.empty_like(grey)
    for around, within, strip in _strips(len(grey), _HALO, job):
        image = sitk.GetImageFromArray(np.ascontiguousarray(grey[around]))
        result[strip] = sitk.GetArrayFromImage(sitk.Bilateral(image, _REACH, _BILATERAL * sigma))[within]
    return result


def _non_local_means(grey: np.ndarray, sigma: float, job: Job) -> np.ndarray:
    cv2 = opencv(_("Install it, or choose the bilateral filter."))
    levels = np.rint(grey * 65535).astype(np.uint16)
    strength = max(1.0, _NON_LOCAL * sigma * 65535)
    result = np.empty_like(grey)
    halo = _PATCH // 2 + _WINDOW // 2
    for around, within, strip in _strips(len(grey), halo, job):
        part = np.ascontiguousarray(levels[around])
        cleaned = cv2.fastNlMeansDenoising(part, [strength], None, _PATCH, _WINDOW, cv2.NORM_L1)
        result[strip] = cleaned[within].astype(np.float32) / 65535
    return result
