"""Rows: bent, turned and unevenly lit images with their labels, and how alike two images are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.geometry.augment_draw import Frame, draw, key_of
from MedPrepCommonLib.geometry.orientation import orientation
from MedPrepCommonLib.numeric import intensity_augment, similarity
from MedPrepCommonLib.numeric.intensity_augment import Intensities

from . import peers_textbook
from .ct_pointwise import extra_peers
from .data import CODE, Chest
from .harness import OURS, Options, Row, Subject
from .quality import mean_difference
from .targets import memory, quality, ratio

# The size of a brain MRI.
LARGEST = (180, 256, 256)
SPACING = (1.0, 1.0, 1.0)
# Millimetres that control points move, and between them.
BEND, DISTANCE = 7.5, 40.0
STILL = {"rotation": 0, "scale": 0, "translation": 0, "elasticDisplacement": 0}
DATA_RANGE = 4095.0


@dataclass(frozen=True)
class Pair:
    """An image, float32 and not negative, and its labels, (k, j, i) at 1 mm."""

    array: np.ndarray
    labels: np.ndarray

    @property
    def volume(self) -> Volume:
        """The image as operations take it."""
        return Volume(self.array, np.diag([-1.0, -1.0, 1.0, 1.0]), "image", "MR")

    @property
    def label_volume(self) -> LabelVolume:
        """The labels as operations take them."""
        segments = tuple(Segment(n, f"part {n}", CODE, CODE) for n in (1, 2, 3))
        return LabelVolume(self.labels, self.volume.ijkToRAS, "parts", "MR", segments=segments)

    @cached_property
    def images(self) -> tuple[sitk.Image, sitk.Image]:
        """Both as SimpleITK takes them."""
        return sitk.GetImageFromArray(self.array), sitk.GetImageFromArray(self.labels)

    @cached_property
    def noisy(self) -> np.ndarray:
        """The image with a little noise."""
        noise = np.random.default_rng(0).standard_normal(self.array.shape, np.float32)
        return self.array + np.float32(20) * noise

    def slab(self, share: float) -> Pair:
        """The first `share` of the slices."""
        count = max(2, round(len(self.array) * share))
        return Pair(self.array[:count], self.labels[:count])


class AugmentRow(Row):
    """On float32 of the size of a brain MRI."""

    def prepare(self, data: Chest) -> Pair:
        middle = tuple(
            slice((n - min(n, most)) // 2, (n + min(n, most)) // 2)
            for n, most in zip(data.hu.shape, LARGEST, strict=True)
        )
        return Pair(data.hu[middle].astype(np.float32) + 1024, np.ascontiguousarray(data.labels[middle]))

    def voxels(self, data: Pair) -> int:
        return data.array.size

    def moved(self, data: Pair) -> int:
        return 2 * (data.array.nbytes + data.labels.nbytes)

    def operation(self) -> Any:
        """The operation with its parameters."""
        raise NotImplementedError

    def ours(self, data: Pair) -> list[Subject]:
        op, volume, labels, quiet = self.operation(), data.volume, (data.label_volume,), Job.quiet()
        return [
            Subject(
                OURS, OURS, lambda: op(volume, labels, quiet), lambda result: result.images["image"].array
            )
        ]

    def places(self, data: Pair) -> np.ndarray:
        """Where MedPrep's draw takes each voxel from: (3, k, j, i), float32."""
        volume, op = data.volume, self.operation()
        turned = orientation(volume, "SAR")
        view = turned.view(data.array)
        frame = Frame(view.shape, SPACING, None, 0.0, 0.0, 1.0, False)
        read = draw(op, frame, key_of(view), 0).deformation(frame).reader()
        found = np.stack([read(k, 0, view.shape[1]) for k in range(len(view))], 1)
        # Stored order, stored indices.
        found = np.stack([turned.undo(part) for part in found])
        for axis, flip in enumerate(turned.flips):
            if flip:
                found[axis] = view.shape[axis] - 1 - found[axis]
        return found


class Elastic(AugmentRow):
    name = "augment-elastic"
    title = "float32 and uint8 labels through one elastic lattice"
    oracle = "scipy, the same places"
    targets = (
        ratio("scipy", 6),
        ratio("MONAI", 6),
        ratio("TorchIO", 20),
        memory(10),
        quality("mean off scipy", at_most=0.5),
    )

    def operation(self) -> Any:
        bend = {"elasticDisplacement": BEND, "elasticSpacing": DISTANCE}
        return create("augment", **{**STILL, **bend}, outside="edge")

    def peers(self, data: Pair, options: Options) -> list[Subject]:
        array, labels = data.array, data.labels

        def same() -> np.ndarray:
            return ndimage.map_coordinates(array, self.places(data), order=1, mode="nearest")

        found = [
            Subject("scipy, the same places", "scipy", same, equal_work=False),
            Subject(
                "scipy textbook", "scipy", lambda: peers_textbook.elastic(array, labels), lambda _result: None
            ),
            Subject("SimpleITK", "SimpleITK", lambda: self._simpleitk(data), lambda _result: None),
        ]
        return found + [peer.elastic(array, labels, BEND) for peer in extra_peers(options)]

    def _simpleitk(self, data: Pair) -> tuple[sitk.Image, sitk.Image]:
        image, labels = data.images
        cells = [max(1, math.ceil(n / DISTANCE)) for n in image.GetSize()]
        transform = sitk.BSplineTransformInitializer(image, cells, 3)
        count = len(transform.GetParameters())
        transform.SetParameters(np.random.default_rng(0).uniform(-BEND, BEND, count).tolist())
        return (
            sitk.Resample(image, image, transform, sitk.sitkLinear, 0.0),
            sitk.Resample(labels, labels, transform, sitk.sitkNearestNeighbor, 0),
        )

    def judge(self, data: Pair, array: Any, oracle: Any) -> dict[str, float]:
        return {"mean off scipy": mean_difference(array, oracle)}


class Affine(AugmentRow):
    name = "augment-affine"
    title = "float32 and uint8 labels turned, scaled and shifted"
    oracle = "scipy"
    targets = (ratio("SimpleITK", 1), ratio("MONAI", 5), memory(10), quality("mean off scipy", at_most=0.5))

    def operation(self) -> Any:
        return create("augment", "affine", outside="edge")

    def peers(self, data: Pair, options: Options) -> list[Subject]:
        array, labels = data.array, data.labels
        places = self.places(data)
        origin = places[:, 0, 0, 0].astype(np.float64)
        last = [n - 1 for n in array.shape]
        matrix = np.stack(
            [
                (places[:, last[0], 0, 0] - origin) / last[0],
                (places[:, 0, last[1], 0] - origin) / last[1],
                (places[:, 0, 0, last[2]] - origin) / last[2],
            ],
            axis=1,
        )
        transform = sitk.AffineTransform(matrix[::-1, ::-1].ravel().tolist(), origin[::-1].tolist())

        def simpleitk() -> np.ndarray:
            # From array to array, as MedPrep does it.
            image, parts = sitk.GetImageFromArray(array), sitk.GetImageFromArray(labels)
            sitk.GetArrayFromImage(sitk.Resample(parts, parts, transform, sitk.sitkNearestNeighbor, 0))
            return sitk.GetArrayFromImage(sitk.Resample(image, image, transform, sitk.sitkLinear, 0.0))

        def scipy() -> np.ndarray:
            ndimage.affine_transform(labels, matrix, origin, order=0, mode="nearest")
            return ndimage.affine_transform(array, matrix, origin, order=1, mode="nearest")

        found = [
            Subject("SimpleITK", "SimpleITK", simpleitk, lambda _result: None),
            Subject("scipy", "scipy", scipy),
        ]
        return found + [peer.affine(array, labels) for peer in extra_peers(options)]

    def judge(self, data: Pair, array: Any, oracle: Any) -> dict[str, float]:
        return {"mean off scipy": mean_difference(array, oracle)}


class BiasField(AugmentRow):
    name = "augment-bias"
    title = "float32 times a smooth random field"
    targets = (ratio("MONAI", 6), ratio("TorchIO", 100), memory(10))

    def moved(self, data: Pair) -> int:
        return 2 * data.array.nbytes

    def ours(self, data: Pair) -> list[Subject]:
        array, quiet = data.array, Job.quiet()
        bias = np.random.default_rng(0).uniform(-0.3, 0.3, intensity_augment.bias_shape(array.shape))

        def run() -> np.ndarray:
            out = np.empty_like(array)
            intensity_augment.apply(array, Intensities(bias=bias), out, quiet)
            return out

        op, volume = create("augment", **STILL, biasField=0.3), data.volume
        return [
            Subject(OURS, OURS, run),
            Subject(
                "MedPrep operation", OURS, lambda: op(volume, (), quiet),
                lambda result: result.images["image"].array, equal_work=False,
            ),
        ]  # fmt: skip

    def peers(self, data: Pair, options: Options) -> list[Subject]:
        array = data.array
        found = [Subject("numpy polynomial", "numpy", lambda: peers_textbook.bias_field(array))]
        return found + [peer.bias_field(array) for peer in extra_peers(options)]

    def judge(self, data: Pair, array: Any, oracle: Any) -> dict[str, float]:
        some = data.array > 100
        return {
            "spread of the field (%)": 100
            * float((np.asarray(array).reshape(some.shape)[some] / data.array[some]).std())
        }


class StructuralSimilarity(AugmentRow):
    name = "ssim"
    title = "structural similarity of two float32 images, windows of 7 x 7 x 7"
    oracle = "scikit-image in float64"
    targets = (ratio("scikit-image", 6), memory(10), quality("off scikit-image", at_most=1e-6))

    def moved(self, data: Pair) -> int:
        return 2 * data.array.nbytes

    def ours(self, data: Pair) -> list[Subject]:
        one, other = data.noisy, data.array
        return [Subject(OURS, OURS, lambda: similarity.ssim(one, other, data_range=DATA_RANGE))]

    def peers(self, data: Pair, options: Options) -> list[Subject]:
        from skimage.metrics import structural_similarity

        one, other = data.noisy, data.array
        exact = one.astype(np.float64), other.astype(np.float64)
        found = [
            Subject(
                "scikit-image", "scikit-image",
                lambda: structural_similarity(one, other, data_range=DATA_RANGE),
            ),
            Subject(
                "scikit-image in float64", "scikit-image",
                lambda: structural_similarity(*exact, data_range=DATA_RANGE), equal_work=False,
            ),
        ]  # fmt: skip
        return found + [
            peer.ssim(one, other, DATA_RANGE) for peer in extra_peers(options) if hasattr(peer, "ssim")
        ]

    def judge(self, data: Pair, array: Any, oracle: Any) -> dict[str, float]:
        return {"off scikit-image": abs(float(array) - float(oracle))}


class SignalToNoise(StructuralSimilarity):
    name = "psnr"
    title = "peak signal-to-noise ratio of two float32 images"
    oracle = "scikit-image"
    targets = (ratio("scikit-image", 4), memory(10), quality("off scikit-image", at_most=1e-5))

    def ours(self, data: Pair) -> list[Subject]:
        one, other = data.noisy, data.array
        return [Subject(OURS, OURS, lambda: similarity.psnr(one, other, data_range=DATA_RANGE))]

    def peers(self, data: Pair, options: Options) -> list[Subject]:
        from skimage.metrics import peak_signal_noise_ratio

        one, other = data.noisy, data.array
        return [
            Subject(
                "scikit-image", "scikit-image",
                lambda: peak_signal_noise_ratio(other, one, data_range=DATA_RANGE),
            )
        ]  # fmt: skip


ROWS = (Elastic(), Affine(), BiasField(), StructuralSimilarity(), SignalToNoise())
