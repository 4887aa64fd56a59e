"""The built-in phantoms as sample data: no network needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..core.volume import Volume
from ..phantoms.brain import BrainPhantom, make_brain_phantom
from ..phantoms.chest import ChestPhantom, make_chest_phantom
from ..scene.volumes import nodeFromVolume

CATEGORY = "MedPrep"
NAME = "MedPrepChestPhantom"
BRAIN = "MedPrepBrainPhantom"
RADIOGRAPH = "MedPrepChestRadiograph"


def register(name: str = NAME) -> None:
    """Offer a phantom in Slicer's Sample Data module once Slicer has started."""
    slicer.app.connect("startupCompleted()", lambda: _register(name))


def loadChestPhantom() -> Any:
    """Add the chest phantom to the scene and return its CT volume node."""
    return phantomNode(make_chest_phantom())


def phantomNode(phantom: ChestPhantom) -> Any:
    """A CT volume node of a phantom."""
    return nodeFromVolume(Volume(phantom.hu, phantom.ijkToRAS, NAME, "CT"), NAME)


def loadBrainPhantom() -> list[Any]:
    """Add the brain phantom to the scene and return its volume nodes: T1, T2 and FLAIR."""
    return brainNodes(make_brain_phantom())


def brainNodes(phantom: BrainPhantom) -> list[Any]:
    """An MR volume node per sequence of a phantom."""
    return [
        nodeFromVolume(Volume(array, phantom.ijkToRAS, modality="MR"), f"{BRAIN} {name}")
        for name, array in phantom.images.items()
    ]


def loadChestRadiograph() -> Any:
    """Add the radiograph of the chest phantom to the scene and return its volume node."""
    # Only here: it brings the report along, and Slicer reads this file when it starts.
    from ..demo.xray import make_radiograph

    return nodeFromVolume(make_radiograph().image, RADIOGRAPH)


_LOADERS: dict[str, Callable[[], Any]] = {
    NAME: loadChestPhantom,
    BRAIN: loadBrainPhantom,
    RADIOGRAPH: loadChestRadiograph,
}


def _register(name: str) -> None:
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=name,
        uris=[],
        fileNames=[],
        nodeNames=[],
        customDownloader=lambda _source: _download(name),
    )


def _download(name: str) -> Any:
    with slicer.util.WaitCursor():
        loaded = _LOADERS[name]()
    # Slicer shows what it downloads by itself, but not what a function of ours made.
    first = loaded[0] if isinstance(loaded, list) else loaded
    slicer.util.setSliceViewerLayers(background=first, fit=True)
    return loaded
