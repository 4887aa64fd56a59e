"""NIfTI-1 and NIfTI-2 files: voxels, checked and scaled, where the header says they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.volume import Volume
from . import file_bytes, nifti_geometry, nifti_header


def read_nifti(path: Path) -> Volume:
    """Read a single-file NIfTI; scaling is applied, RGB comes as (k, j, i, 3), a 2-D image as one slice.

    Raises
    ------
    FileError
        when it is damaged, 4-D, complex, or of a type that no image has.
    GeometryError
        when its geometry is unusable.
    """
    header = nifti_header.parse(path)
    matrix, facts = nifti_geometry.geometry(path, header)
    count = header.byte_count // header.dtype.itemsize
    if file_bytes.is_packed(path):
        array = file_bytes.values(path, 0, header.dtype, count, file_bytes.GZIP, header.offset)
    else:
        array = file_bytes.values(path, header.offset, header.dtype, count)
    i, j, k = header.sizes[:3]
    if header.datatype in nifti_header.COLORS:
        array = array.reshape(k, j, i, header.components)
    elif header.components > 1:
        # A vector's components are the slowest axis in the file.
        array = np.moveaxis(array.reshape(header.components, k, j, i), 0, -1)
    else:
        array = array.reshape(k, j, i)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if header.scaled and header.datatype not in nifti_header.COLORS:
        array = _scaled(array, header.slope, header.intercept)
    return Volume(array, matrix, info=facts)


def _scaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Values times slope plus intercept; whole numbers stay whole, others become floating point."""
    whole = array.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer()
    if whole and max(abs(slope), abs(intercept)) < 2**31 and array.dtype.itemsize <= 4:
        return array.astype(np.int64) * int(slope) + int(intercept)
    narrow = array.dtype.itemsize <= 2 or array.dtype == np.float32
    narrow = narrow and _in_float32(array, slope, intercept)
    result = np.empty(array.shape, np.float32 if narrow else np.float64)
    for plane, out in zip(array, result, strict=True):
        np.copyto(out, plane.astype(np.float64) * slope + intercept, casting="same_kind")
    return result


def _in_float32(array: np.ndarray, slope: float, intercept: float) -> bool:
    """Whether scaled values neither overflow in float32 nor lose their digits near zero."""
    low, high = (float(v) for v in (array.min(), array.max()))
    largest = max(abs(low), abs(high)) * abs(slope) + abs(intercept)
    return abs(slope) >= 1e-30 and (largest < 3e38 or not np.isfinite([low, high]).all())
