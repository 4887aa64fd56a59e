"""Pixels of one DICOM file, decoded by GDCM through ITK."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .. import checks


def read_pixels(path: Path) -> np.ndarray:
    """(frame, j, i[, c]) of a DICOM file, rescaled and MONOCHROME2, as ITK gives them."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(os.fspath(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise checks.damaged(path) from error
    array = sitk.GetArrayFromImage(image)
    return array if image.GetDimension() == 3 else array[np.newaxis]
