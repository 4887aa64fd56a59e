"""What a node knows about its image beyond the voxels, kept in attributes named ``MedPrep.*``."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import slicer

from ..core.errors import MedPrepError
from ..core.volume import Volume
from ..files.dicom.facts import facts_of_files

PROVENANCE = "MedPrep.provenance"
INFO = "MedPrep.info"
MODALITY = "MedPrep.modality"
METRICS = "MedPrep.metrics"
PARENT_TRANSFORM = "MedPrep.parentTransform"
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def writeFacts(node: Any, volume: Volume) -> None:
    """Provenance, modality and plain facts of a volume as attributes of its node; absent ones are removed."""
    node.SetAttribute(PROVENANCE, jsonText(list(volume.history)) if volume.history else None)
    node.SetAttribute(MODALITY, volume.modality or None)
    node.SetAttribute(INFO, jsonText(volume.info) if volume.info else None)
    node.SetAttribute(PARENT_TRANSFORM, volume.info.get("parentTransform"))


def factsOf(node: Any) -> dict[str, Any]:
    """Name, modality, plain facts, display window and history of a volume node."""
    modality, info = modalityOf(node), jsonAttribute(node, INFO, dict)
    if not info and node.GetAttribute("DICOM.instanceUIDs"):
        read, info = _dicomFacts(node.GetAttribute("DICOM.instanceUIDs"))
        modality = modality or read
    if _isPicture(node):
        info.setdefault("spacingKnown", False)
    info.pop("parentTransform", None)
    if node.GetParentTransformNode() is not None:
        info["parentTransform"] = "hardened"
    display = node.GetDisplayNode()
    return {
        "name": node.GetName() or "",
        "modality": modality,
        "info": info,
        "display": (display.GetLevel(), display.GetWindow()) if hasattr(display, "GetWindow") else None,
        "history": tuple(jsonAttribute(node, PROVENANCE, list)),
    }


def _isPicture(node: Any) -> bool:
    """Whether a node was loaded from a picture file: its resolution is a printer's, not a patient's."""
    storage = node.GetStorageNode()
    name = (storage.GetFileName() or "").lower() if storage is not None else ""
    return name.endswith(_PICTURES)


def modalityOf(node: Any) -> str:
    """DICOM modality of a volume node ("CT", "MR", ...), or "" when nothing tells.

    Looked up in the node's own attributes, in the subject hierarchy (where Slicer's DICOM reader notes it),
    and in the voxel unit (Hounsfield units are CT).
    """
    for attribute in (MODALITY, "DICOM.Modality"):
        if node.GetAttribute(attribute):
            return node.GetAttribute(attribute)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if item:
        modality = hierarchy.GetItemAttribute(item, "DICOM.Modality")
        if modality:
            return modality
    units = node.GetVoxelValueUnits() if hasattr(node, "GetVoxelValueUnits") else None
    return "CT" if units is not None and units.GetCodeValue() == "[hnsf'U]" else ""


def _dicomFacts(uids: str) -> tuple[str, dict[str, Any]]:
    """Modality and facts of the DICOM files that Slicer loaded a node from, where its database has them."""
    database = getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen:
        return "", {}
    files = tuple(filter(None, (database.fileForInstance(uid) for uid in uids.split())))
    modality, info = _readFacts(files)
    return modality, dict(info)


@functools.lru_cache(maxsize=8)
def _readFacts(files: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Reading hundreds of headers takes a while, and a volume is read more than once."""
    try:
        return facts_of_files(files)
    except MedPrepError:
        # The volume is in the scene already; facts that cannot be read are facts that are not known.
        return "", {}


def jsonText(value: Any) -> str:
    """Compact JSON with sorted keys; numpy scalars and arrays become numbers and lists."""

    def plain(item: Any) -> Any:
        return item.tolist() if isinstance(item, (np.generic, np.ndarray)) else str(item)

    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=plain)


def jsonAttribute(node: Any, attribute: str, kind: type) -> Any:
    """Value of a JSON attribute, or an empty `kind` when it is absent or was edited into something else."""
    try:
        value = json.loads(node.GetAttribute(attribute) or "null")
    except ValueError:
        value = None
    return value if isinstance(value, kind) else kind()
