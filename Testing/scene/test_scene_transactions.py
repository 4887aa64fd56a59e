"""A result goes into the scene whole or not at all; a picked output is replaced, or as it was."""

from __future__ import annotations

import numpy as np
import pytest

from MedPrepCommonLib import headless

headless.start()

import slicer  # noqa: E402
from test_scene_results import ct, everything, hierarchy, items, state  # noqa: E402
from test_scene_volumes import GRIDS, transform  # noqa: E402

from MedPrepCommonLib.core.errors import InputError  # noqa: E402
from MedPrepCommonLib.core.result import Result  # noqa: E402
from MedPrepCommonLib.core.volume import LabelVolume, Volume  # noqa: E402
from MedPrepCommonLib.scene import grids, segments, tables, volumes  # noqa: E402
from MedPrepCommonLib.scene.results import placeResult, sceneTransaction  # noqa: E402


@pytest.fixture(autouse=True)
def scene():
    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


CREATORS = [
    (volumes, "fillNode"),
    (volumes, "imageDataFromArray"),
    (segments, "vtkSegmentationFromLabels"),
    (segments, "fillSegmentation"),
    (tables, "fillTable"),
    (tables, "nodeFromChecks"),
    (tables, "nodeFromPoints"),
    (tables, "nodesFromFigure"),
]


@pytest.mark.parametrize(("module", "function"), CREATORS, ids=[name for _module, name in CREATORS])
@pytest.mark.parametrize(
    "error", [InputError("bad"), KeyboardInterrupt(), MemoryError()], ids=lambda e: type(e).__name__
)
def test_an_error_at_any_step_leaves_the_scene_as_it_was(monkeypatch, scene, module, function, error):
    node = ct()
    sh = hierarchy()
    sh.CreateItem(sh.CreateStudyItem(sh.GetSceneItemID(), "study"), node)
    result = everything(node)
    before, nodes, shItems = state(node), scene.GetNumberOfNodes(), items()
    original = getattr(module, function)

    def fail(*arguments, **options):
        original(*arguments, **options)
        raise error

    monkeypatch.setattr(module, function, fail)
    with pytest.raises(type(error)):
        placeResult(result, node, "x")
    assert (state(node), scene.GetNumberOfNodes(), items()) == (before, nodes, shItems)
    assert not scene.IsBatchProcessing()


def test_values_that_cannot_be_stored_leave_nothing(scene):
    node = ct()
    before = scene.GetNumberOfNodes()
    result = everything(node)
    result.images["huge"] = Volume(np.full((2, 2, 2), 2**40), np.eye(4))
    with pytest.raises(InputError, match="32 bits"):
        placeResult(result, node, "x")
    assert scene.GetNumberOfNodes() == before


def test_nodes_of_others_survive_an_error(scene):
    mine = scene.AddNewNodeByClass("vtkMRMLTextNode", "mine")
    with pytest.raises(RuntimeError), sceneTransaction():
        scene.AddNewNodeByClass("vtkMRMLTextNode", "temporary")
        raise RuntimeError
    assert scene.GetFirstNodeByName("mine") is mine and scene.GetFirstNodeByName("temporary") is None


def test_into_a_volume():
    node, output = ct(), ct("LPS", "mine")
    output.SetAndObserveTransformNodeID(transform(np.eye(4)).GetID())
    before, result = state(node), everything(node)
    placed = placeResult(result, node, "Clip", into=output)
    assert next(iter(placed)) == "image" and placed["image"] is output and output.GetName() == "mine"
    assert np.array_equal(slicer.util.arrayFromVolume(output), result.images["image"].array)
    np.testing.assert_allclose(grids.worldMatrix(output), GRIDS["oblique"], atol=1e-9)
    assert output.GetParentTransformNode() is None
    assert "ct.lungs" in output.GetAttribute("MedPrep.provenance")
    assert state(node) == before
    role = placed["lungs"].GetReferenceImageGeometryReferenceRole()
    assert placed["lungs"].GetNodeReference(role) is node


def test_into_a_segmentation(scene):
    node = ct()
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    output.GetSegmentation().AddEmptySegment("", "old")
    labels = everything(node).labels
    placed = placeResult(Result(labels=labels), node, "Lungs", into=output)
    assert placed["lungs"] is output and output.GetSegmentation().GetNumberOfSegments() == 3
    assert np.array_equal(segments.labelsFromNode(output, node).array, labels["lungs"].array)


@pytest.mark.parametrize(
    "className", ["vtkMRMLVectorVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode"]
)
def test_an_output_of_another_class_is_refused(scene, className):
    node, output = ct(), scene.AddNewNodeByClass(className)
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="vtkMRMLScalarVolumeNode"):
        placeResult(everything(node), node, "x", into=output)
    assert scene.GetNumberOfNodes() == before


def test_the_input_is_no_output(scene):
    node = ct()
    before = state(node)
    with pytest.raises(InputError, match="input is never changed"):
        placeResult(everything(node), node, "x", into=node)
    assert state(node) == before


def test_a_result_without_an_image_goes_into_nothing():
    node = ct()
    with pytest.raises(InputError, match="no image"):
        placeResult(Result(tables=everything(node).tables), node, "x", into=ct("LPS", "mine"))


@pytest.mark.parametrize("kind", ["volume", "segmentation"])
def test_an_error_restores_the_output(monkeypatch, scene, kind):
    node = ct()
    result = everything(node)
    if kind == "volume":
        output = ct("LPS", "mine")
        output.SetAndObserveTransformNodeID(transform(np.eye(4)).GetID())
    else:
        result = Result(labels=result.labels)
        output = segments.segmentationFromLabels(
            LabelVolume(np.full((3, 3, 3), 9, np.uint8), np.eye(4), "mine"), node
        )
    before = state(output) if kind == "volume" else segments.labelsFromNode(output)
    nodes = scene.GetNumberOfNodes()

    def fail(*_arguments):
        raise RuntimeError

    monkeypatch.setattr("MedPrepCommonLib.scene.results._Writer._finish", fail)
    with pytest.raises(RuntimeError):
        placeResult(result, node, "x", into=output)
    assert scene.GetNumberOfNodes() == nodes
    if kind == "volume":
        assert state(output) == before
    else:
        after = segments.labelsFromNode(output)
        assert np.array_equal(after.array, before.array) and after.segments == before.segments
        assert output.GetNodeReference(output.GetReferenceImageGeometryReferenceRole()) is node
