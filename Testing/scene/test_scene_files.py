"""Segmentations written to files: readable by others, complete or absent, in world space, without a trace."""

from __future__ import annotations

import os

import numpy as np
import pytest

from MedPrepCommonLib import headless

headless.start()

import slicer  # noqa: E402
from test_scene_segments import SEGMENTS, lungs  # noqa: E402
from test_scene_volumes import GRIDS, rotation, transform  # noqa: E402

from MedPrepCommonLib.core.errors import FileError  # noqa: E402
from MedPrepCommonLib.core.volume import Volume  # noqa: E402
from MedPrepCommonLib.files.reading import read_volume  # noqa: E402
from MedPrepCommonLib.geometry.label_grid import onto_grid  # noqa: E402
from MedPrepCommonLib.scene import facts, files, grids, segments, volumes  # noqa: E402


@pytest.fixture(autouse=True)
def scene():
    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


def moved():
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(5), (3, -4, 5)
    return transform(matrix).GetID()


def test_segmentations(tmp_path, scene):
    labels = lungs("oblique")
    node = segments.segmentationFromLabels(labels)
    for under in (False, True):
        if under:
            node.SetAndObserveTransformNodeID(moved())
        before = scene.GetNumberOfNodes()
        path = files.writeSegmentation(node, tmp_path / "a.seg.nrrd")
        back = read_volume(path)
        world = grids.parentMatrix(node) @ labels.ijkToRAS
        assert np.array_equal(onto_grid(back.array, back.ijkToRAS, world, labels.shape), labels.array)
        assert back.segments == SEGMENTS
        assert scene.GetNumberOfNodes() == before and os.listdir(tmp_path) == ["a.seg.nrrd"]
    assert node.GetParentTransformNode() is not None


@pytest.mark.parametrize("name", ["a.nrrd", "no/folder/a.seg.nrrd"])
def test_wrong_endings_and_missing_folders(tmp_path, name):
    with pytest.raises(FileError):
        files.writeSegmentation(segments.segmentationFromLabels(lungs()), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    node = segments.segmentationFromLabels(lungs())
    path = files.writeSegmentation(node, tmp_path / "a.seg.nrrd")
    old = path.read_bytes()

    class Storage:
        def __init__(self):
            self.real = slicer_storage()

        def __getattr__(self, name):
            return getattr(self.real, name)

        def WriteData(self, _node):
            with open(self.real.GetFileName(), "wb") as stream:
                stream.write(b"half")
            return 0

    slicer_storage = slicer.vtkMRMLSegmentationStorageNode
    monkeypatch.setattr(slicer, "vtkMRMLSegmentationStorageNode", Storage)
    with pytest.raises(FileError, match="cannot be written"):
        files.writeSegmentation(node, path)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.seg.nrrd"]


def test_a_sheared_volume_in_a_saved_scene_keeps_its_shear_or_is_said_to_lose_it(tmp_path, scene):
    matrix = GRIDS["LPS"].copy()
    matrix[1, 2] = 0.4
    volumes.nodeFromVolume(Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), matrix, "tilted"))
    headless.saveScene(tmp_path / "scene.mrb")
    headless.loadScene(tmp_path / "scene.mrb")
    back = volumes.volumeFromNode(scene.GetFirstNodeByName("tilted"))
    np.testing.assert_allclose(back.ijkToRAS, matrix, atol=1e-6)


def test_facts_of_volumes_that_slicer_loaded_from_dicom(tmp_path, monkeypatch):
    import dicomfiles

    paths = dicomfiles.write_series(
        tmp_path,
        np.zeros((4, 5, 6), np.uint16),
        dicomfiles.stack(4),
        ConvolutionKernel="B70f",
        PixelPaddingValue=0,
    )

    class Database:  # Slicer's is a Qt object, which slicer-core lacks
        isOpen = True

        def fileForInstance(self, uid):
            return str(paths[int(uid)])

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node = volumes.nodeFromVolume(Volume(np.zeros((4, 5, 6), np.int16), GRIDS["LPS"], "ct"))
    node.SetAttribute("DICOM.instanceUIDs", "0 1 2 3")
    volume = volumes.volumeFromNode(node)
    assert volume.modality == "CT"
    assert volume.info["convolutionKernel"] == "B70f" and volume.info["padding"] == -1024
    assert volume.info["sliceSpacingDeviation"] == 0.0 and volume.info["rescaleIntercept"] == -1024.0
    Database.isOpen = False
    assert facts.factsOf(node)["info"] == {}
