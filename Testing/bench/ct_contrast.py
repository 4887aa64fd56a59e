"""Rows: local contrast (CLAHE) slice by slice, and the check of a CT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from MedPrepCommonLib.core.operation import create

from . import peers_sitk, peers_textbook
from .ct_pointwise import operation_subjects
from .data import Chest
from .harness import Options, Row, Subject
from .quality import psnr
from .targets import quality, ratio

CLIP_LIMIT, TILES = 2.0, 8
SKIMAGE_SLICES = 12


class Clahe(Row):
    name = "clahe"
    title = "CLAHE of each slice of an int16 CT to 16 bits, 8 x 8 tiles, clip limit 2"
    targets = (
        ratio("scikit-image", 2),
        quality("grey levels", at_least=257),
        quality("PSNR to OpenCV at 8 bits (dB)", at_least=40),
    )

    def moved(self, data: Chest) -> int:
        return data.hu.size * 4

    def ours(self, data: Chest) -> list[Subject]:
        op = create("ct.clahe", clipLimit=CLIP_LIMIT, tiles=TILES)
        return operation_subjects(op, image=data.volume)

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu = data.hu
        step = max(1, len(hu) // SKIMAGE_SLICES)
        some, low = hu[::step], int(hu.min())
        return [
            Subject("OpenCV 16 bits", "OpenCV", lambda: peers_textbook.clahe_opencv(hu, CLIP_LIMIT, TILES)),
            Subject(
                "scikit-image",
                "scikit-image",
                lambda: peers_textbook.clahe_skimage(some, TILES, low),
                lambda result: None,
                share=len(some) / len(hu),
            ),
        ]

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        middle = array[len(array) // 2]
        return {"grey levels": float(len(np.unique(middle))), "standard deviation": float(middle.std())}

    def known(self, data: Chest) -> tuple[Chest, Callable[[Any], dict[str, float]]]:
        """A few slices as 8-bit pictures, for which OpenCV's own 8-bit result is the reference."""
        middle = data.slab(3 / len(data.hu))
        picture = np.rint(255 * np.clip((middle.hu + 1000) / 1400, 0, 1)).astype(np.int16)
        wanted = peers_textbook.clahe_opencv_8bit(picture.astype(np.uint8), CLIP_LIMIT, TILES)

        def figures(array: Any) -> dict[str, float]:
            return {"PSNR to OpenCV at 8 bits (dB)": psnr(array / 257.0, wanted, 255.0)}

        return replace(middle, hu=picture), figures


class Check(Row):
    name = "check"
    title = "check of a CT: units, padding, histogram, grid"

    def moved(self, data: Chest) -> int:
        return data.hu.size * 2

    def ours(self, data: Chest) -> list[Subject]:
        return [
            Subject(s.name, s.group, s.run, lambda result: result.metrics, equal_work=s.equal_work)
            for s in operation_subjects(create("ct.check"), image=data.volume)
        ]

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image = data.hu, data.image
        return [
            Subject("SimpleITK statistics", "SimpleITK", lambda: peers_sitk.check(image), lambda r: None),
            Subject("numpy histogram", "numpy", lambda: peers_textbook.check(hu), lambda r: None),
        ]

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        return {"maximum off (HU)": abs(float(array["maximum"]) - float(data.hu.max()))}


ROWS = (Clahe(), Check())
