"""The X-ray panel in real Qt: every operation and recipe, pictures in colour, and the live preview."""

import time

import numpy as np
import pytest
from xrayimages import chest, volume_of

from MedPrepCommonLib.core.operation import find, known
from MedPrepCommonLib.files.reading import read_volume

XRAY_IDS = [id for id in known() if id.startswith("xray.")]


@pytest.fixture
def radiographNode(qtHost, shared_data):
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    image = read_volume(shared_data / "xr/derived-dicom-12bit/19abe1f3_mono2.dcm")
    return nodeFromVolume(image, "chest")


@pytest.fixture
def openPanel(qtHost, module_dirs):
    path = next(file for d in module_dirs if (file := d / "MedPrepXray.py").is_file())
    return lambda: qtHost.panel(path).widget


@pytest.fixture
def panel(openPanel, radiographNode):
    return openPanel()


def press(host, widget, name):
    getattr(widget.ui, f"{name}_apply").click()
    host.wait(lambda: widget.running is None)


def lungsOf(node):
    """A segmentation of two boxes on a radiograph."""
    from MedPrepCommonLib.core.terminology import LUNGS
    from MedPrepCommonLib.scene.segments import segmentationFromLabels
    from MedPrepCommonLib.scene.volumes import volumeFromNode
    from MedPrepXrayLib.picture.radiograph import radiograph

    picture = radiograph(volumeFromNode(node))
    plane = np.zeros(picture.plane.shape, np.uint8)
    rows, columns = plane.shape
    plane[rows // 4 : rows // 2, columns // 6 : columns // 3] = 1
    plane[rows // 4 : rows // 2, columns // 2 : 2 * columns // 3] = 2
    return segmentationFromLabels(picture.labels(plane, LUNGS), node)


@pytest.mark.parametrize("id", XRAY_IDS)
def test_apply_makes_new_nodes_and_leaves_the_input_alone(qtHost, panel, radiographNode, id):
    panel._parameterNode.evaluateEnhanced = radiographNode
    if id == "xray.lungNormalize":
        panel._parameterNode.lungNormalizeLungs = lungsOf(radiographNode)
    before = qtHost.nodes()
    with qtHost.untouched(radiographNode):
        press(qtHost, panel, find(id).name)
    assert qtHost.messages == []
    assert qtHost.nodes() - before and panel.ui.statusLabel.text.startswith(f"{find(id).title}: done.")


def test_a_missing_further_input_is_said_beside_the_button(panel, radiographNode):
    assert not panel.ui.evaluate_apply.enabled and "enhanced" in panel.ui.evaluate_reason.text
    assert not panel.ui.lungNormalize_apply.enabled and "lung fields" in panel.ui.lungNormalize_reason.text
    panel._parameterNode.evaluateEnhanced = radiographNode
    assert panel.ui.evaluate_apply.enabled and not panel.ui.evaluate_reason.text


def test_recipe_gives_image_and_outlined_lungs(qtHost, panel, radiographNode):
    import slicer

    with qtHost.untouched(radiographNode):
        press(qtHost, panel, "recipe")
    assert qtHost.messages == []
    (segmentation, *_more) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    names = [segmentation.GetSegmentation().GetNthSegment(n).GetName() for n in range(2)]
    assert names == ["right lung", "left lung"]
    display = segmentation.GetDisplayNode()
    assert display.GetVisibility2DOutline() and not display.GetVisibility2DFill()
    rows = panel.ui.resultsTable
    assert "Enhancement" in [rows.item(n, 0).text() for n in range(rows.rowCount)]


def test_colour_pictures_can_be_chosen(qtHost, openPanel):
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    colour = np.repeat(chest()[..., None], 3, axis=2)
    node = nodeFromVolume(volume_of(colour), "photo")
    assert node.GetClassName() == "vtkMRMLVectorVolumeNode"
    panel = openPanel()
    panel.ui.inputVolume.setCurrentNode(node)
    assert panel._parameterNode.inputVolume is node
    press(qtHost, panel, "clahe")
    assert qtHost.messages == [] and "equal" in panel.ui.resultsText.text


def test_a_volume_of_slices_says_why_not(qtHost, openPanel):
    from MedPrepCommonLib.core.volume import Volume
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    nodeFromVolume(
        Volume(np.zeros((5, 20, 20), np.int16) + np.arange(20, dtype=np.int16), np.eye(4)), "stack"
    )
    panel = openPanel()
    before = qtHost.nodes()
    press(qtHost, panel, "clahe")
    assert "5 slices" in qtHost.messages[0][1] and qtHost.nodes() == before
    qtHost.messages.clear()
    panel.ui.clahe_preview.checked = True
    assert "5 slices" in panel.ui.clahe_previewText.text and panel.preview.node is None


# ---- the preview
@pytest.fixture
def view(qtHost):
    """A slice view, as Slicer's layouts have them."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    node.SetLayoutName("Red")
    yield node
    slicer.mrmlScene.RemoveNode(node)


def shown(node):
    import slicer

    return slicer.util.arrayFromVolume(node)[0].astype(float)


def test_preview_follows_the_slider_and_leaves_no_trace(qtHost, panel, radiographNode, view):
    view.SetBackgroundVolumeID(radiographNode.GetID())
    before = qtHost.nodes()
    with qtHost.untouched(radiographNode):
        panel.ui.clahe_preview.checked = True
        node = panel.preview.node
        assert node.GetHideFromEditors() and not node.GetSaveWithScene()
        assert not node.GetDisplayNode().GetSaveWithScene()
        assert view.GetForegroundVolumeID() == node.GetID() and view.GetForegroundOpacity() == 1.0
        weak = shown(node).copy()
        panel.ui.clahe_clipLimit.value = 8.0
        assert panel.preview.node is node and shown(node).std() > 1.2 * weak.std()
        panel.ui.clahe_before.checked = True
        assert view.GetForegroundOpacity() == 0.0
        panel.ui.clahe_before.checked = False
        assert view.GetForegroundOpacity() == 1.0
        qtHost.wait(lambda: "noise" in panel.ui.clahe_previewText.text)
        assert "over-enhanced" in panel.ui.clahe_previewText.text
        panel.ui.clahe_preview.checked = False
    assert qtHost.nodes() == before and view.GetForegroundVolumeID() is None
    assert view.GetBackgroundVolumeID() == radiographNode.GetID()


def leave(panel, host):
    panel.exit()


def closeScene(panel, host):
    host.scene.Clear(0)


def apply(panel, host):
    press(host, panel, "clahe")


def save(panel, host):
    host.scene.InvokeEvent(host.scene.StartSaveEvent)


def test_measures_of_the_preview_do_not_hold_up_the_slider(qtHost, panel, radiographNode):
    panel.ui.clahe_preview.checked = True
    panel.judgePreview()
    assert panel.ui.clahe_previewText.text == ""
    qtHost.wait(lambda: "noise" in panel.ui.clahe_previewText.text)
    first = panel.ui.clahe_previewText.text
    panel.judgePreview()
    panel.ui.clahe_clipLimit.value = 8.0
    overtaken = panel._judging
    qtHost.wait(lambda: overtaken.finished)
    assert panel.ui.clahe_previewText.text == first
    qtHost.wait(lambda: panel.ui.clahe_previewText.text != first)
    panel.judgePreview()
    panel.ui.clahe_preview.checked = False
    qtHost.wait(lambda: panel._judging.finished)
    assert panel.ui.clahe_previewText.text == ""


@pytest.mark.parametrize("end", [leave, closeScene, apply, save])
def test_preview_ends_with(qtHost, panel, radiographNode, end):
    import slicer

    panel.ui.clahe_preview.checked = True
    assert panel.preview.node is not None
    end(panel, qtHost)
    assert panel.preview.node is None and not panel.ui.clahe_preview.checked
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == [
        n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "preview" not in n.GetName()
    ]


def test_preview_changes_with_the_input(qtHost, panel, radiographNode):
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    other = nodeFromVolume(volume_of(chest()), "small")
    panel.ui.clahe_preview.checked = True
    assert panel.preview.node.GetImageData().GetDimensions() == (640, 612, 1)
    panel._parameterNode.inputVolume = other
    assert panel.preview.node.GetImageData().GetDimensions() == (224, 192, 1)


def test_preview_looks_like_the_result_and_lies_in_its_place():
    from MedPrepCommonLib.core import engine
    from MedPrepCommonLib.core.operation import create
    from MedPrepXrayLib.contrast.preview import ContrastPreview

    image = volume_of(np.kron(chest(bits=12, noise=0.0), np.ones((6, 6), np.uint16)))
    small = ContrastPreview(image).enhance(2.0, 8, "field")
    large = engine.run(create("xray.clahe", outputType="uint8"), {"image": image}).images["image"].array[0]
    step = round(small.spacing[0])
    assert step > 1 and small.array.size <= 7.1e5
    rows, columns = (n * step for n in small.array.shape[1:])
    means = large[:rows, :columns].reshape(rows // step, step, columns // step, step).mean(axis=(1, 3))
    assert np.abs(means - small.array[0]).mean() < 4
    # The first pixel covers the first `step` pixels of the image.
    wanted = image.ijkToRAS @ [(step - 1) / 2, (step - 1) / 2, 0, 1]
    np.testing.assert_allclose(small.ijkToRAS[:, 3], wanted, atol=1e-9)


def test_preview_keeps_up_with_a_slider():
    """5 megapixels, 12 bits: a step of the slider takes well under 100 ms."""
    from MedPrepXrayLib.contrast.preview import ContrastPreview

    image = volume_of(np.random.default_rng(0).integers(0, 4096, (2048, 2500)).astype(np.uint16))
    preview = ContrastPreview(image)
    times = []
    for limit in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5):
        start = time.process_time()
        preview.enhance(limit, 8, "field")
        times.append(time.process_time() - start)
    assert min(times) < 0.1
