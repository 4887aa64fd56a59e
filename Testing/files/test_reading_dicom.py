"""DICOM files and folders: values, geometry, facts, which series, and what is refused."""

from __future__ import annotations

import shutil

import dicomfiles
import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK as sitk

from MedPrepCommonLib.core.errors import Cancelled, FileError, GeometryError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files.dicom.geometry import stack_geometry
from MedPrepCommonLib.files.dicom.reading import read_series
from MedPrepCommonLib.files.reading import read_volume


def random(shape, dtype=np.uint16, high=4000, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def as_volume(paths) -> Volume:
    """The independent answer: ITK's series reader, for stacks that it understands."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(p) for p in paths])
    return Volume.from_sitk(reader.Execute())


# ---- values and geometry of real series


@pytest.mark.parametrize("folder", ["lungdx-a0002-8mm-b40f/dicom", "ts-j2k-dicom/dicom", "lungmask-2slices"])
def test_real_series_equal_itk(shared_data, folder, tmp_path):
    # GDCM skips hidden files, which one of the series consists of.
    for n, path in enumerate(sorted((shared_data / "ct" / folder).iterdir())):
        shutil.copy(path, tmp_path / f"{n}.dcm")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    expected, volume = as_volume(names), read_volume(shared_data / "ct" / folder)
    assert np.array_equal(volume.array, expected.array)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.ijkToRAS, expected.ijkToRAS, atol=1e-6)


def test_real_series_equal_pydicom(shared_data):
    folder = shared_data / "ct" / "lungdx-a0002-8mm-b40f" / "dicom"
    slices = sorted(
        (pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: float(d.ImagePositionPatient[2])
    )
    expected = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])
    volume = read_volume(folder)
    assert np.array_equal(volume.array, expected)
    assert volume.modality == "CT"
    assert volume.display == (40.0, 350.0)
    assert volume.info["sliceThickness"] == 8.0
    assert (volume.info["rescaleSlope"], volume.info["rescaleIntercept"]) == (1.0, -1024.0)
    assert volume.info["convolutionKernel"] == "B40f"


def test_kernel_with_two_values(shared_data):
    assert read_volume(shared_data / "ct" / "ts-j2k-dicom" / "dicom").info["convolutionKernel"] == "Br38f\\3"


def test_monochrome1_is_inverted_once(shared_data):
    folder = shared_data / "xr" / "derived-dicom-12bit"
    one, two = (read_volume(folder / f"19abe1f3_mono{n}.dcm") for n in (1, 2))
    assert np.array_equal(one.array, two.array)
    assert one.info["photometricInterpretation"] == "MONOCHROME1"
    assert one.same_grid(two)
    assert one.spacing[:2] == (0.5, 0.5)
    # Where Slicer puts an image without a position.
    np.testing.assert_allclose(one.directions, np.diag([-1, -1, 1]))


def test_reading_a_real_single_file(shared_data):
    volume = read_volume(shared_data / "odd" / "dicom-single-ct" / "CT_small.dcm")
    assert volume.shape == (1, 128, 128) and volume.array.dtype == np.int16
    assert volume.spacing == pytest.approx((0.661468, 0.661468, 5.0))
    assert volume.info["padding"] == -2000 - 1024


# ---- values of made series


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("preamble", [True, False])
def test_implicit_vr_and_files_without_preamble(tmp_path, implicit, preamble):
    stored = random((3, 5, 6))
    dicomfiles.write_series(tmp_path, stored, dicomfiles.stack(3), implicit=implicit, preamble=preamble)
    assert np.array_equal(read_volume(tmp_path).array, stored.astype(int) - 1024)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint16, 12), (np.uint16, 16), (np.int16, 16), (np.uint8, 8)])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (1, 0), (2, -5), (0.5, 0.25)])
def test_monochrome1_twins_of_every_type(tmp_path, dtype, bits, slope, intercept):
    stored = random((5, 6), np.int64, 2**bits)
    if dtype == np.int16:
        stored = stored - 2**15
    inverse = -1 - stored if dtype == np.int16 else 2**bits - 1 - stored
    common = {"BitsStored": bits, "RescaleSlope": slope, "RescaleIntercept": intercept}
    two = read_volume(dicomfiles.write(tmp_path / "two", stored.astype(dtype), **common))
    one = read_volume(
        dicomfiles.write(
            tmp_path / "one", inverse.astype(dtype), PhotometricInterpretation="MONOCHROME1", **common
        )
    )
    np.testing.assert_allclose(two.array[0], stored * slope + intercept, rtol=1e-6)
    assert np.array_equal(one.array, two.array)


def test_padding_and_window_follow_the_inversion(tmp_path):
    stored = random((5, 6), high=4096)
    common = {"BitsStored": 12, "WindowCenter": 1000, "WindowWidth": 500, "RescaleIntercept": 0}
    two = read_volume(dicomfiles.write(tmp_path / "2", stored, PixelPaddingValue=4095, **common))
    one = read_volume(
        dicomfiles.write(
            tmp_path / "1",
            4095 - stored,
            PixelPaddingValue=0,
            PhotometricInterpretation="MONOCHROME1",
            **{**common, "WindowCenter": 3095},
        )
    )
    assert one.info["padding"] == two.info["padding"] == 4095
    assert one.display == two.display == (1000.0, 500.0)


@pytest.mark.parametrize(
    ("stored", "value", "expected"),
    [
        (np.int16, -2000, -3024),
        (np.uint16, 0, -1024),
        (np.int16, 63536, -3024),
    ],
    ids=["signed", "unsigned", "signed written as unsigned"],
)
def test_padding_is_given_in_hu(tmp_path, stored, value, expected):
    data = dicomfiles.dataset(random((4, 4), stored))
    data.add_new("PixelPaddingValue", "US" if value > 32767 or stored == np.uint16 else "SS", value)
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_volume(tmp_path / "a.dcm").info["padding"] == expected


def test_slices_with_their_own_rescale(tmp_path):
    stored = random((3, 4, 5), high=1000)
    slopes, intercepts = [1.0, 2.0, 0.5], [-1024.0, 0.0, 10.0]
    dicomfiles.write_series(
        tmp_path, stored, dicomfiles.stack(3), RescaleSlope=slopes, RescaleIntercept=intercepts
    )
    volume = read_volume(tmp_path)
    expected = stored * np.array(slopes)[:, None, None] + np.array(intercepts)[:, None, None]
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
    assert "rescaleSlope" not in volume.info


def test_colour_images_have_three_components(tmp_path):
    stored = random((4, 5, 3), np.uint8, 256)
    volume = read_volume(dicomfiles.write(tmp_path / "rgb.dcm", stored))
    assert np.array_equal(volume.array[0], stored)


def test_large_values_keep_their_type(tmp_path):
    stored = random((2, 4, 5), np.uint16, 65535)
    dicomfiles.write_series(tmp_path, stored, dicomfiles.stack(2), RescaleIntercept=0)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.uint16 and np.array_equal(volume.array, stored)


CODINGS = [
    ("MR_small_RLE.dcm", "MR_small.dcm"),
    ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
    ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
    ("MR_small_bigendian.dcm", "MR_small.dcm"),
    ("MR_small_implicit.dcm", "MR_small.dcm"),
    ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm"),
]


@pytest.mark.parametrize(("coded", "plain"), CODINGS)
def test_every_lossless_coding_gives_the_same_pixels(coded, plain):
    # Run length, JPEG 2000, JPEG-LS, byte orders, JPEG lossless: files that come with pydicom.
    found, expected = (pydicom.data.get_testdata_file(name, download=False) for name in (coded, plain))
    image = pydicom.dcmread(expected)
    volume = read_volume(found)
    assert np.array_equal(volume.array[0], image.pixel_array)


def test_codings_that_the_decoder_gets_wrong_are_refused():
    with pytest.raises(FileError, match="run-length"):
        read_volume(pydicom.data.get_testdata_file("SC_rgb_rle_16bit.dcm", download=False))


# ---- geometry


def test_order_comes_from_positions_not_from_names_or_numbers(tmp_path):
    stored, places = random((6, 4, 5)), dicomfiles.stack(6)
    shuffled = np.random.default_rng(1).permutation(6)
    dicomfiles.write_series(tmp_path, stored[shuffled], places[shuffled])
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.array, stored.astype(int) - 1024)
    np.testing.assert_allclose(volume.ijkToRAS[:3, 3], (10, 20, 100))


def test_oblique_series_equals_itk(tmp_path):
    axes = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    normal = np.cross(axes[:, 0], axes[:, 1])
    cosines = [float(f"{v:.12f}") for v in (*axes[:, 0], *axes[:, 1])]
    places = dicomfiles.stack(5, tuple(1.25 * normal))
    paths = dicomfiles.write_series(tmp_path, random((5, 4, 6)), places, ImageOrientationPatient=cosines)
    volume, expected = read_volume(tmp_path), as_volume(paths)
    np.testing.assert_allclose(volume.ijkToRAS, expected.ijkToRAS, atol=2e-6)
    assert volume.shear < 1e-12 and volume.info["gantryTilt"] == 0.0
    volume.require_orthogonal()


@pytest.mark.parametrize("tilt", [0.5, 12.0, -20.0])
def test_a_tilted_gantry_gives_the_sheared_grid(tmp_path, tilt):
    # The table moves along z while the slices lean about x.
    angle = np.radians(tilt)
    cosines = [1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))]
    places = dicomfiles.stack(8, (0, 0, 3.0))
    dicomfiles.write_series(
        tmp_path, random((8, 4, 5)), places, ImageOrientationPatient=cosines, GantryDetectorTilt=tilt
    )
    volume = read_volume(tmp_path)
    assert volume.info["gantryTilt"] == pytest.approx(abs(tilt), abs=1e-3)
    corner = volume.ijkToRAS @ [0, 0, 7, 1]
    np.testing.assert_allclose(corner[:3], places[7] * [-1, -1, 1], atol=1e-6)
    np.testing.assert_allclose(
        volume.ijkToRAS @ [0, 2, 0, 1] - volume.ijkToRAS @ [0, 0, 0, 1],
        [0, -1.6 * np.cos(angle), -1.6 * np.sin(angle), 0],
        atol=1e-6,
    )
    with pytest.raises(GeometryError, match="gantry tilt"):
        volume.to_sitk()


def test_rounded_positions_do_not_look_like_a_tilt(tmp_path):
    places = dicomfiles.stack(50, (0, 0, 1.25)) + np.random.default_rng(3).uniform(-5e-4, 5e-4, (50, 3))
    dicomfiles.write_series(tmp_path, random((50, 4, 4)), places)
    volume = read_volume(tmp_path)
    assert volume.info["gantryTilt"] == 0.0
    volume.to_sitk()
    assert volume.info["sliceSpacingDeviation"] < 2e-3


def test_missing_slices_are_reported(tmp_path):
    keep = [0, 1, 2, 3, 6, 7, 8, 9]
    dicomfiles.write_series(tmp_path, random((8, 4, 5)), dicomfiles.stack(10)[keep])
    info = read_volume(tmp_path).info
    assert info["missingSlices"] == 2
    # 18 mm in 7 steps; the fourth slice should lie at 7.714 mm and lies at 6 mm.
    assert info["sliceSpacingDeviation"] == pytest.approx(3 * 18 / 7 - 6, abs=1e-6)


def test_one_displaced_slice_is_reported(tmp_path):
    places = dicomfiles.stack(6)
    places[2, 0] += 0.4
    dicomfiles.write_series(tmp_path, random((6, 4, 5)), places)
    assert read_volume(tmp_path).info["sliceSpacingDeviation"] == pytest.approx(0.4)


def test_even_series_deviate_by_nothing(tmp_path):
    dicomfiles.write_series(tmp_path, random((6, 4, 5)), dicomfiles.stack(6))
    info = read_volume(tmp_path).info
    assert info["sliceSpacingDeviation"] == 0.0 and "missingSlices" not in info


@pytest.mark.parametrize("same_instance", [True, False])
def test_copies_of_a_slice_count_once(tmp_path, same_instance):
    stored = random((4, 4, 5))
    paths = dicomfiles.write_series(tmp_path, stored, dicomfiles.stack(4))
    if same_instance:
        shutil.copy(paths[1], tmp_path / "copy")
    else:
        dicomfiles.write(tmp_path / "copy", stored[1], ImagePositionPatient=[-10, -20, 102], InstanceNumber=2)
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.array, stored.astype(int) - 1024)
    assert volume.info["duplicateSlices"] == 1


def test_different_images_at_one_place_are_refused(tmp_path):
    stored = random((4, 4, 5))
    dicomfiles.write_series(tmp_path, stored, dicomfiles.stack(4))
    dicomfiles.write(tmp_path / "other", stored[0], ImagePositionPatient=[-10, -20, 102])
    with pytest.raises(FileError, match="several different images at the place"):
        read_volume(tmp_path)


def test_a_lone_slice_is_as_thick_as_it_says(tmp_path):
    path = dicomfiles.write(tmp_path / "a", random((4, 5)), GantryDetectorTilt=-7.5)
    volume = read_volume(path)
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.0)) and volume.info["gantryTilt"] == 7.5


@pytest.mark.parametrize("cosines", [[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 2, 0]])
def test_impossible_directions_are_refused(tmp_path, cosines):
    dicomfiles.write_series(tmp_path, random((2, 4, 5)), dicomfiles.stack(2), ImageOrientationPatient=cosines)
    with pytest.raises(FileError, match="direction cosines"):
        read_volume(tmp_path)


def test_slices_in_one_plane_are_refused():
    with pytest.raises(FileError, match="same plane"):
        stack_geometry(np.array([[0, 0, 0], [50.0, 0, 0]]), (1, 0, 0, 0, 1, 0), (1, 1), 1)


@pytest.mark.parametrize(
    ("elements", "spacing", "known"),
    [
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2), True),
        ({"PixelSpacing": None}, (1.0, 1.0), False),
        ({"PixelSpacing": [0.0, 0.0]}, (1.0, 1.0), False),
    ],
)
def test_pixel_size_of_projections(tmp_path, elements, spacing, known):
    path = dicomfiles.write(
        tmp_path / "a",
        random((4, 5)),
        Modality="DX",
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        ViewPosition="PA",
        **elements,
    )
    volume = read_volume(path)
    assert volume.spacing[:2] == spacing and volume.info["spacingKnown"] is known
    assert volume.modality == "DX" and volume.info["viewPosition"] == "PA"


# ---- damage, privacy, cancel


@pytest.mark.parametrize("share", [0.2, 0.6, 0.999])
def test_cut_files_are_errors(tmp_path, share):
    paths = dicomfiles.write_series(tmp_path, random((3, 40, 50)), dicomfiles.stack(3))
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FileError, match="damaged or incomplete|holds no image"):
        read_volume(paths[1])
    with pytest.raises(FileError):
        read_volume(tmp_path)


def test_nothing_about_the_patient_is_kept(tmp_path):
    dicomfiles.write_series(tmp_path / "Doe_Jane", random((3, 4, 5)), dicomfiles.stack(3))
    volume = read_volume(tmp_path / "Doe_Jane")
    text = f"{volume.name} {volume.info} {volume.history}"
    for secret in ("Doe", "Jane", "MRN", "12345", "1950", "2020", "1.2.3", str(tmp_path)):
        assert secret not in text


def test_cancel_stops_reading(tmp_path):
    dicomfiles.write_series(tmp_path, random((40, 4, 5)), dicomfiles.stack(40))
    seen = []
    with pytest.raises(Cancelled):
        read_series(tmp_path, job=Job(lambda f, _m: seen.append(f), lambda: len(seen) > 5))
    assert len(seen) < 10


def test_broken_numbers_do_not_break_reading(tmp_path):
    path = dicomfiles.write(tmp_path / "a.dcm", random((4, 5)), KVP="123.4567")
    path.write_bytes(path.read_bytes().replace(b"123.4567", b"not said"))
    assert "kvp" not in read_volume(path).info


def test_a_header_that_is_cut_off_is_no_other_file(tmp_path):
    paths = dicomfiles.write_series(tmp_path, random((3, 4, 5)), dicomfiles.stack(3))
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: data.index(b"Doe^Jane")])
    with pytest.raises(FileError, match="damaged"):
        read_volume(tmp_path)
