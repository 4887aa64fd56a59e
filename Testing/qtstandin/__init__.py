"""Qt for tests without Slicer: ``qt``, ``ctk`` and the qMRML widgets on PySide6, over the headless host.

Only tests use it; it is not shipped. With :func:`install`, ``slicer.util`` is slicer-core's own again:
loadUI, childWidgetVariables, errorDisplay, ... work on these modules. Parameter nodes can be bound to
widgets, and :class:`Panel` shows a scripted module's panel as Slicer does.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from MedPrepCommonLib import headless
from MedPrepCommonLib.headless import application, parameters

# PySide6 6.12 gives away a reference to True with every Signal.emit(). Before Python 3.12, where True cannot
# be freed, the interpreter aborts once none is left; this reserve outlasts any test run.
if sys.version_info < (3, 12):
    for _ in range(100_000):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(True))

_settingsFolder = tempfile.TemporaryDirectory(prefix="MedPrep-settings-")


class QtApplication(application.HeadlessApplication):
    """``slicer.app`` with an event loop; tests see what a user sees, so testing mode is off."""

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self._qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])

    def testingEnabled(self) -> bool:
        return False

    def processEvents(self) -> None:
        self._qt.processEvents()

    def setOverrideCursor(self, cursor: Any) -> None:
        self._qt.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        self._qt.restoreOverrideCursor()

    def topLevelWidgets(self) -> list[Any]:
        """None is named qSlicerMainWindow: there is no main window."""
        return self._qt.topLevelWidgets()

    def userSettings(self) -> Any:
        import qt

        return qt.QSettings()

    settings = userSettings


def install() -> None:
    """Start the headless host and put Qt over it. A second call changes nothing."""
    import slicer

    if "qt" in sys.modules:
        return
    headless.start()
    QtCore.QCoreApplication.setOrganizationName("MedPrep")
    QtCore.QCoreApplication.setApplicationName("tests")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    for scope in (QtCore.QSettings.UserScope, QtCore.QSettings.SystemScope):
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, scope, _settingsFolder.name)
    from . import ctk, guiconnectors, mrmlwidgets, qt

    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    for name, item in mrmlwidgets.CLASSES.items():
        setattr(slicer, name, item)
    slicer.qSlicerScriptedLoadableModule = application.ModuleEntry
    slicer.app = QtApplication(slicer.app.host)
    application.useOwnUtil(False)
    parameters.guiBinder = guiconnectors.GuiBinder()


def uninstall() -> None:
    """Back to the headless host without Qt."""
    import slicer

    if "qt" not in sys.modules:
        return
    from . import mrmlwidgets

    del sys.modules["qt"], sys.modules["ctk"]
    for name in (*mrmlwidgets.CLASSES, "qSlicerScriptedLoadableModule"):
        delattr(slicer, name)
    slicer.app = application.HeadlessApplication(slicer.app.host)
    application.useOwnUtil(True)
    parameters.guiBinder = None


class Panel:
    """A scripted module's panel, made, entered and left as Slicer's module selector does.

    Attributes
    ----------
    widget : the module's Widget object.
    representation : its parent, a ``qSlicerScriptedLoadableModuleWidget``.
    """

    def __init__(self, modulePath: Path) -> None:
        import slicer

        entry = headless.addModule(modulePath)
        self.representation = slicer.qSlicerScriptedLoadableModuleWidget()
        self.representation.setMRMLScene(slicer.mrmlScene)
        module = sys.modules[entry.name]
        self.widget = getattr(module, f"{entry.name}Widget")(self.representation)
        self.representation._python = self.widget
        entry.widgetRepresentation = lambda: self.representation
        setattr(slicer.modules, f"{entry.name}Widget", self.widget)
        self.widget.setup()

    @property
    def ui(self) -> Any:
        return self.widget.ui

    def enter(self) -> None:
        self.representation.show()
        self.representation.enter()

    def exit(self) -> None:
        self.representation.exit()
        self.representation.hide()

    def close(self) -> None:
        """The application ends: clean up and delete."""
        self.widget.cleanup()
        self.representation.hide()
        self.representation.deleteLater()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)

    def screenshot(self, path: Path, width: int = 480) -> Path:
        """Save the panel's picture as PNG."""
        top = self.representation
        top.resize(width, top.sizeHint().height())
        QtCore.QCoreApplication.processEvents()
        if not top.grab().save(str(path)):
            raise OSError(f"cannot write {path}")
        return path
