"""TorchIO's transforms for the same work (bench --peers)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from .data import Chest
from .harness import Subject

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    import torchio

NAME = "TorchIO"


def window_uint8(data: Chest, low: float, high: float) -> Subject:
    limit, scale = torchio.Clamp(low, high), torchio.RescaleIntensity((0, 255), in_min_max=(low, high))
    image = _image(data)
    return Subject(NAME, NAME, lambda: scale(limit(image)).data.to(torch.uint8), _array)


def window_float(data: Chest, low: float, high: float) -> Subject:
    limit, scale = torchio.Clamp(low, high), torchio.RescaleIntensity((0, 1), in_min_max=(low, high))
    image = _image(data)
    return Subject(NAME, NAME, lambda: scale(limit(image)).data, _array)


def clip(data: Chest, low: float, high: float) -> Subject:
    limit, image = torchio.Clamp(low, high), _image(data)
    return Subject(NAME, NAME, lambda: limit(image).data, _array)


def min_max(data: Chest) -> Subject:
    scale, image = torchio.RescaleIntensity((0, 1)), _image(data)
    return Subject(NAME, NAME, lambda: scale(image).data, _array)


def resample(data: Chest, spacing: Sequence[float], method: str) -> Subject:
    image = torchio.ScalarImage(tensor=_tensor(data.hu), affine=_affine(data))
    transform = torchio.Resample(
        tuple(spacing), image_interpolation={"linear": "linear", "cubic": "bspline"}[method]
    )
    return Subject(NAME, NAME, lambda: transform(image).data, _back)


def resample_labels(data: Chest, spacing: Sequence[float]) -> Subject:
    image = torchio.LabelMap(tensor=_tensor(data.labels), affine=_affine(data))
    transform = torchio.Resample(tuple(spacing))
    return Subject(NAME, NAME, lambda: transform(image).data, _back)


def _image(data: Chest) -> torchio.ScalarImage:
    # A view of the same memory: the order of the axes does not matter for a point operation.
    return torchio.ScalarImage(tensor=torch.from_numpy(data.hu[np.newaxis]))


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array[np.newaxis]).permute(0, 3, 2, 1)


def _affine(data: Chest) -> np.ndarray:
    return np.diag([*data.spacing_kji[::-1], 1.0])


def _array(data: torch.Tensor) -> np.ndarray:
    return data.numpy()


def _back(data: torch.Tensor) -> np.ndarray:
    return data.numpy()[0].transpose(2, 1, 0)
