"""Volume nodes to Volumes and back.

Reading hardens a linear parent transform into the volume's geometry, so every Volume lies in world (RAS)
space; nodes made from it have no parent transform and say so in the attribute ``MedPrep.parentTransform``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from ..core.i18n import _
from ..core.volume import LabelVolume, Volume
from . import facts
from .grids import arrayFromNode, imageDataFromArray, matrixFromArray, storableArray, worldMatrix
from .labelmaps import labelsFromLabelMap, noteSegments
from .names import uniqueName


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
        return labelsFromLabelMap(node)
    array = arrayFromNode(node)
    return Volume(array, worldMatrix(node), **facts.factsOf(node))


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
