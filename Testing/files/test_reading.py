"""NIfTI, NRRD, MetaImage and pictures: values, geometry, labels, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from MedPrepCommonLib.core.errors import GeometryError
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.files import nifti_geometry, nifti_header
from MedPrepCommonLib.files.reading import read_volume

SUFFIXES = ["nii", "nii.gz", "nrrd", "mha", "mhd"]


def grid(seed=0, left_handed=False) -> dict:
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    if (np.linalg.det(axes) < 0) != left_handed:
        axes[:, 2] *= -1
    return {"direction": axes, "spacing": (0.7, 0.8, 2.5), "origin": (-31.5, 55.25, 1200.0)}


def image(
    array, direction=None, spacing=(0.7, 0.8, 2.5), origin=(-31.5, 55.25, 1200.0), **more
) -> sitk.Image:
    result = sitk.GetImageFromArray(array, **more)
    n = result.GetDimension()
    result.SetSpacing(spacing[:n])
    result.SetOrigin(origin[:n])
    if direction is not None:
        result.SetDirection(np.asarray(direction).ravel().tolist())
    return result


def sample(shape=(3, 4, 5), dtype=np.int16, seed=0):
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def placed_alike(a: Volume, b: Volume, tolerance=1e-4) -> bool:
    """Whether the same values lie at the same places, whatever the order of the axes."""
    index = np.stack(np.meshgrid(*map(np.arange, a.shape[::-1]), indexing="ij"), -1).reshape(-1, 3)
    places = index @ a.ijkToRAS[:3, :3].T + a.ijkToRAS[:3, 3]
    to_b = np.linalg.inv(b.ijkToRAS)
    other = np.rint(places @ to_b[:3, :3].T + to_b[:3, 3]).astype(int)
    back = other @ b.ijkToRAS[:3, :3].T + b.ijkToRAS[:3, 3]
    i, j, k = other.T
    return np.abs(back - places).max() < tolerance and np.array_equal(
        b.array[k, j, i], a.array[index[:, 2], index[:, 1], index[:, 0]]
    )


# ---- values and geometry


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_type_and_format(tmp_path, suffix, dtype):
    array = sample(dtype=dtype)
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image(array, grid()["direction"]), str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.array, array)
    wide = np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize > 2
    assert volume.array.dtype == (np.int16 if wide else np.dtype(dtype))
    assert volume.name == "a"
    expected = Volume.from_sitk(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(volume.ijkToRAS, expected.ijkToRAS, atol=1e-6)
    assert placed_alike(Volume.from_sitk(image(array, grid()["direction"])), volume)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_oblique_and_left_handed_grids(tmp_path, suffix, left_handed, seed):
    array, direction = sample(seed=seed), grid(seed, left_handed)["direction"]
    sitk.WriteImage(image(array, direction), str(tmp_path / f"a.{suffix}"))
    volume = read_volume(tmp_path / f"a.{suffix}")
    assert placed_alike(Volume.from_sitk(image(array, direction)), volume, 2e-4)


@pytest.mark.parametrize("name", ["LPS", "PIR", "ASL", "RAS", "SRP"])
def test_orientations_of_one_brain_lie_in_one_place(shared_data, name):
    folder = shared_data / "odd" / "orientations"
    assert placed_alike(read_volume(folder / f"{name}.nii.gz"), read_volume(folder / "RAS.nii.gz"), 1e-3)


def test_real_images_equal_itk(shared_data):
    seen = 0
    for path in sorted(shared_data.glob("[cmo]*/*/*.n*")):
        if any(part in str(path) for part in ("4d", "complex", "shear")):
            continue
        volume, expected = read_volume(path), Volume.from_sitk(sitk.ReadImage(str(path)))
        assert np.array_equal(volume.array, expected.array), path
        np.testing.assert_allclose(volume.ijkToRAS, expected.ijkToRAS, atol=1e-6, err_msg=str(path))
        seen += 1
    assert seen > 15


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "result"),
    [
        ("i2", 1, -1024, "i2"),
        ("u1", 2, 3, "i2"),
        ("i2", 0.5, 0.25, "f4"),
        ("i4", 0.5, 0, "f8"),
        ("f4", 2, 0, "f4"),
        ("i2", 0, 5, "i2"),
        ("i2", float("nan"), 5, "i2"),
        ("i2", 30000, 0, "i4"),
    ],
)
def test_nifti_scaling(tmp_path, dtype, slope, intercept, result):
    path, array = tmp_path / "a.nii", sample(dtype=dtype)
    sitk.WriteImage(image(array), str(path))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, slope, intercept)
    path.write_bytes(data)
    volume = read_volume(path)
    scaled = np.isfinite(slope) and slope != 0
    expected = array * np.float64(slope) + intercept if scaled else array
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
    assert volume.array.dtype == np.dtype(result)


def test_big_endian_nifti(tmp_path):
    # FreeSurfer and old SPM wrote these.
    array = sample()
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 5, 4, 3, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 4, 16)
    struct.pack_into(">8f", header, 76, 1, 0.7, 0.8, 2.5, 0, 0, 0, 0)
    struct.pack_into(">f", header, 108, 352)
    struct.pack_into(">2h", header, 252, 0, 1)
    struct.pack_into(">12f", header, 280, 0.7, 0, 0, 1, 0, 0.8, 0, 2, 0, 0, 2.5, 3)
    header[344:348] = b"n+1\0"
    (tmp_path / "a.nii").write_bytes(bytes(header) + array.astype(">i2").tobytes())
    volume = read_volume(tmp_path / "a.nii")
    assert np.array_equal(volume.array, array) and volume.array.dtype.isnative
    np.testing.assert_allclose(
        volume.ijkToRAS[:3], [[0.7, 0, 0, 1], [0, 0.8, 0, 2], [0, 0, 2.5, 3]], atol=1e-6
    )


ROTATED = [[0, -0.8, 0, 1], [0.7, 0, 0, 2], [0, 0, 2.5, 3]]


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_nifti2(tmp_path, form):
    array = sample()
    header = bytearray(544)
    struct.pack_into("<i", header, 0, 540)
    header[4:12] = b"n+2\0\r\n\x1a\n"
    struct.pack_into("<2h", header, 12, 4, 16)
    struct.pack_into("<8q", header, 16, 3, 5, 4, 3, 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1, 0.7, 0.8, 2.5, 0, 0, 0, 0)
    struct.pack_into("<q", header, 168, 544)
    struct.pack_into("<2i", header, 344, *((0, 1) if form == "sform" else (1, 0)))
    struct.pack_into("<12d", header, 400, *np.ravel(ROTATED))
    # A quarter turn about the patient's z axis.
    struct.pack_into("<6d", header, 352, 0, 0, np.sqrt(0.5), 1, 2, 3)
    (tmp_path / "a.nii").write_bytes(bytes(header) + array.tobytes())
    volume = read_volume(tmp_path / "a.nii")
    assert np.array_equal(volume.array, array)
    np.testing.assert_allclose(volume.ijkToRAS[:3], ROTATED, atol=1e-12)


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_quaternions_agree_with_itk(tmp_path, seed, left_handed):
    path = tmp_path / "a.nii"
    sitk.WriteImage(image(sample(), grid(seed, left_handed)["direction"]), str(path))
    own = nifti_geometry._qform(nifti_header.parse(path), 1.0)
    np.testing.assert_allclose(own, Volume.from_sitk(sitk.ReadImage(str(path))).ijkToRAS, atol=2e-4)


def test_nifti_vectors_have_their_components_last(tmp_path):
    array = sample((3, 4, 5, 2), np.float32)
    sitk.WriteImage(image(array, isVector=True), str(tmp_path / "a.nii.gz"))
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").array, array)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("components", [3, 4])
def test_colour_volumes(tmp_path, suffix, components):
    array = sample((3, 4, 5, components), np.uint8)
    sitk.WriteImage(image(array, isVector=True), str(tmp_path / f"a.{suffix}"))
    volume = read_volume(tmp_path / f"a.{suffix}")
    assert np.array_equal(volume.array, array) and volume.components == components


def test_real_rgb_nifti(shared_data):
    volume = read_volume(shared_data / "odd" / "rgb-nifti" / "ct_perfusion_rgb.nii.gz")
    assert volume.array.shape == (15, 286, 256, 3) and volume.array.dtype == np.uint8


def test_two_dimensional_nifti_is_one_slice(shared_data):
    flat = read_volume(shared_data / "odd" / "single-slice" / "ct_2d.nii.gz")
    one = read_volume(shared_data / "odd" / "single-slice" / "ct_1slice.nii.gz")
    assert flat.shape == one.shape == (1, 256, 256)
    assert np.array_equal(flat.array, one.array)
    assert flat.spacing[:2] == pytest.approx(one.spacing[:2])


# ---- shear


def test_sheared_nifti_keeps_its_sform(shared_data):
    path = shared_data / "odd" / "shear-nifti" / "shear.nii.gz"
    volume = read_volume(path)
    with gzip.open(path) as stream:
        sform = np.array(struct.unpack("<12f", stream.read(348)[280:328])).reshape(3, 4)
    np.testing.assert_allclose(volume.ijkToRAS[:3], sform, atol=1e-6)
    assert volume.shear == pytest.approx(0.317, abs=1e-3)
    with pytest.raises(GeometryError, match="sheared"):
        volume.require_orthogonal()


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_sheared_grids_of_other_formats(tmp_path, suffix):
    direction = np.eye(3)
    direction[:, 1] = [0.28, 0.96, 0]
    sitk.WriteImage(image(sample(), direction), str(tmp_path / f"a.{suffix}"))
    volume = read_volume(tmp_path / f"a.{suffix}")
    assert volume.shear == pytest.approx(0.28, abs=1e-6)
    np.testing.assert_allclose(volume.ijkToRAS[:3, 1], [-0.28 * 0.8, -0.96 * 0.8, 0], atol=1e-9)


def sform_file(path, rows, sform=1, qform=1):
    sitk.WriteImage(image(sample()), str(path))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2h", data, 252, qform, sform)
    struct.pack_into("<12f", data, 280, *np.ravel(rows))
    path.write_bytes(data)
    return path


def test_useless_sform_is_not_used(tmp_path):
    volume = read_volume(sform_file(tmp_path / "a.nii", np.zeros((3, 4))))
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.5))
    assert "sform (code 1, scanner) cannot be used" in volume.info["positionConflict"]["text"]


# ---- pictures


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((6, 7), "u1"), ((6, 7), "u2"), ((6, 7, 3), "u1"), ((6, 7, 4), "u1")]
)
def test_lossless_pictures(tmp_path, suffix, shape, dtype):
    array = sample(shape, dtype)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=len(shape) == 3), str(tmp_path / f"a.{suffix}"))
    volume = read_volume(tmp_path / f"a.{suffix}")
    assert np.array_equal(volume.array[0], array)
    assert volume.spacing == (1.0, 1.0, 1.0) and volume.info["spacingKnown"] is False
    np.testing.assert_allclose(volume.ijkToRAS, np.diag([-1, -1, 1, 1]))


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_jpeg(tmp_path, shape):
    array = np.broadcast_to(np.linspace(0, 250, 64), (64, 64)).astype(np.uint8)
    array = np.stack([array] * 3, -1) if len(shape) == 3 else array
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=len(shape) == 3), str(tmp_path / "a.jpg"))
    volume = read_volume(tmp_path / "a.jpg")
    assert volume.array.shape == (1, *shape)
    assert np.abs(volume.array[0].astype(int) - array).max() < 10


def test_printing_resolution_is_no_pixel_size(tmp_path):
    array = sample((6, 7), np.uint8)
    path = tmp_path / "a.tif"
    sitk.WriteImage(image(array, spacing=(0.35, 0.35)), str(path))
    assert sitk.ReadImage(str(path)).GetSpacing()[0] < 0.5  # the file does claim it
    assert read_volume(path).spacing == (1.0, 1.0, 1.0)


def test_real_xray_png(shared_data):
    path = next(
        p for p in sorted((shared_data / "xr" / "chest-lungs").glob("*.png")) if "_lungs" not in p.name
    )
    volume = read_volume(path)
    assert volume.shape[0] == 1 and volume.info == {"spacingKnown": False}
    mask = read_volume(path.with_name(path.stem + "_lungs.png"), labels=True)
    assert (
        isinstance(mask, LabelVolume) and mask.same_grid(volume) and [s.value for s in mask.segments] == [255]
    )
