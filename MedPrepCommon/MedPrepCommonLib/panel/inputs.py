"""The table of a recipe's further inputs in a panel: a node selector for each, and a button to remove it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import slicer

from ..core.i18n import _


class InputTable:
    """Shows every input of a recipe but the first, which is the panel's input volume.

    Parameters
    ----------
    table : with columns for name, node and button.
    changed : called when another node was chosen.
    removed : called with the name of an input that the user wants to be rid of.
    """

    def __init__(self, table: Any, changed: Callable[[], None], removed: Callable[[str], None]) -> None:
        self._table, self._changed, self._removed = table, changed, removed
        self._shown: dict[str, tuple[str, Any]] = {}

    def show(self, inputs: Mapping[str, Mapping[str, Any]]) -> None:
        """Show the inputs as they stand in a recipe's record; chosen nodes stay where nothing changed."""
        others = list(inputs.items())[1:]
        self._table.visible = bool(others)
        wanted = {name: body.get("kind", "image") for name, body in others}
        if wanted == {name: kind for name, (kind, _selector) in self._shown.items()}:
            return
        import qt

        chosen = self.nodes()
        self._table.setRowCount(0)
        self._shown = {}
        for name, body in others:
            self._row(name, body, chosen.get(name))
        header = self._table.horizontalHeader()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(1, qt.QHeaderView.Stretch)
        self._table.resizeColumnToContents(2)

    def nodes(self) -> dict[str, Any]:
        """The chosen nodes by input name; None where none is."""
        return {name: selector.currentNode() for name, (_kind, selector) in self._shown.items()}

    def _row(self, name: str, body: Mapping[str, Any], node: Any) -> None:
        import qt

        labels = body.get("kind") == "labels"
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLSegmentationNode" if labels else "vtkMRMLScalarVolumeNode"]
        selector.addEnabled = selector.removeEnabled = False
        selector.noneEnabled = True
        selector.setMRMLScene(slicer.mrmlScene)
        selector.setCurrentNode(node)
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda *_args: self._changed())
        button = qt.QPushButton(_("Remove"))
        button.toolTip = _("The recipe shall not ask for {name}").format(name=name)
        button.connect("clicked(bool)", lambda *_args: self._removed(name))
        row = self._table.rowCount
        self._table.setRowCount(row + 1)
        item = qt.QTableWidgetItem(name)
        item.setToolTip(body.get("description", ""))
        self._table.setItem(row, 0, item)
        self._table.setCellWidget(row, 1, selector)
        self._table.setCellWidget(row, 2, button)
        self._shown[name] = (body.get("kind", "image"), selector)
