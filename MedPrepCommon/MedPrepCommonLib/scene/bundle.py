"""A whole run of a recipe in a scene of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer

from ..core.errors import InputError
from ..core.i18n import _
from ..core.result import Result
from ..core.volume import LabelVolume, Volume
from . import segments, volumes
from .names import safeName
from .results import placeResult, sceneTransaction

_DATA_CLASSES = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLTransformNode",
    "vtkMRMLSequenceNode",
)


def placeRun(result: Result, inputs: Mapping[str, Volume], title: str) -> dict[str, Any]:
    """Put a recipe's inputs and results into the empty scene, under one subject.

    Parameters
    ----------
    result : what the recipe made.
    inputs : what it was made from, by the recipe's input names; results are placed beside the first.
    title : of the recipe, for the node names.

    Returns
    -------
    dict
        result node by name, as :func:`MedPrepCommonLib.scene.results.placeResult`.

    Raises
    ------
    InputError
        when the scene already holds somebody's data (it would be saved too), or a value cannot be stored.
    """
    scene = slicer.mrmlScene
    if any(scene.GetNumberOfNodesByClass(name) for name in _DATA_CLASSES):
        raise InputError(
            _("The scene is not empty."),
            _("Expected a scene of its own for the results of a recipe."),
            _("Save your scene and close it first (headless.clear())."),
        )
    with sceneTransaction():
        inputNodes = [_inputNode(name, volume) for name, volume in inputs.items()]
        _underOneSubject(inputNodes)
        return placeResult(result, inputNodes[0], title)


def _inputNode(name: str, volume: Volume) -> Any:
    """A node called like the recipe's input: a file's own name may be a patient's."""
    if isinstance(volume, LabelVolume):
        return segments.segmentationFromLabels(volume, name=name)
    return volumes.nodeFromVolume(volume, name=name)


def _underOneSubject(nodes: list[Any]) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), safeName(nodes[0].GetName()))
    for node in nodes:
        hierarchy.CreateItem(subject, node)
