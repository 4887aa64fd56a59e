"""A segmentation node to a file, which appears only once it is complete.

Nothing is added to the scene, and a node under a linear transform is written where it lies in the world.
(Whole scenes: :func:`MedPrepCommonLib.headless.saveScene`, or Slicer's own Save.)
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import FileError
from ..core.i18n import _
from . import grids

_SUFFIX = ".seg.nrrd"


def writeSegmentation(node: Any, path: str | os.PathLike[str]) -> Path:
    """Write a segmentation node as ``.seg.nrrd``; names, colours and terminology are kept.

    Raises
    ------
    GeometryError
        when it is under a non-linear transform.
    FileError
        when the name's ending is another one, or the file cannot be written.
    """
    copy = node
    if node.GetParentTransformNode() is not None:
        matrix = grids.matrixFromArray(grids.parentMatrix(node))
        segmentation = slicer.vtkSegmentation()
        segmentation.DeepCopy(node.GetSegmentation())
        copy = node.CreateNodeInstance()
        copy.SetAndObserveSegmentation(segmentation)
        copy.ApplyTransformMatrix(matrix)
    with _complete(path) as draft:
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(os.fspath(draft))
        if not storage.WriteData(copy):
            messages = storage.GetUserMessages()
            texts = (messages.GetNthMessageText(n) for n in range(messages.GetNumberOfMessages()))
            raise FileError(_("{name} cannot be written.").format(name=draft.name), advice=" ".join(texts))
    return Path(path)


@contextmanager
def _complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A draft in a hidden folder beside `path`, moved into place when all went well; else nothing is left."""
    target = Path(path)
    if not target.name.lower().endswith(_SUFFIX):
        raise FileError(
            _("{name} has another ending.").format(name=target.name),
            _("Expected a name that ends in {suffix}.").format(suffix=_SUFFIX),
        )
    try:
        folder = Path(tempfile.mkdtemp(prefix=".medprep-", dir=target.parent))
    except OSError as error:
        raise FileError(
            _("No file can be made in {folder}.").format(folder=target.parent),
            _("Expected a folder that exists and that you may write to."),
            str(error.strerror),
        ) from error
    try:
        yield folder / target.name
        os.replace(folder / target.name, target)
    except OSError as error:
        raise FileError(
            _("{path} cannot be written.").format(path=target), advice=str(error.strerror)
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
