"""Several aligned sequences made into one image: channels, weighted sum, maximum, principal component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job


@dataclass(frozen=True)
class Components:
    """Principal components of the sequences inside the mask.

    Parameters
    ----------
    variances : share of the variance that each component has, falling; they add up to 1.
    loadings : (component, sequence) unit vectors; the largest entry of each is positive.
    """

    variances: np.ndarray
    loadings: np.ndarray


def weighted(arrays: Sequence[np.ndarray], weights: Sequence[float], job: Job | None = None) -> np.ndarray:
    """Sum of the arrays (k, j, i) times their weights, float32, added up in float64 slice by slice."""
    result = np.empty(arrays[0].shape, np.float32)
    for k in range(len(result)):
        if job is not None:
            job.report(k / len(result))
        total = np.zeros(result.shape[1:])
        for array, weight in zip(arrays, weights, strict=True):
            total += array[k] * np.float64(weight)
        result[k] = total
    return result


def maximum(arrays: Sequence[np.ndarray], job: Job | None = None) -> np.ndarray:
    """Largest of the arrays (k, j, i) in every voxel."""
    result = arrays[0].copy()
    for n, array in enumerate(arrays[1:]):
        if job is not None:
            job.report(n / len(arrays))
        np.maximum(result, array, out=result)
    return result


def stack(arrays: Sequence[np.ndarray], job: Job | None = None) -> np.ndarray:
    """(k, j, i, channel), in the order of the arrays."""
    result = np.empty((*arrays[0].shape, len(arrays)), np.float32)
    for n, array in enumerate(arrays):
        if job is not None:
            job.report(n / len(arrays))
        result[..., n] = array
    return result


def principal_components(arrays: Sequence[np.ndarray], mask: np.ndarray) -> Components:
    """Eigenvectors of the sequences' covariance inside the mask.

    Raises
    ------
    InputError
        when no sequence varies there.
    """
    inside = [array[mask].astype(np.float64) for array in arrays]
    centred = [values - values.mean() for values in inside]
    covariance = np.array([[float((a * b).mean()) for b in centred] for a in centred])
    values, vectors = np.linalg.eigh(covariance)
    values, loadings = np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
    if not values.sum() > 0:
        raise InputError(
            _("Inside the mask no sequence varies."),
            _("Expected images with contrast."),
            _("Choose other images or another mask."),
        )
    largest = np.abs(loadings).argmax(axis=1)
    signs = np.sign(loadings[range(len(loadings)), largest])
    return Components(values / values.sum(), loadings * signs[:, None])
