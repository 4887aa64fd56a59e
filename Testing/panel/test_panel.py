"""The panels in real Qt: every button, preset and parameter, as a user drives them."""

import time

import numpy as np
import pytest

from MedPrepCommonLib.core.operation import create, find, known

CT_IDS = [id for id in known() if id.startswith("ct.") or id in ("resample", "normalize")]


@pytest.fixture(scope="module")
def chest():
    from MedPrepCommonLib.phantoms.chest import make_chest_phantom

    return make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))


@pytest.fixture
def folder(module_dirs):
    def find_module(name):
        return next(path for d in module_dirs if (path := d / f"{name}.py").is_file())

    return find_module


@pytest.fixture
def ct(qtHost, chest):
    from MedPrepCommonLib.modules.sample_data import phantomNode

    return phantomNode(chest)


@pytest.fixture
def panel(qtHost, folder, ct):
    widget = qtHost.panel(folder("MedPrepCT")).widget
    qtHost.wait(lambda: "HU" in widget.ui.inputSummary.text)
    return widget


def press(host, widget, name):
    """Click a section's button and wait for the end of the run."""
    getattr(widget.ui, f"{name}_apply").click()
    host.wait(lambda: widget.running is None)


def test_opens_on_the_only_volume_and_says_what_it_is(panel, ct):
    assert panel._parameterNode.inputVolume is ct
    text = panel.ui.inputSummary.text
    assert "128 x 128 x 75" in text and "2.8 x 2.8 x 4 mm" in text and "HU" in text


def test_without_a_volume_nothing_can_be_applied_and_the_reason_is_shown(qtHost, folder):
    widget = qtHost.panel(folder("MedPrepCT")).widget
    for spec in map(find, CT_IDS):
        assert not getattr(widget.ui, f"{spec.name}_apply").enabled
        assert "input volume" in getattr(widget.ui, f"{spec.name}_reason").text
    assert not widget.ui.recipe_apply.enabled


@pytest.mark.parametrize("id", CT_IDS)
def test_apply_makes_new_nodes_and_leaves_the_input_alone(qtHost, panel, ct, id):
    import slicer

    spec = find(id)
    before = qtHost.nodes()
    with qtHost.untouched(ct):
        press(qtHost, panel, spec.name)
    assert qtHost.messages == []
    new = [slicer.mrmlScene.GetNodeByID(i) for i in qtHost.nodes() - before]
    made = [n for n in new if n.GetName().startswith(f"{ct.GetName()} {spec.title}")]
    told = [n for n in made if n.GetName() in panel.ui.resultsText.text]
    assert told and panel.ui.statusLabel.text.startswith(f"{spec.title}: done.")
    images = [n for n in made if n.IsA("vtkMRMLVolumeNode") or n.IsA("vtkMRMLSegmentationNode")]
    assert all(f'"{id}"' in n.GetAttribute("MedPrep.provenance") for n in images)


@pytest.mark.parametrize("id", CT_IDS)
def test_presets_and_parameters_are_the_definitions(qtHost, panel, id):
    from MedPrepCommonLib.panel.names import members

    spec = find(id)
    for index, name in enumerate(spec.presets):
        combo = getattr(panel.ui, f"{spec.name}_preset")
        combo.setCurrentIndex(index + 1)
        panel.onPreset(spec, index + 1)
        wanted = create(id, name)
        for parameter in spec.parameters:
            value = getattr(wanted, parameter.name)
            # A parameter node holds a list as text.
            values = value if parameter.kind == "vector" else (parameter.written(value),)
            pack = getattr(panel._parameterNode, spec.name)
            assert tuple(getattr(pack, m) for m in members(parameter)) == values
        assert combo.currentText == spec.presets[name].title
    for parameter in spec.parameters:
        for member in members(parameter):
            widget = getattr(panel.ui, f"{spec.name}_{member}")
            assert widget.toolTip == parameter.help
            if parameter.span is not None:
                assert (widget.minimum, widget.maximum) == (parameter.span.low, parameter.span.high)
                assert parameter.unit in widget.suffix


def test_a_widget_writes_its_parameter_and_a_parameter_its_widget(panel):
    panel.ui.window_level.value = -321.0
    assert panel._parameterNode.window.level == -321.0
    assert panel.ui.window_preset.currentText == "Custom"
    panel._parameterNode.window.level = 55.0
    assert panel.ui.window_level.value == 55.0


def test_parameters_that_do_not_fit_together_disable_apply_with_the_reason(panel):
    panel._parameterNode.clip.low, panel._parameterNode.clip.high = 500.0, -500.0
    assert not panel.ui.clip_apply.enabled and "-500" in panel.ui.clip_reason.text
    assert panel.ui.window_apply.enabled


def test_recipe_runs_with_progress_and_shows_its_result(qtHost, panel, ct):
    fractions = []
    original = panel._showProgress
    panel._showProgress = lambda fraction: (fractions.append(fraction), original(fraction))
    with qtHost.untouched(ct):
        press(qtHost, panel, "recipe")
    assert qtHost.messages == []
    assert len([f for f in fractions if f]) >= 3 and fractions[-1] is None
    assert panel.ui.resultsTable.rowCount > 3


def test_cancel_stops_soon_and_changes_nothing(qtHost, panel, ct):
    with qtHost.noNewNodes(), qtHost.untouched(ct):
        panel.ui.recipe_apply.click()
        assert panel.ui.recipe_apply.text == "Cancel" and panel.ui.recipe_apply.enabled
        assert not panel.ui.window_apply.enabled and panel.ui.window_reason.text
        began = time.monotonic()
        panel.ui.recipe_apply.click()
        qtHost.wait(lambda: panel.running is None)
        assert time.monotonic() - began < 2.0
    assert "Cancelled" in panel.ui.statusLabel.text
    assert panel.ui.recipe_apply.text == "Run recipe" and panel.ui.window_apply.enabled


def test_an_error_is_told_once_and_changes_nothing(qtHost, panel, ct):
    import slicer

    constant = slicer.util.addVolumeFromArray(np.zeros((8, 16, 16), np.int16), name="nothing")
    panel._parameterNode.inputVolume = constant
    panel._parameterNode.normalize.method = "zscore"
    with qtHost.noNewNodes():
        press(qtHost, panel, "normalize")
    assert len(qtHost.messages) == 1
    assert "Traceback" not in qtHost.messages[0][1]
    assert panel.ui.normalize_apply.enabled


def test_result_goes_into_the_chosen_node(qtHost, panel, ct):
    import slicer

    target = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mine")
    panel._parameterNode.outputVolume = target
    press(qtHost, panel, "clip")
    assert slicer.util.arrayFromVolume(target).shape == slicer.util.arrayFromVolume(ct).shape
    assert target.GetName() == "mine"


def test_parameters_are_saved_with_the_scene(qtHost, panel, tmp_path):
    from MedPrepCommonLib import headless

    panel._parameterNode.window.level = -777.0
    panel._parameterNode.recipe = "ct-bone"
    headless.saveScene(tmp_path / "scene.mrb")
    panel._parameterNode.window.level = 0.0
    headless.loadScene(tmp_path / "scene.mrb")
    assert panel._parameterNode.inputVolume is not None and panel.ui.window_apply.enabled
    assert panel._parameterNode.window.level == -777.0
    assert panel.ui.window_level.value == -777.0 and panel.ui.recipe.currentIndex == panel.recipes.index(
        "ct-bone"
    )


def test_closing_the_scene_while_running_stops_the_run(qtHost, panel):
    import slicer

    panel.ui.recipe_apply.click()
    slicer.mrmlScene.Clear()
    qtHost.wait(lambda: panel.running is None or not panel.running._thread.is_alive())
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []


def test_a_run_that_stops_late_does_not_block_the_panel(qtHost, folder, ct):
    import slicer

    from MedPrepCommonLib.core.task import Task

    widget = qtHost.panel(folder("MedPrepCommon")).widget
    late = Task("Late", lambda _job: time.sleep(1.5), lambda _outcome: ())
    widget._toggle(widget.ui.resample_apply, lambda: late)
    slicer.mrmlScene.Clear()
    assert widget.running is not None
    qtHost.wait(lambda: widget.running is None)


def test_closing_the_scene_forgets_what_was_made(qtHost, panel):
    import slicer

    press(qtHost, panel, "check")
    assert panel.ui.resultsText.text and panel.ui.resultsTable.rowCount and panel.ui.statusLabel.text
    slicer.mrmlScene.Clear()
    assert not panel.ui.resultsText.text and not panel.ui.resultsTable.rowCount
    assert not panel.ui.statusLabel.text


def test_removing_the_input_while_running_is_an_error_not_a_crash(qtHost, panel, ct):
    import slicer

    panel.ui.lungs_apply.click()
    slicer.mrmlScene.RemoveNode(ct)
    qtHost.wait(lambda: panel.running is None)
    assert [text for _level, text in qtHost.messages if "removed" in text]
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_common_panel(qtHost, folder, ct):
    widget = qtHost.panel(folder("MedPrepCommon")).widget
    with qtHost.untouched(ct):
        press(qtHost, widget, "resample")
        press(qtHost, widget, "normalize")
    assert qtHost.messages == []


def test_choices_are_shown_in_words_and_kept_as_choices(qtHost, panel):
    panel.exit()
    panel.enter()
    combo = panel.ui.window_outputType
    assert [combo.itemText(n) for n in range(combo.count)] == ["Grey levels 0 to 255", "Numbers 0 to 1"]
    combo.setCurrentIndex(1)
    assert panel._parameterNode.window.outputType == "float"
    assert panel.ui.recipe.currentText != panel._parameterNode.recipe == "ct-lung"


def test_a_volume_that_is_filled_after_it_was_added_becomes_usable(qtHost, folder):
    import slicer

    widget = qtHost.panel(folder("MedPrepCT")).widget
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "late")
    widget._parameterNode.inputVolume = node
    assert not widget.ui.window_apply.enabled and "no image" in widget.ui.window_reason.text
    slicer.util.updateVolumeFromArray(node, np.full((4, 8, 8), -1000, np.int16))
    assert widget.ui.window_apply.enabled and "8 x 8 x 4" in widget.ui.inputSummary.text


def test_the_summary_follows_the_image(qtHost, panel, ct):
    import slicer

    slicer.util.arrayFromVolume(ct)[:] = -1000
    slicer.util.arrayFromVolumeModified(ct)
    qtHost.wait(lambda: "-1000 to -1000 HU" in panel.ui.inputSummary.text)
    slicer.util.updateVolumeFromArray(ct, np.full((5, 9, 7), -900, np.int16))
    qtHost.wait(lambda: "-900 to -900 HU" in panel.ui.inputSummary.text)
    assert "7 x 9 x 5" in panel.ui.inputSummary.text


def test_a_slider_takes_its_step_from_the_definition(panel):
    assert panel.ui.metal_threshold.singleStep == find("ct.metal").parameter("threshold").span.step
