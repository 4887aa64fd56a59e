"""Tables, plots and points of a result as table, plot and markups nodes.

Slicer saves the floating-point numbers of a table with 6 significant digits; the scene in memory, and the CSV
files that MedPrep writes, hold them exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from ..core.result import Check, Curve, Figure, Points, Table
from .names import safeName, uniqueName

# Colours that stay apart for colour-blind readers (Okabe and Ito 2008), first the strongest on white.
_LINE_COLORS = (
    (0.0, 0.45, 0.70),
    (0.84, 0.37, 0.0),
    (0.0, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.90, 0.62, 0.0),
)


def nodeFromTable(table: Table, name: str) -> Any:
    """A new vtkMRMLTableNode with typed columns; a unit in its name, as in ``volume (ml)``, is set too."""
    columns = [[row[n] for row in table.rows] for n in range(len(table.columns))]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", uniqueName(name))
    fillTable(node, list(zip(table.columns, columns, strict=True)))
    return node


def fillTable(node: Any, columns: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """Replace a table node's content by named columns of equal length.

    Whole numbers, numbers, booleans and text each keep their type; a column that mixes them becomes text.
    """
    node.RemoveAllColumns()
    for title, values in columns:
        array = _vtkColumn(values)
        array.SetName(title)
        node.AddColumn(array)
        unit = re.search(r"\(([^()]+)\)$", title)
        if unit:
            node.SetColumnUnitLabel(title, unit.group(1))


def nodeFromChecks(checks: Sequence[Check], name: str) -> Any:
    """A new table node of quality checks: what, verdict, value, limit, advice."""
    rows = tuple((c.name, c.verdict, c.value, c.limit, c.advice) for c in checks)
    return nodeFromTable(Table(name, ("check", "verdict", "value", "limit", "advice"), rows), name)


def nodesFromFigure(figure: Figure, name: str) -> list[Any]:
    """New plot nodes of a figure: the chart, then a series per curve and the tables that hold the values."""
    scene = slicer.mrmlScene
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", uniqueName(name))
    chart.SetTitle(figure.title)
    chart.SetXAxisTitle(figure.x_title)
    chart.SetYAxisTitle(figure.y_title)
    chart.SetLegendVisibility(len(figure.curves) > 1)
    nodes = [chart]
    for x, curves in _byAbscissa(figure.curves):
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", uniqueName(f"{name} values"))
        nodes.append(table)
        names = _distinct([figure.x_title or "x", *(curve.name for curve in curves)])
        fillTable(table, list(zip(names, [x, *(curve.y for curve in curves)], strict=True)))
        for column, curve in zip(names[1:], curves, strict=True):
            # The legend shows the node's name, so it is not made unique.
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", safeName(curve.name))
            nodes.append(series)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName(names[0])
            series.SetYColumnName(column)
            series.SetPlotType(series.PlotTypeScatter)
            series.SetMarkerStyle(series.MarkerStyleNone)
            series.SetColor(*_LINE_COLORS[list(figure.curves).index(curve) % len(_LINE_COLORS)])
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return nodes


def nodeFromPoints(points: Points, name: str) -> Any:
    """A new vtkMRMLMarkupsFiducialNode with named points (RAS millimetres), hidden where they say so."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", uniqueName(name))
    with slicer.util.NodeModify(node):
        for position, label in zip(points.positions, points.labels, strict=True):
            node.AddControlPointWorld(vtk.vtkVector3d(*(float(v) for v in position)), label)
    # Shown last: each further point would be drawn in every view.
    node.CreateDefaultDisplayNodes()
    node.SetDisplayVisibility(points.shown)
    return node


def _byAbscissa(curves: Sequence[Curve]) -> list[tuple[Sequence[float], list[Curve]]]:
    """Curves grouped by equal x values: a table's columns must be of one length."""
    groups: list[tuple[Sequence[float], list[Curve]]] = []
    for curve in curves:
        for x, members in groups:
            if len(x) == len(curve.x) and np.array_equal(x, curve.x):
                members.append(curve)
                break
        else:
            groups.append((curve.x, [curve]))
    return groups


def _distinct(names: Sequence[str]) -> list[str]:
    """Column names of a table must differ."""
    result: list[str] = []
    for name in names:
        candidate, number = name or "y", 2
        while candidate in result:
            candidate, number = f"{name} {number}", number + 1
        result.append(candidate)
    return result


def _vtkColumn(values: Sequence[Any]) -> Any:
    kinds = {_kind(value) for value in values}
    if kinds == {"bool"}:
        array, convert = vtk.vtkBitArray(), int
    elif kinds == {"int"}:
        large = max(abs(int(value)) for value in values) >= 2**31
        array, convert = (vtk.vtkLongLongArray() if large else vtk.vtkIntArray()), int
    elif kinds and kinds <= {"int", "float"}:
        array, convert = vtk.vtkDoubleArray(), float
    else:
        array, convert = vtk.vtkStringArray(), _text
    for value in values:
        array.InsertNextValue(convert(value))
    return array


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _kind(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, (int, np.integer)):
        return "int"
    return "float" if isinstance(value, (float, np.floating)) else "text"
