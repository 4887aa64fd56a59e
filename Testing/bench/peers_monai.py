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
