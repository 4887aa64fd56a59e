"""Fixtures for everything above the pure libraries: a clean headless scene, with or without Qt.

The host lives as long as the test process; each test gets an empty scene and must leave no observer behind
that keeps failing. ``conftest.py`` imports these names.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest


class SlicerHost:
    """What a scene test needs.

    Attributes
    ----------
    scene : ``slicer.mrmlScene``.
    """

    def __init__(self) -> None:
        import slicer

        self.scene = slicer.mrmlScene

    def nodes(self) -> set[str]:
        """IDs of all nodes; storage and display nodes too."""
        return {self.scene.GetNthNode(index).GetID() for index in range(self.scene.GetNumberOfNodes())}

    @contextlib.contextmanager
    def noNewNodes(self) -> Iterator[None]:
        """Fail when the block adds or removes a node (also when it raises)."""
        before = self.nodes()
        try:
            yield
        finally:
            after = self.nodes()
            assert after == before, f"added: {sorted(after - before)}, removed: {sorted(before - after)}"

    @contextlib.contextmanager
    def untouched(self, *nodes: Any) -> Iterator[None]:
        """Fail when the block changes a volume node's array, geometry, attributes, name or parent."""
        before = [fingerprint(node) for node in nodes]
        yield
        for node, was in zip(nodes, before, strict=True):
            assert fingerprint(node) == was, f"{node.GetName()} was changed"


def fingerprint(node: Any) -> tuple[Any, ...]:
    """Everything of a volume node that an operation must not touch."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    array = slicer.util.arrayFromVolume(node) if node.GetImageData() is not None else None
    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    return (
        None if array is None else (array.dtype.str, array.shape, array.tobytes()),
        slicer.util.arrayFromVTKMatrix(matrix).tobytes(),
        attributes,
        node.GetName(),
        node.GetTransformNodeID(),
        node.GetClassName(),
    )


def emptyScene() -> None:
    """Close the scene and forget every module's parameters."""
    import slicer

    from MedPrepCommonLib import headless

    headless.clear()
    for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
        slicer.mrmlScene.RemoveNode(node)


@pytest.fixture
def slicerHost() -> Iterator[SlicerHost]:
    """The headless host with an empty scene."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from MedPrepCommonLib import headless

    headless.start()
    emptyScene()
    yield SlicerHost()
    emptyScene()


class QtHost(SlicerHost):
    """The headless host with widgets.

    Attributes
    ----------
    messages : (level, text) of every message box that a user would have seen.
    answer : what a confirmation is answered with; True is OK or Yes.
    errors : exceptions that escaped from a slot; the test fails when any are left at its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[str, str]] = []
        self.errors: list[BaseException] = []
        self.answer = True
        self.panels: list[Any] = []

    def panel(self, modulePath: Path | str, enter: bool = True) -> Any:
        """Show a scripted module's panel; it is closed at the end of the test."""
        import qtstandin

        panel = qtstandin.Panel(Path(modulePath))
        self.panels.append(panel)
        if enter:
            panel.enter()
        return panel

    def wait(self, until: Callable[[], bool], seconds: float = 60.0) -> None:
        """Run the event loop until the condition holds; fail when it does not in time."""
        import slicer

        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"not within {seconds:g} s"
            slicer.app.processEvents()
            time.sleep(0.005)

    def _display(self, level: int, text: str, whenTesting: Any, *args: Any, **options: Any) -> Any:
        self.messages.append((logging.getLevelName(level).lower(), text))
        if whenTesting is None:
            return None
        import qt

        yes, no = (qt.QMessageBox.Ok, qt.QMessageBox.Cancel)
        buttons = options.get("standardButtons")
        if buttons is not None and buttons & qt.QMessageBox.Yes:
            yes, no = qt.QMessageBox.Yes, qt.QMessageBox.No
        return yes if self.answer else no

    def _onError(self, kind: type, error: BaseException, trace: TracebackType | None) -> None:
        self.errors.append(error)


@pytest.fixture
def qtHost(slicerHost: SlicerHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[QtHost]:
    """The headless host with an empty scene and Qt stand-ins; exceptions in slots fail the test."""
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    import qtstandin
    import slicer

    qtstandin.install()
    host = QtHost()
    monkeypatch.setattr(slicer.util, "_messageDisplay", host._display)
    monkeypatch.setattr(sys, "excepthook", host._onError)
    yield host
    for panel in host.panels:
        panel.close()
    slicer.app.processEvents()
    qtstandin.uninstall()
    assert not host.errors, f"exceptions in slots: {host.errors}"
