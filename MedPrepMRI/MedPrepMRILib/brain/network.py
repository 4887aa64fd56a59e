"""The trained brain network: where the brain is in an image of any contrast, on voxels of 3 mm.

``Training/MODEL_CARD.md`` says what it was trained on, how well it did on heads it had not seen, and where it
must not be trusted. NumPy runs it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job

MODEL = Path(__file__).resolve().parents[1] / "models" / "brain_mask.npz"
# What an image's axes must be a multiple of, in voxels of 3 mm; mm of those voxels.
MULTIPLE, SPACING = 16, 3.0
_SLOPE, _SMALL = 0.1, 1e-5
# Columns of a matrix product at once: what fits a processor's cache.
_CHUNK = 1 << 14

Weights = dict[str, np.ndarray]


@lru_cache(maxsize=1)
def weights() -> Weights:
    """The network's numbers, float32.

    Raises
    ------
    FileError
        when the model file is missing or not ours.
    """
    try:
        with np.load(MODEL, allow_pickle=False) as stored:
            return {name: stored[name].astype(np.float32) for name in stored.files}
    except (OSError, ValueError) as error:
        raise FileError(
            _("The brain network is missing."),
            _("Expected {name} in MedPrepMRILib/models.").format(name=MODEL.name),
            _("Install MedPrep again."),
        ) from error


def scores(image: np.ndarray, job: Job | None = None, net: Weights | None = None) -> np.ndarray:
    """Log odds that a voxel is brain.

    Parameters
    ----------
    image : (i, j, k) float32 from 0 to 1, voxels of 3 mm to the patient's right, front and top; every axis a
        multiple of 16. The exact order of right and left does not matter.

    Returns
    -------
    (i, j, k) float32.
    """
    job, net = job or Job.quiet(), net or weights()
    levels = sum(f"down.{n}.parts.0.weight" in net for n in range(9))
    x, skipped = _folded(image), []
    for n in range(levels):
        job.report(n / (2 * levels - 1) * 0.8)
        x = _block(_pooled(x) if n else x, net, f"down.{n}", job)
        skipped.append(x)
    for n in reversed(range(levels - 1)):
        job.report(1 - (n + 1) / (2 * levels - 1))
        x = _doubled(_pointwise(x, net, f"narrow.{n}"))
        x = _block(np.concatenate([x, skipped.pop(n)]), net, f"up.{n}", job)
        del skipped[n:]
    return _unfolded(_pointwise(x, net, "last"))


def _block(x: np.ndarray, net: Weights, name: str, job: Job) -> np.ndarray:
    n = 0
    while f"{name}.parts.{n}.weight" in net:
        job.check()
        # The normalisation takes any constant away, and with it the convolution's bias.
        x = _convolved(x, net[f"{name}.parts.{n}.weight"])
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        x -= mean
        variance = np.einsum("cijk,cijk->c", x, x) / x[0].size
        gain = net[f"{name}.norms.{n}.weight"] / np.sqrt(variance + _SMALL)
        x *= gain[:, None, None, None]
        x += net[f"{name}.norms.{n}.bias"][:, None, None, None]
        np.maximum(x, _SLOPE * x, out=x)
        n += 1
    return x


def _convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3 x 3 x 3 convolution with zeros beyond the edges: (c, i, j, k) to (d, i, j, k).

    On the padded image laid out flat, a neighbour is a shift; the shifted copies of a stretch of voxels make
    one matrix product.
    """
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1)))
    given, (_i, nj, nk) = len(x), padded.shape[1:]
    flat = padded.reshape(given, -1)
    reach = (nj + 1) * nk + 1
    shifts = [a * nj * nk + b * nk + c for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    matrix = np.ascontiguousarray(kernel.transpose(0, 2, 3, 4, 1).reshape(len(kernel), -1))
    made = np.empty((len(kernel), flat.shape[1]), np.float32)
    around = np.empty((27, given, _CHUNK), np.float32)
    for start in range(reach, flat.shape[1] - reach, _CHUNK):
        count = min(_CHUNK, flat.shape[1] - reach - start)
        for n, shift in enumerate(shifts):
            around[n, :, :count] = flat[:, start + shift : start + shift + count]
        made[:, start : start + count] = matrix @ around.reshape(27 * given, _CHUNK)[:, :count]
    shape = (len(kernel), *padded.shape[1:])
    return np.ascontiguousarray(made.reshape(shape)[:, 1:-1, 1:-1, 1:-1])


def _pointwise(x: np.ndarray, net: Weights, name: str) -> np.ndarray:
    kernel = net[f"{name}.weight"]
    made = kernel.reshape(len(kernel), -1) @ x.reshape(len(x), -1)
    made += net[f"{name}.bias"][:, None]
    return made.reshape(-1, *x.shape[1:])


def _pooled(x: np.ndarray) -> np.ndarray:
    c, i, j, k = x.shape
    return x.reshape(c, i // 2, 2, j // 2, 2, k // 2, 2).max(axis=(2, 4, 6))


def _doubled(x: np.ndarray) -> np.ndarray:
    for axis in (1, 2, 3):
        x = np.repeat(x, 2, axis=axis)
    return x


def _folded(image: np.ndarray) -> np.ndarray:
    """Blocks of 2 x 2 x 2 voxels as 8 channels."""
    i, j, k = (n // 2 for n in image.shape)
    parts = image.astype(np.float32).reshape(i, 2, j, 2, k, 2).transpose(1, 3, 5, 0, 2, 4)
    return np.ascontiguousarray(parts.reshape(8, i, j, k))


def _unfolded(x: np.ndarray) -> np.ndarray:
    _c, i, j, k = x.shape
    parts = x.reshape(2, 2, 2, i, j, k).transpose(3, 0, 4, 1, 5, 2)
    return np.ascontiguousarray(parts.reshape(2 * i, 2 * j, 2 * k))
