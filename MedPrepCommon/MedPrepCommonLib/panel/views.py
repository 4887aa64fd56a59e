"""What a panel lets a user do with a result in Slicer's views: before and after, a coloured overlay, plots.

Each switch is optional: a panel has it when its .ui file has the widget. ``beforeAfter`` is a checkable
button, ``overlay`` a check box with the slider ``overlayOpacity``, ``plots`` a combo box.
"""

from __future__ import annotations

from typing import Any

import slicer

from ..core.i18n import _

# Colour tables for fields around 1, the first that Slicer has: blue below, red above.
_OVERLAY_COLORS = ("DivergingBlueRed", "ColdToHotRainbow", "Rainbow")
# Layouts that show a plot (vtkMRMLLayoutNode), and what becomes of the others.
_WITH_PLOT = {
    "SlicerLayoutConventionalView": "SlicerLayoutConventionalPlotView",
    "SlicerLayoutFourUpView": "SlicerLayoutFourUpPlotView",
    "SlicerLayoutFourUpTableView": "SlicerLayoutFourUpPlotTableView",
    "SlicerLayoutThreeOverThreeView": "SlicerLayoutThreeOverThreePlotView",
}


class ResultViews:
    """Shows a result and follows the switches; every node may be gone again when a switch is used.

    Parameters
    ----------
    ui : the panel's widgets. overlays : names of results that are shown as an overlay.
    """

    def __init__(self, ui: Any, overlays: tuple[str, ...] = ()) -> None:
        self._ui, self._overlays = ui, overlays
        self._before = self._after = self._field = ""
        self._charts: list[str] = []
        self._layout: int | None = None
        self._connect("beforeAfter", "toggled(bool)", self.showBefore)
        self._connect("overlay", "toggled(bool)", self.showOverlay)
        self._connect("overlayOpacity", "valueChanged(double)", self._setOpacity)
        self._connect("plots", "activated(int)", self.showPlot)
        self.clear()

    def _connect(self, name: str, signal: str, method: Any) -> None:
        widget = getattr(self._ui, name, None)
        if widget is not None:
            widget.connect(signal, method)

    def clear(self) -> None:
        """Forget the result: the scene was closed, or nothing was made yet."""
        self._before = self._after = self._field = ""
        self._charts, self._layout = [], None
        self._ui.resultsText.text = self._ui.statusLabel.text = ""
        fillTable(self._ui.resultsTable, [])
        self._update()

    def show(self, inputNode: Any, nodes: tuple[Any, ...]) -> None:
        """Show a new result in the slice views, and offer what it has.

        Parameters
        ----------
        inputNode : the volume that it was made from. nodes : a named tuple, the main result first.
        """
        names = getattr(nodes, "_fields", ("",) * len(nodes))
        fields = [node for name, node in zip(names, nodes, strict=True) if name in self._overlays]
        images = [node for node in nodes if node.IsA("vtkMRMLVolumeNode")]
        image = next((node for node in images if node not in fields), None)
        wasOn = self._isOverlayOn()
        self._charts = [node.GetID() for node in nodes if node.IsA("vtkMRMLPlotChartNode")]
        self._field = fields[0].GetID() if fields else ""
        self._before = inputNode.GetID() if inputNode is not None and images else ""
        # A field alone is shown over the input.
        self._after = image.GetID() if image is not None else self._before
        self._update()
        if wasOn:
            slicer.util.setSliceViewerLayers(foreground=None)
        if self._after:
            slicer.util.setSliceViewerLayers(background=self._after)
        if fields:
            _color(fields[0])
            if wasOn or image is None:
                self._setChecked("overlay", True)
                self.showOverlay(True)

    def showBefore(self, before: bool) -> None:
        """Show the input, or the result again."""
        node = _node(self._before if before else self._after)
        if node is not None:
            slicer.util.setSliceViewerLayers(background=node.GetID())
        self._nameButton()

    def showOverlay(self, on: bool) -> None:
        """Lay the field over the image in colours, or take it away."""
        node = _node(self._field)
        slicer.util.setSliceViewerLayers(foreground=node.GetID() if on and node is not None else None)
        if on:
            self._setOpacity(self._opacity())

    def showPlot(self, index: int) -> None:
        """Show a chart in a layout with a plot view; index 0 goes back to the layout before."""
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if index <= 0:
            if layout is not None and self._layout is not None:
                layout.SetViewArrangement(self._layout)
            self._layout = None
            return
        chart = _node(self._charts[index - 1])
        if chart is None:
            return
        if layout is not None:
            now = layout.GetViewArrangement()
            wanted = _plotLayout(now)
            if wanted != now:
                self._layout = now
                layout.SetViewArrangement(wanted)
        for view in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"):
            view.SetPlotChartNodeID(chart.GetID())

    def _update(self) -> None:
        """Bring the switches to what there is to show."""
        self._setChecked("beforeAfter", False)
        self._setChecked("overlay", False)
        self._enable("beforeAfter", bool(self._before and self._after != self._before))
        self._enable("overlay", bool(self._field))
        self._enable("overlayOpacity", bool(self._field))
        self._enable("plots", bool(self._charts))
        combo = getattr(self._ui, "plots", None)
        if combo is not None:
            combo.clear()
            combo.addItem(_("No plot"))
            for id in self._charts:
                combo.addItem(_node(id).GetName())
        self._nameButton()

    def _nameButton(self) -> None:
        button = getattr(self._ui, "beforeAfter", None)
        if button is not None:
            button.text = _("Show after") if button.checked else _("Show before")

    def _isOverlayOn(self) -> bool:
        box = getattr(self._ui, "overlay", None)
        return box is not None and box.checked

    def _setOpacity(self, opacity: float) -> None:
        slicer.util.setSliceViewerLayers(foregroundOpacity=opacity)

    def _opacity(self) -> float:
        slider = getattr(self._ui, "overlayOpacity", None)
        return 0.4 if slider is None else slider.value

    def _setChecked(self, name: str, on: bool) -> None:
        widget = getattr(self._ui, name, None)
        if widget is not None:
            blocked = widget.blockSignals(True)
            widget.checked = on
            widget.blockSignals(blocked)

    def _enable(self, name: str, on: bool) -> None:
        widget = getattr(self._ui, name, None)
        if widget is not None:
            widget.enabled = on


def _node(id: str) -> Any:
    return slicer.mrmlScene.GetNodeByID(id) if id else None


def _color(node: Any) -> None:
    """Show a field in colours wherever it is shown."""
    for name in _OVERLAY_COLORS:
        found = slicer.mrmlScene.GetFirstNodeByName(name)
        if found is not None and found.IsA("vtkMRMLColorNode"):
            node.GetDisplayNode().SetAndObserveColorNodeID(found.GetID())
            return


def _plotLayout(now: int) -> int:
    """The layout (vtkMRMLLayoutNode's number) nearest to `now` that has a plot view."""
    layouts = slicer.vtkMRMLLayoutNode
    known = {getattr(layouts, name): getattr(layouts, to) for name, to in _WITH_PLOT.items()}
    own = {*known.values(), layouts.SlicerLayoutOneUpPlotView}
    return now if now in own else known.get(now, layouts.SlicerLayoutFourUpPlotView)


def fillTable(table: Any, rows: list[tuple[str, ...]]) -> None:
    """Show `rows` of texts in a table widget."""
    import qt

    table.setRowCount(len(rows))
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            table.setItem(row, column, qt.QTableWidgetItem(text))
    table.resizeColumnsToContents()
