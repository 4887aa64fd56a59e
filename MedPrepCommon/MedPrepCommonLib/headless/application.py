"""Stand-ins of the headless host for what slicer-core lacks around the scene.

``slicer.app``, ``slicer.modules``, ``slicer.i18n``, ``slicer.packaging``, and the few functions of
``slicer.util`` that need Qt. Each behaves as the real one would in a Slicer without main window; what they
cannot do is missing rather than pretended.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..core.errors import MissingPackageError
from ..core.i18n import _


class HeadlessApplication:
    """The part of ``qSlicerApplication`` that scripts use. Signals can be connected, none is ever sent."""

    applicationName = "Slicer"

    def __init__(self, host: Any) -> None:
        self.host = host
        self.majorVersion, self.minorVersion, self.revision = _slicerVersion()
        self.applicationVersion = f"{self.majorVersion}.{self.minorVersion}"
        self.temporaryPath = host.temporaryPath
        self.moduleManagerInstance = ModuleManager()

    def mrmlScene(self) -> Any:
        return self.host.scene

    def applicationLogic(self) -> Any:
        return self.host.applicationLogic

    def moduleManager(self) -> ModuleManager:
        return self.moduleManagerInstance

    def moduleLogic(self, name: str) -> Any:
        return self.host.logics.get(name)

    def layoutManager(self) -> None:
        """There are no views, as in a Slicer started with ``--no-main-window``."""
        return None

    def topLevelWidgets(self) -> tuple[()]:
        return ()

    def testingEnabled(self) -> bool:
        """True: nobody is there to answer a question."""
        return True

    def translate(self, context: str, text: str) -> str:
        return text

    def processEvents(self) -> None: ...

    def pauseRender(self) -> None: ...

    def resumeRender(self) -> None: ...

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        return True

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        return True


def _slicerVersion() -> tuple[int, int, str]:
    try:
        version = importlib.metadata.version("slicer-core")
    except (
        importlib.metadata.PackageNotFoundError
    ):  # PythonSlicer: MRML without a wheel and without application
        return 0, 0, ""
    major, minor, revision = re.match(r"(\d+)\.(\d+)\.(\d+)", version).groups()
    return int(major), int(minor), revision


class ModuleManager:
    """``qSlicerModuleManager``: modules by name. None is ever unloaded, so its signals are never sent."""

    def module(self, name: str) -> Any:
        import slicer

        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> tuple[str, ...]:
        import slicer

        return tuple(entry.name for entry in vars(slicer.modules).values() if isinstance(entry, ModuleEntry))

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        return True

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        return True


class ModuleEntry:
    """An entry of ``slicer.modules``; also the `parent` that a scripted module fills in its constructor.

    Attributes
    ----------
    name, path, title, categories, dependencies, contributors, helpText, acknowledgementText, icon, hidden :
        as of ``qSlicerAbstractCoreModule``; `path` is empty for built-in modules.
    """

    def __init__(self, name: str, logic: Any, path: str = "") -> None:
        self.name, self.path, self.title = name, path, name
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.helpText = self.acknowledgementText = ""
        self.icon = None
        self.hidden = False
        self._logic = logic

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> None:
        """No widgets without Qt."""
        return None


def install(host: Any) -> None:
    """Put the stand-ins into ``slicer`` and ``sys.modules``."""
    import slicer

    from . import bases, parameters

    slicer.app = HeadlessApplication(host)
    slicer.modules = _module("slicer.modules")
    slicer.moduleNames = _module("slicer.moduleNames")
    for name, logic in host.logics.items():
        setattr(slicer.modules, name.lower(), ModuleEntry(name, logic))
        setattr(slicer.moduleNames, name, name)
    slicer.i18n = _module("slicer.i18n", tr=tr, translate=translate, getContext=getContext)
    slicer.packaging = _module(
        "slicer.packaging",
        pip_ensure=pip_ensure,
        pip_install=pip_install,
        pip_check=pip_check,
        load_requirements=load_requirements,
    )
    for name, members in (
        ("ScriptedLoadableModule", bases.PUBLIC),
        ("parameterNodeWrapper", parameters.PUBLIC),
    ):
        setattr(slicer, name, _module(f"slicer.{name}", __all__=list(members), **members))
    useOwnUtil(True)


def useOwnUtil(own: bool) -> None:
    """Replace the functions of ``slicer.util`` that need Qt, or put slicer-core's own back."""
    import slicer

    for name, function in UTIL.items():
        _slicerUtil.setdefault(name, getattr(slicer.util, name))
        setattr(slicer.util, name, function if own else _slicerUtil[name])


_slicerUtil: dict[str, Any] = {}


def _module(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name, "Stand-in of the headless host.")
    vars(module).update(members)
    sys.modules[name] = module
    return module


def addScriptedModule(path: Path) -> ModuleEntry:
    """Import a module file, make its entry and its module object, as Slicer's module factory does."""
    import slicer

    name = path.stem
    existing = getattr(slicer.modules, name.lower(), None)
    if existing is not None:
        return existing
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    moduleClass = getattr(importlib.import_module(name), name)
    logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    entry = ModuleEntry(name, logic, str(path))
    setattr(slicer.modules, f"{name}Instance", moduleClass(entry))
    setattr(slicer.modules, name.lower(), entry)
    setattr(slicer.moduleNames, name, name)
    return entry


# --- slicer.i18n ---


def tr(text: str) -> str:
    """``slicer.i18n.tr``: English stays English here."""
    return text


def translate(context: str, text: str) -> str:
    """``slicer.i18n.translate``."""
    return text


def getContext(sourceFile: str) -> str:
    """``slicer.i18n.getContext``: file name without suffix, after its package's name when it lies in one."""
    source = Path(sourceFile)
    inPackage = source.is_file() and (source.parent / "__init__.py").is_file()
    return f"{source.parent.name}.{source.stem}" if inPackage else source.stem


# --- slicer.packaging ---


def load_requirements(path: str | os.PathLike[str]) -> list[Any]:
    """The ``packaging.requirements.Requirement`` objects of a file; comments and pip options are skipped."""
    from packaging.requirements import Requirement

    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def pip_check(requirements: Any) -> bool:
    """Whether every requirement is installed in an allowed version."""
    return not _missing(requirements)


def pip_ensure(requirements: Any, *args: Any, requester: str | None = None, **options: Any) -> None:
    """Return when everything is installed; outside Slicer nothing is installed behind the user's back.

    Raises
    ------
    MissingPackageError
        that names what is missing and the command that installs it.
    """
    missing = _missing(requirements)
    if missing:
        pip_install(missing, requester=requester)


def pip_install(requirements: Any, *args: Any, requester: str | None = None, **options: Any) -> None:
    """Refuse, with the command to run."""
    names = _requirements(requirements)
    raise MissingPackageError(
        _("{requester} needs packages that are not installed: {names}.").format(
            requester=requester or "MedPrep", names=", ".join(names)
        ),
        _("Outside Slicer nothing is installed automatically."),
        _("Run: python -m pip install {names}").format(names=" ".join(f'"{name}"' for name in names)),
    )


def _requirements(requirements: Any) -> list[str]:
    if isinstance(requirements, str):
        requirements = [requirements] if re.search(r"[;@]", requirements) else requirements.split()
    elif not isinstance(requirements, (list, tuple)):
        requirements = [requirements]
    return [str(requirement) for requirement in requirements]


def _missing(requirements: Any) -> list[str]:
    from packaging.requirements import Requirement

    missing = []
    for text in _requirements(requirements):
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(text)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            missing.append(text)
    return missing


# --- slicer.util: the functions that would import Qt ---


def _display(level: int) -> Callable[..., None]:
    def show(text: str, windowTitle: str | None = None, **options: Any) -> None:
        """Log the message: there is no window to show it in."""
        logging.log(level, text)

    return show


def delayDisplay(message: str, autoCloseMsec: int = 1000, **options: Any) -> None:
    """``slicer.util.delayDisplay`` without the pop-up: the message is logged."""
    logging.info(message)


def tempDirectory(key: str = "__SlicerTemp__", tempDir: Any = None, includeDateTime: bool = True) -> str:
    """``slicer.util.tempDirectory``: a new folder in Slicer's temporary folder."""
    import slicer

    root = Path(tempDir or slicer.app.temporaryPath)
    if includeDateTime:
        return tempfile.mkdtemp(prefix=key, dir=root)
    (root / key).mkdir(parents=True, exist_ok=True)
    return str(root / key)


def settingsValue(key: str, default: Any, *args: Any, **options: Any) -> Any:
    """``slicer.util.settingsValue``: there is no settings file, so it is the default."""
    return default


@contextlib.contextmanager
def waitCursor(show: bool = True) -> Iterator[None]:
    """``slicer.util.WaitCursor`` where there is no cursor."""
    yield


UTIL = {
    "infoDisplay": _display(logging.INFO),
    "warningDisplay": _display(logging.WARNING),
    "errorDisplay": _display(logging.ERROR),
    "delayDisplay": delayDisplay,
    "tempDirectory": tempDirectory,
    "settingsValue": settingsValue,
    "WaitCursor": waitCursor,
}
