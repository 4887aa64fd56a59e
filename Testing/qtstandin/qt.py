"""``import qt``: PySide6's classes as PythonQt shows them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .pythonqt import pythonQtClass

Qt = QtCore.Qt
# Only its static functions are used; the one application object is made by the host.
QApplication = QtWidgets.QApplication
QMetaObject = QtCore.QMetaObject


class QFileDialog(QtWidgets.QFileDialog):
    """Its static functions give the path alone, as in PythonQt; PySide gives the chosen filter too."""

    @staticmethod
    def getOpenFileName(*args: Any) -> str:
        return QtWidgets.QFileDialog.getOpenFileName(*args)[0]

    @staticmethod
    def getSaveFileName(*args: Any) -> str:
        return QtWidgets.QFileDialog.getSaveFileName(*args)[0]


def __getattr__(name: str) -> Any:
    for library in (QtCore, QtGui, QtWidgets):
        found = getattr(library, name, None)
        if found is not None:
            isObject = isinstance(found, type) and issubclass(found, QtCore.QObject)
            return pythonQtClass(found) if isObject else found
    raise AttributeError(f"module 'qt' has no attribute '{name}'")


class QUiLoader(QtUiTools.QUiLoader):
    """``QUiLoader`` with Slicer's designer plug-ins: makes the stand-ins for ctk and qMRML classes by name.

    An unknown class or connection is an error; Qt would print a warning and use the base class.
    """

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        kind = widgetClass(className)
        if kind is None:
            self._problems.append(f"there is no widget class {className} ({name})")
            kind = pythonQtClass(QtWidgets.QWidget)
        widget = kind(parent)
        widget.setObjectName(name)
        return widget

    def createLayout(self, className: str, parent: Any = None, name: str = "") -> Any:
        layout = (
            __getattr__(className)(parent)
            if isinstance(parent, QtWidgets.QWidget)
            else __getattr__(className)()
        )
        layout.setObjectName(name)
        return layout

    def load(self, file: Any, parent: Any = None) -> Any:
        """The top widget of a .ui file.

        Raises
        ------
        RuntimeError
            that lists unknown classes, signals and slots.
        """
        self._problems: list[str] = []
        tree = ElementTree.fromstring(bytes(file.readAll()))
        # PySide cannot connect "mrmlSceneChanged(vtkMRMLScene*)" by signature, so connections are made here.
        connections = tree.find("connections")
        wanted = [] if connections is None else list(connections)
        if connections is not None:
            tree.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        top = super().load(buffer, parent)
        if top is None:
            raise RuntimeError(f"Could not load UI file: {self.errorString()}")
        for connection in wanted:
            self._connect(
                top, *(connection.findtext(part) for part in ("sender", "signal", "receiver", "slot"))
            )
        if self._problems:
            raise RuntimeError("UI file: " + "; ".join(self._problems))
        return top

    def _connect(self, top: Any, sender: str, signal: str, receiver: str, slot: str) -> None:
        ends = [
            top if name == top.objectName else top.findChild(QtCore.QObject, name)
            for name in (sender, receiver)
        ]
        if None in ends:
            self._problems.append(f"connection {sender} to {receiver}: no such widget")
            return
        function = getattr(ends[1], slot.partition("(")[0], None)
        try:
            ends[0].connect(signal, function)
        except (TypeError, ValueError) as error:
            self._problems.append(f"connection {sender} to {receiver}: {error}")


def widgetClass(className: str) -> type | None:
    """The class of a widget in a .ui file: Qt's, a ctk stand-in or a qMRML stand-in."""
    from . import ctk, mrmlwidgets

    if className.startswith("Q") and isinstance(getattr(QtWidgets, className, None), type):
        return __getattr__(className)
    return getattr(ctk, className, None) or getattr(mrmlwidgets, className, None)
