"""Cropping, patches and the way back in the panel of MedPrep Common, in real Qt, and the console."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ctimages import body, labels_on

from MedPrepCommonLib.core.errors import FileError


@pytest.fixture
def nodes(qtHost):
    """A CT and a segmentation of what is dark in it."""
    from MedPrepCommonLib.scene.segments import segmentationFromLabels
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    volume = body((12, 40, 44))
    ct = nodeFromVolume(volume, "ct")
    dark = labels_on(volume, (volume.array < -700).astype(np.uint8), "dark")
    return ct, segmentationFromLabels(dark, ct, "dark")


@pytest.fixture
def panel(qtHost, nodes, module_dirs):
    file = next(path for d in module_dirs if (path := d / "MedPrepCommon.py").is_file())
    widget = qtHost.panel(file).widget
    widget._parameterNode.inputVolume = nodes[0]
    return widget


def press(host, widget, name: str) -> None:
    getattr(widget.ui, f"{name}_apply").click()
    host.wait(lambda: widget.running is None)


def newest(name: str, kind: str = "Segmentation"):
    import slicer

    return [n for n in slicer.util.getNodesByClass(f"vtkMRML{kind}Node") if name in n.GetName()][-1]


def test_crop_and_restore(qtHost, panel, nodes) -> None:
    from MedPrepCommonLib.scene.segments import labelsFromNode

    ct, dark = nodes
    press(qtHost, panel, "restore")
    assert "nothing to restore" in qtHost.messages.pop()[1]
    panel._parameterNode.cropForegroundLabels = dark
    press(qtHost, panel, "cropForeground")
    cropped = newest("ct Crop to foreground dark")
    panel._parameterNode.restoreLabels = cropped
    press(qtHost, panel, "restore")
    assert qtHost.messages == []
    back = newest("ct Restore to the original grid")
    restored, wanted = labelsFromNode(back, ct).array, labelsFromNode(dark, ct).array
    inside = labelsFromNode(cropped, ct).array
    assert np.array_equal(restored, inside) and not (inside & ~wanted).any()
    assert inside.sum() > 0


def test_a_mask_on_a_coarser_grid_comes_back_whole(nodes) -> None:
    """The console restores what the function restores: nothing is lost on the way through the scene."""
    from MedPrepCommon import MedPrepCommonLogic
    from MedPrepCommonLib.scene.segments import labelsFromNode, segmentationFromLabels

    ct, _dark = nodes
    logic = MedPrepCommonLogic()
    whole = segmentationFromLabels(
        labels_on(body((12, 40, 44)), np.ones((12, 40, 44), np.uint8)), ct, "whole"
    )
    # 110 mm are 14.49 voxels of 7.59 mm: the outermost voxels of the CT lie beyond the 14 that remain.
    _coarse, coarseWhole = logic.resample(ct, spacing=7.59, labels=[whole])
    assert not labelsFromNode(coarseWhole, ct).array.all()
    back = logic.restore(ct, labels=[coarseWhole])[0]
    assert labelsFromNode(back, ct).array.all()


def test_patches_are_written_beside_what_is_there(qtHost, panel, nodes, tmp_path: Path) -> None:
    from MedPrepCommon import MedPrepCommonLogic

    ct, dark = nodes
    pack = panel._parameterNode.patches
    pack.method, pack.number, pack.sizeI, pack.sizeJ, pack.sizeK = "foreground", 5, 8, 8, 4
    panel._parameterNode.patchesMask = panel._parameterNode.patchesLabels = dark
    press(qtHost, panel, "patches")
    table = newest("ct Patches patches", "Table")
    assert table.GetNumberOfRows() == 5 and '"patches"' in table.GetAttribute("MedPrep.provenance")
    assert list(tmp_path.iterdir()) == [], "no folder is chosen yet"
    panel.ui.patches_folder.currentPath = str(tmp_path)
    for name in ("patches", "patches-2"):
        press(qtHost, panel, "patches")
        assert str(tmp_path / name) in panel.ui.resultsText.text
    assert qtHost.messages == []
    arguments = {"method": "foreground", "number": 5, "size": (8, 8, 4), "labels": [dark], "mask": dark}
    MedPrepCommonLogic().exportPatches(ct, tmp_path / "console", **arguments)
    folders = [tmp_path / name for name in ("patches", "patches-2", "console")]
    files = [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders]
    assert files[0] == files[1] == files[2] and "manifest.csv" in files[0] and len(files[0]) == 7
    assert len(list(tmp_path.iterdir())) == 3
    before = qtHost.nodes()
    for wrong in (tmp_path / "console", tmp_path / "no" / "such"):
        with pytest.raises(FileError):
            MedPrepCommonLogic().exportPatches(ct, wrong, **arguments)
    assert qtHost.nodes() == before
