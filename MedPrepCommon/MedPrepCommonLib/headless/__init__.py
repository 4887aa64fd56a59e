"""Slicer without its window: the real MRML scene of PyPI's ``slicer-core`` for scripts and the command line.

    from MedPrepCommonLib import headless
    headless.start()
    from MedPrepCT import MedPrepCTLogic
    ct = headless.loadVolume("ct.nii.gz")
    lungs = MedPrepCTLogic().segmentLungs(ct).lungs
    headless.saveScene("case.mrb")

``slicer.mrmlScene``, the few parts of ``slicer.app`` and ``slicer.modules`` that our modules use, and
``slicer.ScriptedLoadableModule``, ``slicer.parameterNodeWrapper``, ``slicer.i18n`` and ``slicer.packaging``
are there as in Slicer. There are no widgets, no views and no layout. Inside a real Slicer :func:`start` does
nothing.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ..core.errors import FileError, MissingPackageError
from ..core.i18n import _
from ..files import archive

_host: Any = None


def start() -> None:
    """Make ``slicer`` usable in plain Python. A second call changes nothing; inside Slicer it does nothing.

    Raises
    ------
    MissingPackageError
        when slicer-core is not installed.
    """
    global _host
    if _host is not None:
        return
    slicer = _importSlicer()
    if insideSlicer():
        logging.info("headless.start(): this is Slicer itself, nothing to do.")
        return
    from . import application
    from .scene import SceneHost

    host = SceneHost()
    slicer.mrmlScene = host.scene
    application.install(host)
    _host = host


def insideSlicer() -> bool:
    """Whether this Python belongs to a real Slicer: the application object is there and is not ours."""
    slicer = sys.modules.get("slicer")
    return _host is None and getattr(slicer, "app", None) is not None


def loadVolume(
    path: str | os.PathLike[str],
    series: int | str | None = None,
    name: str | None = None,
    labels: bool = False,
) -> Any:
    """Read an image file or DICOM folder into a new volume node.

    Parameters
    ----------
    path : NIfTI, NRRD, MHA, PNG, JPG or DICOM file, or a folder with DICOM files.
    series : number, UID or description of the wanted series when a folder holds several.
    name : name of the node; by default that of the image. Made safe and unique.
    labels : read whole numbers as a label map.

    Returns
    -------
    The node: ``vtkMRMLScalarVolumeNode``, ``vtkMRMLVectorVolumeNode`` for colour or several channels, or
    ``vtkMRMLLabelMapVolumeNode`` for labels.

    Raises
    ------
    FileError
        when the file cannot be read, is not a volume, or the folder holds several series and none is named.
    GeometryError
        when its geometry is unusable.
    """
    _needScene()
    from ..files.reading import read_volume
    from ..scene.volumes import nodeFromVolume

    return nodeFromVolume(read_volume(path, series=series, labels=labels), name)


def saveScene(path: str | os.PathLike[str]) -> Path:
    """Save the whole scene with its data as one ``.mrb`` file; the file appears only once it is complete.

    Raises
    ------
    FileError
        when the name does not end in ``.mrb``, the folder is missing, or a node cannot be stored (named).
    """
    import slicer

    scene = _needScene()
    target = Path(path).resolve()
    _checkName(target)
    if not target.parent.is_dir():
        raise FileError(
            _("The folder of {path} does not exist.").format(path=path), "", _("Create the folder first.")
        )
    messages = slicer.vtkMRMLMessageCollection()
    folder = tempfile.mkdtemp(prefix=".medprep-", dir=target.parent)
    try:
        draft = os.path.join(folder, target.name)
        if not scene.WriteToMRB(draft, None, messages):
            wrong = _("The scene cannot be saved as {path}.").format(path=path)
            raise FileError(wrong, advice=_culprits(messages))
        os.replace(draft, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def loadScene(path: str | os.PathLike[str]) -> None:
    """Replace the scene by the one in a ``.mrb`` file.

    Raises
    ------
    FileError
        when the file is missing or no scene bundle, or names files outside of it (the scene then stays as it
        was), or is damaged inside.
    """
    import slicer

    scene = _needScene()
    source = Path(path).resolve()
    _checkName(source)
    if not source.is_file():
        raise FileError(_("There is no file {path}.").format(path=path))
    if not _isBundle(source):
        raise FileError(
            _("{path} is not a Slicer scene bundle.").format(path=path),
            _("Expected a ZIP archive with a .mrml file inside."),
        )
    messages = slicer.vtkMRMLMessageCollection()
    with tempfile.TemporaryDirectory(prefix="medprep-") as folder:
        copy = Path(folder) / "scene.mrb"
        archive.copy_safely(source, copy)
        if not scene.ReadFromMRB(str(copy), True, messages):
            wrong = _("The scene in {path} cannot be loaded.").format(path=path)
            raise FileError(wrong, advice=" ".join(_texts(messages)))


def clear() -> None:
    """Close the scene, as File / Close Scene does: data nodes go, colours, units and singletons stay."""
    _needScene().Clear(False)


def addModule(path: str | os.PathLike[str]) -> Any:
    """Load a scripted module as Slicer does at start-up and return its ``slicer.modules`` entry.

    Only panels need this; to use a module's logic, ``from MedPrepCT import MedPrepCTLogic`` is enough.
    """
    _needScene()
    from . import application

    return application.addScriptedModule(Path(path).resolve())


def _importSlicer() -> Any:
    try:
        import slicer
    except ImportError as error:
        if getattr(error, "name", None) not in ("slicer", "slicer_core", "vtk", "vtkmodules"):
            raise MissingPackageError(
                _("slicer-core is installed but cannot be loaded: {error}.").format(error=error),
                _("Outside Slicer, MedPrep keeps its scene with slicer-core 5.13 and VTK 9.6."),
                _("Install the library that is named above, or reinstall slicer-core in a new environment."),
            ) from error
        raise MissingPackageError(
            _("The package slicer-core is not installed."),
            _("Outside Slicer, MedPrep keeps its scene with slicer-core 5.13 (Python 3.10 or newer)."),
            _("Run: python -m pip install slicer-core"),
        ) from error
    if not hasattr(slicer, "vtkMRMLScene"):
        raise MissingPackageError(
            _("The installed package named slicer is not 3D Slicer."),
            _("Expected slicer-core 5.13."),
            _("Run: python -m pip uninstall slicer; python -m pip install slicer-core"),
        )
    return slicer


def _needScene() -> Any:
    import slicer

    scene = getattr(slicer, "mrmlScene", None)
    if scene is None:
        raise MissingPackageError(_("There is no scene yet."), "", _("Call headless.start() first."))
    return scene


def _checkName(path: Path) -> None:
    if path.suffix.lower() != ".mrb":
        raise FileError(
            _("{path} is not the name of a scene bundle.").format(path=path.name),
            _("Expected a name that ends in .mrb."),
        )


def _isBundle(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as bundle:
        return any(name.endswith(".mrml") for name in bundle.namelist())


def _culprits(messages: Any) -> str:
    """The nodes that could not be stored; MRML names them as "name (node ID): reason"."""
    names = re.findall(r"(?:^|(?<=\n))(.+) \(vtkMRML\w+\): ", "\n".join(_texts(messages)))
    if not names:
        return " ".join(_texts(messages))
    return _("These nodes cannot be stored: {names}. Remove or convert them.").format(names=", ".join(names))


def _texts(messages: Any) -> list[str]:
    return [messages.GetNthMessageText(n) for n in range(messages.GetNumberOfMessages())]
