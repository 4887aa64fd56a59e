"""What a section shows beside its fields: items of lists, and only what has an effect."""

import pytest

from MedPrepCommonLib.core.operation import create, find


@pytest.fixture
def panel(qtHost, module_dirs):
    def open(name):
        path = next(path for folder in module_dirs if (path := folder / f"{name}.py").is_file())
        widget = qtHost.panel(path).widget
        for section, button in vars(widget.ui).items():
            if section.endswith("_section"):
                button.collapsed = False
        return widget

    return open


def items_of(panel, parameter):
    return next(items for items in panel.sections._lists if items.parameter is parameter)


def test_numbers_of_a_list_have_a_field_each(panel):
    widget = panel("MedPrepMRI")
    node = widget._parameterNode
    items = items_of(widget, find("mri.n4").parameter("iterations"))
    shown = [item.value for item in items.items if not item.isHidden()]
    assert shown == [50, 50, 50, 50] and widget.ui.n4_iterations.isHidden()
    assert (items.items[0].minimum, items.items[0].maximum) == (1, 1000)
    items.items[3].value = 20
    assert node.n4.iterations == "50, 50, 50, 20"
    items.more.click()
    assert node.n4.iterations == "50, 50, 50, 20, 20"
    items.more.click()
    assert not items.more.enabled
    for _n in range(5):
        items.fewer.click()
    assert node.n4.iterations == "50" and not items.fewer.enabled
    widget.onPreset(find("mri.n4"), 3)
    assert items.values() == [50, 50, 50] and widget.ui.n4_preset.currentIndex == 3
    node.n4.iterations = "7, 5"  # as a saved scene has it
    assert items.values() == [7, 5]
    assert widget.sections.specs and create("mri.n4", iterations=node.n4.iterations).iterations == (7, 5)


def test_words_of_a_list_are_chosen_and_may_be_typed(panel):
    import numpy as np
    import slicer

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.util.updateVolumeFromArray(volume, np.zeros((3, 4, 5), np.int16))
    widget = panel("MedPrepCT")
    items = items_of(widget, find("ct.multiWindow").parameter("windows"))
    node = widget._parameterNode
    items.items[1].setEditText("40/80")
    assert node.multiWindow.windows == "lung, 40/80, bone"
    items.more.click()
    assert node.multiWindow.windows == "lung, 40/80, bone, mediastinum" and not items.more.enabled
    items.items[0].setEditText("lnug")
    assert "lung" in widget.ui.multiWindow_reason.text
    items.items[0].setCurrentIndex(3)
    assert node.multiWindow.windows.startswith("brain, ") and "lung" not in widget.ui.multiWindow_reason.text


def test_choices_of_a_list_come_in_an_order(panel):
    widget = panel("MedPrepMRI")
    items = items_of(widget, find("mri.fuse").parameter("channels"))
    assert items.values() == [] and all(item.isHidden() for item in items.items)
    assert widget.ui.fuse_missing.isHidden()
    for _n in range(3):
        items.more.click()
    assert widget._parameterNode.fuse.channels == "t1, t1c, t2" and not widget.ui.fuse_missing.isHidden()


def test_a_section_shows_what_has_an_effect(panel):
    widget = panel("MedPrepCommon")
    ui, node = widget.ui, widget._parameterNode

    def shown(*names):
        return [name for name in names if not getattr(ui, f"normalize_{name}").isHidden()]

    every = [p.name for p in find("normalize").parameters]
    assert shown(*every) == ["method", "low", "high", "range"]
    assert ui.normalize_mean_label.isHidden() and ui.normalizeReference.isHidden()
    node.normalize.method = "zscore"
    assert shown(*every) == ["method", "statistics"] and not ui.normalizeMask.isHidden()
    node.normalize.statistics = "given"
    assert shown(*every) == ["method", "statistics", "mean", "standardDeviation"]
    assert ui.normalizeMask.isHidden() and ui.normalizeMask_label.isHidden()
    node.normalize.method = "histogram"
    assert shown("quantiles", "mean") == ["quantiles"]


def test_an_input_decides_what_has_an_effect(panel):
    import slicer

    widget = panel("MedPrepCommon")
    ui, node = widget.ui, widget._parameterNode
    node.cropForeground.method = "threshold"
    assert not ui.cropForeground_threshold.isHidden()
    node.cropForegroundMask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert ui.cropForeground_threshold.isHidden() and ui.cropForeground_method.isHidden()
    node.cropForegroundMask = None
    assert not ui.cropForeground_threshold.isHidden()


def test_a_vector_is_hidden_with_all_its_numbers(panel):
    widget = panel("MedPrepCommon")
    names = [f"cropPad_point{axis}{part}" for axis in "RAS" for part in ("", "_label")]
    assert all(getattr(widget.ui, name).isHidden() for name in names)
    widget._parameterNode.cropPad.centre = "point"
    assert not any(getattr(widget.ui, name).isHidden() for name in names)


def test_the_editor_has_fields_for_items_too(panel):
    widget = panel("MedPrepCommon")
    editor = widget.editor
    editor.ui.editor_operation.setCurrentIndex([o.id for o in editor.operations].index("mri.n4"))
    editor.onAdd()
    table = editor.ui.editor_parameters
    names = [table.item(row, 0).text() for row in range(table.rowCount)]
    cell = table.cellWidget(names.index("Iterations"), 1)
    from qtstandin import qt

    first = cell.findChildren(qt.QSpinBox)[0]
    first.value = 30
    assert editor.draft.steps[0]["parameters"]["iterations"] == "30, 50, 50, 50"
