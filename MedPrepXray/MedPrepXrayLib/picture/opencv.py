"""OpenCV, which Slicer does not bring: found where it is installed, asked for with words where it is not."""

from __future__ import annotations

import importlib
from types import ModuleType

from MedPrepCommonLib.core.errors import MissingPackageError
from MedPrepCommonLib.core.i18n import _

# What an operation's `packages` names; the build without windows, because the other one brings its own Qt.
OPENCV = {"cv2": "opencv-python-headless>=4.10"}


def opencv(advice: str = "") -> ModuleType:
    """The module ``cv2``.

    Raises
    ------
    MissingPackageError
        when it is not installed; `advice` says what else the user can choose.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingPackageError(
            _("The Python package OpenCV is not installed."),
            _("Expected {package}.").format(package=OPENCV["cv2"]),
            advice or _("Install it, in Slicer with slicer.packaging.pip_ensure('opencv-python-headless')."),
        ) from error
