"""Fusion of sequences: channels, combinations, checks and the figures that are reported."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import read
from mriimages import image_of, mask_of, phantom, stored
from scipy.spatial.transform import Rotation

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.fusion.signal_quality import quality

ALL = ("T1", "T2", "FLAIR")


def brain(**changes):
    return phantom(bias=0.0, sequences=ALL, **changes)


def head(**changes) -> tuple[dict[str, Volume], np.ndarray]:
    """The sequences of one phantom by input name, and its brain."""
    made = brain(**changes)
    return {name.lower(): image_of(made, name) for name in ALL}, made.brain


def fuse(volumes: dict, mask=None, preset=None, **parameters):
    return engine.run(create("mri.fuse", preset, **parameters), {**volumes, "mask": mask})


def zscores(volumes: dict, inside: np.ndarray) -> list[np.ndarray]:
    found = []
    for volume in volumes.values():
        values = volume.array[inside].astype(np.float64)
        found.append((volume.array - values.mean()) / values.std())
    return found


# ---- methods
def test_stack() -> None:
    volumes, inside = head()
    found = fuse(volumes, mask_of(volumes["t1"], inside))
    image = found.images["image"]
    assert image.array.shape == (*inside.shape, 3) and image.array.dtype == np.float32
    assert image.info["channelNames"] == ["T1", "T2", "FLAIR"] and image.same_grid(volumes["t1"])
    for channel, wanted in enumerate(zscores(volumes, inside)):
        assert np.abs(image.array[..., channel] - wanted).max() < 1e-4
    assert np.array_equal(found.labels["mask"].mask(), inside)
    assert all(check.verdict == "pass" for check in found.checks)


def test_combinations_equal_numpy() -> None:
    volumes, inside = head()
    mask = mask_of(volumes["t1"], inside)
    channels = np.array(zscores(volumes, inside))
    wanted = {
        "mean": channels.mean(axis=0),
        "max": channels.max(axis=0),
        "weighted": channels[0] + 0.5 * channels[1] - 2 * channels[2],
    }
    for method, values in wanted.items():
        found = fuse(volumes, mask, method=method, weights="t2=0.5, flair=-2")
        assert np.abs(found.images["image"].array - values).max() < 1e-3, method
        assert found.tables["sequences"].rows[-1][0] == "result" and found.metrics["snr"] > 0


def test_the_first_principal_component_equals_numpy() -> None:
    volumes, inside = head()
    found = fuse(volumes, mask_of(volumes["t1"], inside), method="pca")
    channels = np.array([c[inside] for c in zscores(volumes, inside)])
    values, vectors = np.linalg.eigh(np.cov(channels, bias=True))
    vector = vectors[:, -1] * np.sign(vectors[np.abs(vectors[:, -1]).argmax(), -1])
    assert np.abs(found.images["image"].array[inside] - vector @ channels).max() < 1e-3
    first = found.tables["components"].rows[0]
    assert first[1] == pytest.approx(100 * values[-1] / values.sum()) and first[2:] == pytest.approx(vector)
    assert sum(row[1] for row in found.tables["components"].rows) == pytest.approx(100)


def test_more_than_four_channels() -> None:
    volumes, inside = head()
    volumes |= {"t1c": volumes["t1"], "dwi": volumes["t2"], "adc": volumes["flair"]}
    found = fuse(volumes, mask_of(volumes["t1"], inside)).images["image"]
    assert found.components == 6
    assert found.info["channelNames"] == ["T1", "T1c", "T2", "FLAIR", "DWI", "ADC"]


def test_without_normalization_intensities_stay() -> None:
    volumes, inside = head()
    found = fuse(volumes, mask_of(volumes["t1"], inside), normalization="none")
    for channel, volume in enumerate(volumes.values()):
        assert np.array_equal(found.images["image"].array[..., channel], volume.array)


def test_outside_can_be_zero() -> None:
    volumes, inside = head()
    kept, cleared = (
        fuse(volumes, mask_of(volumes["t1"], inside), outside=how).images["image"].array
        for how in ("keep", "zero")
    )
    assert not cleared[~inside].any() and np.array_equal(kept[inside], cleared[inside])


# ---- which channels
def test_channels_in_any_order_and_missing_ones_as_zeros() -> None:
    volumes, inside = head()
    mask = mask_of(volumes["t1"], inside)
    two = {name: volumes[name] for name in ("t1", "flair")}
    found = fuse(two, mask, channels="flair, t1c t2, t1", missing="zero")
    image = found.images["image"]
    assert image.info["channelNames"] == ["FLAIR", "T1c", "T2", "T1"]
    assert not image.array[..., 1:3].any() and any("Missing: T1c, T2" in note for note in found.notes)
    whole = fuse(two, mask).images["image"].array
    assert np.array_equal(image.array[..., 3], whole[..., 0])
    with pytest.raises(InputError, match="T1c, T2 is missing"):
        fuse(two, mask, channels="t1, t1c, t2, flair")
    with pytest.raises(InputError, match="flair is not among"):
        fuse(two, mask, channels="t1, t2", missing="zero")


def test_too_few_sequences() -> None:
    volumes, _inside = head()
    for given in ({}, {"t2": volumes["t2"]}):
        with pytest.raises(InputError, match="Expected two to six"):
            fuse(given)


@pytest.mark.parametrize(
    "wrong",
    [{"channels": "t1"}, {"channels": "t1 t1"}, {"channels": "t1, pd"}, {"weights": "t1"},
     {"weights": "t9=1"}, {"weights": "t1=nan"}, {"method": "median"}, {"reference": "pd"}],
)  # fmt: skip
def test_wrong_parameters(wrong) -> None:
    with pytest.raises(ParameterError):
        create("mri.fuse", **wrong)


def test_the_reference_gives_the_grid() -> None:
    volumes, inside = head()
    volumes["t2"] = stored(volumes["t2"], (1, 0, 2), (False, True, True))
    mask = mask_of(volumes["t1"], inside)
    found = fuse(volumes, mask, reference="t2")
    image = found.images["image"]
    assert image.same_grid(volumes["t2"]) and image.info["channelNames"] == ["T1", "T2", "FLAIR"]
    # The mask comes from another grid; only the axes differ, so the values are the same.
    wanted = fuse(head()[0], mask).images["image"]
    for channel in range(3):
        there = stored(wanted.with_array(wanted.array[..., channel]), (1, 0, 2), (False, True, True))
        assert np.allclose(image.array[..., channel], there.array, atol=1e-5)
    with pytest.raises(InputError, match="reference DWI is not given"):
        fuse(volumes, reference="dwi")


# ---- registration, grids, heads
def shifted(image: Volume) -> Volume:
    """The image 10 mm and 8 degrees away."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(np.radians(8) * np.array([2, -1, 2]) / 3).as_matrix()
    motion[:3, 3] = np.array([1, 2, -2]) * 10 / 3
    return dataclasses.replace(image, ijkToRAS=motion @ image.ijkToRAS)


def test_registration_brings_a_sequence_back() -> None:
    volumes, inside = head()
    mask = mask_of(volumes["t1"], inside)
    wanted = fuse(volumes, mask).images["image"].array[inside]
    volumes["t2"] = shifted(volumes["t2"])
    found = {how: fuse(volumes, mask, registration=how) for how in ("none", "rigid")}
    likeness = {
        how: np.corrcoef(f.images["image"].array[inside][:, 1], wanted[:, 1])[0, 1]
        for how, f in found.items()
    }
    assert likeness["none"] < 0.7 and likeness["rigid"] > 0.97
    assert {c.name: c.verdict for c in found["none"].checks}["Same head (T2)"] in ("warn", "fail")
    assert {c.verdict for c in found["rigid"].checks} == {"pass"}
    rows = {row[0]: row for row in found["rigid"].tables["registration"].rows}
    assert rows["T2"][1] == pytest.approx(8, abs=0.2) and rows["T2"][7] == "yes"
    # FLAIR lay right already: it is not blurred by another interpolation.
    assert rows["FLAIR"][7].startswith("no")
    assert np.array_equal(
        found["rigid"].images["image"].array[..., 2], found["none"].images["image"].array[..., 2]
    )
    assert "registration" not in found["none"].tables


def test_real_sequences_on_other_grids(shared_data) -> None:
    folder = shared_data / "mri/adi-t1-t2"
    t1, t2 = (read(folder / f"{name}.nii.gz", modality="MR") for name in ("t1-mprage", "t2-fse"))
    found = fuse({"t1": t1, "t2": t2}, interpolation="linear")
    image = found.images["image"]
    assert image.shape == t1.shape and image.components == 2 and image.same_grid(t1)
    inside = found.labels["mask"].mask()
    assert abs(image.array[inside][:, 0].mean()) < 1e-4 and np.isfinite(image.array).all()
    assert {c.name: c.verdict for c in found.checks}["Same head (T2)"] == "pass"
    row = dict(zip(found.tables["sequences"].columns, found.tables["sequences"].rows[1], strict=True))
    assert row["mask covered (%)"] > 90


def test_fields_of_view_that_end() -> None:
    volumes, inside = head()
    low = volumes["t2"].with_array(volumes["t2"].array[:36])
    found = fuse({"t1": volumes["t1"], "t2": low}, mask_of(volumes["t1"], inside))
    check = {c.name: c for c in found.checks}["Field of view (T2)"]
    assert check.verdict == "warn" and "covers" in check.value
    # Statistics come from where there is data.
    used = inside.copy()
    used[36:] = False
    values = found.images["image"].array[used][:, 1]
    assert abs(values.mean()) < 1e-4 and values.std() == pytest.approx(1, abs=1e-4)


def test_images_of_different_places() -> None:
    volumes, _inside = head()
    matrix = volumes["t2"].ijkToRAS.copy()
    matrix[0, 3] += 500
    away = dataclasses.replace(volumes["t2"], ijkToRAS=matrix)
    with pytest.raises(InputError, match="covers 0 %"):
        fuse({"t1": volumes["t1"], "t2": away})


def test_masks_and_images_that_do_not_do() -> None:
    volumes, inside = head()
    t1 = volumes["t1"]
    with pytest.raises(InputError, match="mask is empty"):
        fuse(volumes, mask_of(t1, np.zeros(t1.shape)))
    far = mask_of(t1, inside)
    matrix = far.ijkToRAS.copy()
    matrix[2, 3] += 900
    with pytest.raises(InputError, match="outside the reference"):
        fuse(volumes, dataclasses.replace(far, ijkToRAS=matrix))
    flat = volumes["t2"].with_array(np.where(inside, np.float32(5), volumes["t2"].array))
    with pytest.raises(InputError, match="every voxel of t2 is 5"):
        fuse({**volumes, "t2": flat}, mask_of(t1, inside))
    sheared = t1.ijkToRAS.copy()
    sheared[0, 2] += 1
    with pytest.raises(GeometryError, match="sheared"):
        fuse({**volumes, "t2": dataclasses.replace(t1, ijkToRAS=sheared)})


def test_slices_slabs_types_and_empty_slices() -> None:
    volumes, inside = head()
    cut = {name: Volume(v.array[32:33], v.ijkToRAS, modality="MR") for name, v in volumes.items()}
    one = fuse(cut, mask_of(cut["t1"], inside[32:33]))
    assert one.images["image"].array.shape == (1, 72, 60, 3)
    with pytest.raises(InputError, match="one slice"):
        fuse(cut, mask_of(cut["t1"], inside[32:33]), registration="rigid")
    slab, thick = head(shape=(18, 72, 60), spacing_kji=(5.0, 3.0, 3.0))
    slab["t2"] = slab["t2"].with_array((slab["t2"].array / 8).astype(np.uint8))
    slab["flair"] = slab["flair"].with_array((slab["flair"].array - 400).astype(np.int16))
    empty = slab["t1"].array.copy()
    empty[8:10] = 0
    slab["t1"] = slab["t1"].with_array(empty)
    found = fuse(slab, mask_of(slab["t1"], thick), registration="rigid")
    assert np.isfinite(found.images["image"].array).all() and found.images["image"].components == 3


# ---- signal and noise
@pytest.mark.parametrize("noise", [0.01, 0.03, 0.08])
@pytest.mark.parametrize("sequence", ["T1", "T2"])
def test_noise_is_that_of_the_phantom(noise, sequence) -> None:
    made = phantom(
        bias=0.0, noise=noise, sequences=("T1", "T2"), shape=(64, 110, 96), spacing_kji=(1.5, 1.5, 1.5)
    )
    image = image_of(made, sequence)
    truth = noise * np.median(made.clean[sequence][made.labels == 3])
    found = quality(image.array, made.brain)
    assert found.noise == pytest.approx(truth, rel=0.15)
    assert found.snr == pytest.approx(image.array[made.brain].mean() / found.noise, rel=1e-5)


def test_snr_and_cnr_survive_normalization() -> None:
    volumes, inside = head()
    found = fuse(volumes, mask_of(volumes["t1"], inside))
    table = found.tables["sequences"]
    own, channels = table.rows[:3], table.rows[3:]
    snr, cnr = table.columns.index("SNR"), table.columns.index("CNR")
    for before, after in zip(own, channels, strict=True):
        assert after[0] == f"result, {before[0]}"
        assert after[snr] == pytest.approx(before[snr], rel=1e-3)
        assert after[cnr] == pytest.approx(before[cnr], rel=1e-3)
    assert any("SNR" in note for note in found.notes)


# ---- in a scene
def test_console_and_scene(slicerHost, tmp_path) -> None:
    import slicer

    from MedPrepCommonLib.modules.logic import MedPrepLogic, consoleMethod
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    class Logic(MedPrepLogic):
        fuse = consoleMethod("mri.fuse")

    volumes, inside = head()
    nodes = {name: nodeFromVolume(v, name) for name, v in volumes.items()}
    logic = Logic()
    # T1, the first input, can be left out.
    made = logic.fuse(None, t2=nodes["t2"], flair=nodes["flair"])
    assert made.image.IsA("vtkMRMLVectorVolumeNode") and made.mask.IsA("vtkMRMLSegmentationNode")
    assert made.image.GetImageData().GetNumberOfScalarComponents() == 2
    three = logic.fuse(nodes["t1"], t2=nodes["t2"], flair=nodes["flair"])
    wanted = fuse(volumes).images["image"].array
    assert np.allclose(slicer.util.arrayFromVolume(three.image), wanted, atol=1e-5)


def test_channels_keep_order_and_names_in_a_scene_and_in_nifti(slicerHost, tmp_path) -> None:
    import json

    import slicer

    from MedPrepCommonLib import headless
    from MedPrepCommonLib.outputs import writing
    from MedPrepCommonLib.scene import facts
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    volumes, _inside = head()
    image = fuse(volumes, channels="flair, t1, t2").images["image"]
    names = ["FLAIR", "T1", "T2"]
    assert image.info["channelNames"] == names
    nodeFromVolume(image, "fused")
    headless.saveScene(tmp_path / "scene.mrb")
    headless.clear()
    headless.loadScene(tmp_path / "scene.mrb")
    node = slicer.util.getNode("fused")
    assert np.array_equal(slicer.util.arrayFromVolume(node), image.array)
    assert json.loads(node.GetAttribute(facts.INFO))["channelNames"] == names
    writing.write_nifti(image, tmp_path / "fused.nii.gz")
    stored = sitk.ReadImage(str(tmp_path / "fused.nii.gz"))
    assert stored.GetMetaData("descrip") == "channels: FLAIR, T1, T2"
    assert np.array_equal(sitk.GetArrayFromImage(stored), image.array)
    for n, name in enumerate(names):
        values = volumes[name.lower()].array.astype(np.float64)
        assert np.corrcoef(image.array[..., n].ravel(), values.ravel())[0, 1] > 0.9999
