"""The MRI panel in real Qt: every operation and recipe, and the selectors that recipes need."""

import numpy as np
import pytest
from ctimages import body

from MedPrepCommonLib.core.operation import find, known

MRI_IDS = [id for id in known() if id.startswith("mri.")]


@pytest.fixture(scope="module")
def brain():
    from MedPrepCommonLib.phantoms.brain import make_brain_phantom

    return make_brain_phantom((48, 56, 48), (4.0, 4.0, 4.0))


@pytest.fixture
def nodes(qtHost, brain):
    from MedPrepCommonLib.core.volume import Volume
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    return {
        name: nodeFromVolume(Volume(array, brain.ijkToRAS, name, "MR"), name)
        for name, array in brain.images.items()
    }


@pytest.fixture
def panel(qtHost, module_dirs, nodes):
    path = next(file for d in module_dirs if (file := d / "MedPrepMRI.py").is_file())
    widget = qtHost.panel(path).widget
    widget._parameterNode.inputVolume = nodes["T1"]
    return widget


def press(host, widget, name):
    getattr(widget.ui, f"{name}_apply").click()
    host.wait(lambda: widget.running is None)


@pytest.mark.parametrize("id", [id for id in MRI_IDS if id != "mri.fuse"])
def test_apply_makes_new_nodes_and_leaves_the_input_alone(qtHost, panel, nodes, id):
    # The default, division, needs a corrected image too.
    panel._parameterNode.biasField.method = "lowPass"
    before = qtHost.nodes()
    with qtHost.untouched(nodes["T1"]):
        press(qtHost, panel, find(id).name)
    assert qtHost.messages == []
    assert qtHost.nodes() - before and panel.ui.statusLabel.text.startswith(f"{find(id).title}: done.")


def test_a_warning_stands_at_the_top_when_the_run_is_done(qtHost, panel):
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    ct = body((24, 40, 40))
    panel._parameterNode.inputVolume = nodeFromVolume(ct.with_array(ct.array, modality=""), "untagged")
    press(qtHost, panel, "n4")
    said = panel.ui.statusLabel.text
    assert said.startswith(f"{find('mri.n4').title}: done. Values of the input: ") and "MedPrep CT" in said


def test_fuse_takes_the_chosen_sequences(qtHost, panel, nodes):
    import slicer

    panel._parameterNode.fuseT2, panel._parameterNode.fuseFlair = nodes["T2"], nodes["FLAIR"]
    with qtHost.untouched(*nodes.values()):
        press(qtHost, panel, "fuse")
    assert qtHost.messages == []
    fused = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLVectorVolumeNode")
    assert slicer.util.arrayFromVolume(fused).shape[-1] == 3


def test_a_recipe_shows_selectors_for_its_own_inputs_only(panel):
    panel._parameterNode.recipe = "mri-t1"
    assert not panel.ui.recipeT2.visible
    panel._parameterNode.recipe = "mri-multisequence"
    assert panel.ui.recipeT2.isVisibleTo(panel.ui.recipe_section)


@pytest.mark.parametrize("name", ["mri-t1", "mri-multisequence"])
def test_recipes(qtHost, panel, nodes, name):
    panel._parameterNode.recipe = name
    panel._parameterNode.recipeT2, panel._parameterNode.recipeFlair = nodes["T2"], nodes["FLAIR"]
    with qtHost.untouched(*nodes.values()):
        press(qtHost, panel, "recipe")
    assert qtHost.messages == []


def test_correct_bias_by_name(qtHost, module_dirs, nodes, brain):
    import importlib

    import slicer

    from MedPrepCommonLib.core.errors import ParameterError

    logic = importlib.import_module("MedPrepMRI").MedPrepMRILogic()
    found = logic.correctBias(nodes["T1"], method="Polynomial")
    white = brain.labels == 3
    before, after = (slicer.util.arrayFromVolume(n)[white] for n in (nodes["T1"], found.image))
    assert np.std(after) / np.mean(after) < np.std(before) / np.mean(before)
    with pytest.raises(ParameterError, match="Polynomial"):
        logic.correctBias(nodes["T1"], method="Polynomal")


# ---- what the slice views and plots show


@pytest.fixture
def views(qtHost):
    """A slice view, a plot view and a layout, as Slicer's main window has them."""
    import slicer

    names = ("vtkMRMLSliceCompositeNode", "vtkMRMLPlotViewNode", "vtkMRMLLayoutNode")
    return [slicer.mrmlScene.AddNewNodeByClass(name) for name in names]


def named(name):
    import slicer

    return slicer.mrmlScene.GetFirstNodeByName(name)


def test_before_and_after_change_places(qtHost, panel, nodes, views):
    composite = views[0]
    assert not panel.ui.beforeAfter.enabled and not panel.ui.overlay.enabled and not panel.ui.plots.enabled
    press(qtHost, panel, "n4")
    after = named("T1 N4 bias correction image")
    assert composite.GetBackgroundVolumeID() == after.GetID()
    for shown, text in ((nodes["T1"], "Show after"), (after, "Show before"), (nodes["T1"], "Show after")):
        panel.ui.beforeAfter.click()
        assert composite.GetBackgroundVolumeID() == shown.GetID() and panel.ui.beforeAfter.text == text
    # A new result is shown itself, and the switch starts again.
    panel._parameterNode.inputVolume = nodes["T2"]
    press(qtHost, panel, "whiteStripe")
    assert not panel.ui.beforeAfter.checked and panel.ui.beforeAfter.text == "Show before"
    panel.ui.beforeAfter.click()
    assert composite.GetBackgroundVolumeID() == nodes["T2"].GetID()


def test_the_field_lies_over_the_image_in_colours(qtHost, panel, nodes, views):
    composite = views[0]
    press(qtHost, panel, "n4")
    field = named("T1 N4 bias correction biasField")
    assert composite.GetForegroundVolumeID() is None and not panel.ui.overlay.checked
    panel.ui.overlay.click()
    assert composite.GetForegroundVolumeID() == field.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    colors = field.GetDisplayNode().GetColorNode().GetName()
    assert colors in ("DivergingBlueRed", "ColdToHotRainbow", "Rainbow")
    panel.ui.overlayOpacity.value = 0.75
    assert composite.GetForegroundOpacity() == pytest.approx(0.75)
    # It stays over the input, and over the next result with a field of its own.
    panel.ui.beforeAfter.click()
    assert composite.GetForegroundVolumeID() == field.GetID()
    press(qtHost, panel, "biasGaussian")
    assert composite.GetForegroundVolumeID() not in (None, field.GetID()) and panel.ui.overlay.checked
    panel.ui.overlay.click()
    assert composite.GetForegroundVolumeID() is None
    # A result without a field takes none along.
    panel.ui.overlay.click()
    press(qtHost, panel, "normalize")
    assert composite.GetForegroundVolumeID() is None and not panel.ui.overlay.enabled


def test_a_field_alone_is_shown_over_the_input(qtHost, panel, nodes, views):
    panel._parameterNode.biasField.method = "division"
    press(qtHost, panel, "n4")
    panel._parameterNode.biasFieldCorrected = named("T1 N4 bias correction image")
    press(qtHost, panel, "biasField")
    assert qtHost.messages == []
    assert views[0].GetBackgroundVolumeID() == nodes["T1"].GetID() and panel.ui.overlay.checked
    assert views[0].GetForegroundVolumeID() == named("T1 Show bias field biasField").GetID()
    assert not panel.ui.beforeAfter.enabled


def test_the_histogram_with_the_stripe_is_shown_in_a_plot_view(qtHost, panel, nodes, views):
    import slicer

    _composite, plot, layout = views
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    press(qtHost, panel, "whiteStripe")
    texts = [panel.ui.plots.itemText(n) for n in range(panel.ui.plots.count)]
    assert texts[0] == "No plot" and len(texts) == 2
    panel.views.showPlot(1)
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpPlotView
    chart = slicer.mrmlScene.GetNodeByID(plot.GetPlotChartNodeID())
    assert chart.GetName() == texts[1] and chart.GetNumberOfPlotSeriesNodes() >= 2
    panel.views.showPlot(0)
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView


def test_what_was_removed_meanwhile_is_not_shown(qtHost, panel, nodes, views):
    import slicer

    press(qtHost, panel, "n4")
    for name in ("T1 N4 bias correction biasField", "T1 N4 bias correction histogram"):
        slicer.mrmlScene.RemoveNode(named(name))
    panel.ui.overlay.click()
    panel.views.showPlot(1)
    assert views[0].GetForegroundVolumeID() is None
    slicer.mrmlScene.Clear(0)
    assert not panel.ui.beforeAfter.enabled and not panel.ui.overlay.enabled
