"""The built-in chest phantom as sample data: no network needed."""

from __future__ import annotations

from typing import Any

import slicer

from .chestphantom import ChestPhantom, make_chest_phantom
from .scenevolumes import nodeFromVolume
from .volume import Volume

CATEGORY = "MedPrep"
NAME = "MedPrepChestPhantom"


def register() -> None:
    """Offer the phantom in Slicer's Sample Data module once Slicer has started."""
    slicer.app.connect("startupCompleted()", _register)


def loadChestPhantom() -> Any:
    """Add the chest phantom to the scene and return its CT volume node."""
    return phantomNode(make_chest_phantom())


def phantomNode(phantom: ChestPhantom) -> Any:
    """A CT volume node of a phantom."""
    return nodeFromVolume(Volume(phantom.hu, phantom.ijkToRAS, NAME, "CT"), NAME)


def _register() -> None:
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=[],
        fileNames=[],
        nodeNames=[],
        customDownloader=_download,
    )


def _download(_source: Any) -> Any:
    with slicer.util.WaitCursor():
        node = loadChestPhantom()
    # Slicer shows what it downloads by itself, but not what a function of ours made.
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node
