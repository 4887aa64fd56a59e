"""The built-in chest phantom as sample data: no network needed, and the truth is known."""

from __future__ import annotations

from typing import Any

import slicer

from .chestphantom import make_chest_phantom
from .scenesegments import segmentationFromLabels
from .scenevolumes import nodeFromVolume

CATEGORY = "MedPrep"
NAME = "MedPrepChestPhantom"


def register() -> None:
    """Offer the phantom in Slicer's Sample Data module once Slicer has started."""
    slicer.app.connect("startupCompleted()", _register)


def loadChestPhantom(withTruth: bool = False) -> Any:
    """Add the chest phantom to the scene.

    Returns
    -------
    The CT volume node, or (volume node, segmentation node of its true lungs and airway).
    """
    phantom = make_chest_phantom()
    node = nodeFromVolume(phantom.volume, NAME)
    return (node, segmentationFromLabels(phantom.truth, node)) if withTruth else node


def _register() -> None:
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=[],
        fileNames=[],
        nodeNames=[],
        customDownloader=lambda _source: loadChestPhantom(),
    )
