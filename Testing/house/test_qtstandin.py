"""The Qt stand-ins behave as PythonQt, ctk and qMRML widgets do in Slicer: a small module tries them."""

from __future__ import annotations

import re
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6 is not installed")
slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

MODULE = """
import enum
from dataclasses import dataclass, fields
from typing import Annotated

import qt
import slicer
import vtk
from slicer.parameterNodeWrapper import *
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


@dataclass(frozen=True)
class Window:
    level: float = 40.0
    width: float = 400.0


class Kind(enum.Enum):
    LINEAR = "Linear"
    EXACT = "Linear exact"

    def label(self):
        return self.value


def packOf(cls, ranges):
    annotations = {f.name: Annotated[float, WithinRange(*ranges[f.name])] for f in fields(cls)}
    return parameterPack(type(cls.__name__, (), {
        "__annotations__": annotations, "__module__": __name__, **{f.name: f.default for f in fields(cls)}}))


WindowPack = packOf(Window, {"level": (-2000, 4000), "width": (1, 8000)})


@parameterNodeWrapper
class TinyParameterNode:
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    outputVolume: slicer.vtkMRMLScalarVolumeNode
    window: WindowPack
    kind: Kind = Kind.EXACT
    preset: Annotated[str, Choice(["lung", "bone"])] = "bone"
    count: Annotated[int, WithinRange(1, 9)] = 3
    clip: bool = True
    name: str = "result"
    bounds: Annotated[FloatRange, RangeBounds(-1000, 1000), Default(FloatRange(-100, 100))]


class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Tiny"


class TinyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = self.tag = None
        self.applied = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/Tiny.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = TinyLogic()
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, lambda *_: self.leave())

    def enter(self):
        self.parameters = self.logic.getParameterNode()
        self.tag = self.parameters.connectGui(self.ui)
        self.addObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.onModified)
        self.onModified()

    def exit(self):
        self.leave()

    def cleanup(self):
        self.leave()
        self.removeObservers()

    def leave(self):
        if self.parameters is not None:
            self.parameters.disconnectGui(self.tag)
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.onModified)
            self.parameters = None

    def onModified(self, caller=None, event=None):
        self.ui.applyButton.enabled = self.parameters.inputVolume is not None

    def onApply(self):
        with slicer.util.tryWithErrorDisplay("Failed."):
            if self.parameters.name == "forbidden":
                raise ValueError("not this name")
            self.applied.append(self.parameters.window.level)


class TinyLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return TinyParameterNode(super().getParameterNode())
"""


def widget(className: str, name: str, parameter: str = "", properties: str = "") -> str:
    """XML of one widget of a .ui file."""
    binding = (
        f'<property name="SlicerParameterName" stdset="0"><string>{parameter}</string></property>'
        if parameter
        else ""
    )
    return f'<item><widget class="{className}" name="{name}">{properties}{binding}</widget></item>'


def flag(name: str, value: str = "true") -> str:
    return f'<property name="{name}"><bool>{value}</bool></property>'


def uiFile(extra: str = "", connections: str = "") -> str:
    """A .ui file as Qt Designer writes it, with one widget per kind of parameter."""
    receivers = "".join(
        f"<connection><sender>TinyPanel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
        f"<receiver>{name}</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
        for name in ("inputVolume", "outputVolume")
    )
    inner = "".join(
        [
            widget(
                "ctkSliderWidget",
                "level",
                "window.level",
                '<property name="decimals"><number>1</number></property>',
            ),
            widget("QDoubleSpinBox", "width", "window.width"),
            widget("QComboBox", "kind", "kind"),
            widget("QComboBox", "preset", "preset"),
            widget("QSpinBox", "count", "count"),
            widget("QCheckBox", "clip", "clip"),
            widget("QLineEdit", "resultName", "name"),
            widget("ctkRangeWidget", "bounds", "bounds"),
        ]
    )
    return textwrap.dedent(f"""\
        <?xml version="1.0" encoding="UTF-8"?>
        <ui version="4.0"><class>Tiny</class>
        <widget class="qMRMLWidget" name="TinyPanel"><layout class="QVBoxLayout" name="rows">
        {
        widget(
            "qMRMLNodeComboBox",
            "inputVolume",
            "inputVolume",
            flag("addEnabled", "false") + flag("removeEnabled", "false"),
        )
    }
        {widget("qMRMLNodeComboBox", "outputVolume", "outputVolume", flag("noneEnabled"))}
        <item><widget class="ctkCollapsibleButton" name="section"><property
        name="text"><string>Window</string> </property>{flag("collapsed")}<layout class="QVBoxLayout"
        name="inner">{inner}</layout></widget></item>
        {widget("QPushButton", "applyButton")}{widget("qMRMLTableView", "table")}{extra}
        </layout></widget>
        <customwidgets><customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header>
        <container>1</container></customwidget></customwidgets>
        <connections>{receivers}{connections}</connections></ui>""")


@pytest.fixture
def modulePath(qtHost, tmp_path, monkeypatch):
    """The small module on disk; forgotten afterwards."""
    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    (tmp_path / "Resources" / "UI" / "Tiny.ui").write_text(uiFile())
    path = tmp_path / "Tiny.py"
    path.write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield path
    sys.modules.pop("Tiny", None)
    for name in ("tiny", "TinyInstance", "TinyWidget"):
        vars(slicer.modules).pop(name, None)
    vars(slicer.moduleNames).pop("Tiny", None)
    slicer.selfTests.pop("Tiny", None)


@pytest.fixture
def panel(qtHost, modulePath):
    return qtHost.panel(modulePath)


def volume(name: str = "CT"):
    return slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name=name)


# ---- a module's panel


def test_panel_is_made_as_slicer_makes_it(panel, modulePath):
    widget = panel.widget
    assert slicer.modules.TinyWidget is widget and slicer.util.getModuleWidget("Tiny") is widget
    assert (
        widget.parent.isEntered
        and widget.parent.self() is widget
        and widget.parent.mrmlScene() is slicer.mrmlScene
    )
    assert slicer.util.getModuleLogic("Tiny") is widget.logic
    assert widget.resourcePath("a") == str(modulePath.parent / "Resources" / "a")
    assert panel.ui.level.decimals == 1 and panel.ui.section.collapsed and panel.ui.section.text == "Window"
    panel.exit()
    assert not widget.parent.isEntered and widget.parameters is None


def test_definitions_reach_the_widgets(panel):
    ui = panel.ui
    assert (ui.level.minimum, ui.level.maximum, ui.level.value) == (-2000, 4000, 40)
    assert (ui.width.minimum, ui.width.maximum, ui.width.value) == (1, 8000, 400)
    assert (ui.count.minimum, ui.count.maximum, ui.count.value) == (1, 9, 3)
    assert [ui.kind.itemText(n) for n in range(ui.kind.count)] == ["Linear", "Linear exact"]
    assert ui.kind.currentText == "Linear exact" and ui.preset.currentText == "bone"
    assert ui.clip.checked and ui.resultName.text == "result"
    assert (ui.bounds.minimumValue, ui.bounds.maximumValue) == (-100, 100)
    assert ui.inputVolume.nodeTypes == ("vtkMRMLScalarVolumeNode",)


def test_widgets_change_parameters(panel):
    ui, parameters = panel.ui, panel.widget.parameters
    ui.level.value, ui.width.value = -600, 1500
    ui.kind.currentIndex, ui.preset.currentText = 0, "lung"
    ui.count.setValue(7)
    ui.clip.click()
    ui.resultName.setText("windowed")
    ui.bounds.setValues(-5, 5)
    assert (parameters.window.level, parameters.window.width) == (-600, 1500)
    assert parameters.kind.name == "LINEAR" and parameters.preset == "lung" and parameters.count == 7
    assert parameters.clip is False and parameters.name == "windowed"
    assert (parameters.bounds.minimum, parameters.bounds.maximum) == (-5, 5)
    node = parameters.parameterNode
    assert node.GetParameter("window.level") == "-600.0" and node.GetParameter("kind") == "LINEAR"


def test_parameters_change_widgets(panel):
    ui, parameters = panel.ui, panel.widget.parameters
    kind = type(parameters.kind)
    parameters.window.level, parameters.kind, parameters.preset = 300.0, kind.LINEAR, "lung"
    parameters.parameterNode.SetParameter("count", "5")
    parameters.bounds.setRange(-1, 2)
    parameters.name, parameters.clip = "x", False
    assert ui.level.value == 300 and ui.kind.currentText == "Linear" and ui.preset.currentText == "lung"
    assert ui.count.value == 5 and not ui.clip.checked and ui.resultName.text == "x"
    assert (ui.bounds.minimumValue, ui.bounds.maximumValue) == (-1, 2)


def test_a_widgets_rounding_stays_out_of_the_node(panel):
    """ctk's widgets keep the exact number and round what they show; ``QDoubleSpinBox`` rounds its value."""
    parameters = panel.widget.parameters
    parameters.window.level, parameters.window.width = 12.3456, 12.3456
    assert (
        panel.ui.level.value == 12.3456
        and panel.ui.level.findChildren(qt().QDoubleSpinBox)[0].value() == 12.3
    )
    assert panel.ui.width.value == 12.35
    assert (parameters.window.level, parameters.window.width) == (12.3456, 12.3456)


def test_nothing_follows_after_exit(panel):
    parameters = panel.widget.parameters
    panel.exit()
    panel.ui.level.value = 99
    assert parameters.window.level == 40
    parameters.window.level = -5.0
    assert panel.ui.level.value == 99
    panel.enter()
    assert panel.ui.level.value == -5  # the node wins


def test_clicks_and_reasons(qtHost, panel):
    assert not panel.ui.applyButton.enabled
    panel.ui.applyButton.click()
    assert panel.widget.applied == []
    volume()  # the only choice: the selector without None and without actions takes it
    assert panel.ui.applyButton.enabled
    panel.ui.level.value = 70
    panel.ui.applyButton.click()
    assert panel.widget.applied == [70]


def test_an_error_in_a_slot_is_shown_and_remembered(qtHost, panel):
    volume()
    panel.widget.parameters.name = "forbidden"
    panel.ui.applyButton.click()
    assert qtHost.messages == [("error", "Failed.\n\nnot this name")]
    assert [str(error) for error in qtHost.errors] == ["not this name"]  # tryWithErrorDisplay raises again
    qtHost.errors.clear()


def test_confirmations_get_the_tests_answer(qtHost):
    assert slicer.util.confirmOkCancelDisplay("Overwrite?") is True
    qtHost.answer = False
    assert slicer.util.confirmOkCancelDisplay("Overwrite?") is False
    assert slicer.util.confirmYesNoDisplay("Sure?") is False
    qtHost.answer = True
    assert slicer.util.confirmYesNoDisplay("Sure?") is True
    assert [text for _level, text in qtHost.messages] == ["Overwrite?", "Overwrite?", "Sure?", "Sure?"]


def test_closing_the_scene_and_the_panel(qtHost, modulePath):
    panel = qtHost.panel(modulePath)
    volume()
    slicer.mrmlScene.Clear()
    assert panel.widget.parameters is None and panel.ui.inputVolume.currentNode() is None
    panel.enter()
    panel.close()
    qtHost.panels.remove(panel)
    volume("after")  # a deleted selector must not hear of it: errors in observers fail this test
    slicer.mrmlScene.Clear()


def test_collapsed_section_keeps_what_the_panel_hid(panel):
    ui = panel.ui
    assert not ui.level.visible
    ui.count.visible = False
    ui.section.collapsed = False
    assert ui.level.visible and not ui.count.visible
    seen = []
    ui.section.connect("contentsCollapsed(bool)", seen.append)
    ui.section.click()
    ui.count.visible = True
    assert not ui.count.visible and not ui.level.visible and seen == [True]
    ui.section.collapsed = False
    assert ui.level.visible and ui.count.visible


def test_screenshot(panel, tmp_path):
    picture = panel.screenshot(tmp_path / "panel.png")
    assert picture.stat().st_size > 1000


def test_table_view_shows_the_node(panel):
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(table, (np.array([1.5, 2.5]), np.array([1, 2])), ["ml", "n"])
    panel.ui.table.setMRMLTableNode(table)
    model = panel.ui.table.model()
    assert (model.rowCount(), model.columnCount()) == (2, 2)
    assert model.data(model.index(1, 0)) == "2.5" and model.headerData(0, qt().Qt.Horizontal) == "ml"
    table.AddEmptyRow()
    assert model.rowCount() == 3
    panel.ui.table.setMRMLTableNode(None)
    assert model.rowCount() == 0


def test_ctk_numbers_stay_in_their_bounds(qtHost):
    """Figures measured in Slicer 5.13."""
    import ctk

    for number in (ctk.ctkSliderWidget(), ctk.ctkDoubleSpinBox()):
        told = []
        number.connect("valueChanged(double)", told.append)
        number.minimum, number.maximum, number.decimals = -2000, 4000, 1
        number.value = 12.3456
        number.value = 1e6
        number.value = 1e6
        number.maximum = 10
        number.minimum, number.maximum = -100, -200
        assert told == [12.3456, 4000, 10, -200] and (number.minimum, number.maximum) == (-200, -200)
        number.minimum, number.maximum = 0, 100
        spin = number.findChildren(qt().QDoubleSpinBox)[0]
        spin.setValue(33.37)  # the user types
        assert number.value == 33.4 and told[-1] == 33.4
        with pytest.raises(AttributeError):
            number.setRange(0, 1)  # no slot in ctk, so PythonQt does not show it
    bounds, told = ctk.ctkRangeWidget(), []
    bounds.connect("valuesChanged(double,double)", lambda low, high: told.append((low, high)))
    bounds.setRange(-1000, 1000)
    told.clear()
    bounds.setValues(-5.123, 5.678)
    bounds.maximumValue = -7
    bounds.setValues(9, 3)
    bounds.setValues(-3000, 3000)
    assert told == [(-5.123, 5.678), (-5.123, -5.123), (3, 9), (-1000, 1000)]


def test_slider_follows_the_mouse(qtHost):
    import ctk

    number = ctk.ctkSliderWidget()
    number.minimum, number.maximum = -1000, 1000
    slider = number.findChildren(qt().QSlider)[0]
    slider.setValue((slider.minimum() + slider.maximum()) * 3 // 4)
    assert number.value == 500
    number.value = -1000
    assert slider.value() == slider.minimum() and number.value == -1000


# ---- what a panel may not do


@pytest.mark.parametrize(
    "extra, connections, words",
    [
        ('<item><widget class="ctkUnheardOf" name="a"/></item>', "", "no widget class ctkUnheardOf"),
        (
            "",
            "<connection><sender>TinyPanel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
            "<receiver>missing</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>",
            "no such widget",
        ),
        (
            "",
            "<connection><sender>TinyPanel</sender><signal>sceneChanged()</signal>"
            "<receiver>table</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>",
            "has no signal",
        ),
        (
            "",
            "<connection><sender>TinyPanel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
            "<receiver>level</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>",
            "cannot be called",
        ),
    ],
)
def test_a_wrong_ui_file_is_an_error(qtHost, tmp_path, extra, connections, words):
    path = tmp_path / "wrong.ui"
    path.write_text(uiFile(extra, connections))
    with pytest.raises(RuntimeError, match=words):
        slicer.util.loadUI(str(path))


def test_a_missing_ui_file_is_an_error(qtHost, tmp_path):
    with pytest.raises(RuntimeError, match="file not found"):
        slicer.util.loadUI(str(tmp_path / "no.ui"))


@pytest.mark.parametrize(
    "name, className, parameter, words",
    [
        ("level", "QDoubleSpinBox", "window.depth", "has no member 'depth'"),
        ("level", "QDoubleSpinBox", "nothing", "Cannot find a param"),
        ("level", "QSlider", "window.level", "Unable to create GUI connector"),
        ("clip", "QLabel", "clip", "Unable to create GUI connector"),
        ("clip", "QRadioButton", "clip", "Unable to create GUI connector"),
        ("resultName", "QComboBox", "name", "requires the Choice annotation"),
    ],
)
def test_a_wrong_binding_is_an_error(qtHost, modulePath, name, className, parameter, words):
    """Also: a widget that only resembles the right one, since Slicer compares the exact class."""
    ui = modulePath.parent / "Resources" / "UI" / "Tiny.ui"
    found = re.search(rf'<item><widget class="\w+" name="{name}">.*?</item>', uiFile()).group()
    ui.write_text(uiFile().replace(found, widget(className, name, parameter)))
    panel = qtHost.panel(modulePath, enter=False)
    with pytest.raises((ValueError, RuntimeError), match=words):
        panel.enter()
    panel.widget.parameters = None


# ---- PythonQt's manners


def qt():
    import qt

    return qt


def test_properties_are_attributes(qtHost):
    label = qt().QLabel("a")
    label.text, label.toolTip, label.name = "b", "tip", "label"
    assert (label.text, label.toolTip, label.objectName, label.enabled) == ("b", "tip", "label", True)
    with pytest.raises(TypeError, match="not callable"):
        label.text()
    with pytest.raises(AttributeError, match="does not exist"):
        label.txet = "c"
    with pytest.raises(AttributeError, match="no property"):
        label.setText = "c"
    spin = qt().QDoubleSpinBox()
    spin.maximum, spin.value = 5000, 1500.5
    assert spin.value == 1500.5
    with pytest.raises(AttributeError, match="QDoubleSpinBox.value does not accept"):
        spin.value = "wide"
    assert isinstance(label, qt().QWidget) and type(label) is qt().QLabel and label.className() == "QLabel"
    assert not isinstance(label, qt().QPushButton)


def test_signals_by_signature(qtHost):
    button, calls = qt().QPushButton(), []
    button.checkable = True

    class Receiver:
        def none(self):
            calls.append("none")

        def one(self, checked):
            calls.append(checked)

    receiver = Receiver()
    button.connect("clicked()", receiver.none)
    button.connect("clicked(bool)", receiver.one)
    button.connect("clicked(bool)", lambda *args: calls.append(args))
    button.connect("clicked()", lambda *args: calls.append(args))
    button.toggled.connect(receiver.one)
    button.click()
    assert calls == [True, "none", True, (True,), ()]
    assert button.disconnect("clicked()", receiver.none) and not button.disconnect("clicked()", receiver.none)
    calls.clear()
    button.click()
    assert "none" not in calls and len(calls) == 4
    for signature, error in (("clicked(int)", ValueError), ("clickd()", ValueError), ("clicked", ValueError)):
        with pytest.raises(error):
            button.connect(signature, print)
    with pytest.raises(TypeError):
        button.connect("clicked()", "slot")


def test_timer_ticks_in_the_event_loop(qtHost):
    timer, ticks = qt().QTimer(), []
    timer.interval = 5
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    qt().QTimer.singleShot(0, lambda: ticks.append("shot"))
    qtHost.wait(lambda: ticks.count(1) >= 3, 10)
    timer.stop()
    assert "shot" in ticks and not timer.active
    with pytest.raises(AssertionError, match="not within"):
        qtHost.wait(lambda: False, 0.05)


def test_settings_do_not_touch_the_users(qtHost):
    settings = slicer.app.settings()
    assert "MedPrep-settings-" in settings.fileName()
    settings.setValue("Developer/DeveloperMode", True)
    assert slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool) is True
    settings.remove("Developer/DeveloperMode")


def test_qt_leaves_with_the_fixture(slicerHost):
    assert "qt" not in sys.modules and not hasattr(slicer, "qMRMLWidget") and slicer.app.testingEnabled()
    slicer.util.errorDisplay("only logged")


# ---- node selector


def selector(scene=True, **options):
    """A selector for scalar volumes without action entries, and the list of nodes that it reported."""
    combo, changes = slicer.qMRMLNodeComboBox(), []
    combo.nodeTypes = ("vtkMRMLScalarVolumeNode", "")
    for name, value in {"addEnabled": False, "removeEnabled": False, **options}.items():
        setattr(combo, name, value)
    combo.connect("currentNodeChanged(vtkMRMLNode*)", changes.append)
    if scene:
        combo.setMRMLScene(slicer.mrmlScene)
    return combo, changes


def test_selector_without_scene_is_disabled(qtHost):
    ct = volume()
    combo, changes = selector(scene=False)
    assert (
        not combo.enabled and combo.currentNode() is None and combo.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    )
    combo.setCurrentNode(ct)  # remembered until there is a scene
    combo.setMRMLScene(slicer.mrmlScene)
    assert combo.enabled and combo.currentNode() is ct and changes[-1] is ct


@pytest.mark.parametrize("noneEnabled", [False, True])
def test_selector_takes_the_first_node_unless_none_is_allowed(qtHost, noneEnabled):
    first, _second = volume("a"), volume("b")
    combo, _changes = selector(noneEnabled=noneEnabled)
    assert combo.nodeCount() == 2
    assert combo.currentNode() is (None if noneEnabled else first)
    assert combo.currentNodeID == ("" if noneEnabled else first.GetID())


@pytest.mark.parametrize(
    "options, chosen",
    [
        ({}, True),
        ({"noneEnabled": True}, False),
        ({"addEnabled": True}, False),
    ],
)
def test_a_node_that_arrives_later(qtHost, options, chosen):
    combo, changes = selector(**options)
    ct = volume()
    assert (combo.currentNode() is ct) == chosen and (ct in changes) == chosen
    assert changes[0] is None  # setting the scene is told
    volume("later")
    assert (combo.currentNode() is ct) == chosen


def test_selector_filters(qtHost):
    scalar = volume("scalar")
    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    hidden = volume("hidden")
    hidden.SetHideFromEditors(True)
    combo, _changes = selector()
    assert [combo.nodeFromIndex(n) for n in range(combo.nodeCount())] == [scalar, label]
    combo.showChildNodeTypes = False
    assert [combo.nodeFromIndex(n) for n in range(combo.nodeCount())] == [scalar]
    combo.showHidden = True
    assert combo.nodeCount() == 2
    combo.showChildNodeTypes, combo.hideChildNodeTypes = True, ("vtkMRMLLabelMapVolumeNode",)
    assert [combo.nodeFromIndex(n) for n in range(combo.nodeCount())] == [scalar, hidden]
    combo.addAttribute("vtkMRMLScalarVolumeNode", "kind", "mask")
    assert combo.nodeCount() == 0 and combo.currentNode() is None
    scalar.SetAttribute("kind", "mask")
    combo.addAttribute("vtkMRMLScalarVolumeNode", "kind", "mask")
    assert combo.nodeCount() == 1


def test_selector_follows_rename_and_removal(qtHost):
    first, second = volume("a"), volume("b")
    combo, changes = selector()
    combo.setCurrentNode(second)
    before = len(changes)
    second.SetName("c")
    assert combo.findChild(qt().QComboBox.qtClass).currentText() == "c"
    assert changes[before:] == [second]  # Slicer tells it too
    slicer.mrmlScene.RemoveNode(second)
    assert combo.currentNode() is first and changes[-1] is first
    slicer.mrmlScene.RemoveNode(first)
    assert combo.currentNode() is None and changes[-1] is None


def test_selector_creates_nodes(qtHost):
    combo, changes = selector(noneEnabled=True, addEnabled=True, removeEnabled=True, baseName="Output")
    added = []
    combo.connect("nodeAddedByUser(vtkMRMLNode*)", added.append)
    node = combo.addNode()
    assert node.GetName() == "Output" and combo.currentNode() is node and added == [node]
    assert set(changes[:-1]) == {None} and changes[-1] is node
    assert combo.addNode().GetName() == "Output_1"
    assert combo.addNode("vtkMRMLTableNode") is None
    combo.removeCurrentNode()
    assert combo.currentNode() is not None or combo.nodeCount() == 1


def test_selector_after_closing_and_loading_a_scene(qtHost, tmp_path):
    from MedPrepCommonLib import headless

    volume("saved")
    path = headless.saveScene(tmp_path / "s.mrb")
    combo, changes = selector()
    headless.clear()
    assert combo.nodeCount() == 0 and combo.currentNode() is None and changes[-1] is None
    headless.loadScene(path)
    assert combo.nodeCount() == 1 and combo.nodeFromIndex(0).GetName() == "saved"


def test_forgotten_selectors_release_the_scene(qtHost):
    import gc

    ct = volume()
    combo, _changes = selector()
    combo.deleteLater()
    del combo
    gc.collect()
    slicer.app.processEvents()
    ct.SetName("renamed")
    slicer.mrmlScene.RemoveNode(ct)  # errors in observers fail this test
    slicer.mrmlScene.Clear()
