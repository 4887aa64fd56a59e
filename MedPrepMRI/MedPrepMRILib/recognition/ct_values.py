"""Tells a CT without a modality tag, as in NIfTI, from an MRI: Hounsfield units give it away."""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check
from MedPrepCommonLib.core.volume import Volume

# Hounsfield units in which measured air and soft tissue lie.
_AIR, _TISSUE = (-1100, -900), (-200, 200)
# Least share of air or padding, and of soft tissue, in a scan of a patient.
_LEAST_AIR, _LEAST_TISSUE = 0.05, 0.02
# Of the voxels at or below air nearly all are air or have the one value that pads the image. In a phase image
# they are spread over thousands of values.
_TOGETHER = 0.9
_SAMPLE = 1 << 17


def ct_checks(image: Volume, name: str = "") -> list[Check]:
    """A warning for the quality control of an image as it came that looks like a CT; else empty.

    What an operation made may have any values, and is not judged.

    Parameters
    ----------
    image : scalar. name : of the sequence, where there are several.
    """
    if image.modality == "MR" or image.history:
        return []
    air = _share_of_air(image.array)
    if not air:
        return []
    return [
        Check(
            _("Values of {name}").format(name=name) if name else _("Values of the input"),
            "warn",
            _("{share:.0f} % are air in Hounsfield units, as in a CT").format(share=100 * air),
            _("MR signal"),
            _("Choose an MRI; for a CT use the MedPrep CT module and its recipes."),
        )
    ]


def _share_of_air(array: np.ndarray) -> float:
    """Share of the voxels (0 to 1) that are air or padding of a CT; 0 for other images."""
    step = max(1, int((array.size / _SAMPLE) ** (1 / array.ndim)))
    values = array[(slice(None, None, step),) * array.ndim]
    dark = values[values <= _AIR[1]]
    if dark.size < _LEAST_AIR * values.size:
        return 0.0
    air = np.count_nonzero(dark >= _AIR[0])
    padding = np.count_nonzero(dark == dark.min()) if dark.min() < _AIR[0] else 0
    tissue = np.count_nonzero((values >= _TISSUE[0]) & (values <= _TISSUE[1]))
    if air + padding < _TOGETHER * dark.size or tissue < _LEAST_TISSUE * values.size:
        return 0.0
    return dark.size / values.size
