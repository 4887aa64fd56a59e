"""Segmentation and label map nodes to LabelVolumes and back, exact to the voxel, on any grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedPrepCommonLib import headless

headless.start()

import slicer  # noqa: E402
import vtk  # noqa: E402
from scipy import ndimage  # noqa: E402
from test_scene_volumes import GRIDS, rotation, transform  # noqa: E402

from MedPrepCommonLib.core.errors import GeometryError, InputError  # noqa: E402
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume  # noqa: E402
from MedPrepCommonLib.geometry.label_grid import onto_grid  # noqa: E402
from MedPrepCommonLib.scene import grids, volumes  # noqa: E402
from MedPrepCommonLib.scene.segments import labelsFromNode, segmentationFromLabels  # noqa: E402

STRUCTURE = ("SCT", "123037004", "Anatomical Structure")
LUNG = ("SCT", "39607008", "Lung")
SEGMENTS = (
    Segment(1, "right lung", STRUCTURE, LUNG, ("SCT", "24028007", "Right"), (0.1, 0.2, 0.3)),
    Segment(2, "left lung", STRUCTURE, LUNG, ("SCT", "7771000", "Left"), (0.9, 0.2, 0.3)),
    Segment(3, "airway", STRUCTURE, ("SCT", "89187006", "Airway structure"), None, (0.0, 0.5, 1.0)),
)


@pytest.fixture(autouse=True)
def scene():
    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


def lungs(grid="axis-aligned", shape=(6, 7, 8), seed=0) -> LabelVolume:
    array = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)
    array[0] = 0  # a border without any segment, which Slicer likes to crop away
    return LabelVolume(array, GRIDS[grid], "lungs", segments=SEGMENTS)


def reference(labels: Volume):
    return volumes.nodeFromVolume(Volume(np.zeros(labels.shape, np.int16), labels.ijkToRAS, "ct"))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("with_reference", [True, False])
def test_round_trip_is_exact(grid, with_reference):
    labels = lungs(grid)
    ct = reference(labels)
    node = segmentationFromLabels(labels, ct if with_reference else None)
    back = labelsFromNode(node, ct if with_reference else None)
    assert np.array_equal(back.array, labels.array)
    np.testing.assert_allclose(back.ijkToRAS, labels.ijkToRAS, rtol=0, atol=1e-6)
    assert back.segments == SEGMENTS
    assert back.array.dtype == np.uint8


def test_a_new_node_keeps_its_own_segmentation_and_the_segments_share_a_labelmap(scene):
    own = []

    def remember(_scene, _event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            own.append(node.GetSegmentation())

    remember.CallDataType = vtk.VTK_OBJECT
    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAddedEvent, remember)
    node = segmentationFromLabels(lungs(next(iter(GRIDS))), None, "lungs")
    slicer.mrmlScene.RemoveObserver(tag)
    # Slicer does not show an exchanged one after the scene is saved, closed and loaded.
    assert node.GetSegmentation() is own[0] and own[0].GetNumberOfLayers() == 1


@pytest.mark.parametrize("grid", GRIDS)
def test_round_trip_through_a_saved_scene(grid, tmp_path, scene):
    labels = lungs(grid)
    ct = reference(labels)
    segmentationFromLabels(labels, ct, "lungs", closedSurface=True)
    headless.saveScene(tmp_path / "scene.mrb")
    headless.loadScene(tmp_path / "scene.mrb")
    ct, node = scene.GetFirstNodeByName("ct"), scene.GetFirstNodeByName("lungs")
    role = node.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is ct
    back = labelsFromNode(node, ct)
    assert back.segments == SEGMENTS
    # A left-handed grid comes back with its k axis flipped: compare place by place.
    onto = onto_grid(back.array, back.ijkToRAS, labels.ijkToRAS, labels.shape)
    assert np.array_equal(onto, labels.array)


def test_cropped_segments_land_in_their_place():
    labels = lungs()
    ct = reference(labels)
    node = segmentationFromLabels(labels, ct)
    segmentation = node.GetSegmentation()
    # What the Segment Editor leaves: each segment in a labelmap of its own, cropped to what it covers.
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    for n, segment in enumerate(SEGMENTS):
        z, y, x = (
            np.flatnonzero((labels.array == segment.value).any(axis=other))
            for other in ((1, 2), (0, 2), (0, 1))
        )
        image = slicer.vtkOrientedImageData()
        image.SetExtent(int(x[0]), int(x[-1]), int(y[0]), int(y[-1]), int(z[0]), int(z[-1]))
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        crop = labels.array[z[0] : z[-1] + 1, y[0] : y[-1] + 1, x[0] : x[-1] + 1] == segment.value
        vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())[:] = crop.ravel()
        image.SetImageToWorldMatrix(grids.matrixFromArray(labels.ijkToRAS))
        entry = segmentation.GetNthSegment(n)
        entry.RemoveAllRepresentations()
        entry.AddRepresentation(name, image)
        entry.SetLabelValue(1)
    back = labelsFromNode(node, ct)
    assert np.array_equal(back.array, labels.array)
    assert [s.value for s in back.segments] == [1, 2, 3]


def test_segments_that_slicer_itself_made():
    labels = lungs()
    ct = reference(labels)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for segment in SEGMENTS:
        segmentId = node.GetSegmentation().AddEmptySegment("", segment.name)
        mask = (labels.array == segment.value).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentId, ct)
    assert np.array_equal(labelsFromNode(node, ct).array, labels.array)
    assert np.array_equal(labelsFromNode(node).array, labels.array)


def test_values_keep_their_numbers_and_unknown_ones_get_a_name():
    array = np.zeros((3, 4, 5), np.int32)
    array[1], array[2] = 7, 300
    node = segmentationFromLabels(LabelVolume(array, np.eye(4)))
    back = labelsFromNode(node)
    assert np.array_equal(back.array, array) and back.array.dtype == np.int16
    assert [(s.value, s.name) for s in back.segments] == [(7, "label 7"), (300, "label 300")]


def test_a_segment_without_voxels_stays_listed():
    labels = LabelVolume(np.zeros((3, 4, 5), np.uint8), np.eye(4), segments=SEGMENTS[:1])
    back = labelsFromNode(segmentationFromLabels(labels))
    assert back.segments == SEGMENTS[:1] and back.array.shape == (3, 4, 5) and not back.array.any()


def test_the_node_shares_nothing_with_the_labels():
    array = np.ones((3, 4, 5), np.uint8)
    node = segmentationFromLabels(LabelVolume(array, np.eye(4)))
    array[:] = 0
    assert labelsFromNode(node).array.all()


def test_names_that_cannot_be_saved_are_changed():
    segment = Segment(1, 'a & "b" <c>/d', STRUCTURE, LUNG)
    node = segmentationFromLabels(LabelVolume(np.ones((3, 4, 5), np.uint8), np.eye(4), segments=(segment,)))
    assert node.GetSegmentation().GetNthSegment(0).GetName() == "a b c d"


@pytest.mark.parametrize("value", [-1, 40000])
def test_values_that_are_no_labels_are_refused(value, scene):
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="Expected label values"):
        segmentationFromLabels(LabelVolume(np.full((3, 4, 5), value, np.int32), np.eye(4)))
    assert scene.GetNumberOfNodes() == before


def test_sheared_grids_are_refused():
    matrix = np.eye(4)
    matrix[1, 2] = 0.3
    with pytest.raises(GeometryError, match="sheared"):
        segmentationFromLabels(LabelVolume(np.ones((3, 4, 5), np.uint8), matrix))


def test_overlapping_segments_are_refused_by_name():
    labels = lungs()
    ct = reference(labels)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for name, last in (("tumour", 4), ("lung", 6)):
        mask = np.zeros(labels.shape, np.uint8)
        mask[2:last] = 1
        segmentId = node.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentId, ct)
    with pytest.raises(InputError, match=f"'tumour' and 'lung' overlap in {2 * 7 * 8} voxels"):
        labelsFromNode(node, ct)


def test_an_empty_segmentation_is_refused(scene):
    with pytest.raises(InputError, match="no segments"):
        labelsFromNode(scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing"))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "hollow")
    node.GetSegmentation().AddEmptySegment("", "a")
    with pytest.raises(InputError, match="is empty"):
        labelsFromNode(node)


def test_without_a_reference_geometry_the_segments_themselves_tell():
    labels = lungs("oblique")
    node = segmentationFromLabels(labels)
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    node.GetSegmentation().SetConversionParameter(parameter, "")
    back = labelsFromNode(node)
    assert np.array_equal(onto_grid(back.array, back.ijkToRAS, labels.ijkToRAS, labels.shape), labels.array)
    assert back.array.sum() == labels.array.sum()


def test_a_surface_is_turned_into_voxels_without_changing_the_node():
    shape = (30, 30, 30)
    k, j, i = np.indices(shape)
    ball = ((k - 15) ** 2 + (j - 15) ** 2 + (i - 15) ** 2 < 100).astype(np.uint8)
    labels = LabelVolume(ball, GRIDS["axis-aligned"], segments=SEGMENTS[:1])
    ct = reference(labels)
    node = segmentationFromLabels(labels, ct, closedSurface=True)
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    back = labelsFromNode(node, ct)
    both = (back.array != 0) & (ball != 0)
    assert 2 * both.sum() / (back.array.astype(bool).sum() + ball.sum()) > 0.97
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    assert not node.GetSegmentation().ContainsRepresentation(name)


def test_transforms_of_segmentation_and_reference_are_hardened():
    labels = lungs("oblique")
    ct = reference(labels)
    node = segmentationFromLabels(labels, ct)
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = rotation(9), (5, -6, 7)
    parent = transform(moved)
    node.SetAndObserveTransformNodeID(parent.GetID())
    alone = labelsFromNode(node)
    np.testing.assert_allclose(alone.ijkToRAS, moved @ labels.ijkToRAS, atol=1e-6)
    assert np.array_equal(alone.array, labels.array) and alone.info["parentTransform"] == "hardened"
    ct.SetAndObserveTransformNodeID(parent.GetID())
    together = labelsFromNode(node, ct)
    assert np.array_equal(together.array, labels.array)
    node.SetAndObserveTransformNodeID(transform().GetID())
    with pytest.raises(GeometryError, match="non-linear"):
        labelsFromNode(node, ct)


def test_label_maps_and_masks_loaded_as_images_are_labels():
    labels = lungs("LPS")
    scalar = volumes.nodeFromVolume(Volume(labels.array.astype(np.float32), labels.ijkToRAS, "mask"))
    back = labelsFromNode(scalar)
    assert np.array_equal(back.array, labels.array) and [s.value for s in back.segments] == [1, 2, 3]
    fractions = volumes.nodeFromVolume(Volume(labels.array * 0.5, labels.ijkToRAS))
    with pytest.raises(InputError, match="fractional"):
        labelsFromNode(fractions)
    with pytest.raises(InputError, match="No volume"):
        labelsFromNode(None)


def test_label_map_nodes_of_slicer_take_names_from_their_colour_table(scene):
    node = volumes.nodeFromVolume(LabelVolume(np.full((3, 4, 5), 2, np.uint8), np.eye(4)))
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode")
    table.SetTypeToUser()
    table.SetNumberOfColors(3)
    table.SetColor(2, "liver", 0.5, 0.25, 0.75, 1.0)
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    (segment,) = labelsFromNode(node).segments
    assert (segment.value, segment.name) == (2, "liver")
    assert segment.color == pytest.approx((0.5, 0.25, 0.75), abs=1 / 255)


def test_labels_follow_onto_another_grid():
    labels = lungs(shape=(10, 12, 14))
    node = segmentationFromLabels(labels)
    crop = labels.ijkToRAS.copy()
    crop[:3, 3] = (labels.ijkToRAS @ [3, 2, 4, 1])[:3]
    ct = volumes.nodeFromVolume(Volume(np.zeros((5, 6, 7)), crop))
    assert np.array_equal(labelsFromNode(node, ct).array, labels.array[4:9, 2:8, 3:10])


# ---- moving labels between grids, without a scene


@given(
    axes=st.permutations([0, 1, 2]),
    flips=st.tuples(*[st.booleans()] * 3),
    offset=st.tuples(*[st.integers(-6, 6)] * 3),
    size=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 99),
)
def test_grids_that_line_up_are_copied_exactly(axes, flips, offset, size, seed):
    labels = np.random.default_rng(seed).integers(0, 5, (5, 6, 7)).astype(np.uint8)
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for target, source in enumerate(axes):
        step[source, target] = -1 if flips[target] else 1
    step[:3, 3] = offset
    found = onto_grid(labels, GRIDS["oblique"], GRIDS["oblique"] @ step, size)
    expected = np.zeros(size, np.uint8)
    for k, j, i in np.ndindex(*size):
        x, y, z = np.rint(step @ [i, j, k, 1])[:3].astype(int)
        if 0 <= x < 7 and 0 <= y < 6 and 0 <= z < 5:
            expected[k, j, i] = labels[z, y, x]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("turned", [False, True])
def test_other_grids_take_the_nearest_voxel(seed, turned):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 5, (9, 10, 11)).astype(np.int16)
    source, target = GRIDS["LPS"], GRIDS["LPS"].copy()
    scale = np.eye(4)
    scale[:3, :3] = (rotation(seed) if turned else np.eye(3)) * random.uniform(0.4, 1.8, 3)
    scale[:3, 3] = random.uniform(-2, 4, 3)
    target = source @ scale
    found = onto_grid(labels, source, target, (8, 7, 6))
    index = np.stack(np.meshgrid(*map(np.arange, (6, 7, 8)), indexing="ij"), -1).reshape(-1, 3)
    places = index @ scale[:3, :3].T + scale[:3, 3]
    nearest = ndimage.map_coordinates(labels, places[:, ::-1].T, order=0, mode="grid-constant", cval=0)
    assert np.array_equal(found[index[:, 2], index[:, 1], index[:, 0]], nearest)
