"""All rows of the benchmark, in the order of the table."""

from __future__ import annotations

# Importing these makes the operations known.
import MedPrepCommonLib.operations  # noqa: F401
import MedPrepCTLib.operations  # noqa: F401
import MedPrepMRILib.operations  # noqa: F401
import MedPrepXrayLib.operations  # noqa: F401

from . import (
    augmentation,
    ct_contrast,
    ct_lungs,
    ct_metal,
    ct_pipeline,
    ct_pointwise,
    ct_resample,
    mri_bias,
    training_patches,
    xr_contrast,
)
from .harness import Row

ROWS: dict[str, Row] = {
    row.name: row
    for module in (
        ct_pointwise,
        ct_metal,
        ct_resample,
        ct_lungs,
        ct_contrast,
        xr_contrast,
        ct_pipeline,
        mri_bias,
        training_patches,
        augmentation,
    )
    for row in module.ROWS
}
