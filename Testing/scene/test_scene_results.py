"""Results placed in the scene: names, places, kinds of node; all of it or nothing; saved and loaded again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from MedPrepCommonLib import headless

headless.start()

import slicer  # noqa: E402
from test_scene_segments import SEGMENTS  # noqa: E402
from test_scene_volumes import GRIDS, transform  # noqa: E402

from MedPrepCommonLib.core import engine  # noqa: E402
from MedPrepCommonLib.core.operation import create  # noqa: E402
from MedPrepCommonLib.core.result import Check, Curve, Figure, Points, Result, Table  # noqa: E402
from MedPrepCommonLib.core.volume import LabelVolume, Volume  # noqa: E402
from MedPrepCommonLib.scene import grids, segments, tables, volumes  # noqa: E402
from MedPrepCommonLib.scene.names import safeName, uniqueName  # noqa: E402
from MedPrepCommonLib.scene.results import placeResult  # noqa: E402


@pytest.fixture(autouse=True)
def scene():
    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


def hierarchy():
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def items() -> int:
    return hierarchy().GetNumberOfItems()


def ct(grid="oblique", name="2: Thorax"):
    array = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 8)).astype(np.int16)
    return volumes.nodeFromVolume(Volume(array, GRIDS[grid], name, "CT", {"sliceThickness": 2.5}))


def everything(node) -> Result:
    image = volumes.volumeFromNode(node)
    labels = np.random.default_rng(1).integers(0, 4, image.shape).astype(np.uint8)
    history = ({"operation": "ct.lungs", "cite": ["x & y"]},)
    return Result(
        images={
            "image": image.with_array(image.array / np.float32(2), history=history, display=None),
            "windows": Volume(np.zeros((*image.shape, 4), np.uint8), image.ijkToRAS),
        },
        labels={"lungs": LabelVolume(labels, image.ijkToRAS, segments=SEGMENTS, history=history)},
        tables={
            "volumes": Table(
                "Volumes",
                ("segment", "volume (ml)", "voxels", "touching"),
                (('right "lung", a', 1234.5678901234, 3, True), ("left", 0.1, 2**31, False)),
            )
        },
        points={"nodules": Points("Nodules", ((1.5, -2.25, 1200.125), (0, 0, 0)), ("n1", "n2"))},
        figures={
            "histogram": Figure(
                "Histogram",
                "HU",
                "voxels",
                (
                    Curve("before", (0, 1, 2), (1.5, 2.5, 3.5)),
                    Curve("after", (0, 1, 2), (3, 2, 1)),
                    Curve("fit", (0, 2), (1, 1)),
                ),
            )
        },
        metrics={"lungs.volume (ml)": 2345.5, "flag": True},
        checks=[Check("spacing", "warn", "8 mm", "< 3 mm", "Use thin slices.")],
    )


def state(node) -> tuple:
    """All of a volume node that must not change."""
    matrix = grids.worldMatrix(node)
    names = sorted(node.GetAttributeNames() or ())
    display = node.GetDisplayNode()
    return (
        slicer.util.arrayFromVolume(node).tobytes(),
        matrix.tobytes(),
        node.GetName(),
        node.GetTransformNodeID(),
        [(n, node.GetAttribute(n)) for n in names],
        (display.GetLevel(), display.GetWindow()),
        hierarchy().GetItemParent(hierarchy().GetItemByDataNode(node)),
        node.GetImageData().GetMTime(),
    )


# ---- names and kinds


def test_everything_becomes_the_right_node_with_a_good_name():
    node = ct()
    before = state(node)
    placed = placeResult(everything(node), node, "Segment lungs")
    assert {name: (n.GetClassName(), n.GetName()) for name, n in placed.items()} == {
        "image": ("vtkMRMLScalarVolumeNode", "2 Thorax Segment lungs image"),
        "windows": ("vtkMRMLVectorVolumeNode", "2 Thorax Segment lungs windows"),
        "lungs": ("vtkMRMLSegmentationNode", "2 Thorax Segment lungs lungs"),
        "volumes": ("vtkMRMLTableNode", "2 Thorax Segment lungs volumes"),
        "checks": ("vtkMRMLTableNode", "2 Thorax Segment lungs checks"),
        "nodules": ("vtkMRMLMarkupsFiducialNode", "2 Thorax Segment lungs nodules"),
        "histogram": ("vtkMRMLPlotChartNode", "2 Thorax Segment lungs histogram"),
    }
    assert state(node) == before


def test_a_single_image_is_called_input_and_operation_and_a_second_run_overwrites_nothing():
    node = ct(name="Chest CT")
    result = Result(images={"image": volumes.volumeFromNode(node)})
    first = placeResult(result, node, "Window")["image"]
    second = placeResult(result, node, "Window")["image"]
    assert (first.GetName(), second.GetName()) == ("Chest CT Window", "Chest CT Window 2")
    assert first is not second and first.GetScene() is not None


def test_names_of_labels_grow_by_a_word_at_each_step():
    """A label map that moves along with the image bears the image's name already."""
    node = ct(name="2: Thorax")
    volume = volumes.volumeFromNode(node)
    labels, name = LabelVolume(np.ones(volume.shape, np.uint8), volume.ijkToRAS), "lungs"
    for title in ("Resample", "Crop", "Augment"):
        result = Result(images={"image": volume}, labels={name: labels})
        placed = placeResult(result, node, title)
        node, name = placed["image"], placed[name].GetName()
    assert name == "2 Thorax Resample image Crop image Augment lungs"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("2: Thorax 5.0 B40f", "2 Thorax 5.0 B40f"),
        ('a/b\\c"d%e&f', "a b c d e f"),
        ("..", "Volume"),
        ("", "Volume"),
        ("Kopf über Wasser", "Kopf über Wasser"),
        ("a\nb\tc", "a b c"),
        ("end. ", "end"),
    ],
)
def test_safe_names(name, safe):
    assert safeName(name) == safe


def test_unique_names_count_on(scene):
    for expected in ("x", "x 2", "x 3"):
        assert uniqueName("x") == expected
        scene.AddNewNodeByClass("vtkMRMLTextNode", uniqueName("x"))


def test_more_than_four_channels_become_separate_volumes():
    node = ct()
    channels = np.random.default_rng(2).random((6, 7, 8, 5)).astype(np.float32)
    names = ["T1", "T2", "FLAIR", "ADC", "SWI"]
    result = Result(images={"fused": Volume(channels, GRIDS["oblique"], info={"channelNames": names})})
    placed = placeResult(result, node, "Fuse")
    assert list(placed) == [f"fused_{n}" for n in range(1, 6)]
    assert [n.GetName() for n in placed.values()] == [f"2 Thorax Fuse {name}" for name in names]
    for n, channel in enumerate(placed.values()):
        assert np.array_equal(slicer.util.arrayFromVolume(channel), channels[..., n])


def test_an_empty_result_makes_nothing(scene):
    node = ct()
    before = scene.GetNumberOfNodes()
    assert placeResult(Result(metrics={"a": 1}), node, "Measure") == {}
    assert scene.GetNumberOfNodes() == before


# ---- content


def test_tables_keep_types_units_and_values():
    node = ct()
    table = placeResult(everything(node), node, "x")["volumes"]
    columns = [table.GetTable().GetColumn(n) for n in range(4)]
    assert [c.GetName() for c in columns] == ["segment", "volume (ml)", "voxels", "touching"]
    assert [c.GetClassName() for c in columns] == [
        "vtkStringArray",
        "vtkDoubleArray",
        "vtkLongLongArray",
        "vtkBitArray",
    ]
    assert columns[0].GetValue(0) == 'right "lung", a'
    assert columns[1].GetValue(0) == 1234.5678901234
    assert columns[2].GetValue(1) == 2**31
    assert (columns[3].GetValue(0), columns[3].GetValue(1)) == (1, 0)
    assert table.GetColumnUnitLabel("volume (ml)") == "ml" and not table.GetColumnUnitLabel("voxels")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1, 2), "vtkIntArray"),
        ((1, 2.5), "vtkDoubleArray"),
        ((np.float32(1), np.int64(2)), "vtkDoubleArray"),
        ((np.True_, False), "vtkBitArray"),
        ((1, "a"), "vtkStringArray"),
        ((True, 1), "vtkStringArray"),
        ((), "vtkStringArray"),
    ],
)
def test_column_types(values, kind):
    node = tables.nodeFromTable(Table("t", ("a",), tuple((v,) for v in values)), "t")
    assert node.GetTable().GetColumn(0).GetClassName() == kind
    assert node.GetNumberOfRows() == len(values)


def test_plots_show_every_curve_over_its_own_x(scene):
    node = ct()
    chart = placeResult(everything(node), node, "x")["histogram"]
    assert (chart.GetTitle(), chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Histogram", "HU", "voxels")
    found = {}
    for n in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(n)
        table = series.GetTableNode()
        x, y = (
            table.GetTable().GetColumnByName(c) for c in (series.GetXColumnName(), series.GetYColumnName())
        )
        found[series.GetName()] = [(x.GetValue(r), y.GetValue(r)) for r in range(table.GetNumberOfRows())]
    assert found == {
        "before": [(0, 1.5), (1, 2.5), (2, 3.5)],
        "after": [(0, 3), (1, 2), (2, 1)],
        "fit": [(0, 1), (2, 1)],
    }


def test_curves_of_one_name_are_kept_apart():
    figure = Figure("f", "x", "y", (Curve("x", (0, 1), (1, 2)), Curve("x", (0, 1), (3, 4))))
    chart, table, *series = tables.nodesFromFigure(figure, "f")
    assert len({s.GetYColumnName() for s in series}) == 2
    assert [table.GetTable().GetColumnByName(s.GetYColumnName()).GetValue(1) for s in series] == [2, 4]


def test_points_lie_where_they_were_found():
    node = ct()
    markups = placeResult(everything(node), node, "x")["nodules"]
    assert markups.GetNumberOfControlPoints() == 2
    assert list(markups.GetNthControlPointPositionWorld(0)) == [1.5, -2.25, 1200.125]
    assert markups.GetNthControlPointLabel(1) == "n2"
    assert markups.GetDisplayVisibility()


def test_points_that_would_cover_the_image_are_hidden_until_the_user_shows_them(tmp_path):
    node = ct()
    volume = volumes.volumeFromNode(node)
    patches = engine.run(create("patches", size=3), {"image": volume})
    markups = placeResult(patches, node, "x")["patchCentres"]
    assert markups.GetNumberOfControlPoints() > 0 and not markups.GetDisplayVisibility()
    name = markups.GetName()
    headless.saveScene(tmp_path / "scene.mrb")
    headless.loadScene(tmp_path / "scene.mrb")
    markups = slicer.util.getNode(name)
    assert not markups.GetDisplayVisibility()
    markups.SetDisplayVisibility(True)
    assert markups.GetDisplayNode().GetVisibility()


def test_provenance_metrics_and_reference_geometry():
    node = ct()
    placed = placeResult(everything(node), node, "x")
    assert json.loads(placed["image"].GetAttribute("MedPrep.provenance")) == [
        {"operation": "ct.lungs", "cite": ["x & y"]}
    ]
    for name in ("image", "lungs"):
        assert json.loads(placed[name].GetAttribute("MedPrep.metrics")) == {
            "lungs.volume (ml)": 2345.5,
            "flag": True,
        }
    role = placed["lungs"].GetReferenceImageGeometryReferenceRole()
    assert placed["lungs"].GetNodeReference(role) is node
    assert node.GetAttribute("MedPrep.metrics") is None


def test_labels_alone_refer_to_the_input():
    node = ct()
    placed = placeResult(Result(labels=everything(node).labels), node, "Lungs")
    lungs = placed["lungs"]
    assert lungs.GetName() == "2 Thorax Lungs"
    assert lungs.GetNodeReference(lungs.GetReferenceImageGeometryReferenceRole()) is node


def test_labels_on_the_grid_of_a_result_refer_to_that():
    node = ct()
    coarse = np.diag([2.0, 2, 2, 1])
    image = Volume(np.zeros((3, 3, 3)), coarse)
    labels = LabelVolume(np.ones((3, 3, 3), np.uint8), coarse, segments=SEGMENTS[:1])
    placed = placeResult(Result(images={"image": image}, labels={"lungs": labels}), node, "Resample")
    role = placed["lungs"].GetReferenceImageGeometryReferenceRole()
    assert placed["lungs"].GetNodeReference(role) is placed["image"]


def test_labels_of_an_input_under_a_transform_lie_in_the_world():
    node = ct()
    moved = np.eye(4)
    moved[:3, 3] = (10, 20, 30)
    node.SetAndObserveTransformNodeID(transform(moved).GetID())
    result = everything(node)
    placed = placeResult(Result(labels=result.labels), node, "Lungs")
    back = segments.labelsFromNode(placed["lungs"], node)
    assert np.array_equal(back.array, result.labels["lungs"].array)
    assert placed["lungs"].GetParentTransformNode() is None


def test_labels_on_a_grid_of_their_own_have_no_reference_volume():
    node = ct()
    labels = LabelVolume(np.ones((3, 3, 3), np.uint8), np.diag([2.0, 2, 2, 1]), segments=SEGMENTS[:1])
    lungs = placeResult(Result(labels={"lungs": labels}), node, "Lungs")["lungs"]
    assert lungs.GetNodeReference(lungs.GetReferenceImageGeometryReferenceRole()) is None
    assert np.array_equal(segments.labelsFromNode(lungs).array, labels.array)


# ---- places in the subject hierarchy


def test_results_lie_in_the_study_of_their_input():
    node = ct()
    sh = hierarchy()
    subject = sh.CreateSubjectItem(sh.GetSceneItemID(), "subject")
    study = sh.CreateStudyItem(subject, "study")
    sh.CreateItem(study, node)
    placed = placeResult(everything(node), node, "x")
    for result in placed.values():
        assert sh.GetItemParent(sh.GetItemByDataNode(result)) == study


def test_an_unplaced_input_gets_no_folders():
    node = ct()
    before = items()
    placed = placeResult(Result(images=everything(node).images), node, "x")
    assert items() == before + len(placed)
    for result in placed.values():
        assert (
            hierarchy().GetItemParent(hierarchy().GetItemByDataNode(result)) == hierarchy().GetSceneItemID()
        )


# ---- saved and loaded again


@pytest.mark.parametrize("grid", ["axis-aligned", "oblique", "left-handed", "permuted"])
def test_everything_survives_a_saved_scene(grid, tmp_path, scene):
    node = ct(grid)
    sh = hierarchy()
    study = sh.CreateStudyItem(sh.CreateSubjectItem(sh.GetSceneItemID(), "subject"), "study")
    sh.CreateItem(study, node)
    result = everything(node)
    placed = placeResult(result, node, "Lungs")
    names = {key: n.GetName() for key, n in placed.items()}
    headless.saveScene(tmp_path / "scene.mrb")
    headless.loadScene(tmp_path / "scene.mrb")
    loaded = {key: scene.GetFirstNodeByName(name) for key, name in names.items()}
    assert all(n is not None for n in loaded.values())

    image = volumes.volumeFromNode(loaded["image"])
    expected = result.images["image"]
    if not image.same_grid(expected):  # a left-handed grid comes back with its k axis flipped
        flip = np.diag([1.0, 1, -1, 1])
        flip[2, 3] = expected.shape[0] - 1
        expected = expected.with_array(expected.array[::-1], ijkToRAS=expected.ijkToRAS @ flip)
    np.testing.assert_allclose(image.ijkToRAS, expected.ijkToRAS, atol=1e-6)
    assert np.array_equal(image.array, expected.array)
    assert image.history == result.images["image"].history and image.info == {"sliceThickness": 2.5}
    assert image.modality == "CT"

    labels = segments.labelsFromNode(loaded["lungs"], loaded["image"])
    flipped = result.labels["lungs"].array[:: 1 if image.same_grid(result.images["image"]) else -1]
    assert np.array_equal(labels.array, flipped) and labels.segments == SEGMENTS

    table = loaded["volumes"].GetTable()
    # Slicer saves numbers with 6 digits.
    assert table.GetColumnByName("volume (ml)").GetValue(0) == pytest.approx(1234.5678901234, rel=1e-5)
    assert table.GetColumnByName("voxels").GetValue(1) == 2**31
    assert loaded["volumes"].GetColumnUnitLabel("volume (ml)") == "ml"
    assert loaded["checks"].GetCellText(0, 1) == "warn"
    assert list(loaded["nodules"].GetNthControlPointPositionWorld(0)) == pytest.approx([1.5, -2.25, 1200.125])
    assert loaded["histogram"].GetNumberOfPlotSeriesNodes() == 3
    assert loaded["histogram"].GetNthPlotSeriesNode(2).GetTableNode() is not None
    sh = hierarchy()
    for n in loaded.values():
        study = sh.GetItemParent(sh.GetItemByDataNode(n))
        assert sh.GetItemName(study) == "study" and sh.GetItemName(sh.GetItemParent(study)) == "subject"
