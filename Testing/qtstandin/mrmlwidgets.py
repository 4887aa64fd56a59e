"""Stand-ins for Slicer's qMRML widgets (Libs/MRML/Widgets), working on the real headless scene."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtWidgets

from .pythonqt import pythonQtClass

_QWidget = pythonQtClass(QtWidgets.QWidget)
Property, Signal = QtCore.Property, QtCore.Signal
NODE_ROLE = QtCore.Qt.UserRole


class Observers:
    """VTK observers of a widget; they end with the widget."""

    def __init__(self, widget: Any) -> None:
        self._held: list[tuple[Any, int]] = []
        widget.destroyed.connect(self.stop)

    def add(self, watched: Any, event: Any, callback: Any) -> None:
        self._held.append((watched, watched.AddObserver(event, callback)))

    def stop(self, *_: Any, watched: Any = None, keep: Any = None) -> None:
        """End the observers of one object, of all but one, or all."""
        for entry in [e for e in self._held if e[0] is not keep and (watched is None or e[0] is watched)]:
            entry[0].RemoveObserver(entry[1])
            self._held.remove(entry)


class qMRMLWidget(_QWidget):
    """``qMRMLWidget``: passes its scene on to the widgets that its .ui file connects."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    """``qSlicerWidget``."""


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """``qSlicerScriptedLoadableModuleWidget``: parent of a module's panel; knows whether it is shown."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._entered, self._python = False, None
        self.setLayout(pythonQtClass(QtWidgets.QVBoxLayout)())

    def self(self) -> Any:
        """The Python object of the panel."""
        return self._python

    def enter(self) -> None:
        self._entered = True
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self) -> None:
        self._entered = False
        if hasattr(self._python, "exit"):
            self._python.exit()

    isEntered = Property(bool, lambda self: self._entered)


class qMRMLNodeComboBox(_QWidget):
    """``qMRMLNodeComboBox``: chooses a node of the scene by class.

    As in Slicer: disabled without a scene; the first node is chosen when the scene is set unless None is
    allowed; a new node is chosen only when the list was empty before (no None, no Create or Delete entries);
    `nodeTypes` accepts derived classes unless `showChildNodeTypes` is off; hidden nodes are left out unless
    `showHidden`.
    """

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    nodeActivated = Signal(object)
    SIGNALS = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeIDChanged(QString)",
        "nodeAddedByUser(vtkMRMLNode*)",
        "nodeActivated(vtkMRMLNode*)",
    )

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._scene, self._requested = None, None
        self._observers = Observers(self)
        self._options = {
            "nodeTypes": (),
            "hideChildNodeTypes": (),
            "showHidden": False,
            "showChildNodeTypes": True,
            "noneEnabled": False,
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "selectNodeUponCreation": True,
            "noneDisplay": "None",
            "baseName": "",
            "interactionNodeSingletonTag": "Singleton",
        }
        self._attributes: list[tuple[str, str, str]] = []
        # As in Slicer: a renamed current node is also told.
        self._combo.currentTextChanged.connect(self._emit)
        self._combo.activated.connect(lambda: self.nodeActivated.emit(self.currentNode()))
        self.setEnabled(False)

    # --- scene

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        import slicer

        self._observers.stop()
        self._scene = scene
        if scene is not None:
            events = slicer.vtkMRMLScene
            self._onNodeAdded.__func__.CallDataType = vtk.VTK_OBJECT
            self._onNodeRemoved.__func__.CallDataType = vtk.VTK_OBJECT
            self._observers.add(scene, events.NodeAddedEvent, self._onNodeAdded)
            self._observers.add(scene, events.NodeAboutToBeRemovedEvent, self._onNodeRemoved)
            for event in (events.EndImportEvent, events.EndCloseEvent, events.EndBatchProcessEvent):
                self._observers.add(scene, event, lambda *_: self._rebuild())
        wanted, self._requested = self._requested, None
        if self.noneEnabled:
            self.currentNodeChanged.emit(None)  # before anything is chosen, as in Slicer
        self._rebuild(chooseFirst=True, wanted=wanted)
        self.setEnabled(scene is not None)

    def _onNodeAdded(self, caller: Any, event: str, node: Any) -> None:
        if not self._scene.IsBatchProcessing() and self._fits(node):
            place = (1 if self.noneEnabled else 0) + self.nodeCount()
            self._insert(place, node)

    def _onNodeRemoved(self, caller: Any, event: str, node: Any) -> None:
        row = self._combo.findData(node.GetID(), NODE_ROLE)
        if row >= 0:
            self._observers.stop(watched=node)
            self._combo.removeItem(row)

    def _insert(self, row: int, node: Any) -> None:
        self._observers.stop(watched=node)
        self._observers.add(
            node, vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._onNodeModified(caller)
        )
        self._combo.insertItem(row, node.GetName(), node.GetID())

    def _onNodeModified(self, node: Any) -> None:
        row = self._combo.findData(node.GetID(), NODE_ROLE)
        if row >= 0 and self._combo.itemText(row) != node.GetName():
            self._combo.setItemText(row, node.GetName())

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        for kind in self.nodeTypes:
            exact = node.GetClassName() == kind
            hidden = any(node.IsA(child) for child in self.hideChildNodeTypes)
            if exact or (self.showChildNodeTypes and node.IsA(kind) and not hidden):
                return all(
                    node.GetAttribute(name) == value for of, name, value in self._attributes if of == kind
                )
        return False

    def _rebuild(self, chooseFirst: bool = False, wanted: Any = None) -> None:
        """Fill the list again and keep the choice where it is still possible."""
        before = self.currentNodeID
        keep = wanted.GetID() if wanted is not None else before
        self._combo.blockSignals(True)
        if self._scene is not None:
            self._observers.stop(keep=self._scene)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay)
        if self._scene is not None:
            for index in range(self._scene.GetNumberOfNodes()):
                node = self._scene.GetNthNode(index)
                if self._fits(node):
                    self._insert(self._combo.count(), node)
            self._addActions()
        row = self._combo.findData(keep, NODE_ROLE) if keep else -1
        if row < 0:
            row = 0 if self.noneEnabled or (chooseFirst and self.nodeCount()) else -1
        self._combo.setCurrentIndex(row)
        self._combo.blockSignals(False)
        # Setting the scene is told even when nothing is chosen: a bound parameter becomes None.
        if chooseFirst or self.currentNodeID != before:
            self._emit()

    def _addActions(self) -> None:
        actions = [
            ("renameEnabled", "Rename current node"),
            ("editEnabled", "Edit current node"),
            ("addEnabled", "Create new node"),
            ("removeEnabled", "Delete current node"),
        ]
        for option, text in actions:
            if self._options[option]:
                self._combo.addItem(text)

    # --- choice

    def _emit(self, *args: Any) -> None:
        node = self.currentNode()
        row = self._combo.currentIndex()
        if node is None and row != (0 if self.noneEnabled else -1):
            # An action or a removed row is no choice: the last node is taken, as in Slicer.
            if self.nodeCount():
                self.setCurrentNode(self.nodeFromIndex(self.nodeCount() - 1))
            else:
                self.setCurrentNode(None)
            return
        self.currentNodeChanged.emit(node)
        self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def currentNode(self) -> Any:
        nodeID = self._combo.currentData(NODE_ROLE)
        return self._scene.GetNodeByID(nodeID) if self._scene is not None and nodeID else None

    def setCurrentNode(self, node: Any) -> None:
        if self._scene is None:
            self._requested = node
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeID: str) -> None:
        row = self._combo.findData(nodeID, NODE_ROLE) if nodeID else -1
        self._combo.setCurrentIndex(row if row >= 0 else (0 if self.noneEnabled else -1))

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def nodeCount(self) -> int:
        return sum(1 for row in range(self._combo.count()) if self._combo.itemData(row, NODE_ROLE))

    def nodeFromIndex(self, index: int) -> Any:
        nodeID = self._combo.itemData(index + (1 if self.noneEnabled else 0), NODE_ROLE)
        return self._scene.GetNodeByID(nodeID) if nodeID else None

    def addNode(self, nodeType: str | None = None) -> Any:
        """What "Create new ..." does: a node of the first type, named after `baseName`."""
        import slicer

        nodeType = nodeType or (self.nodeTypes[0] if self.nodeTypes else None)
        if nodeType not in self.nodeTypes:
            return None
        name = self.baseName or getattr(slicer, nodeType)().GetNodeTagName()
        node = self._scene.AddNewNodeByClass(nodeType, self._scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())

    def addAttribute(self, nodeType: str, name: str, value: Any = None) -> None:
        self._attributes.append((nodeType, name, None if value is None else str(value)))
        self._rebuild()

    def _set(self, option: str, value: Any) -> None:
        if self._options[option] != value:
            self._options[option] = value
            self._rebuild()

    def _option(kind: Any, option: str) -> Any:  # noqa: N805 - builds the properties below
        return Property(
            kind, lambda self: self._options[option], lambda self, value: self._set(option, value)
        )

    currentNodeID = Property(str, lambda self: self._combo.currentData(NODE_ROLE) or "", setCurrentNodeID)
    nodeTypes = Property(
        "QStringList",
        lambda self: tuple(self._options["nodeTypes"]),
        lambda self, kinds: self._set("nodeTypes", tuple(kind for kind in kinds if kind)),
    )
    hideChildNodeTypes = Property(
        "QStringList",
        lambda self: tuple(self._options["hideChildNodeTypes"]),
        lambda self, kinds: self._set("hideChildNodeTypes", tuple(kinds)),
    )
    showHidden, showChildNodeTypes = _option(bool, "showHidden"), _option(bool, "showChildNodeTypes")
    noneEnabled, noneDisplay = _option(bool, "noneEnabled"), _option(str, "noneDisplay")
    addEnabled, removeEnabled = _option(bool, "addEnabled"), _option(bool, "removeEnabled")
    editEnabled, renameEnabled = _option(bool, "editEnabled"), _option(bool, "renameEnabled")
    selectNodeUponCreation, baseName = _option(bool, "selectNodeUponCreation"), _option(str, "baseName")
    interactionNodeSingletonTag = _option(str, "interactionNodeSingletonTag")
    del _option


class qMRMLTableView(pythonQtClass(QtWidgets.QTableView)):
    """``qMRMLTableView``: shows a table node; cells are not edited here."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene = self._table = None
        self._observers = Observers(self)
        self.setModel(_TableModel(self))

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene

    def mrmlTableNode(self) -> Any:
        return self._table

    def setMRMLTableNode(self, node: Any) -> None:
        self._observers.stop()
        self._table = node
        if node is not None:
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, lambda *_: self._refresh())
        self._refresh()

    def _refresh(self) -> None:
        self.model().beginResetModel()
        self.model().endResetModel()

    transposed = Property(bool, lambda self: False, lambda self, value: None)
    firstRowLocked = Property(bool, lambda self: False, lambda self, value: None)
    firstColumnLocked = Property(bool, lambda self: False, lambda self, value: None)


class _TableModel(QtCore.QAbstractTableModel):
    """The cells of the view's table node as text."""

    def __init__(self, view: qMRMLTableView) -> None:
        super().__init__(view)
        self._view = view

    def rowCount(self, parent: Any = None) -> int:
        table = self._view.mrmlTableNode()
        return 0 if table is None else table.GetNumberOfRows()

    def columnCount(self, parent: Any = None) -> int:
        table = self._view.mrmlTableNode()
        return 0 if table is None else table.GetNumberOfColumns()

    def data(self, index: Any, role: int = QtCore.Qt.DisplayRole) -> Any:
        if role != QtCore.Qt.DisplayRole:
            return None
        return self._view.mrmlTableNode().GetCellText(index.row(), index.column())

    def headerData(self, section: int, orientation: Any, role: int = QtCore.Qt.DisplayRole) -> Any:
        if role != QtCore.Qt.DisplayRole:
            return None
        table = self._view.mrmlTableNode()
        if orientation == QtCore.Qt.Vertical or table is None:
            return str(section + 1)
        name = table.GetColumnName(section)
        return (table.GetUseColumnTitleAsColumnHeader() and table.GetColumnTitle(name)) or name


CLASSES = {name: item for name, item in list(globals().items()) if name.startswith(("qMRML", "qSlicer"))}
