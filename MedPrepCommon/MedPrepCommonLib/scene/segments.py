"""Segmentation and label map nodes to LabelVolumes and back, with names, colours and terminology."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from ..core.errors import InputError
from ..core.i18n import _
from ..core.terminology import TISSUE, segment_from_entry, terminology_entry
from ..core.volume import LabelVolume, Segment, Volume, label_values
from ..geometry.label_grid import onto_grid
from . import facts as scenefacts
from . import volumes
from .grids import arrayFromMatrix, imageDataFromArray, matrixFromArray, parentMatrix
from .labelmaps import colorOf, labelsFromLabelMap
from .names import safeName, uniqueName


def labelsFromNode(node: Any, referenceNode: Any = None) -> LabelVolume:
    """The labels of a segmentation, label map or whole-number volume node, in world space.

    Parameters
    ----------
    node : vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode or vtkMRMLScalarVolumeNode; not changed.
    referenceNode : volume node whose grid the labels shall lie on (nearest voxel where the grids do not line
        up); None keeps the label map's own grid, or the segmentation's reference geometry.

    Raises
    ------
    InputError
        when there is no node, nothing in it, segments that overlap, or values that are no labels.
    GeometryError
        when its parent transform is not linear.
    """
    if node is not None and node.IsA("vtkMRMLSegmentationNode"):
        return _labelsFromSegmentation(node, referenceNode)
    labels = labelsFromLabelMap(node)
    if referenceNode is None:
        return labels
    shape, target = _gridOf(referenceNode)
    array = onto_grid(labels.array, labels.ijkToRAS, target, shape)
    return dataclasses.replace(labels, array=array, ijkToRAS=target)


def labelsAsMade(node: Any) -> LabelVolume:
    """The labels of a node on the grid of the volume that it was made for, or on its own grid without one."""
    reference = None
    if node.IsA("vtkMRMLSegmentationNode"):
        reference = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    return labelsFromNode(node, reference)


def segmentationFromLabels(
    labels: LabelVolume, referenceNode: Any = None, name: str | None = None, closedSurface: bool = False
) -> Any:
    """A new vtkMRMLSegmentationNode with one named, coloured, terminology-coded segment per label value.

    Parameters
    ----------
    labels : its values keep their numbers; values without a :class:`Segment` become "label N".
    referenceNode : volume node that the segmentation belongs to; its grid becomes the reference geometry.
        Without one, the labels' own grid does.
    name : of the node; the label map's own name when None.
    closedSurface : whether the 3-D surface is made too.

    Raises
    ------
    InputError
        for negative labels or ones above 32767.
    GeometryError
        for a sheared grid, which Slicer's segmentations cannot be saved on.
    """
    segmentation = vtkSegmentationFromLabels(labels)
    node = slicer.mrmlScene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", uniqueName(name or labels.name or _("Segmentation"))
    )
    try:
        # Not exchanged: Slicer would not show what was exchanged after the scene is saved, closed and loaded.
        node.GetSegmentation().DeepCopy(segmentation)
        fillSegmentation(node, labels, node.GetSegmentation(), referenceNode)
        if closedSurface:
            node.CreateClosedSurfaceRepresentation()
    except BaseException:
        volumes.removeVolumeNode(node)
        raise
    return node


def fillSegmentation(node: Any, labels: LabelVolume, segmentation: Any, referenceNode: Any = None) -> None:
    """Put a vtkSegmentation (see :func:`vtkSegmentationFromLabels`) into a segmentation node."""
    node.SetAndObserveTransformNodeID(None)
    if segmentation is not node.GetSegmentation():
        node.SetAndObserveSegmentation(segmentation)
    if referenceNode is not None and referenceNode.GetParentTransformNode() is None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(referenceNode)
    else:
        # A reference under a transform lies elsewhere than its own geometry says.
        node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), None)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    scenefacts.writeFacts(node, labels)


def vtkSegmentationFromLabels(labels: LabelVolume) -> Any:
    """vtkSegmentation with every label value of `labels` in one shared binary labelmap; copies the array."""
    labels.require_orthogonal()
    found = label_values(labels.array)
    if found and (found[0] < 0 or found[-1] > np.iinfo(np.int16).max):
        raise InputError(
            _("The labels reach from {low} to {high}.").format(low=found[0], high=found[-1]),
            _("Expected label values from 1 to 32767, and 0 for the background."),
            _("Renumber the labels."),
        )
    segments = {segment.value: segment for segment in labels.segments}
    for value in found:
        if value and value not in segments:
            segments[value] = Segment(
                value, _("label {value}").format(value=value), TISSUE, TISSUE, None, colorOf(value)
            )
    highest = max([*segments, *found, 1])
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(
        imageDataFromArray(labels.array.astype(np.uint8 if highest < 256 else np.int16, copy=False))
    )
    matrix = matrixFromArray(labels.ijkToRAS)
    image.SetImageToWorldMatrix(matrix)
    representation = _binaryLabelmap()
    segmentation = slicer.vtkSegmentation()
    segmentation.SetSourceRepresentationName(representation)
    segmentation.SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(matrix, image),
    )
    ids: set[str] = set()
    for value in sorted(segments):
        segment = segments[value]
        entry = slicer.vtkSegment()
        entry.SetName(safeName(segment.name))
        entry.SetColor(*segment.color)
        entry.SetLabelValue(value)
        entry.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology_entry(segment))
        entry.AddRepresentation(representation, image)
        segmentId = re.sub(r"\W+", "_", segment.name) or f"Segment_{value}"
        if segmentId in ids:
            segmentId = f"{segmentId}_{value}"
        ids.add(segmentId)
        segmentation.AddSegment(entry, segmentId)
    return segmentation


def _labelsFromSegmentation(node: Any, referenceNode: Any) -> LabelVolume:
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    if not ids:
        raise InputError(
            _("Segmentation {name!r} has no segments.").format(name=node.GetName()),
            _("Expected at least one."),
            _("Add a segment, or choose another segmentation."),
        )
    parent = parentMatrix(node)
    if referenceNode is not None:
        shape, target = _gridOf(referenceNode)
        segmentation = _withLabelmaps(segmentation, np.linalg.inv(parent) @ target, shape)
    else:
        segmentation = _withLabelmaps(segmentation)
        local, shape = _ownGrid(segmentation)
        target = parent @ local
    values = _valuesOf(segmentation, ids)
    result = np.zeros(shape, np.uint8 if max(values) < 256 else np.int16)
    # Segments that share a labelmap are read together.
    layers: dict[int, list[int]] = {}
    for n, segmentId in enumerate(ids):
        layers.setdefault(segmentation.GetLayerIndex(segmentId, _binaryLabelmap()), []).append(n)
    for members in layers.values():
        image = segmentation.GetSegment(ids[members[0]]).GetRepresentation(_binaryLabelmap())
        array, matrix = _orientedArray(image)
        if array is None:
            continue
        numbers = {segmentation.GetSegment(ids[n]).GetLabelValue(): values[n] for n in members}
        layer = _renumbered(onto_grid(array, parent @ matrix, target, shape), numbers, result.dtype)
        clash = (layer != 0) & (result != 0) if result.any() else None
        if clash is not None and clash.any():
            place = tuple(np.argwhere(clash)[0])
            names = [
                segmentation.GetSegment(ids[values.index(int(a[place]))]).GetName() for a in (result, layer)
            ]
            raise InputError(
                _("Segments {first!r} and {second!r} overlap in {n} voxels.").format(
                    first=names[0], second=names[1], n=int(clash.sum())
                ),
                _("Expected segments that do not overlap."),
                _("Subtract one from the other in the Segment Editor, or use one segment at a time."),
            )
        np.maximum(result, layer, out=result)
    segments = tuple(
        segment_from_entry(
            value,
            segmentation.GetSegment(segmentId).GetName(),
            _tag(segmentation.GetSegment(segmentId)),
            segmentation.GetSegment(segmentId).GetColor(),
        )
        for value, segmentId in zip(values, ids, strict=True)
    )
    facts = scenefacts.factsOf(node)
    facts.pop("display")
    return LabelVolume(result, target, segments=segments, **facts)


def _binaryLabelmap() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _withLabelmaps(segmentation: Any, matrix: np.ndarray | None = None, shape: Any = None) -> Any:
    """`segmentation` if it has binary labelmaps, else a copy in which they are made (on the given grid)."""
    if segmentation.ContainsRepresentation(_binaryLabelmap()):
        return segmentation
    made = slicer.vtkSegmentation()
    made.DeepCopy(segmentation)
    if matrix is not None:
        parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        extent = [0, shape[2] - 1, 0, shape[1] - 1, 0, shape[0] - 1]
        geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(matrixFromArray(matrix), extent)
        made.SetConversionParameter(parameter, geometry)
    if not made.CreateRepresentation(_binaryLabelmap()):
        raise InputError(
            _("The segmentation cannot be turned into voxels."),
            _("Expected binary labelmaps or closed surfaces."),
            _("Create its binary labelmap representation in the Segmentations module."),
        )
    return made


def _ownGrid(segmentation: Any) -> tuple[np.ndarray, tuple[int, int, int]]:
    """IJK-to-local matrix and (k, j, i) of a segmentation's reference geometry, or around its segments."""
    geometry = segmentation.GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    if not geometry:
        geometry = segmentation.DetermineCommonLabelmapGeometry(segmentation.EXTENT_UNION_OF_SEGMENTS, None)
    image = slicer.vtkOrientedImageData()
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, False)
    matrix, extent = vtk.vtkMatrix4x4(), image.GetExtent()
    image.GetImageToWorldMatrix(matrix)
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    if not geometry or min(shape) < 1:
        raise InputError(
            _("The segmentation is empty."),
            _("Expected at least one voxel in a segment."),
            _("Draw a segment, or choose another segmentation."),
        )
    return _shifted(arrayFromMatrix(matrix), extent), shape


def _orientedArray(image: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(k, j, i) view of an oriented image and the matrix of its first voxel; None when it is empty."""
    scalars = image.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfTuples() == 0 or min(image.GetDimensions()) < 1:
        return None, None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    array = numpy_support.vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])
    return array, _shifted(arrayFromMatrix(matrix), image.GetExtent())


def _shifted(matrix: np.ndarray, extent: Any) -> np.ndarray:
    """Matrix whose voxel (0, 0, 0) is the first of `extent`: segments are cropped to what they cover."""
    matrix = matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [extent[0], extent[2], extent[4]]
    return matrix


def _valuesOf(segmentation: Any, ids: list[str]) -> list[int]:
    """The segments' own label values when they are distinct, else 1, 2, 3, ... in order."""
    values = [segmentation.GetSegment(segmentId).GetLabelValue() for segmentId in ids]
    distinct = len(set(values)) == len(values) and min(values) > 0 and max(values) <= np.iinfo(np.int16).max
    return values if distinct else list(range(1, len(ids) + 1))


def _renumbered(array: np.ndarray, numbers: dict[int, int], dtype: Any) -> np.ndarray:
    """Labels `numbers` renamed; all others become background."""
    found = label_values(array)
    if all(numbers.get(value, 0) == value for value in found):
        return array.astype(dtype, copy=False)
    if found[0] >= 0:
        table = np.zeros(found[-1] + 1, dtype)
        for value in found:
            table[value] = numbers.get(value, 0)
        return table[array]
    result = np.zeros(array.shape, dtype)
    for value, number in numbers.items():
        result[array == value] = number
    return result


def _gridOf(node: Any) -> tuple[tuple[int, int, int], np.ndarray]:
    """(k, j, i) and IJK-to-world matrix of a volume node."""
    volume: Volume = volumes.volumeFromNode(node)
    return volume.shape, np.array(volume.ijkToRAS)


def _tag(segment: Any) -> str:
    text = vtk.reference("")
    found = segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    return str(text) if found else ""
