"""NIfTI geometry and values against nibabel, over every way in which a header can say them."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest

from MedPrepCommonLib.core.errors import FileError, GeometryError
from MedPrepCommonLib.files.reading import read_volume

nib = pytest.importorskip("nibabel", reason="nibabel is the second opinion here: pip install nibabel")

# mm per unit of xyzt_units; nibabel leaves the affine in the file's unit.
UNITS = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 0.001}
CODES = [(0, 0), (1, 0), (4, 0), (0, 1), (0, 2), (1, 1), (2, 1), (1, 2), (3, 1), (4, 1), (5, 4)]


def turned(degrees: tuple[float, float, float]) -> np.ndarray:
    result = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        step, (a, b) = np.eye(3), [n for n in range(3) if n != axis]
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        result = step @ result
    return result


def affine(kind: str) -> np.ndarray:
    axes = {
        "plain": np.eye(3),
        "permuted": np.eye(3)[[2, 0, 1]],
        "left-handed": np.diag([-1.0, 1.0, 1.0]),
        "oblique": turned((12, -25, 41)),
        "oblique left-handed": turned((70, 5, -100)) @ np.diag([1.0, 1.0, -1.0]),
    }[kind]
    result = np.eye(4)
    result[:3, :3] = axes * (0.75, 1.5, 3.0)
    result[:3, 3] = (-31.5, 55.25, 120.0)
    return result


KINDS = ["plain", "permuted", "left-handed", "oblique", "oblique left-handed"]


def written(path, array, s=None, q=None, codes=(1, 1), unit="mm", second=False, order="<"):
    """A NIfTI of `array` (i, j, k) as nibabel writes it; `s` and `q` are matrices in mm."""
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    image = kind(array, None, header)
    s, q = (affine("plain") if m is None else m for m in (s, q))
    scale = np.diag([1 / UNITS[unit]] * 3 + [1.0])
    image.set_qform(scale @ q, codes[1])
    image.set_sform(scale @ s, codes[0])
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def by_nibabel(path, unit="mm"):
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    while array.ndim < 3:
        array = array[..., np.newaxis]
    return array.transpose(2, 1, 0), np.diag([UNITS[unit]] * 3 + [1.0]) @ image.affine


@pytest.mark.parametrize("flat", [False, True], ids=["3-D", "2-D"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("second", [False, True], ids=["NIfTI-1", "NIfTI-2"])
def test_every_header_is_read_as_nibabel_reads_it(tmp_path, second, order, flat):
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    array = array[..., 0] if flat else array
    path, seen = tmp_path / "a.nii", 0
    slopes = itertools.cycle([None, (2, -1024), (0.5, 0.25)])
    for codes, unit, kind in itertools.product(CODES, UNITS, KINDS):
        slope = next(slopes)
        scaling = {} if slope is None else {"scl_slope": slope[0], "scl_inter": slope[1]}
        # The qform is 7 mm and 10 degrees from the sform where both are there and the codes differ.
        other = affine(kind).copy()
        if codes[0] != codes[1]:
            other[:3, :3] = turned((0, 0, 10)) @ other[:3, :3]
            other[0, 3] += 7
        raw = written(path, array, affine(kind), other, codes, unit, second, order).read_bytes()
        if scaling:
            # nibabel divides by the slope when it writes: the header is changed behind its back.
            form, at = ("2d", 176) if second else ("2f", 112)
            data = bytearray(raw)
            struct.pack_into(order + form, data, at, *slope)
            path.write_bytes(data)
        values, place = by_nibabel(path, unit)
        if flat and codes == (0, 0):
            place[:, 2] = (0, 0, 1, 0)  # nobody says how thick the slice is: 1 mm, not one of the unit
        volume = read_volume(path)
        where = (codes, unit, kind, slope)
        np.testing.assert_allclose(volume.array, values, rtol=1e-6, err_msg=str(where))
        np.testing.assert_allclose(volume.ijkToRAS, place, rtol=1e-5, atol=2e-4, err_msg=str(where))
        differ = min(codes) > 0 and codes[0] != codes[1]
        assert ("positionConflict" in volume.info) is differ, where
        assert ("positionKnown" in volume.info) is (codes == (0, 0)), where
        seen += 1
    assert seen == 220


def test_both_positions_are_told(tmp_path):
    other = affine("plain").copy()
    other[:3, :3] = turned((0, 0, 8)) @ other[:3, :3]
    other[:2, 3] += (12, -5)
    path = written(tmp_path / "a.nii.gz", np.zeros((5, 4, 3), np.int16), q=other, codes=(2, 1))
    conflict = read_volume(path).info["positionConflict"]
    assert conflict["taken"]["source"] == "sform (code 2, aligned)"
    assert conflict["other"]["source"] == "qform (code 1, scanner)"
    assert conflict["mm"] == pytest.approx(13) and conflict["degrees"] == pytest.approx(8, abs=0.01)
    for words in ("0.75 x 1.5 x 3 mm", "-31.5, 55.2, 120.0", "-19.5, 50.2, 120.0", "13.0 mm", "8.0 degrees"):
        assert words in conflict["text"]


@pytest.mark.parametrize(
    ("shift", "angle", "size", "told"),
    [(0.05, 0, 1, False), (0.2, 0, 1, True), (0, 0.05, 1, False), (0, 0.2, 1, True),
     (0, 0, 1.0005, False), (0, 0, 1.002, True)],
)  # fmt: skip
def test_rounding_is_no_contradiction(tmp_path, shift, angle, size, told):
    other = affine("oblique").copy()
    other[:3, :3] = turned((angle, 0, 0)) @ other[:3, :3] * size
    other[0, 3] += shift
    path = written(tmp_path / "a.nii", np.zeros((5, 4, 3), np.int16), affine("oblique"), other)
    assert ("positionConflict" in read_volume(path).info) is told


@pytest.mark.parametrize("steps", [(1, 1, 1), (0, 0, 0), (0.75, 1.5, 3.0)])
def test_sizes_that_the_matrix_contradicts(tmp_path, steps):
    path = written(tmp_path / "a.nii", np.zeros((5, 4, 3), np.int16), codes=(1, 0))
    data = bytearray(path.read_bytes())
    struct.pack_into("<3f", data, 80, *steps)
    path.write_bytes(data)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.ijkToRAS, affine("plain"))
    assert ("positionConflict" in volume.info) is (steps == (1, 1, 1))
    if steps == (1, 1, 1):
        assert volume.info["positionConflict"]["other"] == {"source": "pixdim", "spacing": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize("code", [1, 2, 3, 4])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("second", [False, True])
def test_shear_is_kept_in_every_unit(tmp_path, code, unit, second):
    sheared = affine("plain").copy()
    sheared[0, 2] = 1.0
    path = written(
        tmp_path / "a.nii", np.zeros((5, 4, 3), np.int16), sheared, codes=(code, 1), unit=unit, second=second
    )
    volume = read_volume(path)
    np.testing.assert_allclose(volume.ijkToRAS, sheared, rtol=1e-5)
    assert volume.shear > 0.1 and "degrees" in volume.info["positionConflict"]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a", "a.dcm", "a.nrrd"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_content_decides_not_the_name(tmp_path, name, packed):
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    source = written(tmp_path / f"source.nii{'.gz' if packed else ''}", array, affine("oblique"))
    (tmp_path / name).write_bytes(source.read_bytes())
    volume = read_volume(tmp_path / name)
    assert np.array_equal(volume.array, array.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.ijkToRAS, affine("oblique"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("sform_code", 77, GeometryError),
        ("qform_code", -1, GeometryError),
        ("xyzt_units", 5, GeometryError),
        ("quatern_b", 2.0, None),  # the sform is there
        ("scl_inter", np.nan, FileError),
        ("vox_offset", 351, FileError),
        ("vox_offset", 0, FileError),
        ("vox_offset", np.inf, FileError),
        ("vox_offset", np.nan, FileError),
        ("vox_offset", 352.5, FileError),
        ("sizeof_hdr", 349, FileError),
    ],
)
def test_impossible_numbers(tmp_path, field, value, error):
    path = written(tmp_path / "a.nii", np.zeros((5, 4, 3), np.int16))
    kind, at = nib.Nifti1Header.template_dtype.fields[field][:2]
    data = bytearray(path.read_bytes())
    data[at : at + kind.itemsize] = np.array(value, kind.newbyteorder("<")).tobytes()
    if field == "scl_inter":
        struct.pack_into("<f", data, 112, 2.0)
    path.write_bytes(data)
    if error is not None:
        with pytest.raises(error):
            read_volume(path)
    else:
        assert "cannot be used" in read_volume(path).info["positionConflict"]["text"]


def test_a_quaternion_that_is_no_rotation_alone(tmp_path):
    path = written(tmp_path / "a.nii", np.zeros((5, 4, 3), np.int16), codes=(0, 1))
    data = bytearray(path.read_bytes())
    struct.pack_into("<f", data, 256, 2.0)
    path.write_bytes(data)
    with pytest.raises(GeometryError, match="spacing"):
        read_volume(path)


def test_a_flat_image_need_not_say_what_lies_across(tmp_path):
    matrix = affine("oblique").copy()
    matrix[:3, 2] = 0
    path = written(tmp_path / "a.nii", np.zeros((5, 4), np.int16), codes=(0, 0))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2h", data, 252, 0, 1)
    struct.pack_into("<12f", data, 280, *matrix[:3].ravel())
    path.write_bytes(data)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.ijkToRAS[:3, :2], matrix[:3, :2], rtol=1e-6)
    assert volume.spacing[2] == pytest.approx(1.0) and volume.shear < 1e-6


@pytest.mark.parametrize("slope", [1e38, 1e-40])
def test_extreme_scaling_neither_overflows_nor_vanishes(tmp_path, slope):
    path = written(tmp_path / "a.nii", np.arange(60, dtype=np.int16).reshape(5, 4, 3) * 500)
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, slope, 0)
    path.write_bytes(data)
    np.testing.assert_allclose(read_volume(path).array, by_nibabel(path)[0], rtol=1e-6)
