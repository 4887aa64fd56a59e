"""Puts a result into the scene: all of it, named and placed beside its input, or nothing at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicer
import vtk

from ..core.errors import InputError
from ..core.i18n import _
from ..core.patch_set import COLUMNS
from ..core.result import Result, Table
from ..core.volume import LabelVolume, Volume
from . import facts, grids, segments, tables, volumes
from .names import safeName


def placeResult(result: Result, inputNode: Any, operationTitle: str, into: Any = None) -> dict[str, Any]:
    """Make nodes of everything in `result`, main results first.

    The nodes are called ``<input> <operation>``, with the result's own name behind it where there are
    several, and lie in the subject hierarchy where the input lies. The input is not changed. On any error
    every node made so far is removed again and `into` is as it was.

    Parameters
    ----------
    result : images become volume nodes (more than 4 channels: one volume each), label maps segmentations,
        tables, checks and the places of patches table nodes, figures plot charts, points markups; metrics an
        attribute (``MedPrep.metrics``, JSON) of every image and segmentation.
    inputNode : the node that the result was made from.
    operationTitle : for the names, as on the button.
    into : node that the main result replaces the content of: a volume or segmentation node other than the
        input; None makes new nodes only.

    Returns
    -------
    dict
        node by name: the result's names; ``checks`` for the quality checks; ``<name>_1``, ``<name>_2``, ...
        for the channels of an image of more than 4.

    Raises
    ------
    InputError
        when `into` is the input or of the wrong class, or a value cannot be stored in Slicer.
    """
    writer = _Writer(result, inputNode, operationTitle, into)
    with sceneTransaction():
        return writer.write()


@contextmanager
def sceneTransaction() -> Iterator[None]:
    """After an exception inside, the nodes that were added inside are removed.

    No batch-process state: in one, Slicer gives new nodes no subject hierarchy item, and segments need it.
    """
    scene = slicer.mrmlScene
    # The subject hierarchy node is made on first use; it is the scene's, not the result's.
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before = {node.GetID() for node in _nodes()}
    try:
        yield
    except BaseException:
        # Newest first, so that what refers to a node goes before it.
        for node in [n for n in reversed(_nodes()) if n.GetID() not in before]:
            if scene.IsNodePresent(node):
                scene.RemoveNode(node)
        raise


def placeBeside(node: Any, inputNode: Any) -> None:
    """Put `node` where `inputNode` lies in the subject hierarchy; nothing when that lies nowhere special."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None or inputNode is None:
        return
    item = hierarchy.GetItemByDataNode(inputNode)
    parent = hierarchy.GetItemParent(item) if item else 0
    if parent and parent != hierarchy.GetSceneItemID():
        hierarchy.CreateItem(parent, node)


class _Writer:
    """The steps of :func:`placeResult`."""

    def __init__(self, result: Result, inputNode: Any, title: str, into: Any) -> None:
        self.result, self.inputNode, self.into = result, inputNode, into
        name = (inputNode.GetName() or "") if inputNode is not None else ""
        self.words = safeName(name).split(" ") if name else []
        self.base = f"{name} {title}" if inputNode is not None else title
        self.single = len(result.images) + len(result.labels) == 1
        self.nodes: dict[str, Any] = {}

    def write(self) -> dict[str, Any]:
        result = self.result
        mainName = next(iter(result.volumes()), None)
        if self.into is not None:
            self._checkInto(result.volumes().get(mainName))
        for name, volume in result.images.items():
            # What goes into an existing node goes there last, when nothing else can fail.
            if not (self.into is not None and name == mainName):
                self._image(name, volume)
        for name, labels in result.labels.items():
            if not (self.into is not None and name == mainName):
                node = segments.segmentationFromLabels(labels, self._reference(labels), self._name(name))
                self._add(name, node)
        for name, patches in result.patches.items():
            # Thousands of volumes would be of no use in a scene: the table says where each patch lies.
            table = Table(patches.title, COLUMNS, patches.records())
            node = tables.nodeFromTable(table, self._name(name, False))
            node.SetAttribute(facts.PROVENANCE, facts.jsonText(list(patches.history)))
            self._add(name, node)
        for name, table in result.tables.items():
            self._add(name, tables.nodeFromTable(table, self._name(name, False)))
        if result.checks:
            self._add("checks", tables.nodeFromChecks(result.checks, self._name("checks", False)))
        for name, points in result.points.items():
            self._add(name, tables.nodeFromPoints(points, self._name(name, False)))
        for name, figure in result.figures.items():
            chart, *others = tables.nodesFromFigure(figure, self._name(name, False))
            self._add(name, chart)
            for node in others:
                placeBeside(node, self.inputNode)
        if self.into is not None:
            self._fillInto(mainName, result.volumes()[mainName])
        metrics = facts.jsonText(result.metrics) if result.metrics else None
        for node in self.nodes.values():
            if node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLSegmentationNode"):
                node.SetAttribute(facts.METRICS, metrics)
        if self.into is not None:
            # It was filled last, but it is the main result.
            return {mainName: self.nodes[mainName], **self.nodes}
        return self.nodes

    def _image(self, name: str, volume: Volume) -> None:
        if volume.components <= grids.MAX_COMPONENTS:
            self._add(name, volumes.nodeFromVolume(volume, self._name(name)))
            return
        channels = volume.info.get("channelNames") or ()
        for n in range(volume.components):
            label = channels[n] if n < len(channels) else str(n + 1)
            info = {key: value for key, value in volume.info.items() if key != "channelNames"}
            channel = volume.with_array(volume.array[..., n], info=info)
            self._add(f"{name}_{n + 1}", volumes.nodeFromVolume(channel, f"{self._name(name)} {label}"))

    def _add(self, name: str, node: Any) -> None:
        self.nodes[name] = node
        placeBeside(node, self.inputNode)

    def _name(self, name: str, main: bool = True) -> str:
        if main and self.single:
            return self.base
        # Labels that move along with an image begin as it does: said twice at each step, names would double.
        words = name.split(" ")
        alike = len(os.path.commonprefix([words, self.words]))
        return " ".join([self.base, *(words[alike:] or words)])

    def _reference(self, labels: LabelVolume) -> Any:
        """The volume node that a label map belongs to: one with the same grid, the input before results."""
        candidates = [self.inputNode, *self.nodes.values()]
        for node in (n for n in candidates if n is not None and n.IsA("vtkMRMLVolumeNode")):
            image = node.GetImageData()
            if node.GetParentTransformNode() is None and image is not None:
                shape = tuple(reversed(image.GetDimensions()))
                if shape == labels.shape and labels.same_grid(
                    labels.with_array(labels.array, ijkToRAS=grids.worldMatrix(node))
                ):
                    return node
        return None

    def _checkInto(self, volume: Volume | None) -> None:
        if self.into is self.inputNode:
            raise InputError(
                _("The output is the input volume {name!r}.").format(name=self.into.GetName()),
                _("Expected another node: the input is never changed."),
                _("Choose another output, or let a new one be made."),
            )
        if volume is None:
            raise InputError(
                _("The result holds no image or segmentation that could go into {name!r}.").format(
                    name=self.into.GetName()
                ),
                "",
                _("Leave the output empty."),
            )
        if isinstance(volume, LabelVolume):
            wanted = "vtkMRMLSegmentationNode"
        else:
            wanted = "vtkMRMLScalarVolumeNode" if volume.components == 1 else "vtkMRMLVectorVolumeNode"
        if self.into.GetClassName() != wanted:
            raise InputError(
                _("The output {name!r} is a {type}.").format(
                    name=self.into.GetName(), type=self.into.GetClassName()
                ),
                _("Expected a {type} for this result.").format(type=wanted),
                _("Choose another output, or let a new one be made."),
            )

    def _fillInto(self, name: str, volume: Volume) -> None:
        node = self.into
        if isinstance(volume, LabelVolume):
            segmentation = segments.vtkSegmentationFromLabels(volume)
            with _restored(node, segmentation=True):
                segments.fillSegmentation(node, volume, segmentation, self._reference(volume))
                self._finish(name, node)
        else:
            image = grids.imageDataFromArray(grids.storableArray(volume.array))
            with _restored(node, segmentation=False):
                volumes.fillNode(node, volume, image)
                self._finish(name, node)

    def _finish(self, name: str, node: Any) -> None:
        self.nodes[name] = node
        placeBeside(node, self.inputNode)


@contextmanager
def _restored(node: Any, segmentation: bool) -> Iterator[None]:
    """After an exception inside, the content, geometry, transform and attributes of `node` are as before."""
    names = [
        facts.PROVENANCE,
        facts.MODALITY,
        facts.INFO,
        facts.PARENT_TRANSFORM,
        facts.METRICS,
    ]
    attributes = {name: node.GetAttribute(name) for name in names}
    transform = node.GetTransformNodeID()
    if segmentation:
        content, role = node.GetSegmentation(), node.GetReferenceImageGeometryReferenceRole()
        reference = node.GetNodeReferenceID(role)
    else:
        content, matrix = node.GetImageData(), vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        display = node.GetDisplayNode()
        if display is not None:
            shown = display.GetLevel(), display.GetWindow(), display.GetAutoWindowLevel()
    try:
        yield
    except BaseException:
        if segmentation:
            node.SetAndObserveSegmentation(content)
            node.SetNodeReferenceID(role, reference)
        else:
            node.SetAndObserveImageData(content)
            node.SetIJKToRASMatrix(matrix)
            if display is not None:
                display.SetAutoWindowLevel(shown[2])
                display.SetWindowLevel(shown[1], shown[0])
        node.SetAndObserveTransformNodeID(transform)
        for name, value in attributes.items():
            node.SetAttribute(name, value)
        raise


def _nodes() -> list[Any]:
    nodes = slicer.mrmlScene.GetNodes()
    return [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]
