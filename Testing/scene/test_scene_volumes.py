"""Volume nodes to Volumes and back: values, geometry, facts, transforms, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from MedPrepCommonLib import headless

headless.start()

import slicer  # noqa: E402
import vtk  # noqa: E402

from MedPrepCommonLib.core.errors import GeometryError, InputError  # noqa: E402
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume  # noqa: E402
from MedPrepCommonLib.scene import facts, grids, volumes  # noqa: E402


@pytest.fixture(autouse=True)
def scene():
    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


def rotation(seed: int = 1) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


def matrix(directions: np.ndarray, spacing=(0.7, 0.9, 2.5), origin=(-31.4, 55.5, 1200.25)) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = directions * spacing
    result[:3, 3] = origin
    return result


GRIDS = {
    "axis-aligned": matrix(np.eye(3)),
    "LPS": matrix(np.diag([-1.0, -1.0, 1.0])),
    "left-handed": matrix(np.diag([1.0, 1.0, -1.0])),
    "permuted": matrix(np.eye(3)[:, [2, 0, 1]]),
    "oblique": matrix(rotation() * np.sign(np.linalg.det(rotation()))),
    "oblique left-handed": matrix(-rotation() * np.sign(np.linalg.det(rotation()))),
}


@pytest.mark.parametrize("grid", GRIDS)
def test_geometry_comes_back_exactly(grid):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    back = volumes.volumeFromNode(volumes.nodeFromVolume(Volume(array, GRIDS[grid], "ct")))
    np.testing.assert_allclose(back.ijkToRAS, GRIDS[grid], rtol=0, atol=1e-9)
    assert np.array_equal(back.array, array)


@pytest.mark.parametrize("name", ["LPS", "PIR", "ASL", "RAS", "SRP"])
def test_five_orientations_of_one_brain(shared_data, name):
    import SimpleITK as sitk

    volume = Volume.from_sitk(sitk.ReadImage(str(shared_data / "odd" / "orientations" / f"{name}.nii.gz")))
    back = volumes.volumeFromNode(volumes.nodeFromVolume(volume, name))
    np.testing.assert_allclose(back.ijkToRAS, volume.ijkToRAS, rtol=0, atol=1e-9)
    assert np.array_equal(back.array, volume.array)


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i2", ">f4"]
)
@pytest.mark.parametrize("components", [None, 1, 2, 3, 4])
def test_every_type_keeps_its_values_and_can_be_saved(dtype, components, tmp_path):
    shape = (3, 4, 5) if components is None else (3, 4, 5, components)
    values = np.random.default_rng(3).integers(0, 2 if dtype == "?" else 120, shape)
    if np.dtype(dtype).kind in "if":
        values = values - 50
    array = values.astype(dtype)
    node = volumes.nodeFromVolume(Volume(array, np.eye(4), "image"))
    back = volumes.volumeFromNode(node).array
    assert np.array_equal(back, values[..., 0] if components == 1 else values)
    vector = components not in (None, 1)
    assert node.GetClassName() == ("vtkMRMLVectorVolumeNode" if vector else "vtkMRMLScalarVolumeNode")
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    loaded = volumes.volumeFromNode(slicer.mrmlScene.GetFirstNodeByName("image"))
    assert np.array_equal(loaded.array, values[..., 0] if components == 1 else values)


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 2, 2), 2**40, np.int64),
        np.full((2, 2, 2), -(2**31) - 1, np.int64),
        np.zeros((2, 2, 2, 5), np.uint8),
    ],
    ids=["too large", "too small", "five channels"],
)
def test_what_slicer_cannot_save_is_refused_and_leaves_nothing(array, scene):
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError):
        volumes.nodeFromVolume(Volume(array, np.eye(4)))
    assert scene.GetNumberOfNodes() == before


def test_the_node_shares_nothing_with_the_volume_it_was_made_from():
    array = np.zeros((2, 3, 4), np.int16)
    node = volumes.nodeFromVolume(Volume(array, np.eye(4)))
    array[:] = 7
    assert slicer.util.arrayFromVolume(node).max() == 0


def test_reading_copies_nothing_and_cannot_change_the_node():
    node = volumes.nodeFromVolume(Volume(np.zeros((2, 3, 4), np.int16), np.eye(4)))
    volume = volumes.volumeFromNode(node)
    assert np.shares_memory(volume.array, slicer.util.arrayFromVolume(node))
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    slicer.mrmlScene.RemoveNode(node)
    del node
    assert volume.array.sum() == 0  # the voxels outlive the node


def test_facts_history_and_display_come_back():
    history = ({"operation": "ct.clip", "parameters": {"low": -1000.0}, "cite": ['a; b: "c" & <d> 100 %\n']},)
    info = {"sliceThickness": 1.25, "padding": np.int16(-2048), "channelNames": ["a", "b"]}
    volume = Volume(
        np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4), "ct", "CT", info, (10.0, 20.0), history
    )
    back = volumes.volumeFromNode(volumes.nodeFromVolume(volume))
    assert (back.name, back.modality, back.display, back.history) == ("ct", "CT", (10.0, 20.0), history)
    assert back.info == {"sliceThickness": 1.25, "padding": -2048, "channelNames": ["a", "b"]}


def test_damaged_attributes_count_as_absent():
    node = volumes.nodeFromVolume(Volume(np.zeros((2, 3, 4)), np.eye(4)))
    node.SetAttribute(facts.PROVENANCE, "{not json")
    node.SetAttribute(facts.INFO, "[1, 2]")
    back = volumes.volumeFromNode(node)
    assert back.history == () and back.info == {}


def test_label_map_nodes_keep_names_colours_and_codes():
    segment = Segment(
        3,
        "right lung",
        ("SCT", "123037004", "Anatomical Structure"),
        ("SCT", "39607008", "Lung"),
        ("SCT", "24028007", "Right"),
        (0.1, 0.2, 0.3),
    )
    array = np.zeros((3, 4, 5), np.uint8)
    array[1, 1, 1] = 3
    node = volumes.nodeFromVolume(LabelVolume(array, GRIDS["oblique"], "lungs", segments=(segment,)))
    assert node.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    back = volumes.volumeFromNode(node)
    assert isinstance(back, LabelVolume) and back.segments == (segment,)
    assert np.array_equal(back.array, array)


def transform(linear: np.ndarray | None = None):
    if linear is not None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        node.SetMatrixTransformToParent(grids.matrixFromArray(linear))
        return node
    warp = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for p in ((0, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 10), (5, 5, 5)):
        points.InsertNextPoint(p)
    moved = vtk.vtkPoints()
    moved.DeepCopy(points)
    moved.SetPoint(4, 7, 5, 5)
    warp.SetSourceLandmarks(points)
    warp.SetTargetLandmarks(moved)
    warp.SetBasisToR()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "bent")
    node.SetAndObserveTransformToParent(warp)
    return node


def test_linear_parents_are_hardened_and_said_so():
    outer, inner = np.eye(4), np.eye(4)
    outer[:3, :3], outer[:3, 3] = rotation(4), (1, 2, 3)
    inner[:3, 3] = (-40, 0, 12.5)
    parent, child = transform(outer), transform(inner)
    child.SetAndObserveTransformNodeID(parent.GetID())
    node = volumes.nodeFromVolume(Volume(np.zeros((3, 4, 5)), GRIDS["LPS"], "ct"))
    node.SetAndObserveTransformNodeID(child.GetID())
    volume = volumes.volumeFromNode(node)
    np.testing.assert_allclose(volume.ijkToRAS, outer @ inner @ GRIDS["LPS"], atol=1e-9)
    result = volumes.nodeFromVolume(volume, "result")
    assert result.GetParentTransformNode() is None
    assert result.GetAttribute("MedPrep.parentTransform") == "hardened"
    assert node.GetParentTransformNode() is child
    local = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(local)
    np.testing.assert_allclose(grids.arrayFromMatrix(local), GRIDS["LPS"], atol=1e-12)
    # the note speaks of the last step only
    assert "parentTransform" not in volumes.volumeFromNode(result).info


def test_non_linear_parents_are_refused():
    node = volumes.nodeFromVolume(Volume(np.zeros((3, 4, 5)), np.eye(4), "ct"))
    node.SetAndObserveTransformNodeID(transform().GetID())
    with pytest.raises(GeometryError, match="non-linear"):
        volumes.volumeFromNode(node)


def test_a_non_linear_grandparent_is_refused_too():
    node = volumes.nodeFromVolume(Volume(np.zeros((3, 4, 5)), np.eye(4), "ct"))
    inner = transform(np.eye(4))
    inner.SetAndObserveTransformNodeID(transform().GetID())
    node.SetAndObserveTransformNodeID(inner.GetID())
    with pytest.raises(GeometryError, match="non-linear"):
        volumes.volumeFromNode(node)


def test_no_node_an_empty_node_and_other_nodes_are_refused(scene):
    with pytest.raises(InputError, match="No volume"):
        volumes.volumeFromNode(None)
    with pytest.raises(InputError, match="empty"):
        volumes.volumeFromNode(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing"))
    with pytest.raises(InputError, match="Expected a scalar"):
        volumes.volumeFromNode(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode"))


def test_modality_is_found_where_slicer_notes_it(scene):
    node = volumes.nodeFromVolume(Volume(np.zeros((3, 4, 5)), np.eye(4)))
    assert volumes.volumeFromNode(node).modality == ""
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    assert volumes.volumeFromNode(node).modality == "CT"
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    assert volumes.volumeFromNode(node).modality == "MR"
    node.SetAttribute("MedPrep.modality", "DX")
    assert volumes.volumeFromNode(node).modality == "DX"


def test_colour_is_shown_as_it_is_and_marked_as_colour():
    rgb = np.random.default_rng(5).integers(0, 255, (2, 3, 4, 3), np.uint8)
    node = volumes.nodeFromVolume(Volume(rgb, np.eye(4)))
    display = node.GetDisplayNode()
    assert (display.GetLevel(), display.GetWindow()) == (127.5, 255.0)
    assert node.GetVoxelVectorType() == node.VoxelVectorTypeColorRGB
    floats = volumes.nodeFromVolume(Volume(rgb.astype(np.float32), np.eye(4)))
    assert floats.GetVoxelVectorType() == node.VoxelVectorTypeUndefined


@pytest.mark.parametrize(
    ("array", "display", "expected"),
    [
        (np.linspace(0, 1000, 6000).reshape(10, 20, 30), None, (500, 990)),
        (np.linspace(0, 1, 6000).reshape(10, 20, 30), (-600.0, 1500.0), (0.5, 0.99)),
        (np.linspace(0, 1000, 6000).reshape(10, 20, 30), (40.0, 400.0), (40.0, 400.0)),
        (np.full((2, 2, 2), 7.0), None, (7.0, 1.0)),
        (np.full((2, 2, 2), np.nan), None, (0.5, 1.0)),
    ],
    ids=["automatic", "made for other values", "its own", "constant", "nothing finite"],
)
def test_window_shows_the_values(array, display, expected):
    node = volumes.nodeFromVolume(Volume(array, np.eye(4), display=display))
    shown = node.GetDisplayNode()
    assert (shown.GetLevel(), shown.GetWindow()) == pytest.approx(expected, rel=0.01)
    assert not shown.GetAutoWindowLevel()


def test_attributes_hold_no_paths_or_times():
    volume = Volume(
        np.zeros((2, 3, 4)), np.eye(4), "ct", "CT", {"sliceThickness": 1.0}, None, ({"operation": "x"},)
    )
    node = volumes.nodeFromVolume(volume)
    names = [n for n in node.GetAttributeNames() if n.startswith("MedPrep.")]
    assert sorted(names) == ["MedPrep.info", "MedPrep.modality", "MedPrep.provenance"]
    assert json.loads(node.GetAttribute("MedPrep.provenance")) == [{"operation": "x"}]
