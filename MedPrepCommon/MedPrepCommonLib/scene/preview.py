"""A volume that is only looked at: hidden from every list, never saved, gone when the look is over."""

from __future__ import annotations

from typing import Any

import slicer
from vtk.util import numpy_support

from ..core.volume import Volume
from . import grids, volumes


def addPreview(volume: Volume) -> Any:
    """A hidden scalar volume node of a preview; it and its display node are not saved with the scene."""
    node = slicer.vtkMRMLScalarVolumeNode()
    # Before it is in the scene: lists and the subject hierarchy take up what they see then.
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetName("MedPrep preview")
    slicer.mrmlScene.AddNode(node)
    try:
        volumes.fillNode(node, volume, grids.imageDataFromArray(volume.array))
        node.GetDisplayNode().SetSaveWithScene(False)
        node.GetDisplayNode().SetHideFromEditors(True)
    except BaseException:
        volumes.removeVolumeNode(node)
        raise
    return node


def updatePreview(node: Any, volume: Volume) -> None:
    """Show other values of the same size and type in a preview node; nothing is allocated."""
    scalars = node.GetImageData().GetPointData().GetScalars()
    array = numpy_support.vtk_to_numpy(scalars).reshape(volume.array.shape)
    array[...] = volume.array
    scalars.Modified()
    node.GetImageData().Modified()
    node.Modified()


def removePreview(node: Any) -> None:
    """Take a preview node out of the scene; nothing happens when it is gone already."""
    if node is not None and slicer.mrmlScene.IsNodePresent(node):
        volumes.removeVolumeNode(node)
