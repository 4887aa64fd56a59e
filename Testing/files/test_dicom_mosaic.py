"""Mosaics of Siemens and UIH are taken apart with the right positions, or refused with the word."""

from __future__ import annotations

import struct

import dicomfiles
import numpy as np
import pytest
from pydicom.dataset import Dataset

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.files.reading import read_volume

MR = {
    "Modality": "MR",
    "Manufacturer": "SIEMENS",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
    "RescaleSlope": None,
    "RescaleIntercept": None,
    "PixelSpacing": [3.0, 2.5],
    "SpacingBetweenSlices": 4.0,
    "SliceThickness": 3.5,
}


def csa(values: dict[str, list[str]], new: bool = True) -> bytes:
    """A CSA image header, of the newer or the older layout."""
    data = (b"SV10\4\3\2\1" if new else b"") + struct.pack("<II", len(values), 77)
    first = len(next(iter(values.values())))
    for name, items in values.items():
        data += struct.pack("<64si4siii", name.encode(), len(items), b"FD", 3, len(items), 77)
        for text in items:
            coded = text.encode() + b"\0"
            lengths = (77, len(coded), 77, len(coded)) if new else (len(coded) + first, 0, 77, 0)
            data += struct.pack("<4i", *lengths) + coded + bytes(-len(coded) % 4)
    return data


def picture(slices: np.ndarray, across: int, down: int) -> np.ndarray:
    count, rows, columns = slices.shape
    tiles = np.zeros((down * rows, across * columns), slices.dtype)
    for n, plane in enumerate(slices):
        row, column = divmod(n, across)
        tiles[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = plane
    return tiles


def siemens(
    path,
    count=7,
    cosines=(1, 0, 0, 0, 1, 0),
    first=(-10.0, -20.0, 30.0),
    sign=1,
    new=True,
    private=True,
    csa_header=True,
    fields=(),
    **elements,
):
    """A mosaic whose first slice begins at `first`; tiles go along the normal, or against it (`sign`)."""
    slices = np.random.default_rng(count).integers(1, 4000, (count, 6, 8)).astype(np.uint16)
    across = int(np.ceil(np.sqrt(count)))
    tiles = picture(slices, across, across)
    row, column = np.array(cosines[:3], float), np.array(cosines[3:], float)
    corner = np.array(first) - row * 2.5 * (8 * across - 8) / 2 - column * 3.0 * (6 * across - 6) / 2
    data = dicomfiles.dataset(
        tiles,
        ImageOrientationPatient=list(cosines),
        ImagePositionPatient=[round(float(v), 6) for v in corner],
        **{**MR, **elements},
    )
    normal = sign * np.cross(row, column)
    if private:
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    said = {
        "EchoLinePosition": ["1", "2"],
        "NumberOfImagesInMosaic": [f"{count}"],
        "SliceNormalVector": [f"{v:.8f}" for v in normal],
    }
    said = {name: values for name, values in said.items() if name not in fields}
    if csa_header:
        data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa(said, new))
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return slices, np.array(first) + np.arange(count)[:, None] * normal * 4.0


OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, -0.8)


@pytest.mark.parametrize("count", [4, 7, 36])
@pytest.mark.parametrize(
    ("cosines", "sign"), [((1, 0, 0, 0, 1, 0), 1), ((0, 1, 0, 0, 0, -1), -1), (OBLIQUE, 1), (OBLIQUE, -1)]
)
def test_each_tile_lies_where_the_slice_was(tmp_path, count, cosines, sign):
    slices, places = siemens(tmp_path / "a.dcm", count, cosines, sign=sign)
    volume = read_volume(tmp_path / "a.dcm")
    assert volume.shape == (count, 6, 8) and volume.info["mosaic"] == count
    assert volume.spacing == pytest.approx((2.5, 3.0, 4.0))
    for plane, place in zip(slices, places, strict=True):
        k = int(round(np.linalg.solve(volume.ijkToRAS, [*(place * [-1, -1, 1]), 1])[2]))
        np.testing.assert_allclose((volume.ijkToRAS @ [0, 0, k, 1])[:3], place * [-1, -1, 1], atol=1e-5)
        assert np.array_equal(volume.array[k], plane)


def test_older_headers_and_the_number_in_one_place(tmp_path):
    slices, _places = siemens(tmp_path / "old.dcm", new=False)
    assert np.array_equal(read_volume(tmp_path / "old.dcm").array, slices)
    slices, _places = siemens(tmp_path / "csa.dcm", private=False)
    assert np.array_equal(read_volume(tmp_path / "csa.dcm").array, slices)
    slices, _places = siemens(tmp_path / "private.dcm", fields=["NumberOfImagesInMosaic"])
    assert np.array_equal(read_volume(tmp_path / "private.dcm").array, slices)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ({"csa_header": False}, "in which direction"),
        ({"fields": ["SliceNormalVector"]}, "in which direction"),
    ],
)
def test_what_a_mosaic_does_not_say_is_not_guessed(tmp_path, left_out, words):
    siemens(tmp_path / "a.dcm", **left_out)
    with pytest.raises(FileError, match="is a mosaic") as caught:
        read_volume(tmp_path / "a.dcm")
    assert words in caught.value.wrong


def test_each_mosaic_of_a_folder_is_a_volume(tmp_path):
    for n in range(3):
        siemens(tmp_path / f"{n}.dcm", count=4 + n)
    with pytest.raises(FileError, match="3 series"):
        read_volume(tmp_path)
    assert sorted(len(read_volume(tmp_path, n).array) for n in (1, 2, 3)) == [4, 5, 6]


@pytest.mark.parametrize("listed", [True, False])
def test_tiles_of_uih_lie_where_their_items_say(tmp_path, listed):
    slices = np.random.default_rng(0).integers(1, 4000, (5, 6, 8)).astype(np.uint16)
    elements = {**MR, "Manufacturer": "UIH", "ImageType": ["ORIGINAL", "PRIMARY", "M", "VFRAME"]}
    data = dicomfiles.dataset(picture(slices, 3, 2), **{**elements, "ImagePositionPatient": None})
    block = data.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", "5")
    items = []
    for n in range(5 if listed else 4):
        items.append(Dataset())
        items[-1].ImagePositionPatient = [1.0, 2.0, 40.0 - 4 * n]
    block.add_new(0x51, "SQ", items)
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    if not listed:
        with pytest.raises(FileError, match="is a mosaic.*where its slices lie"):
            read_volume(tmp_path / "a.dcm")
        return
    volume = read_volume(tmp_path / "a.dcm")
    assert np.array_equal(volume.array, slices[::-1]) and volume.spacing == pytest.approx((2.5, 3.0, 4.0))
    np.testing.assert_allclose(volume.ijkToRAS[:3, 3], [-1, -2, 24])


@pytest.mark.parametrize("types", [None, ["ORIGINAL", "PRIMARY"]])
def test_a_mosaic_is_known_without_its_word(tmp_path, types):
    slices, _places = siemens(tmp_path / "a.dcm", ImageType=types)
    volume = read_volume(tmp_path / "a.dcm")
    assert np.array_equal(volume.array, slices) and volume.info["mosaic"] == 7
    # The number of tiles went with the private elements; the size is that of no echo-planar picture.
    matrix = {"AcquisitionMatrix": [8, 0, 0, 6], "ScanningSequence": "EP"}
    siemens(tmp_path / "b.dcm", ImageType=types, private=False, csa_header=False, **matrix)
    with pytest.raises(FileError, match="is a mosaic"):
        read_volume(tmp_path / "b.dcm")


def test_interpolated_pictures_and_other_private_elements_are_no_mosaic(tmp_path):
    plane = np.ones((24, 32), np.uint16)
    matrix = {"AcquisitionMatrix": [12, 0, 0, 16], "ScanningSequence": "EP"}
    data = dicomfiles.dataset(plane, **{**MR, **matrix, "ImageType": ["ORIGINAL", "PRIMARY"]})
    data.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x0A, "US", 9)
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    volume = read_volume(tmp_path / "a.dcm")
    assert volume.shape == (1, 24, 32) and "mosaic" not in volume.info
