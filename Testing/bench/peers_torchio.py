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


def patches(data: Chest, size: int, number: int) -> Subject:
    """Stacked, as a loader's collate function does for the network."""
    subject = torchio.Subject(ct=torchio.ScalarImage(tensor=torch.from_numpy(data.hu[np.newaxis])))
    if min(data.hu.shape) < size:
        subject = torchio.CropOrPad([max(size, n) for n in data.hu.shape])(subject)
    sampler = torchio.data.UniformSampler(size)

    def run() -> torch.Tensor:
        return torch.stack([patch["ct"].data for patch in sampler(subject, number)])

    return Subject(NAME, NAME, run, lambda batch: None)


def elastic(array: np.ndarray, labels: np.ndarray, largest: float) -> Subject:
    return _pair(torchio.RandomElasticDeformation(7, largest), array, labels)


def affine(array: np.ndarray, labels: np.ndarray) -> Subject:
    return _pair(torchio.RandomAffine(scales=0.1, degrees=15), array, labels)


def _pair(transform: torchio.Transform, array: np.ndarray, labels: np.ndarray) -> Subject:
    given = torchio.Subject(
        image=torchio.ScalarImage(tensor=torch.from_numpy(array)[None]),
        labels=torchio.LabelMap(tensor=torch.from_numpy(labels)[None]),
    )
    return Subject(NAME, NAME, lambda: transform(given), lambda _result: None)


def bias_field(array: np.ndarray) -> Subject:
    transform = torchio.RandomBiasField()
    image = torchio.ScalarImage(tensor=torch.from_numpy(array)[None])
    return Subject(NAME, NAME, lambda: transform(image).data, _array)
