"""Which series a DICOM folder holds and which one is read; multi-frame files."""

from __future__ import annotations

import dicomfiles
import numpy as np
import pytest
from test_reading_dicom import random

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.files.dicom.scan import scan_dicom
from MedPrepCommonLib.files.reading import read_volume


def two_series(folder):
    dicomfiles.write_series(folder / "a" / "deep", random((3, 4, 5)), dicomfiles.stack(3))
    dicomfiles.write_series(
        folder / "b",
        random((5, 4, 5), seed=1),
        dicomfiles.stack(5),
        SeriesNumber=7,
        SeriesInstanceUID="1.2.3.4.5000002",
        SeriesDescription="Lung 1.0 B70f",
    )


def test_several_series_are_listed(tmp_path):
    two_series(tmp_path)
    with pytest.raises(FileError) as caught:
        read_volume(tmp_path)
    text = str(caught.value)
    assert "2 series" in text
    assert "1: Thorax (CT, 3 slices, ...5000001)" in text
    assert "2: Lung 1.0 B70f (CT, 5 slices, ...5000002)" in text


@pytest.mark.parametrize("wanted", [2, "2", "1.2.3.4.5000002", "lung 1.0 b70f", "5000002", "...5000002"])
def test_a_series_is_picked_by_number_uid_or_description(tmp_path, wanted):
    two_series(tmp_path)
    volume = read_volume(tmp_path, series=wanted)
    assert volume.shape == (5, 4, 5) and volume.name == "Lung 1.0 B70f"


@pytest.mark.parametrize("wanted", [3, 0, "nothing", "1.2.3.4", "500000"])
def test_a_series_that_is_not_there_is_an_error_with_the_list(tmp_path, wanted):
    two_series(tmp_path)
    with pytest.raises(FileError, match="Lung 1.0 B70f"):
        read_volume(tmp_path, series=wanted)


def test_scan_reports_facts(tmp_path):
    two_series(tmp_path)
    found = scan_dicom(tmp_path)
    assert [(s.number, s.description, s.modality, s.slices, s.short_id) for s in found] == [
        (1, "Thorax", "CT", 3, "5000001"),
        (2, "Lung 1.0 B70f", "CT", 5, "5000002"),
    ]


def test_a_scout_in_the_series_is_a_stack_of_its_own(tmp_path):
    dicomfiles.write_series(tmp_path, random((4, 4, 5)), dicomfiles.stack(4))
    dicomfiles.write(tmp_path / "scout", random((4, 5)), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    assert [s.slices for s in scan_dicom(tmp_path)] == [4, 1]
    assert read_volume(tmp_path, series=1).shape == (4, 4, 5)


def test_echoes_are_told_apart(tmp_path):
    for echo in (1, 2):
        dicomfiles.write_series(
            tmp_path / str(echo),
            random((3, 4, 5), seed=echo),
            dicomfiles.stack(3),
            Modality="MR",
            EchoNumbers=echo,
        )
    assert [s.description for s in scan_dicom(tmp_path)] == [
        "Thorax (echo numbers 1)",
        "Thorax (echo numbers 2)",
    ]
    assert np.array_equal(read_volume(tmp_path, series=2).array, random((3, 4, 5), seed=2).astype(int) - 1024)


def test_direction_noise_does_not_split_a_series(tmp_path):
    cosines = [[1, 0, 0, 0, 1, 0.0005 + sign * 1e-7] for sign in (-1, 1, -1, 1)]
    dicomfiles.write_series(tmp_path, random((4, 4, 5)), dicomfiles.stack(4), ImageOrientationPatient=cosines)
    assert [s.slices for s in scan_dicom(tmp_path)] == [4]


def test_other_files_in_the_folder_are_passed_over(tmp_path):
    dicomfiles.write_series(tmp_path, random((3, 4, 5)), dicomfiles.stack(3))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").touch()
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    dicomfiles.write(tmp_path / "report", random((4, 5)), Modality="SR", SeriesInstanceUID="9.9")
    assert read_volume(tmp_path).shape == (3, 4, 5)
    assert read_volume(tmp_path / "DICOMDIR").shape == (3, 4, 5)


def test_a_folder_without_dicom_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(FileError, match="no DICOM images"):
        read_volume(tmp_path)


def test_a_dicom_file_without_an_image_is_an_error(tmp_path):
    path = dicomfiles.write(tmp_path / "sr.dcm", random((4, 5)), Modality="SR")
    with pytest.raises(FileError, match="holds no image"):
        read_volume(path)


def test_a_series_without_positions_is_not_a_volume(tmp_path):
    dicomfiles.write_series(tmp_path, random((3, 4, 5)), dicomfiles.stack(3), ImagePositionPatient=None)
    with pytest.raises(FileError, match="3 series"):
        read_volume(tmp_path)


# ---- multi-frame


@pytest.mark.parametrize(
    "rescales", [(1.0, -1024.0), [(1.0, -1024.0)] * 4, [(1, -1024), (2, 0), (0.5, 3), (4, -7)]]
)
def test_enhanced_ct(tmp_path, rescales):
    stored = random((4, 5, 6), high=3000)
    path = dicomfiles.write_enhanced(tmp_path / "e.dcm", stored, dicomfiles.stack(4, (0, 0, -2)), rescales)
    volume = read_volume(path)
    each = rescales if isinstance(rescales, list) else [rescales] * 4
    expected = np.stack([plane.astype(float) * s + i for plane, (s, i) in zip(stored, each, strict=True)])
    assert np.array_equal(volume.array, expected[::-1])
    np.testing.assert_allclose(volume.ijkToRAS @ [0, 0, 3, 1], [10, 20, 100, 1])
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.0))
    assert volume.info["sliceThickness"] == 2.0
    assert ("rescaleSlope" in volume.info) is (len(set(each)) == 1)
    folder = read_volume(tmp_path)
    assert np.array_equal(folder.array, volume.array)


def test_frames_without_places_are_refused(tmp_path):
    path = dicomfiles.write_enhanced(tmp_path / "e.dcm", random((4, 5, 6)), None, (1, 0))
    with pytest.raises(FileError, match="4 frames without a place"):
        read_volume(path)


def test_time_points_in_one_file_are_refused(tmp_path):
    places = np.repeat(dicomfiles.stack(2), 2, axis=0)
    path = dicomfiles.write_enhanced(tmp_path / "e.dcm", random((4, 5, 6)), places, (1, 0))
    with pytest.raises(FileError, match="several frames at one place"):
        read_volume(path)


def test_cine_is_refused(tmp_path):
    path = dicomfiles.write(
        tmp_path / "us.dcm",
        random((4, 5, 6), np.uint8, 255),
        NumberOfFrames=4,
        Modality="US",
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
    )
    with pytest.raises(FileError, match="4 frames"):
        read_volume(path)
