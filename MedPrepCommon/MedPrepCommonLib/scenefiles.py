"""Nodes to files: volumes, segmentations and tables. A file appears only once it is complete.

Nothing is added to the scene, and a node under a linear transform is written where it lies in the world.
(Whole scenes: :func:`MedPrepCommonLib.headless.saveScene`, or Slicer's own Save.)
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from . import scenevolumes
from .errors import FileError
from .i18n import _

_VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def writeVolume(node: Any, path: str | os.PathLike[str]) -> Path:
    """Write a volume node as NIfTI (.nii.gz, .nii), NRRD or MHA; an existing file is replaced.

    Raises
    ------
    InputError, GeometryError
        when the node holds no image, is under a non-linear transform, or sheared (ITK straightens NIfTI).
    FileError
        when the name's ending is another one, or the file cannot be written.
    """
    volume = scenevolumes.volumeFromNode(node)
    volume.require_orthogonal()
    copy = node.CreateNodeInstance()
    copy.SetAndObserveImageData(node.GetImageData())
    copy.SetIJKToRASMatrix(scenevolumes.matrixFromArray(volume.ijkToRAS))
    if copy.IsA("vtkMRMLVectorVolumeNode"):
        copy.SetVoxelVectorType(node.GetVoxelVectorType())
    with _complete(path, _VOLUME_SUFFIXES) as draft:
        _store(slicer.vtkMRMLVolumeArchetypeStorageNode(), copy, draft)
    return Path(path)


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
        matrix = scenevolumes.matrixFromArray(scenevolumes.parentMatrix(node))
        segmentation = slicer.vtkSegmentation()
        segmentation.DeepCopy(node.GetSegmentation())
        copy = node.CreateNodeInstance()
        copy.SetAndObserveSegmentation(segmentation)
        copy.ApplyTransformMatrix(matrix)
    with _complete(path, (".seg.nrrd",)) as draft:
        _store(slicer.vtkMRMLSegmentationStorageNode(), copy, draft)
    return Path(path)


def writeTable(node: Any, path: str | os.PathLike[str]) -> Path:
    """Write a table node as CSV (RFC 4180, UTF-8) with a header line.

    Slicer's own writer does not escape quotation marks.

    Raises
    ------
    FileError
        when the name's ending is another one, or the file cannot be written.
    """
    columns = [node.GetTable().GetColumn(n) for n in range(node.GetNumberOfColumns())]
    with _complete(path, (".csv",)) as draft, open(draft, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.GetName() for column in columns])
        writer.writerows([c.GetValue(row) for c in columns] for row in range(node.GetNumberOfRows()))
    return Path(path)


def _store(storage: Any, node: Any, path: Path) -> None:
    storage.SetFileName(os.fspath(path))
    if not storage.WriteData(node):
        messages = storage.GetUserMessages()
        texts = (messages.GetNthMessageText(n) for n in range(messages.GetNumberOfMessages()))
        raise FileError(_("{name} cannot be written.").format(name=path.name), advice=" ".join(texts))


@contextmanager
def _complete(path: str | os.PathLike[str], suffixes: tuple[str, ...]) -> Iterator[Path]:
    """A draft in a hidden folder beside `path`, moved into place when all went well; else nothing is left."""
    target = Path(path)
    if not target.name.lower().endswith(suffixes):
        raise FileError(
            _("{name} has another ending.").format(name=target.name),
            _("Expected a name that ends in {suffixes}.").format(suffixes=", ".join(suffixes)),
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
