"""Voxels and matrices of volume nodes: what VTK holds, as numpy arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support

from ..core.errors import GeometryError, InputError
from ..core.i18n import _

# Vector volumes with more components cannot be saved, and then neither can the scene.
MAX_COMPONENTS = 4
_SCALAR_CLASSES = ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode")
_VECTOR_CLASSES = ("vtkMRMLVectorVolumeNode",)


def arrayFromNode(node: Any) -> np.ndarray:
    """(k, j, i[, component]) view of a volume node's voxels.

    Raises
    ------
    InputError
        when there is no node, no image in it, or it is of another class.
    """
    if node is None:
        raise InputError(_("No volume is chosen."), _("Expected a volume."), _("Choose an input volume."))
    name, className = node.GetName(), node.GetClassName()
    if className not in _SCALAR_CLASSES + _VECTOR_CLASSES:
        raise InputError(
            _("{name!r} is a {type}.").format(name=name, type=node.GetNodeTagName()),
            _("Expected a scalar, label map or vector volume."),
            _("Choose another node, or convert this one to a scalar volume."),
        )
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError(
            _("Volume {name!r} is empty.").format(name=name),
            _("Expected at least one voxel."),
            _("Load it again, or choose another volume."),
        )
    shape = tuple(reversed(image.GetDimensions()))
    if scalars.GetNumberOfTuples() != np.prod(shape):
        # Seen from an observer while slicer.util.updateVolumeFromArray changes the size.
        raise InputError(
            _("Volume {name!r} has {n} voxels for a grid of {shape}.").format(
                name=name, n=scalars.GetNumberOfTuples(), shape=" x ".join(map(str, shape[::-1]))
            ),
            _("Expected one value for each voxel of the grid."),
            _("Load it again, or choose another volume."),
        )
    components = scalars.GetNumberOfComponents()
    array = numpy_support.vtk_to_numpy(scalars)
    return array.reshape(shape if components == 1 else (*shape, components))


def worldMatrix(node: Any) -> np.ndarray:
    """(4, 4) IJK-to-world matrix of a volume node: its own geometry, then its linear parent transforms.

    Raises
    ------
    GeometryError
        when a parent transform is not linear.
    """
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return parentMatrix(node) @ arrayFromMatrix(matrix)


def parentMatrix(node: Any) -> np.ndarray:
    """(4, 4) matrix of a node's parent transforms to world; identity when there is none.

    Raises
    ------
    GeometryError
        when one of them is not linear.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise GeometryError(
            _("{name!r} is under the non-linear transform {transform!r}.").format(
                name=node.GetName(), transform=transform.GetName()
            ),
            _("Expected no transform, or a linear one."),
            _(
                "Harden the transform in the Transforms module (that resamples the image), or remove it from "
                "the transform."
            ),
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return arrayFromMatrix(matrix)


def arrayFromMatrix(matrix: Any) -> np.ndarray:
    """(4, 4) float64 of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrixFromArray(array: np.ndarray) -> Any:
    """vtkMatrix4x4 of a (4, 4) array."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=float).ravel().tolist())
    return matrix


def storableArray(array: np.ndarray) -> np.ndarray:
    """`array`, or an equal one of a type that Slicer can hold and save; (k, j, i, 1) becomes (k, j, i).

    Raises
    ------
    InputError
        when there is none: more than 4 components, or integers beyond 32 bits.
    """
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 4 and array.shape[3] > MAX_COMPONENTS:
        raise InputError(
            _("The image has {n} values per voxel.").format(n=array.shape[3]),
            _("Expected at most {n}: Slicer cannot save more in one volume.").format(n=MAX_COMPONENTS),
            _("Make a volume of each channel."),
        )
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.uint8)
    if kind == "f":
        return array.astype(np.float32) if size < 4 else array.astype(np.float64) if size > 8 else array
    if size == 8:
        array = _in32Bits(array)
    elif array.dtype.type is np.int8:
        array = array.astype(np.int16)
    # Slicer's file writer takes 3 or 4 channels only of these integer types.
    if array.ndim == 4 and array.shape[3] > 2 and array.dtype.type not in (np.uint8, np.uint16):
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    return array


def _in32Bits(array: np.ndarray) -> np.ndarray:
    low, high = int(array.min()), int(array.max())
    for dtype in (np.int32, np.uint32):
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return array.astype(dtype)
    raise InputError(
        _("The values reach from {low} to {high}.").format(low=low, high=high),
        _("Expected whole numbers of at most 32 bits: Slicer cannot save larger ones."),
        _("Convert the image to floating point first."),
    )


def imageDataFromArray(array: np.ndarray) -> Any:
    """vtkImageData with a copy of a :func:`storableArray`."""
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[2], array.shape[1], array.shape[0])
    components = array.shape[3] if array.ndim == 4 else 1
    image.AllocateScalars(numpy_support.get_vtk_array_type(array.dtype), components)
    scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    np.copyto(scalars.reshape(array.shape), array)
    return image
