"""The recipe editor in real Qt: a recipe is made, changed, saved, opened, run and copied as by a user."""

import numpy as np
import pytest
from ctimages import body, labels_on

from MedPrepCommonLib.core import recipe


@pytest.fixture
def ct(qtHost):
    from MedPrepCommonLib.scene import volumes

    return volumes.nodeFromVolume(body((10, 24, 26), (6.0, 6.0, 9.0)), "CT")


@pytest.fixture
def panel(qtHost, module_dirs, ct):
    path = next(p for d in module_dirs if (p := d / "MedPrepCommon.py").is_file())
    return qtHost.panel(path).widget


def choose(combo, text):
    """The user picks the entry `text`, or else the first that holds it."""
    texts = [combo.itemText(n) for n in range(combo.count)]
    index = texts.index(text) if text in texts else next(n for n, entry in enumerate(texts) if text in entry)
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def add(panel, id):
    choose(panel.ui.editor_operation, f"({id})")
    panel.ui.editor_add.click()


def value(panel, name):
    """The field beside a name in the table of the selected step."""
    table = panel.ui.editor_parameters
    row = next(n for n in range(table.rowCount) if table.item(n, 0).text() == name)
    return table.cellWidget(row, 1)


def press(host, panel):
    panel.ui.editor_apply.click()
    host.wait(lambda: panel.running is None)


def test_a_recipe_is_made_and_run(qtHost, panel, ct):
    import slicer

    ui = panel.ui
    assert "first step" in ui.editor_reason.text and not ui.editor_apply.enabled
    assert not ui.editor_save.enabled and not ui.editor_copyPython.enabled
    for id in ("ct.clip", "resample", "normalize"):
        add(panel, id)
    assert ui.editor_steps.count == 3 and ui.editor_steps.currentRow == 2
    assert ui.editor_apply.enabled and ui.editor_reason.text == ""
    ui.editor_steps.setCurrentRow(1)
    value(panel, "Spacing I").value = 8.0
    value(panel, "Spacing K").value = 12.0
    choose(value(panel, "Method"), "Linear")
    made = panel.editor.draft.recipe()
    assert made.steps[1].op.spacing == (8.0, 1.0, 12.0) and made.steps[1].op.method == "linear"
    value(panel, "Spacing J").value = 8.0
    with qtHost.untouched(ct):
        press(qtHost, panel)
    assert qtHost.messages == []
    (image,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n is not ct]
    assert np.allclose(image.GetSpacing(), (8, 8, 12))


def test_what_is_wrong_is_said_at_once_by_the_steps_name(panel):
    ui = panel.ui
    add(panel, "ct.clip")
    add(panel, "normalize")
    ui.editor_up.click()
    assert ui.editor_steps.currentRow == 0 and not ui.editor_apply.enabled
    assert ui.editor_reason.text.startswith("Step normalize: inputs.image: nothing before it makes")
    ui.editor_down.click()
    assert ui.editor_apply.enabled
    ui.editor_steps.setCurrentRow(0)
    assert not ui.editor_up.enabled and ui.editor_down.enabled
    value(panel, "Low").value = 5000.0
    assert "Expected low below high" in ui.editor_reason.text
    ui.editor_remove.click()
    assert ui.editor_apply.enabled and panel.editor.draft.recipe().steps[0].inputs["image"] == ("image",)


def test_a_preset_fills_the_parameters_and_a_change_makes_it_custom(panel):
    add(panel, "ct.clip")
    choose(value(panel, "Preset"), "Bone")
    assert panel.editor.draft.preset(0) == "bone" and value(panel, "High").value == 3000
    value(panel, "High").value = 2500.0
    assert value(panel, "Preset").currentText == "Custom"
    spin = value(panel, "Low")
    span = panel.editor.draft.operation(0).parameter("low").span
    assert (spin.minimum, spin.maximum, spin.suffix) == (span.low, span.high, " HU") and spin.toolTip


def test_inputs_names_and_results(qtHost, panel, ct):
    from MedPrepCommonLib.scene import segments

    ui = panel.ui
    add(panel, "ct.clip")
    add(panel, "resample")
    assert ui.editor_inputs.isHidden()
    ui.editor_addLabels.click()
    assert not ui.editor_inputs.isHidden()
    assert ui.editor_inputs.rowCount == 1 and ui.editor_inputs.item(0, 0).text() == "labels"
    choose(value(panel, "labels from (1)"), "labels")
    assert panel.editor.draft.sources(1, "labels") == ["labels"]
    assert "Choose labels first" in ui.editor_reason.text
    volume = body((10, 24, 26), (6.0, 6.0, 9.0))
    mine = segments.segmentationFromLabels(labels_on(volume, (volume.array > 0).astype(np.uint8)), ct, "mine")
    ui.editor_inputs.cellWidget(0, 1).setCurrentNode(mine)
    assert ui.editor_apply.enabled
    name = value(panel, "Step name")
    name.text = "iso"
    name.modified = True
    name.editingFinished.emit()
    assert panel.editor.draft.recipe().steps[1].id == "iso"
    outputs = ui.editor_outputs
    rows = {outputs.item(n, 1).text(): n for n in range(outputs.rowCount)}
    assert list(rows) == ["clip.image", "iso.image", "iso.labels"]
    outputs.cellWidget(rows["iso.labels"], 0).checked = True
    assert panel.editor.draft.record["outputs"] == {"image": "iso.image", "labels": "iso.labels"}
    field = outputs.cellWidget(rows["iso.labels"], 2)
    field.text = "things"
    field.modified = True
    field.editingFinished.emit()
    assert panel.editor.draft.record["outputs"]["things"] == "iso.labels"
    press(qtHost, panel)
    assert qtHost.messages == []


def test_the_description_can_be_changed(panel, tmp_path, monkeypatch):
    ui, editor = panel.ui, panel.editor
    choose(ui.editor_source, "Chest CT for lung networks")
    before = editor.draft.recipe().digest
    ui.editor_description.plainText = "For our scanner.\n  Thin slices only. "
    assert editor.draft.recipe().description == "For our scanner. Thin slices only."
    assert editor.draft.recipe().digest == before, "texts change nothing of what is done"
    add(panel, "qc")
    assert ui.editor_description.plainText == "For our scanner. Thin slices only."
    monkeypatch.setattr(editor, "askSave", lambda offered: str(tmp_path / "mine.json"))
    ui.editor_save.click()
    assert recipe.load(tmp_path / "mine.json").description == "For our scanner. Thin slices only."
    choose(ui.editor_source, "Empty recipe")
    assert ui.editor_description.plainText == "" and editor.draft.record["description"] == ""


def test_further_inputs_come_and_go(qtHost, panel, ct):
    from MedPrepCommonLib.scene import volumes

    ui = panel.ui
    add(panel, "ct.clip")
    add(panel, "validate")
    ui.editor_addImage.click()
    ui.editor_addLabels.click()
    assert [ui.editor_inputs.item(n, 0).text() for n in range(2)] == ["image2", "labels"]
    choose(value(panel, "after from"), "image2")
    choose(value(panel, "mask from"), "labels")
    other = volumes.nodeFromVolume(body((10, 24, 26), (6.0, 6.0, 9.0), seed=1), "second CT")
    ui.editor_inputs.cellWidget(0, 1).setCurrentNode(other)
    assert panel.editor.nodes(ct) == {"image": ct, "image2": other}
    assert "Choose labels first" in ui.editor_reason.text
    ui.editor_inputs.cellWidget(1, 2).click()
    assert ui.editor_inputs.rowCount == 1 and panel.editor.draft.sources(1, "mask") == []
    assert panel.editor.nodes(ct) == {"image": ct, "image2": other}, "what was chosen stays"
    assert ui.editor_apply.enabled
    press(qtHost, panel)
    assert qtHost.messages == []
    ui.editor_inputs.cellWidget(0, 2).click()
    assert ui.editor_inputs.isHidden() and "Step validate" in ui.editor_reason.text


def test_an_impossible_name_is_told_and_changes_nothing(qtHost, panel):
    add(panel, "ct.clip")
    name = value(panel, "Step name")
    name.text = "two words"
    name.modified = True
    name.editingFinished.emit()
    assert "two words" in qtHost.messages[0][1] and panel.editor.draft.steps[0]["id"] == "clip"


def test_installed_recipes_are_a_start_and_files_are_saved_and_opened(qtHost, panel, tmp_path, monkeypatch):
    ui, editor = panel.ui, panel.editor
    assert {"ct-lung", "mri-t1"} <= set(editor.installed)
    choose(ui.editor_source, "Chest CT for lung networks")
    assert ui.editor_steps.count == len(recipe.load("ct-lung").steps) and ui.editor_apply.enabled
    assert ui.editor_description.plainText == recipe.load("ct-lung").description
    ui.editor_steps.setCurrentRow(0)
    ui.editor_remove.click()
    path = tmp_path / "mine"
    monkeypatch.setattr(editor, "askSave", lambda offered: str(path))
    ui.editor_save.click()
    saved = recipe.load(tmp_path / "mine.json")
    assert saved.digest == editor.draft.recipe().digest != recipe.load("ct-lung").digest
    choose(ui.editor_source, "Empty recipe")
    assert ui.editor_steps.count == 0
    monkeypatch.setattr(editor, "askOpen", lambda: str(tmp_path / "mine.json"))
    ui.editor_open.click()
    assert ui.editor_source.currentIndex == 0
    assert editor.draft.recipe().digest == saved.digest and editor.file.endswith("mine.json")
    (tmp_path / "mine.json").write_text("{")
    ui.editor_open.click()
    assert "not JSON" in qtHost.messages[0][1] and editor.draft.recipe().digest == saved.digest


def test_copied_text_runs(qtHost, panel, ct):
    import qt
    import slicer

    clipboard = qt.QApplication.clipboard()
    choose(panel.ui.editor_source, "bone")
    panel.ui.editor_copyCommand.click()
    assert clipboard.text() == "medprep run ct-bone --input image=PATH --out results"
    assert panel.ui.statusLabel.text == "Copied."
    panel.ui.editor_remove.click()
    panel.ui.editor_copyCommand.click()
    assert "Save the recipe" in panel.ui.statusLabel.text and ".json" in clipboard.text()
    choose(panel.ui.editor_source, "bone")
    panel.ui.editor_copyPython.click()
    found = {"slicer": slicer}
    exec(compile(clipboard.text(), "copied", "exec"), found)
    nodes = found["nodes"]
    image = nodes.image if hasattr(nodes, "image") else nodes
    assert image.GetAttribute("MedPrep.provenance")


def test_every_operation_can_be_copied_as_python(qtHost, panel, ct):
    import qt
    import slicer

    from MedPrepCommonLib.core.operation import find

    for spec in map(find, panel.operationIds):
        getattr(panel.ui, f"{spec.name}_copy").click()
        text = qt.QApplication.clipboard().text()
        compile(text, spec.id, "exec")
        assert f"logic.{spec.console}(" in text and 'slicer.util.getNode("CT")' in text
    panel._parameterNode.resample.spacingI = 9.0
    panel.ui.resample_copy.click()
    found = {"slicer": slicer}
    exec(compile(qt.QApplication.clipboard().text(), "copied", "exec"), found)
    assert found["result"].GetSpacing()[0] == pytest.approx(9)
    panel._parameterNode.normalize.low = 5000.0
    panel.ui.normalize_copy.click()
    assert "low below high" in qtHost.messages[0][1]


def test_an_operation_says_which_further_image_it_needs(qtHost, panel, ct):
    assert not panel.ui.validate_apply.enabled
    assert panel.ui.validate_reason.text == "Choose image after first."
    panel._parameterNode.validateAfter = panel.logic.normalize(ct)
    assert panel.ui.validate_apply.enabled
    panel.ui.validate_apply.click()
    qtHost.wait(lambda: panel.running is None)
    assert qtHost.messages == [] and "Validate" in panel.ui.statusLabel.text


def test_what_made_the_input_volume_becomes_a_recipe(qtHost, panel, ct):
    import slicer

    assert not panel.ui.editor_record.enabled
    made = panel.logic.normalize(panel.logic.resample(ct, spacing=7.0), low=-900)
    panel._parameterNode.inputVolume = made
    assert panel.ui.editor_record.enabled
    panel.ui.editor_record.click()
    draft = panel.editor.draft
    assert [s["operation"] for s in draft.steps] == ["resample", "normalize"]
    panel._parameterNode.inputVolume = ct
    before = qtHost.nodes()
    press(qtHost, panel)
    (new,) = [
        n for i in qtHost.nodes() - before
        if (n := slicer.mrmlScene.GetNodeByID(i)).IsA("vtkMRMLScalarVolumeNode")
    ]  # fmt: skip
    arrays = [slicer.util.arrayFromVolume(n) for n in (new, made)]
    assert arrays[0].tobytes() == arrays[1].tobytes()


def test_every_installed_recipe_can_be_edited(panel):
    for name in panel.editor.installed:
        choose(panel.ui.editor_source, recipe.load(name).title)
        assert panel.editor.problem == "", name
        assert panel.editor.draft.recipe().digest == recipe.load(name).digest
        for step in range(panel.ui.editor_steps.count):
            panel.ui.editor_steps.setCurrentRow(step)
            spec = panel.editor.draft.operation(step)
            assert panel.ui.editor_parameters.rowCount >= 1 + len(spec.inputs) + len(spec.parameters)
        # Looking at every step changed nothing.
        assert panel.editor.draft.recipe().digest == recipe.load(name).digest
