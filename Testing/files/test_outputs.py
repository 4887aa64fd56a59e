"""What a run writes: complete or not at all, readable by others, the same bytes for the same work."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tinyops
from hypothesis import given
from hypothesis import strategies as st

from MedPrepCommonLib.core import runner
from MedPrepCommonLib.core.errors import Cancelled, FileError, GeometryError, InputError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.recipe import parse
from MedPrepCommonLib.core.result import Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.files import gzipping
from MedPrepCommonLib.outputs import folder as outputfolder
from MedPrepCommonLib.outputs import writing


@pytest.fixture(autouse=True, scope="module")
def _tiny_operations():
    with tinyops.registered():
        yield


@pytest.fixture(scope="module")
def done() -> runner.RecipeRun:
    return runner.run(parse(tinyops.recipe()), {"image": tinyops.image()})


@pytest.fixture
def written(done: runner.RecipeRun, slicerHost, tmp_path: Path) -> writing.Written:
    return writing.write(done, {"image": tinyops.image()}, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def points(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """RAS of every voxel centre and its value, sorted: equal for one image stored along other axes."""
    kji = np.indices(volume.shape).reshape(3, -1).T
    ras = kji[:, ::-1] @ volume.ijkToRAS[:3, :3].T + volume.ijkToRAS[:3, 3]
    order = np.lexsort(np.round(ras, 2).T)
    return ras[order], volume.array.reshape(-1)[order]


# What is there


def test_everything_is_there_and_listed(written: writing.Written) -> None:
    assert {f for f in written.files if not f.startswith("pictures/")} == {
        "scaled.nii.gz",
        "channels.nii.gz",
        "lungs.nii.gz",
        "lungs.seg.nrrd",
        "counts.csv",
        "scene.mrb",
        "provenance.json",
        "recipe.json",
        "qc.json",
        "report.json",
        "report.html",
    }
    assert set(contents(written.folder)) == set(written.files)
    assert written.report.is_file() and written.folder.is_absolute()


def test_nifti_is_read_back_the_same_by_itk(written: writing.Written, done: runner.RecipeRun) -> None:
    for name in ("scaled", "lungs"):
        expected = done.result.volumes()[name]
        found = Volume.from_sitk(sitk.ReadImage(str(written.folder / f"{name}.nii.gz")))
        assert found.array.dtype == expected.array.dtype
        assert np.array_equal(found.array, expected.array)
        assert np.abs(found.ijkToRAS - expected.ijkToRAS).max() < 1e-5


def test_channels_become_a_vector_nifti(written: writing.Written, done: runner.RecipeRun) -> None:
    path = written.folder / "channels.nii.gz"
    header = gzip.decompress(path.read_bytes())[:348]
    dimensions = np.frombuffer(header, "<i2", 8, 40).tolist()
    assert dimensions[:6] == [5, 28, 24, 16, 1, 3]
    assert np.frombuffer(header, "<i2", 1, 68) == 1007, "the intent is a vector"
    found = Volume.from_sitk(sitk.ReadImage(str(path)))
    assert np.array_equal(found.array, done.result.images["channels"].array)


def test_nibabel_agrees_on_values_and_positions(written: writing.Written, done: runner.RecipeRun) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is in the bench environment only")
    image = nibabel.load(written.folder / "scaled.nii.gz")
    assert np.allclose(image.affine, done.result.images["scaled"].ijkToRAS, atol=1e-5)
    assert np.array_equal(np.asarray(image.dataobj).T, done.result.images["scaled"].array)
    assert nibabel.load(written.folder / "channels.nii.gz").shape == (28, 24, 16, 1, 3)


def test_the_segmentation_says_what_its_values_mean(written: writing.Written, done: runner.RecipeRun) -> None:
    image = sitk.ReadImage(str(written.folder / "lungs.seg.nrrd"))
    keys = image.GetMetaDataKeys()
    assert image.GetMetaData("Segment0_Name").startswith("right lung")
    assert image.GetMetaData("Segment0_LabelValue") == "1"
    assert any("39607008" in image.GetMetaData(key) for key in keys if key.startswith("Segment0_Tags"))
    found = Volume.from_sitk(image)
    inside = {tuple(np.round(p, 3)) for p in points(found)[0][points(found)[1] > 0]}
    expected = points(done.result.labels["lungs"])
    assert inside == {tuple(np.round(p, 3)) for p in expected[0][expected[1] > 0]}


def test_the_scene_holds_input_and_results_under_one_subject(written: writing.Written, slicerHost) -> None:
    import slicer

    from MedPrepCommonLib import headless
    from MedPrepCommonLib.scene.volumes import volumeFromNode

    assert not slicer.mrmlScene.GetNodesByClass("vtkMRMLVolumeNode").GetNumberOfItems(), (
        "left as it was: empty"
    )
    headless.loadScene(written.folder / "scene.mrb")
    before = slicer.util.getNode("image")
    expected, found = points(tinyops.image()), points(volumeFromNode(before))
    assert np.abs(expected[0] - found[0]).max() < 1e-6 and np.array_equal(expected[1], found[1])
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLStorableNode")}
    assert {"image", "image tiny scaled", "image tiny lungs"} <= names
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parents = {
        hierarchy.GetItemParent(hierarchy.GetItemByDataNode(slicer.util.getNode(name)))
        for name in ("image", "image tiny scaled", "image tiny channels", "image tiny lungs")
    }
    assert len(parents) == 1
    assert hierarchy.GetItemLevel(parents.pop()) == "Patient"
    scaled = slicer.util.getNode("image tiny scaled")
    history = json.loads(scaled.GetAttribute("MedPrep.provenance"))
    assert [step["operation"] for step in history] == ["t.scale"]


def test_tables_checks_and_provenance_are_plain_files(
    written: writing.Written, done: runner.RecipeRun
) -> None:
    with open(written.folder / "counts.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[0] == ["what", "voxels", "share (%)"]
    quality = json.loads((written.folder / "qc.json").read_text(encoding="utf-8"))
    assert quality["verdict"] == "pass"
    lines = {check["name"]: check for check in quality["checks"]}
    assert list(lines) == ["Gaps between slices", "Anything bright"]  # the input's, then the step's
    assert lines["Anything bright"]["advice"]
    assert quality["metrics"] == done.result.metrics
    record = json.loads((written.folder / "provenance.json").read_text(encoding="utf-8"))
    assert record == json.loads(json.dumps(done.record))
    assert (
        parse(json.loads((written.folder / "recipe.json").read_text(encoding="utf-8"))).digest
        == record["recipeDigest"]
    )


def test_nothing_private_is_written(slicerHost, tmp_path: Path) -> None:
    image = tinyops.image().with_array(tinyops.image().array, info={"path": "/home/jane/scan.dcm"})
    done = runner.run(parse(tinyops.recipe()), {"image": image})
    folder = writing.write(done, {"image": image}, tmp_path / "Doe^Jane").folder
    for name, body in contents(folder).items():
        if name.endswith((".json", ".html", ".csv", ".seg.nrrd")):
            assert b"Jane" not in body and b"/home/jane" not in body and bytes(tmp_path) not in body, name


# The same bytes


def test_the_same_work_gives_the_same_bytes(slicerHost, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = runner.run(parse(tinyops.recipe()), {"image": tinyops.image()})
        writing.write(done, {"image": tinyops.image()}, tmp_path / name)
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert first["scaled.nii.gz"][4:8] == b"\0\0\0\0", "no time in the gzip header"
    times = {info.date_time for info in zipfile.ZipFile(tmp_path / "a" / "scene.mrb").infolist()}
    assert times == {(1980, 1, 1, 0, 0, 0)}


@given(st.binary(max_size=5000), st.integers(1, 9), st.integers(1, 4), st.integers(1, 2000))
def test_any_gzip_reader_gets_the_content_back(body: bytes, level: int, threads: int, block: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        source, target, other = (Path(folder, name) for name in ("a", "b.gz", "c.gz"))
        source.write_bytes(body)
        before, gzipping._BLOCK = gzipping._BLOCK, block
        try:
            gzipping.compress_file(source, target, level, threads=threads)
            gzipping.compress_file(source, other, level, threads=1)
        finally:
            gzipping._BLOCK = before
        assert gzip.decompress(target.read_bytes()) == body
        assert target.read_bytes() == other.read_bytes()


# All or nothing


def test_an_existing_folder_is_refused_without_overwrite(done, slicerHost, tmp_path: Path) -> None:
    target = tmp_path / "out"
    writing.write(done, {"image": tinyops.image()}, target)
    before = contents(target)
    with pytest.raises(FileError, match="exists already.*--overwrite"):
        writing.write(done, {"image": tinyops.image()}, target)
    (target / "qc.json").write_text("{}")
    writing.write(done, {"image": tinyops.image()}, target, overwrite=True)
    assert contents(target) == before
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_folder_and_missing_parents_are_fine(done, slicerHost, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_bytes(b"x")
    writing.write(done, {"image": tinyops.image()}, tmp_path / "empty")
    written = writing.write(done, {"image": tinyops.image()}, tmp_path / "a" / "b" / "c")
    assert written.report.is_file()


def test_folders_with_other_files_are_never_replaced(done, slicerHost, tmp_path: Path) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.tex").write_text("...")
    with pytest.raises(FileError, match=r"did not write \(chapter1.tex\)"):
        writing.write(done, {"image": tinyops.image()}, other, overwrite=True)
    result = writing.write(done, {"image": tinyops.image()}, tmp_path / "out").folder
    (result / "pictures" / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match=r"pictures/notes.txt"):
        writing.write(done, {"image": tinyops.image()}, result, overwrite=True)
    assert (result / "pictures" / "notes.txt").read_text() == "mine"


def test_a_file_or_a_closed_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="is a file"):
        outputfolder.check(tmp_path / "file", overwrite=True)
    with pytest.raises(FileError, match="No folder can be made"):
        outputfolder.check(tmp_path / "file" / "out")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if not os.access(closed, os.W_OK):  # an administrator may write everywhere
        with pytest.raises(FileError, match="No folder can be made"):
            outputfolder.check(closed / "out")


@pytest.mark.parametrize("part", ["write_nifti", "_write_scene", "_evidence"])
def test_a_failure_in_any_part_leaves_things_as_they_were(
    done, slicerHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    target = tmp_path / "out"
    writing.write(done, {"image": tinyops.image()}, target)
    before = contents(target)

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, part, fail)
    for folder, overwrite in ((target, True), (tmp_path / "new" / "deep", False)):
        with pytest.raises(FileError, match="No space left on device"):
            writing.write(done, {"image": tinyops.image()}, folder, overwrite)
    assert contents(target) == before
    assert os.listdir(tmp_path) == ["out"], "no partial folder, no new parent"


def test_the_old_result_comes_back_when_the_new_one_cannot_take_its_place(
    done, slicerHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    writing.write(done, {"image": tinyops.image()}, target)
    before, rename = contents(target), Path.rename

    def refuse(path: Path, other: Path) -> Path:
        if path.name.endswith(".partial"):
            raise PermissionError(13, "Permission denied")
        return rename(path, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(FileError, match="Permission denied"):
        writing.write(done, {"image": tinyops.image()}, target, overwrite=True)
    assert contents(target) == before
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_appears_meanwhile_is_not_replaced(done, slicerHost, tmp_path: Path) -> None:
    def meanwhile(fraction: float, _message: str) -> None:
        if fraction > 0.9 and not (tmp_path / "out").exists():
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "mine.txt").write_text("x")

    with pytest.raises(FileError, match="exists already"):
        writing.write(done, {"image": tinyops.image()}, tmp_path / "out", job=Job(meanwhile))
    assert contents(tmp_path / "out") == {"mine.txt": b"x"}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 0.8])
def test_a_cancel_at_any_time_leaves_nothing(done, slicerHost, tmp_path: Path, at: float) -> None:
    import slicer

    seen: list[float] = [0.0]
    job = Job(lambda fraction, _message: seen.append(fraction), lambda: seen[-1] >= at)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(Cancelled):
        writing.write(done, {"image": tinyops.image()}, tmp_path / "out", job=job)
    assert os.listdir(tmp_path) == []
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_somebody_elses_scene_is_not_written(done, slicerHost, tmp_path: Path) -> None:
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mine")
    with pytest.raises(InputError, match="scene is not empty"):
        writing.write(done, {"image": tinyops.image()}, tmp_path / "out")
    assert slicer.mrmlScene.IsNodePresent(node)
    assert os.listdir(tmp_path) == []


# Details


def test_a_sheared_image_cannot_be_nifti(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[1, 2] = 0.2
    with pytest.raises(GeometryError, match="sheared"):
        writing.write_nifti(Volume(np.zeros((2, 2, 2), np.int16), matrix), tmp_path / "a.nii.gz")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_every_type_survives_nifti(tmp_path: Path, dtype: str) -> None:
    kind = np.dtype(dtype)
    ends = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    array = np.array([[[ends.min, ends.max], [0, 1]]], kind)
    writing.write_nifti(Volume(array, np.eye(4)), tmp_path / "a.nii.gz")
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")))
    assert found.dtype == kind and np.array_equal(found, array)
    assert os.listdir(tmp_path) == ["a.nii.gz"]


def test_names_become_file_names_that_every_system_takes() -> None:
    tables = {
        name: Table(name, ("a",), ()) for name in ("a/b", "A b", "a b", "CON", "scene", "é", "...", "a.b")
    }
    assert writing.file_names(Result(tables=tables)) == {
        "a/b": "a_b",
        "A b": "A_b-2",
        "a b": "a_b-3",
        "CON": "CON-2",
        "scene": "scene-2",
        "é": "é",
        "...": "output",
        "a.b": "a.b",
    }


def test_numpy_values_and_nan_become_json() -> None:
    record = {"a": np.float32(0.5), "b": np.int64(3), "c": (float("nan"), np.bool_(True)), 1: {"x": np.inf}}
    assert writing.plain(record) == {"a": 0.5, "b": 3, "c": [None, True], "1": {"x": None}}
    with pytest.raises(TypeError):
        writing.plain({"a": object()})


def test_extra_volumes_are_written_too(done, slicerHost, tmp_path: Path) -> None:
    image = tinyops.image()
    written = writing.write(done, {"image": image}, tmp_path / "out", extra={"input": image})
    assert "input.nii.gz" in written.files
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(written.folder / "input.nii.gz")))
    assert np.array_equal(found, image.array)


def test_a_recipe_without_bright_parts_writes_no_labels(slicerHost, tmp_path: Path) -> None:
    image = tinyops.image(bright=False)
    done = runner.run(parse(tinyops.recipe()), {"image": image})
    written = writing.write(done, {"image": image}, tmp_path / "out")
    assert not [f for f in written.files if "lungs" in f]
    assert json.loads((written.folder / "qc.json").read_text())["verdict"] == "warn"


def test_label_inputs_are_part_of_scene_and_report(slicerHost, tmp_path: Path) -> None:
    record = tinyops.recipe(
        inputs={"image": {}, "lungs": {"kind": "labels"}},
        steps=[{"operation": "t.bright", "inputs": {"image": "image", "labels": "lungs"}}],
        outputs={"carried": "bright.lungs"},
    )
    image = tinyops.image()
    lungs = LabelVolume((image.array > 0).astype(np.uint8), image.ijkToRAS)
    done = runner.run(parse(record), {"image": image, "lungs": lungs})
    written = writing.write(done, {"image": image, "lungs": lungs}, tmp_path / "out")
    assert {"carried.nii.gz", "carried.seg.nrrd"} <= set(written.files)
    shutil.rmtree(written.folder)
