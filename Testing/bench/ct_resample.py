"""Rows: a CT and its labels to 1 mm isotropic voxels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.geometry.resampling import antialias_sigma, output_grid

from . import peers_sitk, peers_textbook
from .ct_pointwise import extra_peers, image_of, operation_subjects
from .data import Chest
from .harness import OURS, Options, Row, Subject
from .known import known_chest, truth
from .quality import largest_difference, mean_difference, psnr
from .targets import memory, quality, ratio

SPACING = (1.0, 1.0, 1.0)
EDGE = 5  # voxels at the border where libraries continue the image in different ways
CT_RANGE = 4095.0


def grid(data: Chest) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """Starts, steps and shape along (k, j, i) of the 1 mm grid that keeps the centre."""
    return output_grid(data.hu.shape, data.spacing_kji, SPACING)


class Resample(Row):
    """To 1 mm with one method; ITK's result on the same grid is the oracle."""

    voxels_of = "output"
    oracle = "SimpleITK"
    method, order, interpolator = "", 0, 0

    def voxels(self, data: Chest) -> int:
        return int(np.prod(grid(data)[2]))

    def moved(self, data: Chest) -> int:
        return data.hu.size * 2 + self.voxels(data) * 2

    def ours(self, data: Chest) -> list[Subject]:
        return operation_subjects(self._operation(), image=data.volume, labels=())

    def _operation(self, **changes: Any) -> Any:
        return create(
            "resample", **{"spacing": SPACING, "method": self.method, "antialias": False, **changes}
        )

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image, (starts, steps, shape) = data.hu, data.image, grid(data)
        found = [
            Subject(
                "SimpleITK",
                "SimpleITK",
                lambda: peers_sitk.resample(image, shape, starts, steps, self.interpolator),
                peers_sitk.array,
            ),
            Subject("scipy zoom", "scipy", lambda: peers_textbook.zoom(hu, shape, self.order)),
        ]
        if options.slow:
            order = self.order
            found += [
                Subject(
                    "scipy affine", "scipy", lambda: peers_textbook.affine(hu, shape, starts, steps, order)
                ),
                Subject(
                    "scikit-image", "scikit-image", lambda: peers_textbook.resize_skimage(hu, shape, order)
                ),
            ]
        return found + [peer.resample(data, SPACING, self.method) for peer in extra_peers(options)]

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        if array.shape != oracle.shape:
            return {"off ITK (HU)": float("inf")}
        inside = (slice(EDGE, -EDGE),) * 3
        return {"off ITK (HU)": largest_difference(array[inside], oracle[inside])}

    def known(self, data: Chest) -> tuple[Chest, Callable[[Any], dict[str, float]]] | None:
        small = known_chest()
        wanted = truth(*grid(small))
        return small, lambda array: {"PSNR (dB)": psnr(np.asarray(array), wanted, CT_RANGE)}


class Linear(Resample):
    name = "resample-linear"
    title = "int16 CT to 1 mm, linear, no antialiasing"
    method, order, interpolator = "linear", 1, sitk.sitkLinear
    # 2.5 is what a way without OpenCV should reach, 12 one with it; MedPrep's needs none.
    targets = (
        ratio("SimpleITK", 2.5),
        ratio("SimpleITK", 12),
        ratio("scipy", 12),
        memory(2.6),
        quality("off ITK (HU)", at_most=1),
    )


class Cubic(Resample):
    name = "resample-cubic"
    title = "int16 CT to 1 mm, cubic B-spline, no antialiasing"
    method, order, interpolator = "cubic", 3, sitk.sitkBSpline
    targets = (
        ratio("SimpleITK", 25),
        ratio("scipy", 25),
        ratio("scikit-image", 25),
        ratio("MONAI", 25),
        ratio("TorchIO", 25),
        quality("off ITK (HU)", at_most=1),
        quality("PSNR (dB)", at_least=69),
    )

    def ours(self, data: Chest) -> list[Subject]:
        volume, quiet, op = data.volume, Job.quiet(), self._operation(method="quintic")
        quintic = Subject("MedPrep quintic", OURS, lambda: op(volume, (), quiet), image_of, equal_work=False)
        return [*super().ours(data), quintic]


class Antialiased(Resample):
    name = "resample-antialiased"
    title = "int16 CT to 1 mm, cubic B-spline, smoothed against aliasing (MedPrep's default)"
    method, order, interpolator = "cubic", 3, sitk.sitkBSpline
    targets = (ratio("SimpleITK", 25), memory(12))

    def ours(self, data: Chest) -> list[Subject]:
        return operation_subjects(self._operation(antialias=True), image=data.volume, labels=())

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        image, (starts, steps, shape) = data.image, grid(data)
        sigma = [antialias_sigma(old, new) for old, new in zip(data.spacing_kji, SPACING, strict=True)]
        return [
            Subject(
                "SimpleITK",
                "SimpleITK",
                lambda: peers_sitk.resample(
                    peers_sitk.smooth(image, sigma), shape, starts, steps, self.interpolator
                ),
                peers_sitk.array,
            )
        ]

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        """The mean: ITK smooths samples, MedPrep the curve through them, which differs at sharp edges."""
        if array.shape != oracle.shape:
            return {}
        return {"mean off ITK (HU)": mean_difference(array, oracle)}

    def known(self, data: Chest) -> None:
        return None  # the smoothed chest is not the known one


class Nearest(Row):
    name = "resample-nearest"
    title = "uint8 labels to 1 mm, nearest neighbour"
    voxels_of = "output"
    oracle = "SimpleITK"
    targets = (ratio("SimpleITK", 8), quality("labels that differ (%)", at_most=0.1))

    def voxels(self, data: Chest) -> int:
        return int(np.prod(grid(data)[2]))

    def moved(self, data: Chest) -> int:
        return data.labels.size + self.voxels(data)

    def ours(self, data: Chest) -> list[Subject]:
        op = create("resample", spacing=SPACING, method="nearest", antialias=False)
        return operation_subjects(op, image=data.label_volume, labels=())

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        labels, image, (starts, steps, shape) = data.labels, data.label_image, grid(data)
        found = [
            Subject(
                "SimpleITK",
                "SimpleITK",
                lambda: peers_sitk.resample(image, shape, starts, steps, sitk.sitkNearestNeighbor),
                peers_sitk.array,
            ),
            Subject("scipy zoom", "scipy", lambda: peers_textbook.zoom(labels, shape, 0)),
        ]
        return found + [peer.resample_labels(data, SPACING) for peer in extra_peers(options)]

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        if array.shape != oracle.shape:
            return {"labels that differ (%)": 100.0}
        return {"labels that differ (%)": 100.0 * float(np.count_nonzero(array != oracle)) / oracle.size}


ROWS = (Linear(), Cubic(), Antialiased(), Nearest())
