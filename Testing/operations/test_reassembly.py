"""Patches become the image again that they were cut from, in memory and from a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ctimages import body, grids, labels_on
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import FileError, GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.patch_set import PatchSet
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.files import patch_writing
from MedPrepCommonLib.files.nifti_writing import write_nifti
from MedPrepCommonLib.files.patch_folder import PatchFolder
from MedPrepCommonLib.files.reading import read_volume
from MedPrepCommonLib.files.reassembly import BLENDS, reassemble

SHAPES = st.tuples(*[st.integers(2, 40), st.integers(2, 15), st.integers(2, 15)])


def patches(volume: Volume, *labels: LabelVolume, **parameters) -> PatchSet:
    result = engine.run(create("patches", **parameters), {"image": volume, "labels": labels})
    return result.patches["patches"]


@settings(max_examples=60)
@given(
    hnp.arrays(np.float32, SHAPES, elements=st.floats(-3000, 3000, width=32)),
    grids(),
    st.tuples(*[st.integers(1, 12)] * 3),
    st.integers(0, 90),
    st.sampled_from(BLENDS),
)
def test_a_grid_of_patches_makes_the_image_again(array, ijkToRAS, size, overlap, blend) -> None:
    volume = Volume(array, ijkToRAS, modality="CT")
    labels = labels_on(volume, (array > 0).astype(np.uint8))
    cut = patches(volume, labels, size=size, overlap=overlap)
    found = reassemble(cut, volume, blend=blend)
    assert found.array.dtype == np.float32 and found.same_grid(volume) and found.modality == "CT"
    assert np.abs(found.array - array).max() <= 1e-5 * max(1.0, np.abs(array).max())
    assert found.info["covered"] == 1
    back = reassemble(cut, volume, name="thing", blend=blend)
    assert isinstance(back, LabelVolume) and np.array_equal(back.array, labels.array)
    assert back.segments == labels.segments


def test_whole_numbers_come_back_exactly() -> None:
    volume = body((20, 30, 30))
    found = reassemble(patches(volume, size=(12, 13, 9), overlap=60))
    assert found.array.dtype == np.int16 and np.array_equal(found.array, volume.array)


def test_overlaps_are_weighed() -> None:
    """Two patches that say different things: the nearer middle counts more, and the seam is smooth."""
    volume = Volume(np.zeros((4, 4, 24), np.float32), np.eye(4))
    cut = patches(volume, size=(16, 4, 4), overlap=50)
    assert len(cut) == 2
    values = [np.full((4, 4, 16), patch.first[0] > 0, np.float32) for patch in cut.patches]
    told = dataclasses.replace(cut, array=np.stack(values))
    lines = {blend: reassemble(told, blend=blend).array[2, 2] for blend in BLENDS}
    for blend, line in lines.items():
        assert (line[:8] == 0).all() and (line[16:] == 1).all() and (np.diff(line) >= -1e-12).all()
        assert line + line[::-1] == pytest.approx(np.ones(24)), blend
    assert lines["constant"][8:16] == pytest.approx(np.full(8, 0.5))
    assert lines["linear"][8] == pytest.approx(1 / 9, abs=0.02)
    assert lines["gaussian"][8] < lines["linear"][8] < lines["gaussian"][11]


def test_components_and_what_is_not_covered() -> None:
    rng = np.random.default_rng(0)
    colour = Volume(rng.random((10, 12, 14, 3)), np.eye(4))
    assert np.abs(reassemble(patches(colour, size=6, overlap=30)).array - colour.array).max() < 1e-12
    volume = body((10, 20, 20))
    few = patches(volume, method="random", number=3, size=6)
    found = reassemble(few, outside=-77)
    covered = np.zeros(volume.shape, bool)
    for patch in few.patches:
        covered[tuple(slice(int(f), int(f) + 6) for f in patch.first[::-1])] = True
    assert (
        np.array_equal(found.array[covered], volume.array[covered]) and (found.array[~covered] == -77).all()
    )
    assert found.info["covered"] == pytest.approx(covered.mean())


def test_impossible_requests() -> None:
    volume = body((10, 20, 20))
    cut = patches(volume, size=8)
    with pytest.raises(GeometryError, match="another grid"):
        reassemble(cut, body((11, 20, 20)))
    with pytest.raises(ParameterError, match="blending"):
        reassemble(cut, blend="smooth")
    coarse = [p for p in patches(volume, size=8, scales=2).patches if p.scale == 2]
    only = dataclasses.replace(cut, patches=tuple(coarse[: len(cut)]))
    with pytest.raises(InputError, match="own scale"):
        reassemble(only)


# ---- from a folder
@pytest.fixture
def volume() -> Volume:
    return body((14, 30, 30), spacing=(1.3, 1.1, 2.7))


@pytest.fixture
def folder(volume: Volume, tmp_path: Path) -> Path:
    lungs = labels_on(volume, (volume.array < -700).astype(np.uint8), "lungs")
    patch_writing.write(patches(volume, lungs, size=(12, 11, 8), overlap=40, scales=2), tmp_path / "patches")
    return tmp_path / "patches"


def run(*words) -> str:
    done = CliRunner().invoke(app.app, ["reassemble", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("kind", ["npz", "nifti"])
def test_every_format_is_read_back(volume: Volume, tmp_path: Path, kind: str) -> None:
    lungs = labels_on(volume, (volume.array < -700).astype(np.uint8), "lungs")
    cut = patches(volume, lungs, size=(12, 11, 8), overlap=40, format=kind)
    patch_writing.write(cut, tmp_path / "patches")
    found = PatchFolder(tmp_path / "patches")
    assert found.patches[3].first == cut.patches[3].first and found.history == cut.history
    assert np.array_equal(reassemble(found).array, volume.array)
    back = reassemble(found, name="lungs")
    assert np.array_equal(back.array, lungs.array) and back.segments[0].name == "thing"


def test_the_command(volume: Volume, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "together.nii.gz"
    assert "100.0 %" in run(folder, "--out", out)
    assert np.array_equal(read_volume(out).array, volume.array)
    write_nifti(volume, tmp_path / "ct.nii.gz")
    before = sorted(p.name for p in tmp_path.iterdir())
    run(
        folder,
        "--out",
        out,
        "--overwrite",
        "--reference",
        tmp_path / "ct.nii.gz",
        "--array",
        "lungs",
        "--quiet",
    )
    assert np.array_equal(read_volume(out).array, (volume.array < -700).astype(np.uint8))
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_predictions_come_back_to_the_original_grid(volume: Volume, tmp_path: Path) -> None:
    """Crop and pad, cut, predict on each patch, put together, restore: as if predicted on the original."""
    write_nifti(volume, tmp_path / "ct.nii.gz")
    ct = read_volume(tmp_path / "ct.nii.gz")
    prepared = engine.run(create("cropPad", multiple=16), {"image": ct}).images["image"]
    folder = tmp_path / "patches"
    patch_writing.write(patches(prepared, size=16, overlap=50), folder)
    for path in folder.glob("*.npz"):
        with np.load(path) as archive:
            arrays = dict(archive)
        image = arrays["image"]
        np.savez(path, **arrays, mask=(image < -700).astype(np.uint8), chance=image.astype(np.float32) / 1000)
    out = tmp_path / "out.nii.gz"
    run(folder, "--out", out, "--array", "mask", "--reference", tmp_path / "ct.nii.gz")
    assert np.array_equal(read_volume(out).array, (volume.array < -700).astype(np.uint8))
    run(folder, "--out", out, "--array", "chance", "--reference", tmp_path / "ct.nii.gz", "--overwrite")
    assert np.abs(read_volume(out).array - volume.array / 1000).max() < 1e-5


def test_what_the_command_refuses(folder: Path, tmp_path: Path) -> None:
    def refused(*words) -> str:
        done = CliRunner().invoke(app.app, ["reassemble", *map(str, words)])
        assert done.exit_code == 2 and not (tmp_path / "x.nii.gz").exists()
        return done.output

    out = ("--out", tmp_path / "x.nii.gz")
    assert "manifest.csv" in refused(tmp_path, *out)
    assert "Expected one of image, lungs" in refused(folder, *out, "--array", "prediction")
    assert "gaussian, linear, constant" in refused(folder, *out, "--blend", "hard")
    assert ".nii.gz" in refused(folder, "--out", tmp_path / "x.nrrd")
    assert "exists already" in refused(folder, "--out", folder / "manifest.csv")
    (folder / "000002.npz").write_bytes(b"PK nothing")
    assert "000002.npz" in refused(folder, *out)
    (folder / "manifest.csv").write_text("patch,file\n0,../../secret.npz\n")
    assert "damaged" in refused(folder, *out)


def test_a_record_that_is_none(folder: Path) -> None:
    for text in ("{", "[]", '{"schema": "medprep-patches"}', '{"schema": "other"}'):
        (folder / "patches.json").write_text(text)
        with pytest.raises(FileError, match=r"patches\.json"):
            PatchFolder(folder)


def test_arrays_of_another_shape(folder: Path) -> None:
    np.savez(folder / "000000.npz", image=np.zeros((3, 8, 11, 12)))
    with pytest.raises(InputError, match="Expected numbers of shape"):
        PatchFolder(folder).values(0, "image")
