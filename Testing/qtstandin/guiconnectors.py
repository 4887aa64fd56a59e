"""The widget half of ``slicer.parameterNodeWrapper``: which widget shows which type, both ways.

As in Slicer the class of the widget must match exactly; ranges, list entries and node classes come from the
annotation; the node's value wins when a panel is connected. Bound here are the pairs that our panels may use;
Slicer's ``guiConnectors.py`` has a few more.
"""

from __future__ import annotations

import enum
import logging
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

import vtk
from PySide6 import QtWidgets
from slicer.util import NodeModify

from MedPrepCommonLib.headless.packs import FloatRange
from MedPrepCommonLib.headless.parameters import Decimals, SingleStep, checkName
from MedPrepCommonLib.headless.validators import (
    Choice,
    Default,
    Maximum,
    Minimum,
    RangeBounds,
    WithinRange,
    plainType,
    splitAnnotations,
)

from . import ctk, mrmlwidgets, qt

PROPERTY = "SlicerParameterName"


class Connector:
    """Reads and writes one widget as one type."""

    def __init__(
        self, widget: Any, signal: Any, read: Callable[[], Any], write: Callable[[Any], None]
    ) -> None:
        self.widget, self._signal, self.read, self.write = widget, signal, read, write
        self._slot: Any = None

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        if self._slot is not None:
            self._signal.disconnect(self._slot)
            self._slot = None
        if callback is not None and self._signal is not None:
            self._slot = lambda *_: callback()
            self._signal.connect(self._slot)


class GuiBinder:
    """What the wrapper's ``connectGui``, ``connectParametersToGui`` and ``disconnectGui`` do."""

    def connectGui(self, wrapper: Any, gui: Any) -> int:
        isWidget = isinstance(gui, QtWidgets.QWidget)
        widgets = gui.findChildren(QtWidgets.QWidget) if isWidget else vars(gui).values()
        named = {widget.property(PROPERTY): widget for widget in widgets if widget.property(PROPERTY)}
        return self.connect(wrapper, named)

    def connect(self, wrapper: Any, mapping: dict[str, Any]) -> int:
        for name in mapping:
            checkName(wrapper, name)
        connectors = {
            name: item if isinstance(item, Connector) else createConnector(item, wrapper.dataType(name))
            for name, item in mapping.items()
        }
        state = vars(wrapper).setdefault("_gui", {"next": 0, "tags": {}, "updating": False})
        tag = state["next"]
        state["next"] += 1
        for name, connector in connectors.items():
            connector.write(wrapper.getValue(name))
            connector.onChanged(
                lambda name=name, connector=connector: self._fromGui(wrapper, name, connector)
            )
        observer = wrapper.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._toGui(wrapper))
        state["tags"][tag] = (connectors, observer)
        return tag

    def disconnect(self, wrapper: Any, tag: int) -> None:
        found = vars(wrapper).get("_gui", {"tags": {}})["tags"].pop(tag, None)
        if found is not None:
            for connector in found[0].values():
                connector.onChanged(None)
            wrapper.RemoveObserver(found[1])

    def _fromGui(self, wrapper: Any, name: str, connector: Connector) -> None:
        if not wrapper._gui["updating"]:
            with NodeModify(wrapper.parameterNode):
                wrapper.setValue(name, connector.read())

    def _toGui(self, wrapper: Any) -> None:
        state = wrapper._gui
        if state["updating"]:
            return
        state["updating"] = True
        try:
            with NodeModify(wrapper.parameterNode):
                for connectors, _observer in list(state["tags"].values()):
                    for name, connector in connectors.items():
                        connector.write(wrapper.getValue(name))
        finally:
            state["updating"] = False


def createConnector(widget: Any, datatype: Any) -> Connector:
    """The connector of a widget and an annotated type.

    Raises
    ------
    RuntimeError
        when Slicer could not connect them either.
    """
    kind, annotations = splitAnnotations(datatype)
    for make in MAKERS:
        connector = make(widget, kind, annotations)
        if connector is not None:
            return connector
    raise RuntimeError(
        f"Unable to create GUI connector from datatype '{datatype}' to widget type '{type(widget)}'"
    )


def _first(annotations: list[Any], kind: type) -> Any:
    return next((item for item in annotations if isinstance(item, kind)), None)


def _bounds(annotations: list[Any]) -> tuple[Any, Any]:
    within = _first(annotations, WithinRange)
    if within is not None:
        return within.minimum, within.maximum
    low, high = _first(annotations, Minimum), _first(annotations, Maximum)
    return low and low.minimum, high and high.maximum


def _setter(widget: Any, name: str) -> Callable[[Any], None]:
    return lambda value: setattr(widget, name, value)


def _bool(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    if kind is not bool or type(widget) not in (qt.QCheckBox, ctk.ctkCheckBox, qt.QPushButton):
        return None
    if type(widget) is qt.QPushButton and not widget.checkable:
        logging.warning("Making push button checkable for conversion to bool: button %s", widget.name)
        widget.checkable = True
    signal = widget.toggled if type(widget) is qt.QPushButton else widget.stateChanged
    return Connector(widget, signal, lambda: widget.checked, _setter(widget, "checked"))


def _whole(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    if kind is not int or type(widget) not in (qt.QSlider, qt.QSpinBox):
        return None
    low, high = _bounds(annotations)
    if type(widget) is qt.QSlider and (low is None or high is None):
        raise RuntimeError("Cannot have a connection to QSlider where the int type is unbounded.")
    step = _first(annotations, SingleStep)
    if step is not None:
        widget.singleStep = step.value
    widget.minimum = -(2**31) if low is None else low
    widget.maximum = 2**31 - 1 if high is None else high
    return Connector(widget, widget.valueChanged, lambda: widget.value, _setter(widget, "value"))


def _number(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    spins = (qt.QDoubleSpinBox, ctk.ctkDoubleSpinBox)
    if kind not in (float, int) or type(widget) not in (ctk.ctkSliderWidget, *spins):
        return None
    decimals, step = _first(annotations, Decimals), _first(annotations, SingleStep)
    if kind is int:
        widget.decimals = 0
    elif decimals is not None:
        widget.decimals = decimals.value
    if step is not None:
        widget.singleStep = step.value
    low, high = _bounds(annotations)
    if type(widget) is ctk.ctkSliderWidget and (low is None or high is None):
        raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
    widget.minimum = float("-inf") if low is None else low
    widget.maximum = float("inf") if high is None else high
    return Connector(
        widget,
        widget.valueChanged,
        lambda: kind(widget.value),
        lambda value: setattr(widget, "value", kind(value)),
    )


def _choice(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    if type(widget) not in (qt.QComboBox, ctk.ctkComboBox) or kind not in (int, float, str, bool):
        return None
    choice = _first(annotations, Choice)
    if choice is None:
        raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
    return _listed(widget, list(choice.choices), [str(item) for item in choice.choices])


def _enumeration(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    if type(widget) not in (qt.QComboBox, ctk.ctkComboBox) or not issubclass(kind, enum.Enum):
        return None
    label = getattr(kind, "label", lambda member: member.name)
    return _listed(widget, list(kind), [label(member) for member in kind])


def _listed(widget: Any, values: list[Any], labels: list[str]) -> Connector:
    widget.clear()
    widget.addItems(labels)

    def write(value: Any) -> None:
        if value not in values:
            raise ValueError(f"Unable to find value {value} in choices {values}")
        widget.currentIndex = values.index(value)

    return Connector(widget, widget.currentIndexChanged, lambda: values[widget.currentIndex], write)


def _text(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    if kind is not str:
        return None
    if type(widget) is qt.QLineEdit:

        def write(value: str) -> None:
            if value != widget.text:  # writing the same text would move the cursor
                widget.text = value

        return Connector(widget, widget.textChanged, lambda: widget.text, write)
    if type(widget) is qt.QLabel:
        return Connector(widget, None, lambda: widget.text, _setter(widget, "text"))
    if type(widget) is qt.QTextEdit:
        return Connector(widget, widget.textChanged, widget.toPlainText, widget.setPlainText)
    return None


def _range(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    if kind is not FloatRange or type(widget) is not ctk.ctkRangeWidget:
        return None
    bounds = _first(annotations, RangeBounds)
    if bounds is None:
        raise RuntimeError("Cannot have a connection to a range widget where the float is unbounded.")
    if _first(annotations, Default) is None:
        # Slicer 5.13 fails here too, with an obscure message: it checks the bounds of the number 0.
        raise RuntimeError("A range with RangeBounds needs a Default(FloatRange(...)) annotation.")
    widget.setRange(bounds.minimum, bounds.maximum)
    return Connector(
        widget,
        widget.valuesChanged,
        lambda: FloatRange(widget.minimumValue, widget.maximumValue),
        lambda value: widget.setValues(value.minimum, value.maximum),
    )


def _path(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    if not (isinstance(kind, type) and issubclass(kind, pathlib.PurePath)):
        return None
    if type(widget) is ctk.ctkPathLineEdit:
        return Connector(
            widget,
            widget.currentPathChanged,
            lambda: kind(widget.currentPath),
            lambda value: setattr(widget, "currentPath", str(value)),
        )
    return None


def _node(widget: Any, kind: Any, annotations: list[Any]) -> Connector | None:
    import slicer

    members = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    members = [plainType(item) for item in members if item is not type(None)]
    if type(widget) is not mrmlwidgets.qMRMLNodeComboBox or not all(
        isinstance(item, type) and issubclass(item, slicer.vtkMRMLNode) for item in members
    ):
        return None
    widget.nodeTypes = tuple(item().GetClassName() for item in members)
    return Connector(widget, widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)


# The list of values comes before the enumeration, which asks whether the type is a class.
MAKERS = (_bool, _whole, _number, _choice, _text, _range, _path, _node, _enumeration)
