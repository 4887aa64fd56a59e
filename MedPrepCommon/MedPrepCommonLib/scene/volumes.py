"""Volume nodes to Volumes and back.

Reading hardens a linear parent transform into the volume's geometry, so every Volume lies in world (RAS)
space; nodes made from it have no parent transform and say so in the attribute ``MedPrep.parentTransform``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from ..core.errors import GeometryError, InputError
from ..core.i18n import _
from ..core.volume import LabelVolume, Volume
from . import facts
from .names import uniqueName

# Vector volumes with more components cannot be saved, and then neither can the scene.
MAX_COMPONENTS = 4

_SCALAR_CLASSES = ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode")
_VECTOR_CLASSES = ("vtkMRMLVectorVolumeNode",)


def volumeFromNode(node: Any) -> Volume:
    """The image of a scalar, label map or vector volume node, in world space.

    Parameters
    ----------
    node : vtkMRMLScalarVolumeNode or vtkMRMLVectorVolumeNode; a vtkMRMLLabelMapVolumeNode gives a
        :class:`LabelVolume`. The node is not changed.

    Returns
    -------
    Volume
        its array is a read-only view of the node's voxels: nothing is copied.

    Raises
    ------
    InputError
        when there is no node, no image in it, or it is of another class.
    GeometryError
        when its parent transform is not linear, or its geometry is unusable.
    """
    if node is not None and node.IsA("vtkMRMLLabelMapVolumeNode"):
        from .segments import labelsFromNode

        return labelsFromNode(node)
    array = _array(node)
    return Volume(array, worldMatrix(node), **facts.factsOf(node))


def labelArrayFromNode(node: Any) -> tuple[np.ndarray, np.ndarray]:
    """Array (k, j, i) of whole numbers and IJK-to-world matrix of a label map node.

    Raises
    ------
    InputError, GeometryError
        as :func:`volumeFromNode`; also when the values are not whole numbers.
    """
    array = _array(node)
    if array.dtype.kind == "f":
        whole = array.astype(np.int32)
        if not np.array_equal(whole, array):
            raise InputError(
                _("The label map {name!r} has fractional values.").format(name=node.GetName()),
                _("Expected whole numbers."),
                _("Choose a segmentation or a label map."),
            )
        array = whole
    return array, worldMatrix(node)


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


def nodeFromVolume(volume: Volume, name: str | None = None) -> Any:
    """A new volume node in the scene: scalar, label map (of a :class:`LabelVolume`) or vector volume.

    Types that Slicer cannot hold or save are widened without changing a value (int8 to int16, 64-bit
    integers to 32-bit ones, 3 or 4 channels of signed integers to floating point). The display window is the
    volume's own, or covers the central 99 % of its values. The voxels are copied.

    Parameters
    ----------
    volume : at most 4 components.
    name : of the node; the volume's own name when None. Made safe and unique.

    Raises
    ------
    InputError
        for more than 4 components, or integers that fit no type that Slicer can save.
    """
    array = storableArray(volume.array)
    if isinstance(volume, LabelVolume):
        className = "vtkMRMLLabelMapVolumeNode"
    else:
        className = "vtkMRMLVectorVolumeNode" if array.ndim == 4 else "vtkMRMLScalarVolumeNode"
    image = imageDataFromArray(array)
    node = slicer.mrmlScene.AddNewNodeByClass(className, uniqueName(name or volume.name or _("Volume")))
    try:
        fillNode(node, volume, image)
    except BaseException:
        removeVolumeNode(node)
        raise
    return node


def fillNode(node: Any, volume: Volume, image: Any) -> None:
    """Put an image (see :func:`imageDataFromArray`) with `volume`'s geometry and facts into a volume node."""
    # The window comes before the image: else Slicer looks for one itself, longer than the copy takes.
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if hasattr(display, "SetWindowLevel"):
        level, width = displayWindow(volume)
        display.AutoWindowLevelOff()
        display.SetWindowLevel(width, level)
    node.SetAndObserveTransformNodeID(None)
    node.SetIJKToRASMatrix(matrixFromArray(volume.ijkToRAS))
    node.SetAndObserveImageData(image)
    if node.IsA("vtkMRMLVectorVolumeNode"):
        colors = {3: node.VoxelVectorTypeColorRGB, 4: node.VoxelVectorTypeColorRGBA}
        components = image.GetNumberOfScalarComponents()
        isColor = image.GetScalarType() == vtk.VTK_UNSIGNED_CHAR and components in colors
        node.SetVoxelVectorType(colors[components] if isColor else node.VoxelVectorTypeUndefined)
    facts.writeFacts(node, volume)
    if isinstance(volume, LabelVolume) and node.IsA("vtkMRMLLabelMapVolumeNode"):
        from .segments import noteSegments

        noteSegments(node, volume)


def removeVolumeNode(node: Any) -> None:
    """Take a displayable, storable node and its display and storage nodes out of the scene."""
    scene = slicer.mrmlScene
    extras = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    extras += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for extra in extras:
        if extra is not None and scene.IsNodePresent(extra):
            scene.RemoveNode(extra)


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


def displayWindow(volume: Volume) -> tuple[float, float]:
    """(level, width) for showing a volume: its own when that fits its values, else their central 99 %.

    8-bit colour is shown as it is. A window over 20 times as wide as the values' spread was made for other
    values (of the image before it was normalised, say) and would show a single grey.
    """
    array = volume.array
    if array.ndim == 4 and array.dtype == np.uint8:
        return 127.5, 255.0
    # About 10^5 voxels spread over the whole image tell the percentiles well enough for a display.
    step = max(1, round((array.size / 1e5) ** (1 / 3)))
    sample = array[(slice(None, None, step),) * 3]
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, (0.5, 99.5)) if sample.size else (0.0, 1.0)
    if high <= low and sample.size:
        low, high = sample.min(), sample.max()
    spread = float(high) - float(low)
    if volume.display is not None and 0 < volume.display[1] <= 20 * spread:
        return volume.display
    return (float(low) + float(high)) / 2, spread or 1.0


def _array(node: Any) -> np.ndarray:
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
