"""The built-in chest phantom as sample data, as a CT and as a radiograph: no network needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from .chestphantom import ChestPhantom, make_chest_phantom
from .projection import project_radiograph
from .scenevolumes import nodeFromVolume
from .volume import Volume

CATEGORY = "MedPrep"
NAME = "MedPrepChestPhantom"
RADIOGRAPH = "MedPrepChestRadiograph"


def register() -> None:
    """Offer the samples in Slicer's Sample Data module once Slicer has started."""
    slicer.app.connect("startupCompleted()", _register)


def loadChestPhantom() -> Any:
    """Add the chest phantom to the scene and return its CT volume node."""
    return phantomNode(make_chest_phantom())


def phantomNode(phantom: ChestPhantom) -> Any:
    """A CT volume node of a phantom."""
    return nodeFromVolume(Volume(phantom.hu, phantom.ijkToRAS, NAME, "CT"), NAME)


def loadChestRadiograph() -> Any:
    """Add the radiograph of the chest phantom to the scene and return its volume node."""
    phantom = make_chest_phantom()
    made = project_radiograph(Volume(phantom.hu, phantom.ijkToRAS, NAME, "CT"))
    return nodeFromVolume(made.image, RADIOGRAPH)


def _register() -> None:
    from SampleData import SampleDataLogic

    for name, load in ((NAME, loadChestPhantom), (RADIOGRAPH, loadChestRadiograph)):
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            uris=[],
            fileNames=[],
            nodeNames=[],
            customDownloader=lambda _source, load=load: _download(load),
        )


def _download(load: Callable[[], Any]) -> Any:
    with slicer.util.WaitCursor():
        node = load()
    # Slicer shows what it downloads by itself, but not what a function of ours made.
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node
