"""How near an image comes to a reference in a mask: mean squared error, peak signal to noise, similarity."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.numeric import similarity

# Voxels around the mask that the similarity's windows reach.
_MARGIN = 3


class Quality(NamedTuple):
    """Mean squared error, peak signal-to-noise ratio (dB; infinite for equal images), similarity (SSIM)."""

    mse: float
    psnr: float
    ssim: float


def compare(image: np.ndarray, reference: np.ndarray, mask: np.ndarray, job: Job | None = None) -> Quality:
    """Compare in the mask, after scaling the image to the reference's mean there (a gain is no error).

    The peak is the reference's range in the mask; SSIM as in
    :func:`MedPrepCommonLib.numeric.similarity.ssim`.

    Parameters
    ----------
    image, reference : (k, j, i), any real type. mask : bool, not empty.
    """
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    box = tuple(slice(max(0, part.start - _MARGIN), part.stop + _MARGIN) for part in box)
    image, reference, mask = image[box], reference[box], mask[box]
    target = reference[mask]
    mean = image[mask].mean(dtype=np.float64)
    tested = image * (target.mean(dtype=np.float64) / mean if mean else 1.0)
    peak = float(target.max()) - float(target.min())
    error = similarity.mse(tested, reference, mask)
    if not peak > 0:  # one value everywhere has no structure to compare
        return Quality(error, math.inf, 1.0 if error == 0 else 0.0)
    psnr = 10 * math.log10(peak * peak / error) if error > 0 else math.inf
    return Quality(error, psnr, similarity.ssim(tested, reference, mask, data_range=peak, job=job))
