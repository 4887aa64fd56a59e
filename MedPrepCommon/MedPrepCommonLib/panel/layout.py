"""The sections of a panel as Qt Designer's XML, made from the definitions of operations and recipes.

Slicer's own loader makes the widgets from it, so that they are bound, named and owned like those of any other
.ui file. The XML holds what there is and in which order, and the words before the fields; ranges, units, help
and presets are put on the widgets by :mod:`.panel`. All texts are translated here already.

An operation's section is a form: a line on what it does, its presets, its parameters, its further inputs,
room for what a module adds, the button, and why the button cannot be pressed.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Mapping

from ..core.i18n import _
from ..core.operation import Operation
from ..core.parameters import Parameter
from ..core.recipe import Recipe
from .names import inputMember, memberLabel, members, recipeMembers

#: Widget by kind of parameter. Of a list, the text of all its items is bound, and shown by fields of its own.
_WIDGETS = {
    "bool": "QCheckBox",
    "int": "QSpinBox",
    "float": "QDoubleSpinBox",
    "vector": "QDoubleSpinBox",
    "choice": "QComboBox",
    "text": "QLineEdit",
    "list": "QLineEdit",
}
_CUSTOM = {
    "qMRMLWidget": True,
    "qMRMLNodeComboBox": False,
    "ctkCollapsibleButton": True,
    "ctkSliderWidget": False,
}
#: Kinds of volume that are no picture, though they derive from one.
NO_PICTURES = (
    "vtkMRMLLabelMapVolumeNode",
    "vtkMRMLDiffusionWeightedVolumeNode",
    "vtkMRMLDiffusionTensorVolumeNode",
)
_AS_WIDE_AS_THERE_IS_ROOM = ("Ignored", "Fixed")
_AS_HIGH_AS_NEEDED = ("Preferred", "MinimumExpanding")


def panelXml(
    operations: Iterable[Operation],
    recipes: Iterable[Recipe] = (),
    extras: Collection[str] = (),
    colour: bool = False,
    words: Mapping[str, str] | None = None,
) -> str:
    """The .ui text of a recipe section (when there are `recipes`) and of a section for each operation.

    Parameters
    ----------
    extras : ids of operations whose section has an empty widget ``<name>_extra`` for what the module adds.
    colour : whether images with several values per voxel can be chosen.
    words : labels of recipe inputs by their member, where the operations' own words do not fit.
    """
    root = ET.Element("ui", version="4.0")
    ET.SubElement(root, "class").text = "MedPrepSections"
    top = ET.SubElement(root, "widget", {"class": "qMRMLWidget", "name": "MedPrepSections"})
    layout = ET.SubElement(top, "layout", {"class": "QVBoxLayout", "name": "MedPrepSections_layout"})
    _no_margins(layout)
    operations, recipes = list(operations), list(recipes)
    sections = [_Section(spec, colour).of_operation(spec.id in extras) for spec in operations]
    if recipes:
        selectors = _recipeSelectors(recipes, operations)
        sections.insert(0, _Section(None, colour).of_recipes(selectors, words or {}))
    for section in sections:
        ET.SubElement(layout, "item").append(section)
    custom = ET.SubElement(root, "customwidgets")
    for name, holdsOthers in _CUSTOM.items():
        entry = ET.SubElement(custom, "customwidget")
        ET.SubElement(entry, "class").text = name
        ET.SubElement(entry, "extends").text = "QWidget"
        ET.SubElement(entry, "header").text = f"{name}.h"
        if holdsOthers:
            ET.SubElement(entry, "container").text = "1"
    ET.SubElement(root, "resources")
    connections = ET.SubElement(root, "connections")
    for widget in top.iter("widget"):
        if widget.get("class") == "qMRMLNodeComboBox":
            entry = ET.SubElement(connections, "connection")
            ET.SubElement(entry, "sender").text = "MedPrepSections"
            ET.SubElement(entry, "signal").text = "mrmlSceneChanged(vtkMRMLScene*)"
            ET.SubElement(entry, "receiver").text = widget.get("name")
            ET.SubElement(entry, "slot").text = "setMRMLScene(vtkMRMLScene*)"
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


class _Section:
    """One collapsible section while it is put together, row by row."""

    def __init__(self, spec: Operation | None, colour: bool) -> None:
        self.spec, self.colour = spec, colour
        self.name = spec.name if spec is not None else "recipe"
        self.element = ET.Element("widget", {"class": "ctkCollapsibleButton", "name": f"{self.name}_section"})
        self.rows = 0

    def of_operation(self, extra: bool) -> ET.Element:
        spec = self.spec
        self._open(spec.title, collapsed=True)
        self._words(f"{spec.name}_help", spec.help)
        if spec.presets:
            self._label(f"{spec.name}_preset", _("Preset"))
            _policy(self._field("QComboBox", f"{spec.name}_preset"), _AS_WIDE_AS_THERE_IS_ROOM)
        for parameter in spec.parameters:
            for member in members(parameter):
                self._parameter(parameter, member)
        for slot in spec.inputs[1:]:
            self._selector(inputMember(spec, slot), slot.label, slot.labels)
        if extra:
            self._row("QWidget", f"{spec.name}_extra")
        self._button(_("Apply"))
        return self.element

    def of_recipes(self, selectors: Mapping[str, tuple[str, bool]], words: Mapping[str, str]) -> ET.Element:
        self._open(_("Run recipe"), collapsed=False)
        self._label("recipe", _("Recipe"))
        combo = self._field("QComboBox", "recipe")
        _policy(combo, _AS_WIDE_AS_THERE_IS_ROOM)
        _bind(combo, "recipe")
        self._words("recipe_description", "", ("Ignored", "MinimumExpanding"))
        for member, (label, labels) in selectors.items():
            self._selector(member, words.get(member, label), labels)
        self._button(_("Run recipe"))
        return self.element

    def _open(self, title: str, collapsed: bool) -> None:
        _text(self.element, "text", title)
        _property(self.element, "collapsed", "bool", str(collapsed).lower())
        self.layout = ET.SubElement(
            self.element, "layout", {"class": "QFormLayout", "name": f"{self.name}_form"}
        )

    def _label(self, name: str, words: str) -> None:
        item = ET.SubElement(self.layout, "item", row=str(self.rows), column="0")
        label = ET.SubElement(item, "widget", {"class": "QLabel", "name": f"{name}_label"})
        _text(label, "text", f"{words}:")

    def _field(self, kind: str, name: str) -> ET.Element:
        """The field behind the label that was put last."""
        item = ET.SubElement(self.layout, "item", row=str(self.rows), column="1")
        self.rows += 1
        return ET.SubElement(item, "widget", {"class": kind, "name": name})

    def _row(self, kind: str, name: str) -> ET.Element:
        """A widget over the whole width."""
        item = ET.SubElement(self.layout, "item", row=str(self.rows), column="0", colspan="2")
        self.rows += 1
        return ET.SubElement(item, "widget", {"class": kind, "name": name})

    def _words(self, name: str, text: str, policy: tuple[str, str] = _AS_HIGH_AS_NEEDED) -> None:
        label = self._row("QLabel", name)
        _text(label, "text", text)
        _policy(label, policy)
        _property(label, "wordWrap", "bool", "true")

    def _parameter(self, parameter: Parameter, member: str) -> None:
        name = f"{self.name}_{member}"
        self._label(name, memberLabel(parameter, member))
        slider = parameter.span is not None and parameter.span.slider
        kind = "ctkSliderWidget" if slider else _WIDGETS[parameter.kind]
        if parameter.kind != "list":
            _bind(self._field(kind, name), f"{self.name}.{member}")
            return
        room = ET.SubElement(
            self._field("QWidget", f"{name}_items"),
            "layout",
            {"class": "QVBoxLayout", "name": f"{name}_layout"},
        )
        _no_margins(room)
        text = ET.SubElement(ET.SubElement(room, "item"), "widget", {"class": kind, "name": name})
        _bind(text, f"{self.name}.{member}")

    def _selector(self, member: str, words: str, labels: bool) -> None:
        self._label(member, words)
        selector = self._field("qMRMLNodeComboBox", member)
        kind = "vtkMRMLSegmentationNode" if labels else "vtkMRMLScalarVolumeNode"
        _strings(selector, "nodeTypes", (kind,))
        colour = self.colour and not labels
        _property(selector, "showChildNodeTypes", "bool", str(colour).lower())
        if colour:
            _strings(selector, "hideChildNodeTypes", NO_PICTURES)
        for option in ("addEnabled", "removeEnabled", "selectNodeUponCreation"):
            _property(selector, option, "bool", "false")
        _property(selector, "noneEnabled", "bool", "true")
        _text(selector, "noneDisplay", _("None"))
        _bind(selector, member)

    def _button(self, words: str) -> None:
        button = self._row("QPushButton", f"{self.name}_apply")
        _property(button, "enabled", "bool", "false")
        _text(button, "text", words)
        self._words(f"{self.name}_reason", "")


def _recipeSelectors(
    recipes: Iterable[Recipe], operations: Iterable[Operation]
) -> dict[str, tuple[str, bool]]:
    """Label, and whether it takes label maps, of each input besides the image, by member.

    An input is called as the operations call theirs of the same name.
    """
    known = {slot.name: slot.label for spec in reversed(list(operations)) for slot in spec.inputs[1:]}
    found: dict[str, tuple[str, bool]] = {}
    for recipe in recipes:
        members = recipeMembers(recipe)
        for wanted in recipe.inputs[1:]:
            found[members[wanted.name]] = (known.get(wanted.name, wanted.name), wanted.labels)
    return found


def _property(widget: ET.Element, name: str, kind: str, value: str, **how: str) -> None:
    ET.SubElement(ET.SubElement(widget, "property", {"name": name, **how}), kind).text = value


def _no_margins(layout: ET.Element) -> None:
    for side in ("leftMargin", "topMargin", "rightMargin", "bottomMargin"):
        _property(layout, side, "number", "0")


def _text(widget: ET.Element, name: str, text: str) -> None:
    ET.SubElement(ET.SubElement(widget, "property", name=name), "string", notr="true").text = text


def _strings(widget: ET.Element, name: str, values: Iterable[str]) -> None:
    entry = ET.SubElement(ET.SubElement(widget, "property", name=name), "stringlist", notr="true")
    for value in values:
        ET.SubElement(entry, "string").text = value


def _policy(widget: ET.Element, policy: tuple[str, str]) -> None:
    entry = ET.SubElement(widget, "property", name="sizePolicy")
    ET.SubElement(entry, "sizepolicy", hsizetype=policy[0], vsizetype=policy[1])


def _bind(widget: ET.Element, parameter: str) -> None:
    """Slicer's parameter node finds the widget by this dynamic property."""
    entry = ET.SubElement(widget, "property", {"name": "SlicerParameterName", "stdset": "0"})
    ET.SubElement(entry, "string", notr="true").text = parameter
