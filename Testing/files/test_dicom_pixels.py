"""Pixels against pydicom, and files whose bytes are others than their header says."""

from __future__ import annotations

import os
import random
import shutil
import struct
import time
import warnings
import zlib
from pathlib import Path

import dicomfiles
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from MedPrepCommonLib.core.errors import FileError, MedPrepError
from MedPrepCommonLib.files.reading import read_volume

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "big": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}


def write(path, stored: np.ndarray, syntax: str = "explicit", **elements):
    data = dicomfiles.dataset(stored, **elements)
    data.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    if syntax == "big":
        data.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    implicit, little = syntax == "implicit", syntax != "big"
    data.save_as(path, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return path


def values(path) -> np.ndarray:
    """What pydicom reads, rescaled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
        return data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_values_equal_pydicom(tmp_path, syntax, dtype):
    kind = np.dtype(dtype)
    scales = [(0, 1, 0), (0, 1, -1024), (3, 2, 5), (1, 0.5, -3.25), (4, -1, 0)]
    for n, (bits, slope, intercept) in enumerate(scales):
        used = 8 * kind.itemsize - bits
        low, high = (-(2 ** (used - 1)), 2 ** (used - 1)) if kind.kind == "i" else (0, 2**used)
        stored = np.random.default_rng(n).integers(low, high, (5, 6), np.int64).astype(kind)
        elements = {"BitsStored": used, "RescaleSlope": slope, "RescaleIntercept": intercept}
        path = write(tmp_path / "a.dcm", stored, syntax, **elements)
        np.testing.assert_allclose(read_volume(path).array[0], values(path), rtol=1e-6)


def test_bits_beside_the_stored_ones_are_not_values(tmp_path):
    stored = np.random.default_rng(0).integers(0, 4096, (5, 6)).astype(np.uint16)
    # An overlay in the upper bits, as old scanners wrote it; and values in the upper twelve bits.
    path = write(tmp_path / "a.dcm", stored | 0x8000, BitsStored=12, RescaleIntercept=0)
    assert np.array_equal(read_volume(path).array[0], stored)
    data = dicomfiles.dataset(stored << 4, BitsStored=12, RescaleIntercept=0)
    data.HighBit = 15
    data.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    assert np.array_equal(read_volume(tmp_path / "b.dcm").array[0], stored)


def test_floating_point_pixels(tmp_path):
    wanted = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    data = dicomfiles.dataset(np.zeros((5, 6), np.uint16), RescaleSlope=None, RescaleIntercept=None)
    del data.PixelData
    data.FloatPixelData = wanted.tobytes()
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.array_equal(read_volume(tmp_path / "a.dcm").array[0], wanted)


def test_words_of_two_bytes_in_the_other_order(tmp_path):
    stored = np.arange(35, dtype=np.uint8).reshape(5, 7)
    data = dicomfiles.dataset(stored, RescaleIntercept=0)
    data.file_meta.TransferSyntaxUID = SYNTAXES["big"]
    data.PixelData = np.frombuffer(stored.tobytes() + b"\0", "u2").byteswap().tobytes()
    data["PixelData"].VR = "OW"
    data.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=False, enforce_file_format=True)
    assert np.array_equal(read_volume(tmp_path / "a.dcm").array[0], stored)


@pytest.mark.parametrize(
    "name", ["SC_rgb_small_odd_big_endian.dcm", "SC_rgb_expb.dcm", "SC_ybr_full_422_uncompressed.dcm"]
)
def test_colours_equal_pydicom(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom does not bring it along")
    wanted = pydicom.dcmread(path)
    assert np.abs(read_volume(path).array[0].astype(int) - wanted.pixel_array).max() <= 2


# ---- damage


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("name", "factor"), [("Rows", 2), ("Columns", 2), ("Rows", 0.5), ("Columns", 0.5), ("NumberOfFrames", 3)]
)
def test_other_pixels_than_the_header_says(tmp_path, syntax, name, factor):
    path = write(tmp_path / "a.dcm", np.ones((8, 10), np.uint16), syntax)
    data = pydicom.dcmread(path)
    setattr(data, name, int(factor * data.get(name, 1)))
    data.save_as(path)
    with pytest.raises(FileError, match=r"a\.dcm is damaged"):
        read_volume(path)


def test_a_padded_end_is_no_damage(tmp_path):
    path = write(tmp_path / "a.dcm", np.ones((3, 3), np.uint8), RescaleIntercept=0)
    assert path.stat().st_size % 2 == 0 and read_volume(path).array.sum() == 9


@pytest.mark.parametrize("count", ["2147483647", "-3", "99999999999999999999"])
def test_numbers_of_frames_that_are_not_there(tmp_path, count):
    path = write(tmp_path / "a.dcm", np.ones((8, 10), np.uint16), NumberOfFrames=1)
    data = pydicom.dcmread(path)
    data["NumberOfFrames"] = pydicom.DataElement("NumberOfFrames", "LO", "1")
    data["NumberOfFrames"]._value = count
    data.save_as(path)
    start = time.perf_counter()
    try:
        assert read_volume(path).shape == (1, 8, 10)  # a negative number is no number
    except FileError as error:
        assert "a.dcm is damaged" in error.wrong
    assert time.perf_counter() - start < 5


def test_coded_pixels_that_are_cut_short_or_too_few(tmp_path):
    source = Path(get_testdata_file("MR_small_RLE.dcm", download=False))
    whole = source.read_bytes()
    at = whole.index(b"\xe0\x7f\x10\x00")
    for size in (at + 20, at + 500, len(whole) - 200):
        (tmp_path / "a.dcm").write_bytes(whole[:size])
        with pytest.raises(FileError, match="damaged"):
            read_volume(tmp_path / "a.dcm")
    data = pydicom.dcmread(source)
    data.NumberOfFrames = 7
    data.save_as(tmp_path / "b.dcm")
    with pytest.raises(FileError, match="damaged"):
        read_volume(tmp_path / "b.dcm")
    data = pydicom.dcmread(source)
    data.Rows = data.Columns = 65535
    data.save_as(tmp_path / "c.dcm")
    with pytest.raises(FileError, match="damaged"):
        read_volume(tmp_path / "c.dcm")


def test_deflated_bombs_are_not_inflated(tmp_path):
    path = write(tmp_path / "a.dcm", np.ones((8, 10), np.uint16), "deflated")
    head = path.read_bytes()
    start = 144 + struct.unpack("<I", head[140:144])[0]
    plain = zlib.decompressobj(-15).decompress(head[start:])
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    coded = squeeze.compress(plain) + b"".join(squeeze.compress(bytes(1 << 20)) for _n in range(100))
    path.write_bytes(head[:start] + coded + squeeze.flush())
    # What lies behind the pixels is never looked at.
    assert np.array_equal(read_volume(path).array[0], np.full((8, 10), 1 - 1024))


def test_changed_bytes_give_an_error_that_names_the_file_or_what_pydicom_reads(tmp_path):
    chance = random.Random(3)
    source = write(tmp_path / "s.dcm", np.arange(80, dtype=np.uint16).reshape(8, 10)).read_bytes()
    end = source.index(b"\xe0\x7f\x10\x00") + 12
    for _n in range(250):
        changed = bytearray(source)
        for _m in range(chance.choice([1, 1, 2, 8])):
            changed[chance.randrange(128, end)] = chance.choice([0, 255, chance.randrange(256)])
        (tmp_path / "a.dcm").write_bytes(changed)
        try:
            found = read_volume(tmp_path / "a.dcm")
        except MedPrepError as error:
            assert "a.dcm" in str(error) or "direction cosines" in str(error) or "pacing" in str(error), error
            continue
        try:
            wanted = values(tmp_path / "a.dcm")
        except Exception:
            continue  # pydicom is stricter with what plays no part
        if found.array.shape[1:] == wanted.shape and found.info["photometricInterpretation"] == "MONOCHROME2":
            np.testing.assert_allclose(found.array[0], wanted, rtol=1e-6)


def test_names_that_are_no_text_for_coded_pixels(tmp_path):
    source = get_testdata_file("MR_small_jp2klossless.dcm", download=False)
    target = os.path.join(os.fsencode(tmp_path), b"M\xfcller.dcm")
    try:
        shutil.copy(source, target)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert read_volume(Path(os.fsdecode(target))).shape == (1, 64, 64)
