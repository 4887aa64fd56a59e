"""NRRD and MetaImage against ITK and pynrrd, and headers that ask for what is not there or not theirs."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from test_reading import grid, image, placed_alike, sample

from MedPrepCommonLib import bounds
from MedPrepCommonLib.core.errors import FileError, GeometryError
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files.reading import read_volume

NRRD = """NRRD0005
type: short
dimension: 3
space: left-posterior-superior
sizes: 5 4 3
space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (1,2,3)
"""
META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
ElementSpacing = 0.7 0.8 2.5
DimSize = 5 4 3
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
ARRAY = sample()


def nrrd(path, changes=(), data=None, extra="", drop=()):
    """A NRRD of ARRAY whose header lines are replaced by `changes` (name: value) or dropped."""
    lines = dict(line.split(": ", 1) for line in NRRD.splitlines()[1:]) | dict(changes)
    text = "NRRD0005\n" + "".join(f"{k}: {v}\n" for k, v in lines.items() if k not in drop) + extra
    path.write_bytes(text.encode() + b"\n" + (ARRAY.astype("<i2").tobytes() if data is None else data))
    return path


def meta(path, changes=(), data=None, drop=()):
    lines = dict(line.split(" = ", 1) for line in META.splitlines()) | dict(changes)
    file = lines.pop("ElementDataFile")
    text = "".join(f"{k} = {v}\n" for k, v in lines.items() if k not in drop) + f"ElementDataFile = {file}\n"
    path.write_bytes(text.encode() + (ARRAY.astype("<i2").tobytes() if data is None else data))
    return path


def same_as_itk(path):
    volume, expected = read_volume(path), Volume.from_sitk(sitk.ReadImage(str(path)))
    assert np.array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.ijkToRAS, expected.ijkToRAS, atol=1e-9)
    return volume


# ---- NRRD


@pytest.mark.parametrize(
    "space",
    ["left-posterior-superior", "LPS", "right-anterior-superior", "RAS", "left-anterior-superior", "LAS"],
)
@pytest.mark.parametrize("seed", range(3))
def test_spaces_of_nrrd(tmp_path, space, seed):
    axes = grid(seed, left_handed=seed == 1)["direction"] * (0.7, 0.8, 2.5)
    vectors = " ".join("({},{},{})".format(*axes[:, n]) for n in range(3))
    assert not same_as_itk(nrrd(tmp_path / "a.nrrd", {"space": space, "space directions": vectors})).info


@pytest.mark.parametrize(
    ("unit", "size"), [("um", 1e-3), ("\u00b5m", 1e-3), ("mm", 1), ("cm", 10), ("m", 1000), ("", 1)]
)
def test_units_of_nrrd(tmp_path, unit, size):
    plain = np.array([0.7, 0.8, 2.5]) / size
    vectors = "({:g},0,0) (0,{:g},0) (0,0,{:g})".format(*plain)
    origin = "({:g},{:g},{:g})".format(*(np.array([1, 2, 3]) / size))
    changes = {
        "space directions": vectors,
        "space origin": origin,
        "space units": " ".join([f'"{unit}"'] * 3),
    }
    volume = read_volume(nrrd(tmp_path / "a.nrrd", changes))
    np.testing.assert_allclose(volume.spacing, (0.7, 0.8, 2.5))
    np.testing.assert_allclose(volume.ijkToRAS[:3, 3], (-1, -2, 3))


def test_a_unit_that_is_no_length(tmp_path):
    with pytest.raises(GeometryError, match="pixel"):
        read_volume(nrrd(tmp_path / "a.nrrd", {"space units": '"pixel" "pixel" "pixel"'}))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "gz", "ascii", "text"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_encodings_of_nrrd(tmp_path, encoding, order):
    data = ARRAY.astype("<i2" if order == "little" else ">i2").tobytes()
    if encoding in ("gzip", "gz"):
        data = gzip.compress(data[:50]) + gzip.compress(data[50:])
    elif encoding != "raw":
        data = " ".join(map(str, ARRAY.ravel())).encode() + b"\n"
    same = read_volume if encoding in ("gzip", "gz") else same_as_itk  # ITK stops after the first member
    volume = same(nrrd(tmp_path / "a.nrrd", {"encoding": encoding, "endian": order}, data))
    assert np.array_equal(volume.array, ARRAY)


@pytest.mark.parametrize("where", ["one file", "LIST", "pattern", "byte skip", "the end"])
def test_detached_data_of_nrrd(tmp_path, where):
    data, path = ARRAY.astype("<i2").tobytes(), tmp_path / "a.nhdr"
    changes, extra = {}, ""
    if where in ("LIST", "pattern"):
        for n in range(3):
            (tmp_path / f"s{n:02d}.raw").write_bytes(data[n * 40 : n * 40 + 40])
        if where == "LIST":
            extra = "data file: LIST\n" + "".join(f"s{n:02d}.raw\n" for n in range(3))
        else:
            changes["data file"] = "s%02d.raw 0 2 1"
    else:
        lead = {"byte skip": 16, "the end": 33}.get(where, 0)
        (tmp_path / "x.raw").write_bytes(bytes(range(1, lead + 1)) + data)
        changes |= {"data file": "x.raw"} | ({"byte skip": "16"} if where == "byte skip" else {})
        changes |= {"byte skip": "-1"} if where == "the end" else {}
    nrrd(path, changes, b"", extra)
    if extra:
        path.write_bytes(path.read_bytes()[:-1])  # ITK takes the empty line for a name
    assert np.array_equal(same_as_itk(path).array, ARRAY)


@pytest.mark.parametrize(
    "changes", [{}, {"axis mins": "1 2 3"}, {"axis mins": "1 2 3", "centers": "node node node"}]
)
def test_a_nrrd_without_a_space(tmp_path, changes):
    drop = ("space", "space directions", "space origin")
    volume = same_as_itk(nrrd(tmp_path / "a.nrrd", {"spacings": "0.7 0.8 2.5", **changes}, drop=drop))
    assert volume.info == {"positionKnown": False}
    nothing = read_volume(nrrd(tmp_path / "b.nrrd", drop=drop))
    assert nothing.info == {"positionKnown": False, "spacingKnown": False} and nothing.spacing == (1, 1, 1)


@pytest.mark.parametrize("kinds", ["vector domain domain domain", "domain domain domain vector"])
@pytest.mark.parametrize("components", [1, 2, 3])
def test_vectors_of_nrrd(tmp_path, kinds, components):
    array = sample((3, 4, 5, components))
    first = kinds.startswith("vector")
    stored = array if first else np.moveaxis(array, -1, 0)
    sizes = f"{components} 5 4 3" if first else f"5 4 3 {components}"
    vectors = NRRD.splitlines()[5].partition(": ")[2]
    vectors = f"none {vectors}" if first else f"{vectors} none"
    changes = {"dimension": 4, "sizes": sizes, "kinds": kinds, "space directions": vectors}
    path = nrrd(tmp_path / "a.nrrd", changes, stored.astype("<i2").tobytes())
    assert np.array_equal(read_volume(path).array, array[..., 0] if components == 1 else array)


def test_nrrd_as_pynrrd_writes_and_reads_it(tmp_path):
    pynrrd = pytest.importorskip("nrrd", reason="pynrrd is the second opinion here: pip install pynrrd")
    for dtype in ("u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"):
        for encoding in ("raw", "gzip", "ascii"):
            array = ARRAY.astype(dtype).transpose(2, 1, 0)
            header = {"space": "RAS", "space directions": np.diag([0.7, 0.8, 2.5]), "encoding": encoding}
            pynrrd.write(str(tmp_path / "a.nrrd"), array, header | {"space origin": [1.0, 2.0, 3.0]})
            volume = read_volume(tmp_path / "a.nrrd")
            assert np.array_equal(volume.array, pynrrd.read(str(tmp_path / "a.nrrd"))[0].transpose(2, 1, 0))
            np.testing.assert_allclose(volume.ijkToRAS[:3, 3], (1, 2, 3))


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": "5 4 2"}, {"sizes": "5 4 4"}, {"sizes": "5 4 -3"}, {"sizes": "99999999999 4 3"},
        {"sizes": "5 4"},
        {"dimension": "x"}, {"type": "block"}, {"type": "int"}, {"encoding": "bzip2"}, {"endian": "middle"},
        {"space directions": "(0,0,0) (0,0.8,0) (0,0,2.5)"},
        {"space directions": "(nan,0,0) (0,0.8,0) (0,0,2.5)"},
        {"space directions": "(1e-8,0,0) (0,0.8,0) (0,0,2.5)"}, {"space origin": "(1,2)"},
        {"byte skip": "-2"},
        {"line skip": "1000000000000"}, {"kinds": "complex domain domain"}, {"kinds": "domain domain time"},
        {"kinds": "domain domain 7"},
        {"data file": "/etc/passwd"}, {"data file": "../a.raw"}, {"data file": "/dev/zero"},
        {"data file": "."},
        {"data file": "%s.raw 1 3 1"}, {"data file": "%n.raw 1 3 1"}, {"data file": "a%d.raw 5 1 1"},
        {"data file": "a%d.raw 1 5 0"}, {"data file": "a%d.raw 1 999999999 1"}, {"data file": "LIST"},
        {"encoding": "gzip"}, {"encoding": "ascii"},
    ],
)  # fmt: skip
def test_nrrd_headers_that_are_refused(tmp_path, changes):
    with pytest.raises((FileError, GeometryError)):
        read_volume(nrrd(tmp_path / "a.nrrd", changes))


# ---- MetaImage


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("compressed", [False, True])
def test_metaimage_as_itk_writes_it(tmp_path, seed, compressed):
    for suffix in ("mha", "mhd"):
        path = tmp_path / f"a.{suffix}"
        sitk.WriteImage(image(ARRAY, grid(seed, seed == 1)["direction"]), str(path), compressed)
        assert placed_alike(
            same_as_itk(path), Volume.from_sitk(image(ARRAY, grid(seed, seed == 1)["direction"]))
        )


@pytest.mark.parametrize("name", ["Offset", "Position", "Origin"])
@pytest.mark.parametrize("axes", ["TransformMatrix", "Rotation", "Orientation"])
@pytest.mark.parametrize("spacing", ["ElementSpacing", "ElementSize"])
def test_names_of_metaimage(tmp_path, name, axes, spacing):
    drop = {"Offset", "TransformMatrix", "ElementSpacing"} - {name, axes, spacing}
    changes = {name: "4 5 6", axes: "0 1 0 0 0 1 1 0 0", spacing: "0.5 0.6 0.7"}
    same_as_itk(meta(tmp_path / "a.mha", changes, drop=drop))


@pytest.mark.parametrize("order", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_byte_order_of_metaimage(tmp_path, order):
    data = ARRAY.astype(">i2").tobytes()
    drop = {"BinaryDataByteOrderMSB"} - {order}
    assert np.array_equal(same_as_itk(meta(tmp_path / "a.mha", {order: "True"}, data, drop)).array, ARRAY)


@pytest.mark.parametrize("where", ["LIST", "LIST 2", "pattern", "header size", "the end", "text"])
def test_detached_data_of_metaimage(tmp_path, where):
    data, path = ARRAY.astype("<i2").tobytes(), tmp_path / "a.mhd"
    if where in ("LIST", "LIST 2", "pattern"):
        for n in range(3):
            (tmp_path / f"s{n:02d}.raw").write_bytes(data[n * 40 : n * 40 + 40])
        file = where if where != "pattern" else "s%02d.raw 0 2 1"
        names = "".join(f"s{n:02d}.raw\n" for n in range(3)).encode() if where != "pattern" else b""
        meta(path, {"ElementDataFile": file}, names)
    elif where == "text":
        (tmp_path / "x.raw").write_text(" ".join(map(str, ARRAY.ravel())))
        meta(path, {"BinaryData": "False", "ElementDataFile": "x.raw"}, b"")
    else:
        lead = 16 if where == "header size" else 33
        (tmp_path / "x.raw").write_bytes(bytes(range(1, lead + 1)) + data)
        meta(path, {"HeaderSize": 16 if lead == 16 else -1, "ElementDataFile": "x.raw"}, b"")
    read = read_volume if where == "text" else same_as_itk  # ITK cannot read these numbers
    assert np.array_equal(read(path).array, ARRAY)


def test_compressed_metaimage_without_its_size_is_whole(tmp_path):
    data = zlib.compress(ARRAY.astype("<i2").tobytes())
    assert np.array_equal(
        read_volume(meta(tmp_path / "a.mha", {"CompressedData": "True"}, data)).array, ARRAY
    )


@pytest.mark.parametrize(("unit", "size"), [("um", 1e-3), ("cm", 10), ("mm", 1)])
def test_units_of_metaimage(tmp_path, unit, size):
    changes = {"DistanceUnits": unit, "ElementSpacing": " ".join(f"{v / size:g}" for v in (0.7, 0.8, 2.5))}
    np.testing.assert_allclose(read_volume(meta(tmp_path / "a.mha", changes)).spacing, (0.7, 0.8, 2.5))


def test_a_metaimage_that_says_no_spacing(tmp_path):
    volume = read_volume(meta(tmp_path / "a.mha", drop=("ElementSpacing",)))
    assert volume.spacing == (1, 1, 1) and volume.info == {"spacingKnown": False}


@pytest.mark.parametrize(
    "changes",
    [
        {"NDims": "-1"}, {"NDims": "999999999"}, {"NDims": "0"}, {"DimSize": "5 4 2"}, {"DimSize": "5 4 4"},
        {"DimSize": "5 4 -3"}, {"DimSize": "5 4 1e300"}, {"DimSize": "5 4"}, {"ElementType": "MET_INT"},
        {"ElementType": "MET_STRING"}, {"ElementNumberOfChannels": "0"}, {"ElementNumberOfChannels": "2"},
        {"CompressedData": "True"}, {"CompressedData": "True", "CompressedDataSize": "7"},
        {"ElementSpacing": "0 1 1"}, {"ElementSpacing": "nan 1 1"}, {"ElementSpacing": "1e-8 1 1"},
        {"ElementSpacing": "-1 1 1"}, {"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, {"Offset": "1e9 0 0"},
        {"ElementDataFile": "/etc/passwd"}, {"ElementDataFile": "../a.raw"},
        {"ElementDataFile": "%s.raw 1 3 1"},
        {"ElementDataFile": "a%n 1 3 1"}, {"ElementDataFile": "a%d.raw 1 5 0"}, {"ElementDataFile": "LIST"},
        {"ElementDataFile": "a%d%d.raw 1 5 1"}, {"ElementDataFile": ""}, {"HeaderSize": "-7"},
        {"ElementToIntensityFunctionSlope": "2"}, {"ObjectType": "Tube"}, {"DistanceUnits": "inch"},
    ],
)  # fmt: skip
def test_metaimage_headers_that_are_refused(tmp_path, changes):
    with pytest.raises((FileError, GeometryError)):
        read_volume(meta(tmp_path / "a.mha", changes))


# ---- any format


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha", "mhd"])
def test_more_than_the_header_says_is_refused_but_a_few_zeros(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image(ARRAY), str(path), suffix == "nii.gz")
    data = path.with_suffix(".raw") if suffix == "mhd" else path
    whole = data.read_bytes()
    read, pack = (gzip.decompress, gzip.compress) if suffix == "nii.gz" else (bytes, bytes)
    data.write_bytes(pack(read(whole) + bytes(100)))
    assert np.array_equal(read_volume(path).array, ARRAY)
    for more in (b"\1" * 40, bytes(5000)):
        data.write_bytes(pack(read(whole) + more))
        with pytest.raises(FileError, match="more data"):
            read_volume(path)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited with resource.setrlimit")
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_a_bomb_is_stopped_at_the_size_that_the_header_asks_for(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image(ARRAY), str(path), True)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if suffix != "mha" else 15)
    zeros = bytes(1 << 20)
    lead = ARRAY.astype("<i2").tobytes()
    if suffix == "nii.gz":
        lead = gzip.decompress(path.read_bytes())
    bomb = packer.compress(lead) + b"".join(packer.compress(zeros) for _n in range(300)) + packer.flush()
    if suffix == "nii.gz":
        path.write_bytes(bomb)
    elif suffix == "nrrd":
        nrrd(path, {"encoding": "gzip"}, bomb)
    else:
        meta(path, {"CompressedData": "True"}, bomb)
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(FileError, match="more data"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.nii")
    with pytest.raises(FileError, match="no regular file"):
        read_volume(tmp_path / "a.nii")
    (tmp_path / "x.raw").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "x.raw")
    with pytest.raises(FileError):
        read_volume(meta(tmp_path / "a.mhd", {"ElementDataFile": "x.raw"}, b""))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.raw").write_bytes(ARRAY.astype("<i2").tobytes())
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "x.raw").symlink_to(tmp_path / "secret.raw")
    with pytest.raises(FileError, match="not in its folder"):
        read_volume(meta(tmp_path / "sent" / "a.mhd", {"ElementDataFile": "x.raw"}, b""))
    # A data set of links is one: header and data lie side by side where they point to.
    meta(tmp_path / "a.mhd", {"ElementDataFile": "secret.raw"}, b"")
    (tmp_path / "sent" / "b.mhd").symlink_to(tmp_path / "a.mhd")
    (tmp_path / "sent" / "secret.raw").symlink_to(tmp_path / "secret.raw")
    assert np.array_equal(read_volume(tmp_path / "sent" / "b.mhd").array, ARRAY)


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a name be any bytes")
@pytest.mark.parametrize("suffix", ["nii", "nrrd", "mha", "mhd", "png", "jpg", "tif", "bmp"])
def test_names_that_are_not_utf8(tmp_path, suffix):
    picture = suffix in ("png", "jpg", "tif", "bmp")
    array = sample((40, 50), np.uint8) if picture else ARRAY
    plain = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image(array), str(plain))
    odd = os.fsencode(tmp_path) + b"/M\xfcller." + suffix.encode()
    os.rename(plain, odd)
    assert read_volume(os.fsdecode(odd)).array.shape[-2:] == array.shape[-2:]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_that_no_system_takes(tmp_path, name):
    with pytest.raises(FileError):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("spacing", [(1e-8, 1, 1), (1, 1, 1e6), (0.0009, 1, 1), (1, 1001, 1)])
def test_spacing_out_of_bounds(spacing):
    with pytest.raises(GeometryError, match=r"0\.001 to 1000 mm"):
        Volume(ARRAY, np.diag([*spacing, 1.0]))


def test_fields_of_view_and_places_out_of_bounds():
    with pytest.raises(GeometryError, match="large"):
        Volume(np.zeros((1, 1, 20), np.uint8), np.diag([600.0, 1, 1, 1]))
    far = np.eye(4)
    far[0, 3] = 2e6
    with pytest.raises(GeometryError, match="first voxel"):
        Volume(ARRAY, far)
    wide = np.broadcast_to(np.uint8(0), (1, 1, 20_000))
    assert Volume(wide, np.eye(4), info={"spacingKnown": False}).shape == (1, 1, 20_000)
    with pytest.raises(GeometryError, match="large"):
        Volume(wide, np.eye(4))


def test_the_table_of_bounds_is_the_documented_one():
    from pathlib import Path

    page = Path(__file__).resolve().parents[2] / "Docs" / "reliability.md"
    if not page.is_file():
        pytest.skip("the documentation is not installed")
    assert bounds.table() in page.read_text(encoding="utf-8")


def test_what_a_reader_stumbles_over_is_an_error_about_the_file(tmp_path, monkeypatch):
    from MedPrepCommonLib.files import nifti_reading

    path = tmp_path / "a.nii"
    sitk.WriteImage(image(ARRAY), str(path))
    for raised, words in ((ZeroDivisionError, "damaged"), (struct.error, "damaged"), (MemoryError, "memory")):

        def fail(_path, raised=raised):
            raise raised

        monkeypatch.setattr(nifti_reading, "read_nifti", fail)
        with pytest.raises(FileError, match=words):
            read_volume(path)
