"""MONAI's transforms for the same work (bench --peers)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from .data import Chest
from .harness import Subject

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from monai import transforms
    from monai.data import MetaTensor

NAME = "MONAI"


def window_uint8(data: Chest, low: float, high: float) -> Subject:
    transform = transforms.ScaleIntensityRange(low, high, 0, 255, clip=True, dtype=np.uint8)
    return Subject(NAME, NAME, lambda: transform(data.hu[np.newaxis]), np.asarray)


def window_float(data: Chest, low: float, high: float) -> Subject:
    transform = transforms.ScaleIntensityRange(low, high, 0, 1, clip=True)
    return Subject(NAME, NAME, lambda: transform(data.hu[np.newaxis]), np.asarray)


def clip(data: Chest, low: float, high: float) -> Subject:
    lower = transforms.ThresholdIntensity(low, above=True, cval=low)
    upper = transforms.ThresholdIntensity(high, above=False, cval=high)
    return Subject(NAME, NAME, lambda: upper(lower(data.hu[np.newaxis])), np.asarray)


def min_max(data: Chest) -> Subject:
    transform = transforms.ScaleIntensity(0, 1)
    return Subject(NAME, NAME, lambda: transform(data.hu[np.newaxis]), np.asarray)


def resample(data: Chest, spacing: Sequence[float], method: str) -> Subject:
    mode = {"linear": "bilinear", "cubic": 3}[method]
    return _spacing(data, data.hu, spacing, mode, np.int16)


def resample_labels(data: Chest, spacing: Sequence[float]) -> Subject:
    return _spacing(data, data.labels, spacing, "nearest", np.uint8)


def _spacing(
    data: Chest, array: np.ndarray, spacing: Sequence[float], mode: str | int, dtype: type
) -> Subject:
    """(i, j, k) order, as MONAI's loaders give it; its grid keeps the first voxel's centre."""
    transform = transforms.Spacing(
        pixdim=spacing, mode=mode, padding_mode="border" if mode != 3 else "nearest"
    )
    image = MetaTensor(
        torch.from_numpy(array[np.newaxis]).permute(0, 3, 2, 1).contiguous(),
        affine=torch.tensor(np.diag([*data.spacing_kji[::-1], 1.0])),
    )

    def back(result: MetaTensor) -> np.ndarray:
        return np.rint(result.numpy()[0].transpose(2, 1, 0)).astype(dtype)

    return Subject(NAME, NAME, lambda: transform(image), back)


def patches(data: Chest, size: int, number: int) -> Subject:
    """Stacked, as a loader's collate function does for the network."""
    crop = transforms.RandSpatialCropSamples(size, number, random_size=False)
    pad = transforms.SpatialPad(size)
    image = pad(MetaTensor(torch.from_numpy(data.hu[np.newaxis]), affine=torch.eye(4)))
    return Subject(NAME, NAME, lambda: torch.stack(list(crop(image))), lambda batch: None)


def elastic(array: np.ndarray, labels: np.ndarray, largest: float) -> Subject:
    transform = transforms.Rand3DElasticd(
        keys=["image", "labels"],
        sigma_range=(8, 8.01),
        magnitude_range=(300, 301),
        prob=1,
        mode=["bilinear", "nearest"],
        padding_mode="border",
    )
    return _pair(transform, array, labels)


def affine(array: np.ndarray, labels: np.ndarray) -> Subject:
    transform = transforms.RandAffined(
        keys=["image", "labels"],
        prob=1,
        rotate_range=(0.26, 0.26, 0.26),
        scale_range=(0.1, 0.1, 0.1),
        mode=["bilinear", "nearest"],
        padding_mode="border",
    )
    return _pair(transform, array, labels)


def _pair(transform: transforms.Transform, array: np.ndarray, labels: np.ndarray) -> Subject:
    given = {"image": torch.from_numpy(array)[None], "labels": torch.from_numpy(labels)[None]}
    return Subject(NAME, NAME, lambda: transform(dict(given)), lambda _result: None)


def bias_field(array: np.ndarray) -> Subject:
    transform, image = transforms.RandBiasField(prob=1), torch.from_numpy(array)[None]
    return Subject(NAME, NAME, lambda: transform(image), np.asarray)


def ssim(one: np.ndarray, other: np.ndarray, data_range: float) -> Subject:
    from monai.metrics import SSIMMetric

    metric = SSIMMetric(3, data_range=data_range, kernel_type="uniform", win_size=7)
    images = torch.from_numpy(one)[None, None], torch.from_numpy(other)[None, None]
    return Subject(NAME, NAME, lambda: float(metric(*images)))
