"""Every way a file can be wrong is an error that says so: missing, damaged, cut, no image, 4-D, complex."""

from __future__ import annotations

import builtins
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from test_reading import image, sample, sform_file

from MedPrepCommonLib.core.errors import FileError, GeometryError
from MedPrepCommonLib.files.reading import read_volume, stem


def test_four_dimensional_and_complex_files(shared_data):
    with pytest.raises(FileError, match=r"4-D \(64 x 64 x 24 x 25\).*one time point"):
        read_volume(shared_data / "odd" / "4d-nifti" / "mpld_asl.nii.gz")
    with pytest.raises(FileError, match="complex"):
        read_volume(shared_data / "odd" / "complex-nifti" / "complex_image.nii.gz")


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_four_dimensions_in_any_format(tmp_path, suffix):
    sitk.WriteImage(
        sitk.GetImageFromArray(sample((2, 3, 4, 5)), isVector=False), str(tmp_path / f"a.{suffix}")
    )
    with pytest.raises(FileError, match="4-D"):
        read_volume(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_complex_values_in_any_format(tmp_path, suffix):
    sitk.WriteImage(sitk.GetImageFromArray(sample().astype(np.complex64)), str(tmp_path / f"a.{suffix}"))
    with pytest.raises(FileError, match="complex"):
        read_volume(tmp_path / f"a.{suffix}")


def test_a_missing_file_a_directory_and_an_empty_file(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        read_volume(tmp_path / "nothing.nii.gz")
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(FileError, match="0 bytes"):
        read_volume(tmp_path / "empty.nii.gz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="no DICOM"):
        read_volume(tmp_path / "folder")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.jpg", "a.dcm", "a", "a.txt"])
@pytest.mark.parametrize(
    "content", [b"hello", b"\0" * 5000, b"PK\3\4" + b"x" * 2000, b"\x1f\x8b" + b"x" * 100]
)
def test_no_image_at_all(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError):
        read_volume(tmp_path / name)


@given(
    content=st.binary(min_size=1, max_size=600),
    magic=st.sampled_from(
        [
            b"",
            b"NRRD0005\n",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"II*\0",
            b"ObjectType = Image\nNDims = 3\n",
            b"\0" * 128 + b"DICM",
            struct.pack("<i", 348) + b"\0" * 340 + b"n+1\0",
            b"\x08\0\x05\0",
            b"\x1f\x8b\x08\0",
        ]
    ),
)
def test_noise_is_an_error_never_a_crash(tmp_path_factory, content, magic):
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(magic + content)
    with pytest.raises((FileError, GeometryError)):
        read_volume(path)


def test_no_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.nii"
    sitk.WriteImage(image(sample()), str(path))

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(FileError, match="no permission"):
        read_volume(path)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha", "png", "jpg", "seg.nrrd"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_files_are_errors(tmp_path, suffix, compress, share):
    shape = (40, 50) if suffix in ("png", "jpg") else (12, 40, 50)
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image(sample(shape, np.uint8)), str(path), compress)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FileError):
        read_volume(path)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha", "png"])
@pytest.mark.parametrize("place", [0.4, 0.6, 0.8])
def test_flipped_bits_in_compressed_files_are_errors(tmp_path, suffix, place):
    shape = (40, 50) if suffix == "png" else (12, 40, 50)
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image(sample(shape, np.uint8)), str(path), True)
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(FileError, match="damaged"):
        read_volume(path)


def test_detached_voxels(tmp_path):
    array = sample()
    sitk.WriteImage(image(array), str(tmp_path / "a.mhd"), True)
    sitk.WriteImage(image(array), str(tmp_path / "b.nhdr"), True)
    assert np.array_equal(read_volume(tmp_path / "a.mhd").array, array)
    assert np.array_equal(read_volume(tmp_path / "b.nhdr").array, array)
    for path in tmp_path.glob("*raw*"):
        path.unlink()
    for name in ("a.mhd", "b.nhdr"):
        with pytest.raises(FileError, match="which is not there"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("step", [0.0, float("nan")])
def test_zero_spacing_is_a_geometry_error(tmp_path, step):
    path = tmp_path / "a.nii"
    sform_file(path, np.zeros((3, 4)), sform=0, qform=0)
    data = bytearray(path.read_bytes())
    struct.pack_into("<3f", data, 80, step, step, step)
    path.write_bytes(data)
    with pytest.raises(GeometryError, match="spacing"):
        read_volume(path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("x/a.nii.gz", "a"),
        ("a.seg.nrrd", "a"),
        ("a.b.NRRD", "a.b"),
        ("IM0001", "IM0001"),
        (".nii.gz", ".nii.gz"),
    ],
)
def test_names(path, name):
    assert stem(path) == name
