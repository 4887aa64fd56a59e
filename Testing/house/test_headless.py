"""The headless host: scene, modules, parameter nodes, saving and loading, on slicer-core's real MRML."""

from __future__ import annotations

import enum
import logging
import os
import pathlib
import re
import subprocess
import sys
import textwrap
from typing import Annotated

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

import vtk  # noqa: E402
from fixtures_slicer import emptyScene, fingerprint  # noqa: E402

from MedPrepCommonLib import headless  # noqa: E402
from MedPrepCommonLib.core.errors import FileError, InputError, MissingPackageError  # noqa: E402

LUNG = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^39607008^Lung~SCT^24028007^Right~Anatomic codes - DICOM master list~^^~^^"
)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that sees the tree under test."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )


def addVolume(name: str = "CT") -> object:
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    angle = np.radians(10.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]]
    ) * [0.7, 0.8, 2.5]
    matrix[:3, 3] = 10, -20, 30
    return slicer.util.addVolumeFromArray(array, ijkToRAS=matrix, name=name)


# ---- starting


def test_start_twice_keeps_the_scene(slicerHost):
    scene = slicer.mrmlScene
    headless.start()
    assert slicer.mrmlScene is scene and headless._host is not None and not headless.insideSlicer()


def test_start_says_nothing_on_the_terminal_and_exits_cleanly():
    done = run("""
        from MedPrepCommonLib import headless
        headless.start()
        import slicer, sys
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "a")
        assert not {"qt", "ctk", "PySide6", "matplotlib"} & set(sys.modules)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_slicer_core_the_error_says_what_to_install():
    done = run("""
        import sys
        sys.modules["slicer"] = None
        from MedPrepCommonLib import headless
        from MedPrepCommonLib.errors import MissingPackageError
        try:
            headless.start()
        except MissingPackageError as error:
            assert "slicer-core" in error.wrong and "pip install slicer-core" in error.advice
            print("refused")
    """)
    assert done.stdout.strip() == "refused", done.stderr


def test_a_broken_slicer_core_is_not_called_missing(tmp_path):
    (tmp_path / "slicer.py").write_text("raise ImportError('libEGL.so.1: cannot open shared object file')")
    done = run(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from MedPrepCommonLib import headless
        from MedPrepCommonLib.errors import MissingPackageError
        try:
            headless.start()
        except MissingPackageError as error:
            assert "cannot be loaded" in error.wrong and "libEGL.so.1" in error.wrong
            print("told")
    """
    )
    assert done.stdout.strip() == "told", done.stderr


def test_another_package_named_slicer_is_recognised():
    done = run("""
        import sys, types
        sys.modules["slicer"] = types.ModuleType("slicer")
        from MedPrepCommonLib import headless
        from MedPrepCommonLib.errors import MissingPackageError
        try:
            headless.start()
        except MissingPackageError as error:
            assert "not 3D Slicer" in error.wrong
            print("refused")
    """)
    assert done.stdout.strip() == "refused", done.stderr


def test_inside_a_real_slicer_start_changes_nothing():
    done = run("""
        import slicer
        slicer.app, slicer.mrmlScene = "the application", "its scene"
        before = set(vars(slicer))
        from MedPrepCommonLib import headless
        assert headless.insideSlicer()
        headless.start()
        assert set(vars(slicer)) == before and slicer.mrmlScene == "its scene" and headless._host is None
        print("left alone")
    """)
    assert done.stdout.strip() == "left alone", done.stderr


def test_scene_functions_ask_for_start_first():
    done = run("""
        from MedPrepCommonLib import headless
        from MedPrepCommonLib.errors import MissingPackageError
        for call in (headless.clear, lambda: headless.saveScene("a.mrb"), lambda:
        headless.loadScene("a.mrb")):
            try:
                call()
            except MissingPackageError as error:
                assert "headless.start()" in error.advice
                print("asked")
    """)
    assert done.stdout.split() == ["asked"] * 3, done.stderr


# ---- application and modules


def test_application_services(slicerHost):
    app = slicer.app
    assert app.mrmlScene() is slicer.mrmlScene and app.applicationLogic().GetMRMLScene() is slicer.mrmlScene
    assert (app.majorVersion, app.minorVersion) >= (5, 13) and app.layoutManager() is None
    assert pathlib.Path(app.temporaryPath).is_dir() and app.testingEnabled()
    assert slicer.util.mainWindow() is None and app.connect("startupCompleted()", print)
    with slicer.util.RenderBlocker(), slicer.util.WaitCursor():
        app.processEvents()
    folders = {slicer.util.tempDirectory() for _ in range(2)}
    assert len(folders) == 2 and all(
        pathlib.Path(f).parent == pathlib.Path(app.temporaryPath) for f in folders
    )
    assert slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool) is False


def test_messages_are_logged_where_there_is_no_window(slicerHost, caplog):
    with caplog.at_level(logging.INFO):
        slicer.util.errorDisplay("too thick", windowTitle="MedPrep")
        slicer.util.delayDisplay("step 1", 10)
    assert [(r.levelname, r.message) for r in caplog.records] == [("ERROR", "too thick"), ("INFO", "step 1")]


@pytest.mark.parametrize(
    "name, logic",
    [
        ("volumes", "vtkSlicerVolumesLogic"),
        ("segmentations", "vtkSlicerSegmentationsModuleLogic"),
        ("terminologies", "vtkSlicerTerminologiesModuleLogic"),
        ("colors", "vtkSlicerColorLogic"),
        ("subjecthierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
        ("tables", "vtkSlicerTablesLogic"),
        ("markups", "vtkSlicerMarkupsLogic"),
        ("plots", "vtkSlicerPlotsLogic"),
        ("sequences", "vtkSlicerSequencesLogic"),
    ],
)
def test_module_logics(slicerHost, name, logic):
    found = getattr(slicer.modules, name).logic()
    assert found.GetClassName() == logic and found.GetMRMLScene() is slicer.mrmlScene


def test_color_nodes_have_slicers_ids(slicerHost):
    logic = slicer.modules.colors.logic()
    for nodeID in (
        "vtkMRMLColorTableNodeGrey",
        logic.GetFileColorNodeID("Inferno.txt"),
        logic.GetFileColorNodeID("Viridis.txt"),
        logic.GetDefaultLabelMapColorNodeID(),
    ):
        node = slicer.mrmlScene.GetNodeByID(nodeID)
        assert node is not None and node.GetNumberOfColors() >= 255, nodeID
    matplotlib = pytest.importorskip("matplotlib", reason="the judge of the colours is not installed")
    table = slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeFileViridis.txt").GetLookupTable()
    found = np.array([table.GetTableValue(n)[:3] for n in range(256)])
    np.testing.assert_allclose(found, matplotlib.colormaps["viridis"](np.arange(256))[:, :3], atol=0.08)


# ---- scene


@pytest.mark.parametrize(
    "className, plugin",
    [
        ("vtkMRMLScalarVolumeNode", "Volumes"),
        ("vtkMRMLVectorVolumeNode", "Volumes"),
        ("vtkMRMLLabelMapVolumeNode", "LabelMaps"),
        ("vtkMRMLSegmentationNode", "Segmentations"),
        ("vtkMRMLTableNode", "Tables"),
        ("vtkMRMLMarkupsFiducialNode", "Markups"),
        ("vtkMRMLPlotChartNode", "Plots"),
        ("vtkMRMLLinearTransformNode", "Transforms"),
        ("vtkMRMLTextNode", "Texts"),
    ],
)
def test_each_data_node_has_a_subject_hierarchy_item(slicerHost, className, plugin):
    node = slicer.mrmlScene.AddNewNodeByClass(className)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node)
    assert item and hierarchy.GetItemOwnerPluginName(item) == plugin
    assert hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID()
    slicer.mrmlScene.RemoveNode(node)
    assert hierarchy.GetNumberOfItems() == 0


def test_folders_subjects_and_studies_have_their_plugin(slicerHost):
    for _scene in range(2):  # closing the scene makes a new hierarchy
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "subject")
        study = hierarchy.CreateStudyItem(subject, "study")
        folder = hierarchy.CreateFolderItem(study, "folder")
        owners = [hierarchy.GetItemOwnerPluginName(item) for item in (subject, study, folder)]
        assert owners == ["DICOM", "DICOM", "Folder"]
        headless.clear()


def test_hidden_and_helper_nodes_have_no_item(slicerHost):
    hidden = slicer.vtkMRMLScalarVolumeNode()
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    assert slicer.mrmlScene.GetSubjectHierarchyNode().GetNumberOfItems() == 0


def test_a_whole_case_survives_a_bundle(slicerHost, tmp_path):
    scene = slicer.mrmlScene
    ct = addVolume("case 1 CT")
    ct.GetDisplayNode().SetAutoWindowLevel(False)
    ct.GetDisplayNode().SetWindowLevel(1500, -600)
    ct.SetAttribute("MedPrep.provenance", '{"operation": "ct.clip", "low": -1200, "text": "a; b: <c> & 5 %"}')
    hierarchy = scene.GetSubjectHierarchyNode()
    subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "subject")
    study = hierarchy.CreateStudyItem(subject, "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct), study)

    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lungs")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segmentId = segmentation.GetSegmentation().AddEmptySegment("right", "right lung", (0.1, 0.2, 0.9))
    segmentation.GetSegmentation().GetSegment(segmentId).SetTerminology(LUNG)
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1:3, 1:4, 2:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segmentId, ct)

    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "volumes")
    column = table.AddColumn(vtk.vtkDoubleArray())
    column.SetName("ml")
    column.InsertNextValue(12.5)
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "nodules")
    points.AddControlPoint(1.0, 2.0, 3.0, "n1")
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "histogram")
    series.SetAndObserveTableNodeID(table.GetID())
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "chart")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "channels")
    for index in range(5):
        sequence.SetDataNodeAtValue(ct, str(index))
    array, matrix = slicer.util.arrayFromVolume(ct).copy(), _matrix(ct)
    itemCount = hierarchy.GetNumberOfItems()

    saved = headless.saveScene(tmp_path / "case.mrb")
    assert saved == tmp_path / "case.mrb" and [p.name for p in tmp_path.iterdir()] == ["case.mrb"]
    emptyScene()
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
    headless.loadScene(saved)

    ct = slicer.util.getNode("case 1 CT")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(ct), array)
    np.testing.assert_allclose(_matrix(ct), matrix, atol=1e-6)
    assert ct.GetDisplayNode().GetWindow() == 1500 and ct.GetDisplayNode().GetLevel() == -600
    assert '"a; b: <c> & 5 %"' in ct.GetAttribute("MedPrep.provenance")
    hierarchy = scene.GetSubjectHierarchyNode()
    assert hierarchy.GetNumberOfItems() == itemCount
    item = hierarchy.GetItemByDataNode(ct)
    assert hierarchy.GetItemName(hierarchy.GetItemParent(item)) == "study"
    assert hierarchy.GetItemLevel(hierarchy.GetItemParent(item)) == "Study"
    segmentation = slicer.util.getNode("lungs")
    segment = segmentation.GetSegmentation().GetSegment("right")
    assert segment.GetName() == "right lung" and segment.GetTerminology() == LUNG
    np.testing.assert_allclose(segment.GetColor(), (0.1, 0.2, 0.9))
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "right", ct), mask)
    assert slicer.util.getNode("volumes").GetCellText(0, 0) == "12.5"
    assert slicer.util.getNode("nodules").GetNthControlPointLabel(0) == "n1"
    assert slicer.util.getNode("chart").GetNthPlotSeriesNode(0).GetTableNode() is slicer.util.getNode(
        "volumes"
    )
    assert slicer.util.getNode("channels").GetNumberOfDataNodes() == 5


def _matrix(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def test_slicer_does_not_warn_about_the_writer_of_a_saved_scene(slicerHost, tmp_path):
    addVolume()
    saved = headless.saveScene(tmp_path / "case.mrb")
    headless.clear()
    headless.loadScene(saved)
    written = slicer.mrmlScene.GetLastLoadedVersion()
    assert re.fullmatch(r"Slicer (\d+)\.(\d+)\.\d+ [1-9]\d+", written)
    assert tuple(map(int, re.findall(r"\d+", written)[:2])) <= (5, 10)
    assert slicer.mrmlScene.GetVersion() == written


def test_a_scene_that_cannot_be_stored_leaves_no_file(slicerHost, tmp_path):
    slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int8), name="signed bytes")
    old = tmp_path / "case.mrb"
    old.write_bytes(b"what was there before")
    with pytest.raises(FileError, match="signed bytes") as caught:
        headless.saveScene(old)
    assert caught.value.advice == "These nodes cannot be stored: signed bytes. Remove or convert them."
    assert [p.name for p in tmp_path.iterdir()] == [
        "case.mrb"
    ] and old.read_bytes() == b"what was there before"


def test_bad_names_and_files_are_refused_and_the_scene_stays(slicerHost, tmp_path):
    ct = addVolume()
    before = fingerprint(ct)
    (tmp_path / "text.mrb").write_text("no bundle")
    for call, words in (
        (lambda: headless.saveScene(tmp_path / "case.nrrd"), "case.nrrd"),
        (lambda: headless.saveScene(tmp_path / "no" / "case.mrb"), "does not exist"),
        (lambda: headless.loadScene(tmp_path / "missing.mrb"), "There is no file"),
        (lambda: headless.loadScene(tmp_path / "text.mrb"), "not a Slicer scene bundle"),
    ):
        with slicerHost.noNewNodes(), pytest.raises(FileError, match=words):
            call()
    assert fingerprint(ct) == before


def test_clear_is_file_close_scene(slicerHost):
    addVolume()
    grey = slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeGrey")
    headless.clear()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
    assert slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeGrey") is grey
    node = addVolume("again")
    assert slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(node)


def test_fixture_notices_leaks_and_changes(slicerHost):
    ct = addVolume()
    with pytest.raises(AssertionError, match="added"), slicerHost.noNewNodes():
        addVolume("leak")
    with slicerHost.untouched(ct):
        slicer.util.arrayFromVolume(ct)
    with pytest.raises(AssertionError, match="was changed"), slicerHost.untouched(ct):
        slicer.util.arrayFromVolume(ct)[0, 0, 0] += 1
    with pytest.raises(AssertionError, match="was changed"), slicerHost.untouched(ct):
        ct.SetOrigin(1, 2, 3)


# ---- reading


def test_loadVolume_keeps_the_grid_and_the_values(slicerHost, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((1.0, -2.0, 3.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        node = headless.loadVolume(tmp_path / name, name=name)
        array, matrix = slicer.util.arrayFromVolume(node), _matrix(node)
        for index in ((0, 0, 0), (4, 1, 2), (2, 3, 1)):
            point = np.array(image.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)  # LPS to RAS
            place = np.linalg.solve(matrix, [*point, 1.0])[:3]
            np.testing.assert_allclose(place, place.round(), atol=1e-6)
            i, j, k = place.round().astype(int)
            assert array[k, j, i] == image[index], name
    assert node.GetName() == "a.mha" and headless.loadVolume(tmp_path / "a.mha").GetName() == "a"
    labels = headless.loadVolume(tmp_path / "a.nrrd", labels=True)
    assert labels.GetClassName() == "vtkMRMLLabelMapVolumeNode"


def test_loadVolume_of_real_scans(slicerHost, shared_data):
    node = headless.loadVolume(shared_data / "ct" / "ts-j2k-dicom")
    array = slicer.util.arrayFromVolume(node)
    assert node.GetAttribute("MedPrep.modality") == "CT"
    assert -1100 <= array.min() <= -900 and array.max() > 300
    assert slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(node)


def test_loadVolume_refuses_what_is_no_volume_and_leaves_nothing(slicerHost, tmp_path):
    (tmp_path / "text.nii.gz").write_text("no image")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "text.nii.gz", tmp_path / "empty", tmp_path / "missing.nrrd"):
        with slicerHost.noNewNodes(), pytest.raises(FileError) as caught:
            headless.loadVolume(path)
        assert caught.value.wrong and "Traceback" not in str(caught.value)


# ---- scripted modules

MODULE = """
from slicer.i18n import tr as _, translate
from slicer.parameterNodeWrapper import *
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin
import slicer


class Doubler(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Doubler")
        self.parent.dependencies = ["Volumes"]


@parameterNodeWrapper
class DoublerParameterNode:
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    factor: float = 2.0


class DoublerWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)


class DoublerLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return DoublerParameterNode(super().getParameterNode())

    def double(self, node, factor=2):
        return slicer.util.addVolumeFromArray(factor * slicer.util.arrayFromVolume(node), name="doubled")


class DoublerTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.doublerSetUps = getattr(slicer, "doublerSetUps", 0) + 1

    def test_sum(self):
        self.delayDisplay("adding")
        import numpy
        node = slicer.util.addVolumeFromArray(numpy.ones((2, 2, 2)))
        self.assertEqual(slicer.util.arrayFromVolume(DoublerLogic().double(node)).sum(), 16)

    def test_fails(self):
        self.assertEqual(slicer.doublerSetUps, 1)
"""


@pytest.fixture
def doubler(slicerHost, tmp_path, monkeypatch):
    """A small scripted module as a user writes it, imported from a file; forgotten afterwards."""
    path = tmp_path / "Doubler.py"
    path.write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delattr(slicer, "doublerSetUps", raising=False)
    yield path
    sys.modules.pop("Doubler", None)
    for name in ("doubler", "DoublerInstance", "DoublerWidget"):
        vars(slicer.modules).pop(name, None)
    vars(slicer.moduleNames).pop("Doubler", None)
    getattr(slicer, "selfTests", {}).pop("Doubler", None)


def test_a_modules_logic_works_as_it_is(doubler):
    sys.path.append(str(doubler.parent))
    from Doubler import DoublerLogic

    ct = addVolume()
    result = DoublerLogic().double(ct, factor=3)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(result), 3 * slicer.util.arrayFromVolume(ct))
    logic = DoublerLogic()
    assert logic.moduleName == "Doubler"
    node = logic.getParameterNode().parameterNode
    assert DoublerLogic().getParameterNode().parameterNode is node
    assert node.GetSingletonTag() == "Doubler" and node.GetAttribute("ModuleName") == "Doubler"
    headless.clear()
    assert logic.getParameterNode().parameterNode.GetAttribute("ModuleName") == "Doubler"


def test_addModule_makes_what_slicer_makes(doubler):
    entry = headless.addModule(doubler)
    assert slicer.modules.doubler is entry and slicer.util.modulePath("Doubler") == str(doubler)
    assert entry.title == "Doubler" and entry.dependencies == ["Volumes"] and entry.name == "Doubler"
    assert slicer.moduleNames.Doubler == "Doubler" and slicer.util.getModule("Doubler") is entry
    assert slicer.modules.DoublerInstance.resourcePath("UI/a.ui") == str(
        doubler.parent / "Resources" / "UI" / "a.ui"
    )
    assert headless.addModule(doubler) is entry
    with pytest.raises(InputError, match="Doubler"):
        sys.modules["Doubler"].DoublerWidget()


def test_modules_own_tests_run_and_fail(doubler):
    headless.addModule(doubler)
    slicer.doublerSetUps = -1
    with pytest.raises(AssertionError, match="0 != 1"):
        slicer.selfTests["Doubler"]()
    slicer.doublerSetUps = 0
    slicer.selfTests["Doubler"]()  # test_fails runs first and passes after exactly one setUp
    assert slicer.doublerSetUps == 2


# ---- slicer.packaging and slicer.i18n


def test_packages_are_never_installed_here(slicerHost, tmp_path):
    import slicer.packaging

    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# needed\nnumpy>=1.20\n--no-deps\nno-such-package>=1; python_version<'3'\n")
    loaded = slicer.packaging.load_requirements(requirements)
    assert [r.name for r in loaded] == ["numpy", "no-such-package"]
    assert slicer.packaging.pip_check(loaded) and not slicer.packaging.pip_check("numpy>=999")
    assert slicer.packaging.pip_ensure(loaded, requester="MedPrep") is None
    with pytest.raises(MissingPackageError) as caught:
        slicer.packaging.pip_ensure("numpy no-such-package>=2", requester="MedPrep")
    assert "no-such-package>=2" in caught.value.wrong and "numpy" not in caught.value.wrong
    assert 'pip install "no-such-package>=2"' in caught.value.advice


def test_translation_context(slicerHost, tmp_path):
    import slicer.i18n

    package = tmp_path / "Lib"
    package.mkdir()
    for file in (package / "__init__.py", package / "a.py", tmp_path / "b.py"):
        file.write_text("")
    assert slicer.i18n.getContext(str(package / "a.py")) == "Lib.a"
    assert slicer.i18n.getContext(str(tmp_path / "b.py")) == "b"
    assert slicer.i18n.tr("Apply") == slicer.i18n.translate("b", "Apply") == "Apply"


# ---- parameter nodes


class Method(enum.Enum):
    LINEAR = "Linear"
    CUBIC = "Cubic B-spline"


def parameterClasses():
    """A wrapper with one parameter of every kind, its pack made at run time as a module does."""
    from slicer.parameterNodeWrapper import (
        Choice,
        FloatRange,
        Minimum,
        RangeBounds,
        WithinRange,
        parameterNodeWrapper,
        parameterPack,
    )

    window = parameterPack(
        type(
            "Window",
            (),
            {
                "__annotations__": {
                    "level": Annotated[float, WithinRange(-2000, 4000)],
                    "width": Annotated[float, WithinRange(1, 8000)],
                    "exact": bool,
                },
                "level": 40.0,
                "width": 400.0,
            },
        )
    )
    outer = parameterPack(
        type("Outer", (), {"__annotations__": {"window": window, "name": str}, "name": "a"})
    )
    members = {
        "image": slicer.vtkMRMLScalarVolumeNode,
        "mask": slicer.vtkMRMLSegmentationNode | None,
        "window": window,
        "outer": outer,
        "method": Method,
        "count": Annotated[int, Minimum(0)],
        "folder": pathlib.Path,
        "preset": Annotated[str, Choice(["lung", "bone"])],
        "levels": list[float],
        "spacing": tuple[float, float, float],
        "limit": float | None,
        "bounds": Annotated[FloatRange, RangeBounds(-1000, 1000)],
    }
    defaults = {
        "method": Method.CUBIC,
        "count": 3,
        "preset": "bone",
        "levels": [1.0, 2.0],
        "spacing": (1.0, 1.0, 2.5),
        "bounds": FloatRange(-100, 100),
    }
    return parameterNodeWrapper(type("Parameters", (), {"__annotations__": members, **defaults})), window


@pytest.fixture
def parameters(slicerHost):
    wrapper, window = parameterClasses()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters")
    wrapped = wrapper(node)
    wrapped.Window = window
    return wrapped


def stored(parameters) -> dict[str, str]:
    node = parameters.parameterNode
    return {name: node.GetParameter(name) for name in node.GetParameterNames()}


def test_defaults_are_stored_in_slicers_format(parameters):
    assert stored(parameters) == {
        "image": "",
        "mask.1": "True",
        "window.level": "40.0",
        "window.width": "400.0",
        "window.exact": "False",
        "outer.window.level": "40.0",
        "outer.window.width": "400.0",
        "outer.window.exact": "False",
        "outer.name": "a",
        "method": "CUBIC",
        "count": "3",
        "folder": ".",
        "preset": "bone",
        "levels.len": "2",
        "levels.0": "1.0",
        "levels.1": "2.0",
        "spacing.0": "1.0",
        "spacing.1": "1.0",
        "spacing.2": "2.5",
        "limit.1": "True",
        "bounds._minimum": "-100",
        "bounds._maximum": "100",
    }
    assert parameters.image is None and parameters.mask is None and parameters.limit is None
    assert parameters.default("window").value == parameters.Window()


def test_values_are_written_and_read_back_by_another_wrapper(parameters):
    ct = addVolume()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    parameters.image, parameters.mask, parameters.method = ct, segmentation, Method.LINEAR
    parameters.folder, parameters.limit, parameters.spacing = pathlib.Path("/data"), 2.5, (0.5, 0.5, 1.0)
    parameters.window = parameters.Window(level=-600, width=1500)
    parameters.outer.window.level = 50.0
    parameters.levels.append(3.0)
    parameters.levels[0] = -1.0
    parameters.bounds.setRange(-5.0, 5.0)
    text = stored(parameters)
    assert (text["method"], text["limit.0"], text["levels.len"], text["levels.0"]) == (
        "LINEAR",
        "2.5",
        "3",
        "-1.0",
    )
    assert "limit.1" not in text and "mask.1" not in text and text["window.level"] == "-600"
    node = parameters.parameterNode
    assert node.GetNodeReference("image") is ct and node.GetNodeReference("mask.0") is segmentation
    again = type(parameters)(node)
    for name in (
        "image",
        "mask",
        "method",
        "folder",
        "limit",
        "spacing",
        "window",
        "outer",
        "levels",
        "bounds",
    ):
        assert getattr(again, name) == getattr(parameters, name), name
    assert again.levels == [-1.0, 2.0, 3.0] and again.outer.window.level == 50.0
    parameters.levels = []
    assert "levels.0" not in stored(parameters) and again.levels == []
    slicer.mrmlScene.RemoveNode(ct)
    assert parameters.image is None and again.image is None


@pytest.mark.parametrize(
    "change, error",
    [
        (lambda p: setattr(p.window, "level", 1e6), ValueError),
        (lambda p: setattr(p, "window", p.Window(level=0, width=0)), ValueError),
        (lambda p: setattr(p.window, "levle", 1.0), AttributeError),
        (lambda p: setattr(p, "window", None), ValueError),
        (lambda p: setattr(p, "count", -1), ValueError),
        (lambda p: setattr(p, "count", 1.5), TypeError),
        (lambda p: setattr(p, "count", None), ValueError),
        (lambda p: setattr(p, "preset", "brain"), ValueError),
        (lambda p: setattr(p, "method", "CUBIC"), TypeError),
        (lambda p: setattr(p, "image", p.parameterNode), TypeError),
        (lambda p: setattr(p, "limit", "wide"), TypeError),
        (lambda p: setattr(p, "spacing", (1.0, 1.0)), ValueError),
        (lambda p: setattr(p, "levels", [1.0, "x"]), TypeError),
        (lambda p: p.levels.append("x"), TypeError),
        (lambda p: setattr(p.bounds, "minimum", 500.0), ValueError),
        (lambda p: p.getValue("window.depth"), ValueError),
        (lambda p: p.setValue("nothing", 1), ValueError),
        (lambda p: p.dataType("preset.x"), ValueError),
        (lambda p: p.connectGui(None), RuntimeError),
    ],
)
def test_wrong_values_are_refused_and_change_nothing(parameters, change, error):
    before = stored(parameters)
    with pytest.raises(error):
        change(parameters)
    assert stored(parameters) == before
    assert parameters.window == parameters.Window() and parameters.levels == [1.0, 2.0]


def test_dotted_names(parameters):
    parameters.setValue("outer.window.level", 70)
    assert parameters.getValue("outer.window.level") == 70
    assert float(stored(parameters)["outer.window.level"]) == 70
    assert parameters.dataType("outer.window.level").__metadata__[0].maximum == 4000
    from slicer.parameterNodeWrapper import isParameterNodeWrapper, isParameterPack, nestedParameterNames

    assert nestedParameterNames(type(parameters).allParameters["outer"].unalteredType) == [
        "window.level",
        "window.width",
        "window.exact",
        "name",
    ]
    assert isParameterNodeWrapper(parameters) and isParameterPack(parameters.outer.window)


def test_observers_see_the_new_value_once_per_change(parameters):
    seen = []
    tag = parameters.AddObserver(
        vtk.vtkCommand.ModifiedEvent, lambda *_: seen.append(parameters.window.level)
    )
    parameters.window.level = 50.0
    parameters.window.level = 50.0
    with slicer.util.NodeModify(parameters):
        parameters.window.level = 60.0
        parameters.window.width = 100.0
    parameters.parameterNode.SetParameter("window.level", "70")
    parameters.RemoveObserver(tag)
    parameters.window.level = 80.0
    assert seen == [50.0, 60.0, 70.0]


def test_wrappers_do_not_keep_observing_once_forgotten(slicerHost):
    wrapper, _window = parameterClasses()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    wrapped = wrapper(node)
    assert node.HasObserver(vtk.vtkCommand.ModifiedEvent)
    del wrapped
    import gc

    gc.collect()
    assert not node.HasObserver(vtk.vtkCommand.ModifiedEvent)


def test_parameters_come_back_with_the_scene(parameters, tmp_path):
    parameters.window.level, parameters.method, parameters.image = -600.0, Method.LINEAR, addVolume()
    saved = headless.saveScene(tmp_path / "p.mrb")
    emptyScene()
    headless.loadScene(saved)
    node = slicer.util.getNode("parameters")
    again = type(parameters)(node)
    assert again.window.level == -600.0 and again.method is Method.LINEAR and again.image.GetName() == "CT"


@pytest.mark.parametrize(
    "members, defaults, words",
    [
        ({"a": set}, {}, "Unable to create serializer for .* member a"),
        ({"getValue": int}, {"getValue": 3}, None),
        ({"a": dict[str, int]}, {}, "Unable to create serializer"),
    ],
)
def test_impossible_wrappers_fail_when_they_are_made(slicerHost, members, defaults, words):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(Exception, match=words or "reserved name 'getValue'"):
        parameterNodeWrapper(type("P", (), {"__annotations__": members, **defaults}))


def test_impossible_packs_fail_when_they_are_made(slicerHost):
    from slicer.parameterNodeWrapper import WithinRange, parameterPack

    with pytest.raises(ValueError, match="fails the validation checks"):
        parameterPack(type("P", (), {"__annotations__": {"a": Annotated[float, WithinRange(1, 2)]}}))
    with pytest.raises(ValueError, match="any members"):
        parameterPack(type("P", (), {}))


def test_annotations_that_slicer_does_not_use_are_reported(slicerHost, caplog):
    from slicer.parameterNodeWrapper import Decimals, parameterNodeWrapper

    with caplog.at_level(logging.WARNING):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"a": Annotated[float, Decimals(3)]}}))
    assert "Unused annotations" in caplog.text
