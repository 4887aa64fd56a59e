"""The MRI panel in real Qt: every operation and recipe, and the selectors that recipes need."""

import numpy as np
import pytest

from MedPrepCommonLib.operation import find, known

MRI_IDS = [id for id in known() if id.startswith("mri.")]


@pytest.fixture(scope="module")
def brain():
    from MedPrepCommonLib.brainphantom import make_brain_phantom

    return make_brain_phantom((48, 56, 48), (4.0, 4.0, 4.0))


@pytest.fixture
def nodes(qtHost, brain):
    from MedPrepCommonLib.scenevolumes import nodeFromVolume
    from MedPrepCommonLib.volume import Volume

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
    assert qtHost.nodes() - before and panel.ui.statusLabel.text == f"{find(id).title}: done."


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

    from MedPrepCommonLib.errors import ParameterError

    logic = importlib.import_module("MedPrepMRI").MedPrepMRILogic()
    found = logic.correctBias(nodes["T1"], method="Polynomial")
    white = brain.labels == 3
    before, after = (slicer.util.arrayFromVolume(n)[white] for n in (nodes["T1"], found.image))
    assert np.std(after) / np.mean(after) < np.std(before) / np.mean(before)
    with pytest.raises(ParameterError, match="Polynomial"):
        logic.correctBias(nodes["T1"], method="Polynomal")
