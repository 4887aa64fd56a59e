"""Which DICOM images are one volume: identity, copies, interleaved scans, gaps and uneven slices."""

from __future__ import annotations

import shutil
from itertools import pairwise

import dicomfiles
import numpy as np
import pytest

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.files.dicom.geometry import stack_geometry
from MedPrepCommonLib.files.dicom.scan import scan_dicom
from MedPrepCommonLib.files.reading import read_volume

SAME = {
    "PatientID": "ANON",
    "StudyInstanceUID": "1.2",
    "SeriesInstanceUID": "1.2.3",
    "FrameOfReferenceUID": "1.4",
}


def smooth(n: int, seed: int, rows: int = 16) -> np.ndarray:
    """(n, rows, rows) slices that are like their neighbours and unlike those of another seed."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, 3000, (2, rows, rows)).astype(float)
    share = np.linspace(0, 1, n)[:, None, None]
    return (ends[0] * (1 - share) + ends[1] * share).astype(np.uint16)


def interleaved(folder, **elements):
    """Two scans whose slices alternate; `elements` of each, as a pair; "folders" keeps them apart."""
    for n in (0, 1):
        own = {name: pair[n] for name, pair in elements.items() if name != "folders"}
        places = dicomfiles.stack(8, (0, 0, 4.0), (0.0, 0.0, 2.0 * n))
        for path in dicomfiles.write_series(folder / f"{n}", smooth(8, n), places, **{**SAME, **own}):
            if "folders" not in elements:
                path.rename(folder / f"{n}-{path.name}")


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientID": ("A", "B")},
        {"StudyInstanceUID": ("1.2", "1.3")},
        {"FrameOfReferenceUID": ("1.4", "1.5")},
        {"SeriesInstanceUID": ("1.2.3", "1.2.4")},
        {"SeriesNumber": (1, 2)},
        {"AcquisitionNumber": (1, 2)},
        {"KVP": (100, 120)},
        {"SeriesInstanceUID": (None, None), "SeriesDescription": ("thin", "thick")},
        {"folders": (True, True)},
    ],
)
def test_scans_that_interleave_are_two_series(tmp_path, elements):
    interleaved(tmp_path, **elements)
    with pytest.raises(FileError, match="holds 2 series"):
        read_volume(tmp_path)
    for number in (1, 2):
        volume = read_volume(tmp_path, number)
        assert volume.spacing[2] == 4.0 and len(volume.array) == 8


def test_scans_that_nothing_tells_apart_are_refused(tmp_path):
    interleaved(tmp_path)
    with pytest.raises(FileError, match="two that interleave"):
        read_volume(tmp_path)


def test_repeated_numbers_of_one_scan_are_no_reason(tmp_path):
    # A scan in two acquisitions, each numbered from 1, one behind the other.
    dicomfiles.write_series(
        tmp_path,
        smooth(8, 0),
        dicomfiles.stack(8),
        AcquisitionNumber=[1] * 4 + [2] * 4,
        InstanceNumber=[1, 2, 3, 4] * 2,
    )
    assert read_volume(tmp_path).shape == (8, 16, 16)


@pytest.mark.parametrize(
    "constant", [{"SOPInstanceUID": "1.9"}, {"InstanceNumber": 1}, {"FrameOfReferenceUID": ""}]
)
def test_a_constant_identifier_equals_nothing(tmp_path, constant):
    dicomfiles.write_series(tmp_path, smooth(6, 0), dicomfiles.stack(6), **constant)
    volume = read_volume(tmp_path)
    assert len(volume.array) == 6 and "duplicateSlices" not in volume.info


def test_an_identifier_of_its_own_for_each_file_says_nothing(tmp_path):
    uids = [f"1.2.{n}" for n in range(6)]
    dicomfiles.write_series(tmp_path, smooth(6, 0), dicomfiles.stack(6), FrameOfReferenceUID=uids)
    assert len(read_volume(tmp_path).array) == 6


def test_copies_agree_in_place_time_and_pixels(tmp_path):
    stored = smooth(6, 0)
    paths = dicomfiles.write_series(tmp_path, stored, dicomfiles.stack(6), AcquisitionTime="101500")
    for path in paths:
        shutil.copy(path, tmp_path / f"{path.name}-again")
    volume = read_volume(tmp_path)
    assert len(volume.array) == 6 and volume.info["duplicateSlices"] == 6
    # The same place and pixels at another time are no copy.
    for path in paths:
        (tmp_path / f"{path.name}-again").unlink()
    dicomfiles.write_series(tmp_path / "later", stored, dicomfiles.stack(6), AcquisitionTime="101600")
    assert [s.slices for s in scan_dicom(tmp_path)] == [6, 6]


def test_a_repeated_uid_is_no_copy(tmp_path):
    # Two radiographs to which an anonymiser gave one UID.
    lone = {
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "Modality": "DX",
        "SOPInstanceUID": "1.9",
    }
    for n in (0, 1):
        dicomfiles.write(tmp_path / f"{n}", smooth(2, n)[0], **lone)
    assert len(scan_dicom(tmp_path)) == 2
    shutil.copy(tmp_path / "0", tmp_path / "2")
    assert sorted(s.copies for s in scan_dicom(tmp_path)) == [0, 1]


def test_time_points_are_told_apart_by_two_elements_or_in_turn(tmp_path):
    n = 0
    for echo in (1, 2):
        for time in (1, 2):
            n += 1
            own = {
                "EchoNumbers": echo,
                "TemporalPositionIdentifier": time,
                "InstanceNumber": [n, n + 4, n + 8],
            }
            dicomfiles.write_series(tmp_path / "a" / f"{n}", smooth(3, n), dicomfiles.stack(3), **own)
    assert [s.slices for s in scan_dicom(tmp_path / "a")] == [3] * 4
    for n in (0, 1, 2):
        numbers = [3 * n + k for k in (1, 2, 3)]
        dicomfiles.write_series(
            tmp_path / "b" / f"{n}", smooth(3, n), dicomfiles.stack(3), InstanceNumber=numbers
        )
        for path in (tmp_path / "b" / f"{n}").iterdir():
            path.rename(tmp_path / "b" / f"{n}-{path.name}")
    found = scan_dicom(tmp_path / "b")
    assert [s.slices for s in found] == [3] * 3 and found[1].description == "Thorax (time 2)"
    assert np.array_equal(read_volume(tmp_path / "b", 2).array, smooth(3, 1).astype(int) - 1024)


# ---- gaps and uneven slices


@pytest.mark.parametrize("start", [0.0, -150.25])
@pytest.mark.parametrize("missing", [[3], [2, 3, 4], [1, 5, 6], [4, 10, 11, 12, 13]])
def test_missing_slices_leave_the_others_where_they_are(tmp_path, missing, start):
    whole, places = smooth(16, 0), dicomfiles.stack(16, (0, 0.5, 2.5), (5.0, 6.0, start))
    cosines = [1, 0, 0, 0, *np.round(np.array([2.5, -0.5]) / np.hypot(2.5, 0.5), 9)]
    keep = [k for k in range(16) if k not in missing]
    dicomfiles.write_series(
        tmp_path, whole[keep], places[keep], ImageOrientationPatient=[float(v) for v in cosines]
    )
    volume = read_volume(tmp_path)
    assert volume.info["missingSlices"] == volume.info["interpolatedSlices"] == len(missing)
    step = np.hypot(2.5, 0.5)
    assert volume.info["missingSlicePositions"] == pytest.approx([step * k for k in missing], abs=1e-3)
    assert volume.shape == whole.shape
    for k in keep:
        assert np.array_equal(volume.array[k], whole[k].astype(int) - 1024)
        np.testing.assert_allclose((volume.ijkToRAS @ [0, 0, k, 1])[:3], places[k] * [-1, -1, 1], atol=1e-3)
    # The scan is linear from slice to slice: what was made between them differs by rounding alone.
    assert np.abs(volume.array - (whole.astype(int) - 1024)).max() <= 1


def test_a_changing_table_increment_is_no_missing_slice(tmp_path):
    # 4 mm in the lower head, 8 mm above, as in old head CT; thickness follows.
    z = np.array([0, 4, 8, 12, 16, 20, 28, 36, 44.0])
    stored = np.repeat((z * 10).astype(np.uint16)[:, None, None], 8, 1).repeat(8, 2)
    places = np.column_stack([np.zeros((9, 2)), z])
    thickness = [4.0] * 6 + [8.0] * 3
    dicomfiles.write_series(tmp_path, stored, places, SliceThickness=thickness, RescaleIntercept=0)
    volume = read_volume(tmp_path)
    assert "missingSlices" not in volume.info and volume.info["sliceSpacingRange"] == [4.0, 8.0]
    assert volume.info["sliceSpacingDeviation"] > 3 and volume.info["interpolatedSlices"] == 3
    # Each value says where it was taken.
    np.testing.assert_allclose(volume.array[:, 0, 0], np.arange(12) * 40, atol=0.5)


def test_slices_of_two_places_are_refused(tmp_path):
    places = np.concatenate([dicomfiles.stack(4), dicomfiles.stack(4, start=(-10.0, -20.0, 900.0))])
    dicomfiles.write_series(tmp_path, smooth(8, 0), places)
    with pytest.raises(FileError, match="even distances"):
        read_volume(tmp_path)


def test_a_little_jitter_is_left_alone_and_said(tmp_path):
    places = dicomfiles.stack(10, (0, 0, 3.0))
    places[4, 2] += 0.2
    dicomfiles.write_series(tmp_path, smooth(10, 0), places)
    info = read_volume(tmp_path).info
    assert info["sliceSpacingDeviation"] == pytest.approx(0.2) and "interpolatedSlices" not in info
    assert info["sliceSpacingRange"] == pytest.approx([2.8, 3.2])


def test_every_plane_of_a_stack_lies_at_its_place():
    rng = np.random.default_rng(0)
    for _n in range(50):
        z = np.cumsum(rng.choice([2.0, 2.0, 2.0, 3.0, 4.0], 12))
        geometry = stack_geometry(np.column_stack([np.zeros((12, 2)), z]), (1, 0, 0, 0, 1, 0), (1, 1), 1)
        laid = geometry.laid_out(z[list(geometry.order), None, None].astype(np.float32))
        step = geometry.ijkToRAS[2, 2]
        np.testing.assert_allclose(laid[:, 0, 0], z[0] + step * np.arange(len(laid)), atol=0.02 * 4)
        assert all(b > a for a, b in pairwise(laid[:, 0, 0]))


def test_a_stated_tilt_that_positions_do_not_show(tmp_path):
    dicomfiles.write_series(tmp_path, smooth(6, 0), dicomfiles.stack(6), GantryDetectorTilt=-15)
    info = read_volume(tmp_path).info
    assert info["gantryTilt"] == 0 and info["statedGantryTilt"] == 15


def test_absent_image_numbers_are_counted(tmp_path):
    dicomfiles.write_series(tmp_path, smooth(4, 0), dicomfiles.stack(4), InstanceNumber=[3, 5, 7, 9])
    assert read_volume(tmp_path).info["missingInstances"] == 3
