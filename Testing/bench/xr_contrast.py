"""Row: local contrast (CLAHE) of one radiograph of 5 megapixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume

from . import peers_textbook
from .ct_contrast import CLIP_LIMIT, TILES
from .ct_pointwise import operation_subjects
from .harness import Options, Row, Subject
from .quality import psnr
from .targets import quality, ratio

# Rows and columns of a usual detector.
_SHAPE = (2048, 2500)
# Beside a small phantom (--quick, tests) a small radiograph will do.
_SMALL, _FULL = (512, 640), 2e7


@dataclass(frozen=True)
class Detector:
    """A 12-bit radiograph (j, i)."""

    plane: np.ndarray

    @property
    def volume(self) -> Volume:
        """The same as a volume of one slice."""
        return Volume(self.plane[np.newaxis], np.diag([-0.15, -0.15, 1.0, 1.0]), modality="DX")

    def slab(self, share: float) -> Detector:
        """The first `share` of the rows."""
        return Detector(self.plane[: max(16, round(len(self.plane) * share))])


def _detector(shape: tuple[int, int]) -> Detector:
    """Broad shading, structures and noise, as a chest has them, in 12 bits."""
    rng = np.random.default_rng(0)
    coarse = [ndimage.zoom(rng.normal(size=(n, n)), [s / n for s in shape], order=3) for n in (6, 40)]
    plane = 1900 + 550 * coarse[0] + 160 * coarse[1] + rng.normal(0, 12, shape)
    return Detector(np.clip(np.rint(plane), 0, 4095).astype(np.uint16))


class Radiograph(Row):
    name = "xray-clahe"
    title = "CLAHE of a 12-bit radiograph of 2048 x 2500 pixels, 8 x 8 tiles, clip limit 2"
    targets = (
        ratio("scikit-image", 2),
        quality("grey levels", at_least=4001),
        quality("PSNR to OpenCV at 8 bits (dB)", at_least=40),
    )

    def prepare(self, data: Any) -> Detector:
        return _detector(_SHAPE if data.hu.size > _FULL else _SMALL)

    def voxels(self, data: Detector) -> int:
        return data.plane.size

    def moved(self, data: Detector) -> int:
        return data.plane.size * 4

    def ours(self, data: Detector) -> list[Subject]:
        op = create("xray.clahe", clipLimit=CLIP_LIMIT, tiles=TILES, region="image")
        return operation_subjects(op, image=data.volume)

    def peers(self, data: Detector, options: Options) -> list[Subject]:
        stack, low = data.plane[np.newaxis], int(data.plane.min())
        return [
            Subject(
                "OpenCV 16 bits", "OpenCV", lambda: peers_textbook.clahe_opencv(stack, CLIP_LIMIT, TILES)
            ),
            Subject("scikit-image", "scikit-image", lambda: peers_textbook.clahe_skimage(stack, TILES, low)),
        ]

    def judge(self, data: Detector, array: Any, oracle: Any) -> dict[str, float]:
        array = np.asarray(array).reshape(data.plane.shape).astype(np.float64)
        low, high = int(data.plane.min()), int(data.plane.max())
        picture = ((data.plane - low) * (255.0 / (high - low))).astype(np.uint8)[np.newaxis]
        wanted = peers_textbook.clahe_opencv_8bit(picture, CLIP_LIMIT, TILES)[0]
        return {
            "grey levels": float(len(np.unique(array))),
            "PSNR to OpenCV at 8 bits (dB)": psnr(array * (255.0 / max(array.max(), 1e-9)), wanted, 255.0),
        }


ROWS = (Radiograph(),)
