"""Nodes written to files: readable by others, complete or absent, in world space, without a trace."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
import SimpleITK as sitk

from MedPrepCommonLib import headless

headless.start()

import slicer  # noqa: E402
from test_reading import placed_alike  # noqa: E402
from test_scene_segments import SEGMENTS, lungs  # noqa: E402
from test_scene_volumes import GRIDS, rotation, transform  # noqa: E402

from MedPrepCommonLib import scenefacts, scenefiles, scenesegments, scenetables, scenevolumes  # noqa: E402
from MedPrepCommonLib.errors import FileError, GeometryError, InputError  # noqa: E402
from MedPrepCommonLib.labelgrid import onto_grid  # noqa: E402
from MedPrepCommonLib.reading import read_volume  # noqa: E402
from MedPrepCommonLib.result import Table  # noqa: E402
from MedPrepCommonLib.volume import Volume  # noqa: E402


@pytest.fixture(autouse=True)
def scene():
    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


def ct(grid="oblique", components=None, dtype=np.int16):
    shape = (4, 5, 6) if components is None else (4, 5, 6, components)
    return scenevolumes.nodeFromVolume(
        Volume(np.arange(np.prod(shape)).reshape(shape).astype(dtype), GRIDS[grid], "ct")
    )


def moved():
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(5), (3, -4, 5)
    return transform(matrix).GetID()


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "nrrd", "mha"])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("under", [False, True])
def test_volumes(tmp_path, scene, suffix, grid, under):
    node = ct(grid)
    if under:
        node.SetAndObserveTransformNodeID(moved())
    before = scene.GetNumberOfNodes()
    path = scenefiles.writeVolume(node, tmp_path / f"a.{suffix}")
    assert placed_alike(
        scenevolumes.volumeFromNode(node), read_volume(path), 1e-3 if "nii" in suffix else 1e-9
    )
    assert placed_alike(scenevolumes.volumeFromNode(node), Volume.from_sitk(sitk.ReadImage(str(path))), 1e-3)
    assert scene.GetNumberOfNodes() == before and os.listdir(tmp_path) == [f"a.{suffix}"]


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize(
    ("components", "dtype"), [(3, np.uint8), (4, np.uint8), (2, np.float32), (3, np.float32)]
)
def test_vectors(tmp_path, suffix, components, dtype):
    node = ct("LPS", components, dtype)
    path = scenefiles.writeVolume(node, tmp_path / f"a.{suffix}")
    assert placed_alike(scenevolumes.volumeFromNode(node), read_volume(path), 1e-3)


def test_segmentations(tmp_path, scene):
    labels = lungs("oblique")
    node = scenesegments.segmentationFromLabels(labels)
    for under in (False, True):
        if under:
            node.SetAndObserveTransformNodeID(moved())
        before = scene.GetNumberOfNodes()
        path = scenefiles.writeSegmentation(node, tmp_path / "a.seg.nrrd")
        back = read_volume(path)
        world = scenevolumes.parentMatrix(node) @ labels.ijkToRAS
        assert np.array_equal(onto_grid(back.array, back.ijkToRAS, world, labels.shape), labels.array)
        assert back.segments == SEGMENTS
        assert scene.GetNumberOfNodes() == before and os.listdir(tmp_path) == ["a.seg.nrrd"]
    assert node.GetParentTransformNode() is not None


def test_tables_are_read_back_as_written(tmp_path):
    rows = (('a, "b"\nc', 0.1, 3, True), ("é", 1e-300, -4, False))
    node = scenetables.nodeFromTable(Table("t", ("name", "volume (ml)", "n", "ok"), rows), "t")
    scenefiles.writeTable(node, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as stream:
        found = list(csv.reader(stream))
    assert found[0] == ["name", "volume (ml)", "n", "ok"]
    assert [(r[0], float(r[1]), int(r[2]), bool(int(r[3]))) for r in found[1:]] == list(rows)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (scenefiles.writeVolume, "a.png"),
        (scenefiles.writeSegmentation, "a.nrrd"),
        (scenefiles.writeTable, "a.txt"),
        (scenefiles.writeVolume, "no/folder/a.nrrd"),
    ],
)
def test_wrong_endings_and_missing_folders(tmp_path, write, name):
    node = ct() if write is scenefiles.writeVolume else scenesegments.segmentationFromLabels(lungs())
    if write is scenefiles.writeTable:
        node = scenetables.nodeFromTable(Table("t", ("a",), ()), "t")
    with pytest.raises(FileError):
        write(node, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = scenefiles.writeVolume(ct(), tmp_path / "a.nrrd")
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

    slicer_storage = slicer.vtkMRMLVolumeArchetypeStorageNode
    monkeypatch.setattr(slicer, "vtkMRMLVolumeArchetypeStorageNode", Storage)
    with pytest.raises(FileError, match="cannot be written"):
        scenefiles.writeVolume(ct("LPS"), path)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.nrrd"]


def test_what_cannot_be_written_is_said(tmp_path):
    matrix = np.eye(4)
    matrix[1, 2] = 0.4
    sheared = scenevolumes.nodeFromVolume(Volume(np.zeros((3, 4, 5)), matrix))
    with pytest.raises(GeometryError, match="sheared"):
        scenefiles.writeVolume(sheared, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="empty"):
        scenefiles.writeVolume(
            slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"), tmp_path / "a.nrrd"
        )
    assert os.listdir(tmp_path) == []


def test_a_sheared_volume_in_a_saved_scene_keeps_its_shear_or_is_said_to_lose_it(tmp_path, scene):
    matrix = GRIDS["LPS"].copy()
    matrix[1, 2] = 0.4
    scenevolumes.nodeFromVolume(Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), matrix, "tilted"))
    headless.saveScene(tmp_path / "scene.mrb")
    headless.loadScene(tmp_path / "scene.mrb")
    back = scenevolumes.volumeFromNode(scene.GetFirstNodeByName("tilted"))
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
    node = ct()
    node.SetAttribute("DICOM.instanceUIDs", "0 1 2 3")
    volume = scenevolumes.volumeFromNode(node)
    assert volume.modality == "CT"
    assert volume.info["convolutionKernel"] == "B70f" and volume.info["padding"] == -1024
    assert volume.info["sliceSpacingDeviation"] == 0.0 and volume.info["rescaleIntercept"] == -1024.0
    Database.isOpen = False
    assert scenefacts.factsOf(node)["info"] == {}
